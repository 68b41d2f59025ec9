"""The fault matrix as a table at the end of a test run, with ``pytest --fault-table``."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class FaultRow:
    """One scenario and how it ended. ``waited`` are the seconds that the pull would have waited."""

    scenario: str
    ended: str
    orders: int
    requests: int
    retries: int
    throttled: int
    waited: float


@dataclass
class FaultTable:
    """The rows of a test run, in the order of the scenarios."""

    rows: list[FaultRow] = field(default_factory=list)


KEY = pytest.StashKey[FaultTable]()


def print_table(table: FaultTable) -> None:
    """Print it to the terminal."""
    printed = Table(title="Faults at Toast, and how a pull with its export ends", title_justify="left")
    for name in ("scenario", "ends"):
        printed.add_column(name)
    for name in ("orders", "requests", "retries", "429s", "seconds waited"):
        printed.add_column(name, justify="right")
    for row in table.rows:
        counts = (row.orders, row.requests, row.retries, row.throttled)
        printed.add_row(row.scenario, row.ended, *(str(count) for count in counts), f"{row.waited:.1f}")
    Console(width=140).print(printed)
