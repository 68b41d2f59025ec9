"""(e) The flat tables: what ``benchmarks.tables`` measures, as a section of the report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmarks import tables
from benchmarks.results import Section, Target, slope, table
from benchmarks.scale import Scale


def measure(scale: Scale, folder: Path, say: Callable[[str], None]) -> Section:
    """Both of its sizes, each on one core."""
    del scale, folder
    found = tables.measure(say)
    rows = []
    for name in tables.WORK:
        for one in (found.small[name], found.large[name]):
            cells = (f"{one.orders_per_second:,.0f}", f"{one.cpu_seconds:.1f}", f"{one.megabytes:,.0f}")
            rows.append([f"{name}, {one.orders:,} orders", *cells])
    small, large = found.small["tables"], found.large["tables"]
    sizes = (small.orders, large.orders)
    time_slope = slope(sizes, (small.cpu_seconds, large.cpu_seconds))
    memory_slope = slope(sizes, (small.megabytes, large.megabytes))
    rate, wanted = large.orders_per_second, tables.WANTED_ORDERS_PER_SECOND
    targets = [
        Target("orders into all tables, one core", f"≥ {wanted:,}/s", f"{rate:,.0f}/s", rate >= wanted),
        Target("slope: time of the tables", "1.0 ± 0.1", f"{time_slope:.2f}", abs(time_slope - 1) <= 0.1),
        Target("slope: peak memory of the tables", "0.0 ± 0.1", f"{memory_slope:.2f}", abs(memory_slope) <= 0.1),
    ]
    head = ["", "orders/s of one core", "seconds of one core", "peak MB"]
    return Section("flattening", table(head, rows), targets, {"orders_per_second": rate})
