"""(b) and (g) How time and memory grow with the week: the bare pull and export, and the whole Dagster run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmarks.processes import served
from benchmarks.pulling import ASSETS, RESTAURANTS
from benchmarks.results import Section, Target, middle, slope, table
from benchmarks.scale import Scale
from benchmarks.weeks import make_week

ALLOWED_GROWTH = 1.1
ALLOWED_SLOPE = 0.1


def measure(scale: Scale, folder: Path, say: Callable[[str], None]) -> Section:
    """All sizes, with all their rounds."""
    rows, seconds, run_seconds, memory = [], [], [], []
    for size in scale.grown:
        week = make_week(folder, size, RESTAURANTS)
        bare, runs = [], []
        for _ in range(scale.rounds):
            with served(week) as server:
                bare.append(server.side("pull-and-export"))
            with served(week) as server:
                runs.append(server.dagster(*ASSETS))
        seconds.append(middle([one.outcome.seconds for one in bare]))
        run_seconds.append(middle([run.seconds for run in runs]))
        memory.append(middle([run.megabytes for run in runs]))
        bare_memory = middle([one.megabytes for one in bare])
        rows.append(
            [
                f"{week.orders:,} orders, {week.bytes / 1e6:,.0f} MB",
                *(f"{seconds[-1]:.1f}", f"{bare_memory:,.0f}", f"{run_seconds[-1]:.1f}", f"{memory[-1]:,.0f}"),
            ]
        )
        say(f"  {week.orders:,} orders: {seconds[-1]:.1f} s; Dagster run peak {memory[-1]:,.0f} MB")
    time_slope, memory_slope = slope(scale.grown, seconds), slope(scale.grown, memory)
    growth = memory[-1] / memory[0]
    head = ["", "pull and export: seconds", "peak MB", "Dagster run: seconds", "peak MB of all its processes"]
    rows.append(
        ["slope (log-log)", f"{time_slope:.2f}", "", f"{slope(scale.grown, run_seconds):.2f}", f"{memory_slope:.2f}"]
    )
    targets = [
        Target(
            f"peak memory at {scale.grown[-1]:,} orders against {scale.grown[0]:,}",
            f"≤ {ALLOWED_GROWTH} ×",
            f"{growth:.3f} ×",
            growth <= ALLOWED_GROWTH,
        ),
        _slope_target("time of pull and export", time_slope, 1.0),
        _slope_target("peak memory of the run", memory_slope, 0.0),
    ]
    figures = {"orders": scale.grown, "seconds": seconds, "run_seconds": run_seconds, "megabytes": memory}
    return Section("growing", table(head, rows), targets, figures)


def _slope_target(what: str, found: float, wanted: float) -> Target:
    met = abs(found - wanted) <= ALLOWED_SLOPE
    return Target(f"slope: {what}", f"{wanted:.1f} ± {ALLOWED_SLOPE}", f"{found:.2f}", met)
