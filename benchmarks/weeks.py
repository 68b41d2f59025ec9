"""Weeks of invented orders, made once and kept as the bytes that a server hands out.

A week, or a row of weeks, is a folder with two files a restaurant: the orders' JSON one after the other, separated by
commas, and an index of their modified times and places. Any window is then a slice, and serving it costs next to
nothing.
"""

from __future__ import annotations

import mmap
import os
from array import array
from bisect import bisect_left
from collections import deque
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from itertools import chain
from pathlib import Path
from random import Random

from toast_assets.sandbox.config import Restaurant, invent_restaurants
from toast_assets.sandbox.order_builder import decode, encode, toast_time
from toast_assets.sandbox.orders import invent_week
from toast_assets.week import Week, WeekCalendar

CALENDAR = WeekCalendar(first=date(2023, 1, 2))
WEEK = CALENDAR.week("2025-09-15")
_SEED = 1
# Orders are edited up to this many weeks later.
_EDITED_WEEKS = 4


@dataclass(frozen=True)
class StoredWeek:
    """A week on disk: ``orders`` in all, evenly spread over ``restaurants``; ``bytes`` are those of their JSON."""

    folder: Path
    restaurants: tuple[str, ...]
    orders: int
    bytes: int

    @property
    def bytes_per_order(self) -> float:
        """The orders' mean length."""
        return self.bytes / self.orders


def make_week(folder: Path, orders: int, restaurants: int) -> StoredWeek:
    """A week of ``orders`` invented orders of Toast's usual length, written below ``folder``."""
    guids = tuple(restaurant.guid for restaurant in invent_restaurants(restaurants, seed=_SEED))
    each = max(1, orders // restaurants)
    target = folder / f"{orders}-{restaurants}"
    target.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor() as pool:
        sizes = list(pool.map(_make_restaurant, [target] * restaurants, guids, [each] * restaurants))
    return StoredWeek(target, guids, each * restaurants, sum(sizes))


def last_weeks(count: int) -> list[Week]:
    """``count`` weeks, by time; ``WEEK`` is the last."""
    return [CALENDAR.week(f"{WEEK.start.date() - timedelta(weeks=back)}") for back in reversed(range(count))]


def make_weeks(folder: Path, weeks: int, restaurants: int, orders: int, edited: float) -> StoredWeek:
    """``last_weeks`` with ``orders`` new orders a restaurant each; a share of ``edited`` are newer versions of earlier
    orders. The server hands out every version in its own week, as if each had been pulled in time."""
    guids = tuple(restaurant.guid for restaurant in invent_restaurants(restaurants, seed=_SEED))
    target = folder / f"{weeks}-weeks"
    target.mkdir(parents=True)
    with ProcessPoolExecutor() as pool:
        counts = [[count] * restaurants for count in (weeks, orders)]
        made = list(pool.map(_make_edited, [target] * restaurants, guids, *counts, [edited] * restaurants))
    return StoredWeek(target, guids, sum(count for count, _ in made), sum(size for _, size in made))


def _make_edited(folder: Path, guid: str, weeks: int, count: int, edited: float) -> tuple[int, int]:
    chance = Random(guid)  # noqa: S311 - any fixed chance will do
    before: deque[list[bytes]] = deque(maxlen=_EDITED_WEEKS)
    versions = []
    for week in last_weeks(weeks):
        new = [(one.modified_ms, one.json) for one in invent_week(_SEED, _restaurant(guid, count), week.start_ms)]
        bodies = list(chain.from_iterable(before))
        older = chance.sample(bodies, min(len(bodies), round(count * edited / (1 - edited))))
        newer = [_edit(body, chance.randrange(week.start_ms, week.end_ms)) for body in older]
        before.append([body for _, body in new])
        versions += sorted([*new, *newer])
    return len(versions), _write(folder, guid, versions)


def _edit(body: bytes, modified_ms: int) -> tuple[int, bytes]:
    """A newer version: with a guest more, and without the first check's last item."""
    order = decode(body)
    order |= {"modifiedDate": toast_time(modified_ms), "numberOfGuests": (order["numberOfGuests"] or 0) + 1}
    for check in order["checks"][:1]:
        check["selections"] = check["selections"][:-1]
    return modified_ms, encode(order)


def _restaurant(guid: str, count: int) -> Restaurant:
    return Restaurant(guid, "", orders_per_week=count)


def _make_restaurant(folder: Path, guid: str, count: int) -> int:
    orders = invent_week(_SEED, _restaurant(guid, count), WEEK.start_ms)
    return _write(folder, guid, ((order.modified_ms, order.json) for order in orders))


def _write(folder: Path, guid: str, versions: Iterable[tuple[int, bytes]]) -> int:
    """Write orders, which come by modified time; the bytes of their JSON."""
    times, ends = array("q"), array("q")
    with (folder / f"{guid}.json").open("wb") as file:
        for modified_ms, body in versions:
            file.write(body + b",")
            times.append(modified_ms)
            ends.append(file.tell())
        # Else the disk is still at it when the first measurement begins.
        file.flush()
        os.fsync(file.fileno())
    with (folder / f"{guid}.index").open("wb") as file:
        times.tofile(file)
        ends.tofile(file)
    return ends[-1] - len(ends)


class ServedRestaurant:
    """One restaurant's week in memory-mapped form, ready to be cut into replies."""

    def __init__(self, folder: Path, guid: str) -> None:
        with (folder / f"{guid}.json").open("rb") as file:
            self._bytes = memoryview(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ))
        index = array("q", (folder / f"{guid}.index").read_bytes())
        half = len(index) // 2
        self._times, self._ends = index[:half], index[half:]
        self._shuffled = lru_cache(maxsize=8)(self._shuffle)

    def page(self, start_ms: int, end_ms: int, number: int, size: int) -> tuple[list[memoryview], bool]:
        """The pieces of one page's JSON array, and whether a next page follows.

        A window of several pages comes shuffled, as Toast documents no sort order; one that fits is a single slice.
        """
        first, last = bisect_left(self._times, start_ms), bisect_left(self._times, end_ms)
        if last - first <= size:
            return ([self._slice(first, last)] if last > first and number == 1 else []), False
        rows = self._shuffled(first, last)[(number - 1) * size : number * size]
        pieces: list[memoryview] = []
        for row in rows:
            pieces += (self._slice(row, row + 1), _COMMA)
        return pieces[:-1], number * size < last - first

    def _slice(self, first: int, last: int) -> memoryview:
        begin = self._ends[first - 1] if first else 0
        return self._bytes[begin : self._ends[last - 1] - 1]

    def _shuffle(self, first: int, last: int) -> list[int]:
        rows = list(range(first, last))
        Random(first).shuffle(rows)  # noqa: S311 - any fixed order will do
        return rows


_COMMA = memoryview(b",")
