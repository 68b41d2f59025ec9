"""(d) Records a second into a server that takes all of them, with and without a limit, and over httpx's connections."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from pathlib import Path

from benchmarks.processes import Finished, served
from benchmarks.pulling import RESTAURANTS
from benchmarks.results import Section, Target, middle, slope, table
from benchmarks.scale import Scale
from benchmarks.weeks import make_week

WANTED = 900
LIMIT, WANTED_SHARE = 500, 0.95
# What an answer takes to come from far away; the unlimited ones come at once.
_LATENCY = 0.02
_UNLIMITED = "100000"


def measure(scale: Scale, folder: Path, say: Callable[[str], None]) -> Section:
    """Rates by the server's clock: from the first record to the last."""
    largest = scale.delivered[-1]
    middle_size = scale.delivered[len(scale.delivered) // 2]
    rows, rates = [], {}
    trials = [
        ("no limit of its own", "deliver", _UNLIMITED, middle_size, 0.0, scale.rounds),
        ("the default limit of 1000/s", "deliver", "1000", middle_size, _LATENCY, 1),
        (f"a limit of {LIMIT}/s", "deliver", str(LIMIT), middle_size, _LATENCY, 1),
        ("no limit, httpx's own connections", "deliver-by-httpx", _UNLIMITED, scale.delivered[0], 0.0, 1),
    ]
    for name, side, limit, records, latency, rounds in trials:
        found = [_deliver(folder, side, limit, records, latency) for _ in range(rounds)]
        rate, most = middle([one[0] for one in found]), max(one[1] for one in found)
        rates[name] = rate
        cpu = middle([one[2].outcome.cpu_seconds for one in found]) / records * 1000
        rows.append([name, f"{records:,}", f"{rate:,.0f}", f"{most:,}", f"{cpu:.2f}", f"{found[0][2].megabytes:,.0f}"])
        say(f"  {name}: {rate:,.0f} records/s")
    grown = [_deliver(folder, "deliver", _UNLIMITED, size, 0.0)[2] for size in scale.delivered]
    time_slope = slope(scale.delivered, [one.outcome.seconds for one in grown])
    memory_slope = slope(scale.delivered, [one.megabytes for one in grown])
    head = ["", "records", "records/s", "most in any second", "processor ms a record", "peak MB"]
    note = f"\n\nFrom {scale.delivered[0]:,} to {largest:,} records the time grows with a log-log slope of"
    note += f" {time_slope:.2f}, the peak memory with {memory_slope:.2f}."
    free, limited = rates["no limit of its own"], rates[f"a limit of {LIMIT}/s"]
    targets = [
        Target("deliveries, unthrottled server", f"≥ {WANTED}/s", f"{free:,.0f}/s", free >= WANTED),
        Target(
            f"deliveries, limit of {LIMIT}/s",
            f"≥ {WANTED_SHARE:.0%} of it",
            f"{limited / LIMIT:.1%}",
            limited >= WANTED_SHARE * LIMIT,
        ),
        Target("slope: time of a delivery", "1.0 ± 0.1", f"{time_slope:.2f}", abs(time_slope - 1) <= 0.1),
        Target("slope: peak memory of a delivery", "0.0 ± 0.1", f"{memory_slope:.2f}", abs(memory_slope) <= 0.1),
    ]
    return Section("delivering", table(head, rows) + note, targets, {"rates": rates})


def _deliver(folder: Path, side: str, limit: str, records: int, latency: float) -> tuple[float, int, Finished]:
    """Records a second, the most in any second, and the process."""
    week = make_week(folder, records, RESTAURANTS)
    with served(week, latency=latency) as server:
        server.side("pull-and-export")
        done = server.side(side, AMPERITY_REQUESTS_PER_SECOND=limit)
        times = server.books()["records"]
    if done.outcome.count != records or len(times) != records:
        raise RuntimeError(f"{done.outcome.count} of {records} records were delivered")
    most = max(bisect_left(times, at + 1.0) - number for number, at in enumerate(times))
    return (records - 1) / (times[-1] - times[0]), most, done
