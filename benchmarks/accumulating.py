"""(j) Two years of weeks in the bucket: what one week's run asks of S3 with none and with all others stored."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

import msgspec

from benchmarks.one_by_one import Traffic
from benchmarks.processes import run, served
from benchmarks.results import Section, Target, table
from benchmarks.scale import Scale
from benchmarks.weeks import StoredWeek, last_weeks, make_weeks

EDITED = 0.05
ALLOWED_GROWTH = 1.1
# Each row of transactions as a record, too: where the newest version lacks one, a delivery has to know of it.
_STREAMS = {"AMPERITY_TRANSACTIONS_STREAM_ID": "is-transactions"}


def measure(scale: Scale, folder: Path, say: Callable[[str], None]) -> Section:
    """All weeks in three sequences, each into an empty bucket; the first and the last run of each."""
    count, restaurants, orders = scale.accumulated
    weeks = make_weeks(folder, count, restaurants, orders, EDITED)
    keys = [week.key for week in last_weeks(count)]
    sequences = {
        "oldest first": keys,
        "newest first": keys[::-1],
        "shuffled": Random(1).sample(keys, count),  # noqa: S311 - any fixed order will do
    }
    rows, targets, figures = [], [], {}
    for name, sequence in sequences.items():
        traffic = _traffic(weeks, sequence)
        first, last = ([one for one in traffic if one.week == key] for key in (sequence[0], sequence[-1]))
        rows += [_row(f"{name}: {before.step}", [before], [after]) for before, after in zip(first, last, strict=True)]
        rows.append(_row(f"{name}: together", first, last))
        calls, calls_later = (sum(one.calls for one in steps) for steps in (first, last))
        growth = calls_later / calls
        what = f"S3 calls of a week's run, {count - 1} other weeks stored against none, {name}"
        targets.append(Target(what, f"≤ {ALLOWED_GROWTH} ×", f"{growth:.2f} ×", growth <= ALLOWED_GROWTH))
        figures[name] = [msgspec.to_builtins(one) for one in (*first, *last)]
        say(f"  {name}: {calls} calls in the first week's run, {calls_later} in the last")
    head = ["", "calls, none stored", f"calls, {count - 1} stored", "MB, none stored", f"MB, {count - 1} stored"]
    note = (
        f"{restaurants} restaurants with {orders} new orders in each of {count} weeks; {EDITED:.0%} of a week's orders"
        " are newer versions of orders of the weeks before. The week that is run first, and the one that is run last."
    )
    return Section("accumulating", f"{note}\n\n{table(head, rows)}", targets, figures)


def _traffic(weeks: StoredWeek, keys: Sequence[str]) -> list[Traffic]:
    with served(weeks) as server:
        done = run([sys.executable, "-m", "benchmarks.one_by_one", *keys], server.environment(**_STREAMS))
    return [msgspec.json.decode(line, type=Traffic) for line in done.output.splitlines()]


def _row(name: str, first: Sequence[Traffic], last: Sequence[Traffic]) -> list[str]:
    calls = [f"{sum(one.calls for one in steps):,}" for steps in (first, last)]
    return [name, *calls, *(f"{sum(one.bytes for one in steps) / 1e6:.2f}" for steps in (first, last))]
