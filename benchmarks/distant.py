"""(i) A bucket that is far away, each reply of S3's takes 40 ms: how long a week and its second look wait for them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmarks.processes import Served, served
from benchmarks.results import Section, Target, table
from benchmarks.scale import Scale
from benchmarks.weeks import StoredWeek, make_week

S3_LATENCY = 0.04
RESTAURANTS, ORDERS_EACH = 60, 40
# The order index, which says what other weeks hold, is a good part of them.
WANTED_ROUND_TRIPS, WANTED_CALLS = 2.5, 20
STEPS = {
    "pull": "pull",
    "export": "export",
    "delivery": "deliver",
    "second look": "pull",
    "delivery with nothing to send": "deliver",
}


def measure(scale: Scale, folder: Path, say: Callable[[str], None]) -> Section:
    """The same steps with a bucket nearby and far away; the difference is what is spent waiting for S3."""
    del scale
    week = make_week(folder, RESTAURANTS * ORDERS_EACH, RESTAURANTS)
    near, far = (_seconds_and_calls(week, latency, say) for latency in (0.0, S3_LATENCY))
    rows, trips, calls = [], 0.0, 0.0
    for step, (seconds, made) in far.items():
        waited = max(0.0, seconds - near[step][0]) / S3_LATENCY / RESTAURANTS
        trips, calls = trips + waited, calls + made / RESTAURANTS
        cells = [f"{near[step][0]:.1f}", f"{seconds:.1f}", f"{waited:.2f}", f"{made / RESTAURANTS:.1f}"]
        rows.append([step, *cells])
    rows.append(["together", "", "", f"{trips:.2f}", f"{calls:.1f}"])
    head = ["", "seconds, bucket nearby", "seconds, 40 ms away", "round trips waited for, per restaurant"]
    targets = [
        Target(
            "S3 at 40 ms: round trips waited for, per restaurant",
            f"≤ {WANTED_ROUND_TRIPS}",
            f"{trips:.2f}",
            trips <= WANTED_ROUND_TRIPS,
        ),
        Target("S3 calls per restaurant", f"≤ {WANTED_CALLS}", f"{calls:.1f}", calls <= WANTED_CALLS),
    ]
    figures = {"near": near, "far": far, "restaurants": RESTAURANTS, "orders": RESTAURANTS * ORDERS_EACH}
    return Section("distant", table([*head, "S3 calls per restaurant"], rows), targets, figures)


def _seconds_and_calls(week: StoredWeek, latency: float, say: Callable[[str], None]) -> dict[str, tuple[float, int]]:
    """By step: seconds, and calls to S3."""
    found = {}
    with served(week, s3_latency=latency) as server:
        for step, side in STEPS.items():
            before = _calls(server)
            seconds = server.side(side).outcome.seconds
            found[step] = (seconds, _calls(server) - before)
            say(f"  {latency * 1000:.0f} ms, {step}: {seconds:.1f} s, {found[step][1]} calls")
    return found


def _calls(server: Served) -> int:
    calls: int = server.books()["s3_calls"]
    return calls
