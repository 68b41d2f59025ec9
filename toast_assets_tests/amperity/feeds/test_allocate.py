"""Sharing an amount out: nothing lost, nothing negative, in proportion."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from toast_assets.orders.totals import allocate

CENTS = st.decimals(min_value=0, max_value=10_000, places=2, allow_nan=False)
FINE = st.decimals(min_value=0, max_value=10_000, places=5, allow_nan=False)


@given(FINE, st.lists(CENTS, max_size=20))
def test_the_parts_add_up_exactly_and_none_is_negative(amount: Decimal, weights: list[Decimal]) -> None:
    parts = allocate(amount, weights)
    assert len(parts) == len(weights)
    assert all(part >= 0 for part in parts)
    assert sum(parts) == (amount if any(weights) else 0)


@given(CENTS, st.lists(CENTS, min_size=1, max_size=20))
def test_each_part_is_its_proportion_to_the_cent(amount: Decimal, weights: list[Decimal]) -> None:
    total = sum(weights)
    for part, weight in zip(allocate(amount, weights), weights, strict=True):
        exact = amount * weight / total if total else Decimal(0)
        assert abs(part - exact) <= Decimal("0.01")
        assert weight or not part


def test_cents_that_do_not_divide_are_spread() -> None:
    assert allocate(Decimal("0.10"), [Decimal(1)] * 3) == [Decimal("0.03"), Decimal("0.04"), Decimal("0.03")]
