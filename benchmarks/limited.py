"""(c) The pull within Toast's limit: 5 requests a second and restaurant, counted by the server in fixed seconds."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

from benchmarks.processes import Served, served
from benchmarks.results import Section, Target, middle, table
from benchmarks.scale import Scale
from benchmarks.weeks import make_week

LIMIT = 5
WANTED_SHARE = 0.95
# What a reply takes to come from far away.
_LATENCY = 0.05


def measure(scale: Scale, folder: Path, say: Callable[[str], None]) -> Section:
    """One pull for each number of restaurants, with the settings' defaults."""
    rows, targets, shares, most = [], [], [], 0.0
    throttled = 0
    for restaurants, each in scale.limited:
        week = make_week(folder, restaurants * each, restaurants)
        with served(week, orders_per_second=LIMIT, latency=_LATENCY) as server:
            outcome = server.side("pull", TOAST_REQUESTS_PER_SECOND=str(LIMIT)).outcome
            share, lowest, requests, refused = _books(server)
        allowed = 1.5 * math.ceil(each / 100) + 20
        most = max(most, requests / allowed)
        shares.append(share)
        throttled += refused
        rows.append(
            [
                f"{restaurants} × {each:,} orders",
                *(f"{share:.1%}", f"{lowest:.1%}", f"{requests}", f"{math.ceil(each / 100)}"),
                *(f"{allowed:.0f}", f"{refused}", f"{outcome.seconds:.1f}"),
            ]
        )
        say(f"  {rows[-1][0]}: {share:.1%} of the allowed rate, {requests} requests at most, {outcome.seconds:.1f} s")
    head = ["restaurants", "share of the allowed rate, median", "lowest", "most requests", "ceil(n/100)"]
    head += ["allowed requests", "429", "seconds"]
    targets = [
        Target("share of the allowed rate", f"≥ {WANTED_SHARE:.0%}", f"{min(shares):.1%}", min(shares) >= WANTED_SHARE),
        Target("requests of a restaurant's week", "≤ 1.5 × ceil(n/100) + 20", f"{most:.0%} of it", most <= 1),
        Target("replies 429", "0", f"{throttled}", throttled == 0),
    ]
    figures = {"restaurants": [pair[0] for pair in scale.limited], "shares": shares}
    note = f"Replies take {_LATENCY * 1000:.0f} ms more than the server needs. The rate is counted at the server, from"
    note += " a restaurant's first call for orders to its last.\n\n"
    return Section("limited", note + table(head, rows), targets, figures)


def _books(server: Served) -> tuple[float, float, int, int]:
    """Median and lowest share of the allowed rate over the restaurants, the most requests for one, replies 429."""
    books = server.books()
    calls = books["calls"].values()
    shares = [(count - 1) / (last - first) / LIMIT for count, first, last in calls]
    return middle(shares), min(shares), max(count for count, _, _ in calls), books["throttled"]
