"""(a) Pull and export against an unthrottled server, beside the guide's algorithm, dlt, and the whole Dagster run."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.processes import served
from benchmarks.results import Section, Target, middle, spread, table
from benchmarks.scale import Scale
from benchmarks.weeks import StoredWeek, make_week

RESTAURANTS = 10
ASSETS = ("raw_toast_orders", "toast_orders_s3_export")
# Times as much as this package, at least; and the Dagster run at most.
TIMES_GUIDE, TIMES_DLT, TIMES_BARE = 20, 5, 2
_NAMES = {
    "pull-and-export": "this package, pull and export",
    "from-memory": "the same, replies from memory, a folder as the bucket",
    "dagster": "this package, whole `dagster asset materialize`",
    "guide": "the guide's algorithm",
    "dlt": "dlt's `rest_api` into gzipped JSONL",
}
Seconds = dict[str, dict[str, list[float]]]


def measure(scale: Scale, folder: Path, say: Callable[[str], None]) -> Section:
    """All sides at all sizes, one after the other in each round."""
    parts, targets, figures = [], [], {}
    for size in scale.compared:
        week = make_week(folder, size, RESTAURANTS)
        found = _rounds(week, scale.rounds, say)
        parts.append(
            f"{week.orders:,} orders of {week.bytes_per_order:,.0f} bytes, {RESTAURANTS} restaurants,"
            f" {scale.rounds} rounds: median (smallest–largest).\n\n" + _table(found)
        )
        figures[str(week.orders)] = {
            side: {kind: middle(values) for kind, values in one.items()} for side, one in found.items()
        }
        targets = _targets(week.orders, found)
    return Section("pulling", "\n\n".join(parts), targets, figures)


def _rounds(week: StoredWeek, rounds: int, say: Callable[[str], None]) -> Seconds:
    found: Seconds = defaultdict(lambda: defaultdict(list))
    for number in range(rounds):
        # Every other round in the opposite order: what comes first has no advantage.
        for side in list(_NAMES)[:: -1 if number % 2 else 1]:
            with served(week) as server:
                done = server.dagster(*ASSETS) if side == "dagster" else server.side(side)
                one = found[side]
                one["megabytes"].append(done.megabytes)
                one["server"].append(server.cpu_seconds)
                if side == "dagster":
                    one["seconds"].append(done.seconds)
                    continue
                outcome = done.outcome
                if outcome.count != week.orders:
                    raise RuntimeError(f"{side} brought {outcome.count} of {week.orders} orders")
                one["seconds"].append(outcome.seconds)
                one["cpu"].append(outcome.cpu_seconds)
                if outcome.network_seconds is not None:
                    one["apart"].append(outcome.seconds - outcome.network_seconds)
        say(f"  {week.orders:,} orders, round {number + 1}: " + _told(found))
    return found


def _told(found: Seconds) -> str:
    return ", ".join(f"{side} {one['seconds'][-1]:.1f} s" for side, one in found.items())


def _table(found: Seconds) -> str:
    head = ["", "seconds", "of these not network", "processor seconds", "server's", "peak MB"]
    rows = []
    for side, name in _NAMES.items():
        one = found[side]
        cells = [spread(one[kind]) if one.get(kind) else "" for kind in ("seconds", "apart", "cpu", "server")]
        rows.append([name, *cells, f"{middle(one['megabytes']):,.0f}"])
    return table(head, rows)


def _times(those: Sequence[float], these: Sequence[float]) -> float:
    """How many times as much, within each round: from one to the next the machine itself may change its pace."""
    return middle([that / this for that, this in zip(those, these, strict=True)])


def _targets(orders: int, found: Seconds) -> list[Target]:
    bare = found["pull-and-export"]["seconds"]
    guide = _times(found["guide"]["apart"], found["from-memory"]["apart"])
    dlt, dagster = _times(found["dlt"]["seconds"], bare), _times(found["dagster"]["seconds"], bare)
    at = f"{orders:,} orders"
    return [
        Target(f"guide's algorithm, not network, {at}", f"≥ {TIMES_GUIDE} ×", f"{guide:.1f} ×", guide >= TIMES_GUIDE),
        Target(f"dlt, {at}", f"≥ {TIMES_DLT} ×", f"{dlt:.1f} ×", dlt >= TIMES_DLT),
        Target(f"`dagster asset materialize`, {at}", f"≤ {TIMES_BARE} ×", f"{dagster:.2f} ×", dagster <= TIMES_BARE),
    ]
