"""(f) What Dagster itself costs: assets that do nothing, launched in ``dagster dev`` as its UI launches them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from benchmarks.dagster_dev import dagster_dev
from benchmarks.results import Section, spread, table
from benchmarks.scale import Scale
from benchmarks.trivial_assets import NAMES, WEEKS

MODULE = "benchmarks.trivial_assets"
_EXECUTORS = ("in_process", "multiprocess")


def measure(scale: Scale, folder: Path, say: Callable[[str], None]) -> Section:
    """One run, a backfill with one run a week, and one run over all weeks, with each executor."""
    del folder
    weeks = WEEKS.get_partition_keys()[: scale.weeks]
    rows: dict[str, list[str]] = {
        "one run": [],
        f"{len(weeks)} runs, one a week": [],
        f"one run, {len(weeks)} weeks": [],
    }
    figures = {}
    for executor in _EXECUTORS:
        with dagster_dev(MODULE, {**os.environ, "BENCHMARK_EXECUTOR": executor}) as instance:
            # The first run of an instance also creates tables; it does not count.
            single = [instance.run(NAMES, {"dagster/partition": weeks[0]}) for _ in range(scale.rounds + 1)][1:]
            ends = {"dagster/asset_partition_range_start": weeks[0], "dagster/asset_partition_range_end": weeks[-1]}
            together = instance.run(NAMES, ends)
            many = instance.backfill(NAMES, weeks)
        for name, cell in zip(rows, (spread(single), f"{many:.1f}", f"{together:.1f}"), strict=True):
            rows[name].append(cell)
        figures[executor] = {"one": single, "many": many, "together": together, "weeks": len(weeks)}
        say(f"  {executor}: one run {spread(single)} s, {len(weeks)} runs {many:.1f} s, as one run {together:.1f} s")
    head = ["three assets that do nothing", "in-process executor: seconds", "multiprocess executor: seconds"]
    return Section("orchestration", table(head, [[name, *cells] for name, cells in rows.items()]), [], figures)
