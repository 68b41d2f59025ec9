"""How large the benchmarks are made: a quick look, what ``make bench`` does, and everything."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Scale:
    """Sizes in orders, except ``weeks`` of the orchestrator's comparison.

    ``compared`` are the sizes at which all sides are compared, ``grown`` those at which memory and growth are measured,
    ``limited`` pairs of restaurants and orders for each, ``delivered`` records, ``accumulated`` weeks, restaurants and
    new orders for each; each comparison runs ``rounds`` times.
    """

    compared: tuple[int, ...]
    grown: tuple[int, ...]
    limited: tuple[tuple[int, int], ...]
    delivered: tuple[int, ...]
    accumulated: tuple[int, int, int]
    weeks: int
    rounds: int


QUICK = Scale((3_000,), (3_000, 10_000), ((1, 1_000), (10, 500)), (1_000, 2_000), (13, 5, 40), 2, 1)
DEFAULT = Scale(
    (10_000, 100_000),
    (30_000, 100_000, 300_000),
    ((1, 5_000), (10, 2_000), (100, 500)),
    (10_000, 30_000, 100_000),
    (105, 25, 20),
    4,
    3,
)
FULL = replace(DEFAULT, weeks=52)
