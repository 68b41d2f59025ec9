"""(h) A backfill of the real assets on the sandbox, in the ways that Dagster offers, and the same work without it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from benchmarks.dagster_dev import dagster_dev
from benchmarks.results import Section, table
from benchmarks.scale import Scale
from toast_assets.cli.environment import sandbox_config, sandbox_environment
from toast_assets.sandbox import Sandbox
from toast_assets.tables.schema import TABLES

_DEFINITIONS = "benchmarks.backfill_definitions"
_ASSETS = ("raw_toast_orders", "toast_orders_s3_export", "amperity_delivery")
_FIRST = date(2025, 1, 6)
_RESTAURANTS, _ORDERS = 3, 200
# A process for each of fourteen steps: 52 weeks of that would take an hour and say nothing more.
_MOST_WITH_A_PROCESS_PER_STEP = 13


@dataclass(frozen=True)
class _Way:
    name: str
    executor: str
    weeks_per_run: int

    @property
    def assets(self) -> tuple[str, ...]:
        return (*_ASSETS, *TABLES) if self.weeks_per_run == 1 else ("whole_weeks",)


def measure(scale: Scale, folder: Path, say: Callable[[str], None]) -> Section:
    """The work alone, then each way on a sandbox of its own; seconds a week, and what of them is not the work."""
    weeks = [f"{_FIRST + timedelta(days=7 * number)}" for number in range(scale.weeks)]
    ways = [
        _Way("one run a week, in-process executor", "in_process", 1),
        _Way("one run a week, multiprocess executor", "multiprocess", 1),
        _Way("a run for 13 weeks", "in_process", 13),
        _Way(f"one run for all {len(weeks)} weeks", "in_process", 1000),
    ]
    alone = _without_dagster(folder, weeks) / len(weeks)
    say(f"  the work without Dagster: {alone:.2f} s a week")
    rows = [
        ["the work without Dagster, week by week", f"{len(weeks)}", f"{alone * len(weeks):.0f}", f"{alone:.2f}", ""]
    ]
    figures = {"without Dagster": alone}
    for way in ways:
        some = weeks[: _MOST_WITH_A_PROCESS_PER_STEP if way.executor == "multiprocess" else None]
        seconds = _backfilled(folder, way, some)
        each = seconds / len(some)
        figures[way.name] = each
        rows.append([way.name, f"{len(some)}", f"{seconds:.0f}", f"{each:.2f}", f"{each - alone:+.2f}"])
        say(f"  {way.name}: {seconds:.0f} s for {len(some)} weeks, {each:.2f} s a week")
    head = ["way", "weeks", "seconds", "seconds a week", "of these the orchestrator's"]
    note = f"{_RESTAURANTS} restaurants with {_ORDERS} orders each, on the sandbox with its rate limits; no pause for"
    note += " historical weeks.\n\n"
    return Section("backfilling", note + table(head, rows), [], figures)


@contextmanager
def _sandbox(folder: Path) -> Iterator[dict[str, str]]:
    """The variables of a new sandbox, whose bucket is empty."""
    with Sandbox(sandbox_config(restaurants=_RESTAURANTS, orders=_ORDERS)) as sandbox:
        yield sandbox_environment(sandbox, folder) | {"TOAST_HISTORICAL_SPACING_SECONDS": "0"}


def _without_dagster(folder: Path, weeks: list[str]) -> float:
    with _sandbox(folder) as variables:
        command = [sys.executable, "-m", "benchmarks.whole_weeks", *weeks]
        done = subprocess.run(  # noqa: S603 - this interpreter, with this package's module
            command, env=variables, check=True, stdout=subprocess.PIPE, text=True
        )
    return float(done.stdout)


def _backfilled(folder: Path, way: _Way, weeks: list[str]) -> float:
    with _sandbox(folder) as variables:
        chosen = {"BENCHMARK_EXECUTOR": way.executor, "BENCHMARK_WEEKS_PER_RUN": f"{way.weeks_per_run}"}
        with dagster_dev(_DEFINITIONS, variables | chosen) as instance:
            return instance.backfill(way.assets, weeks)
