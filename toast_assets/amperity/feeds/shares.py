"""An amount shared out by weight, to the cent and without a cent lost."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, Decimal

_CENT = Decimal("0.01")
_ZERO = Decimal(0)


def shares(amount: Decimal, weights: Sequence[Decimal]) -> list[Decimal]:
    """``amount`` in parts in proportion to ``weights`` (none of them negative), in whole cents, adding up exactly.

    What is no whole cent goes to the last part with a weight. Where nothing has a weight every part is 0: there is
    nothing that the amount could have been taken off.
    """
    total = sum(weights, _ZERO)
    if not amount or not total:
        return [_ZERO] * len(weights)
    parts: list[Decimal] = []
    weighed = given = _ZERO
    for weight in weights:
        # Shares of the running total, not of each weight, so that roundings cannot pile up.
        weighed += weight
        rounded = (amount * weighed / total).quantize(_CENT, ROUND_HALF_EVEN)
        due = amount if weighed == total else min(rounded, amount)
        part = due - given if weight else _ZERO
        parts.append(part)
        given += part
    return parts
