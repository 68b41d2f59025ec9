"""Weeks of invented orders, made once and kept as the bytes that a server hands out.

A week is a folder with two files a restaurant: the orders' JSON one after the other, separated by commas, and an index
of their modified times and places. Any window is then a slice, and serving it costs next to nothing.
"""

from __future__ import annotations

import mmap
import os
from array import array
from bisect import bisect_left
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from random import Random

from toast_assets.sandbox.config import Restaurant, invent_restaurants
from toast_assets.sandbox.orders import invent_week
from toast_assets.week import WeekCalendar

WEEK = WeekCalendar().week("2025-09-15")
_SEED = 1


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


def _make_restaurant(folder: Path, guid: str, count: int) -> int:
    times, ends = array("q"), array("q")
    with (folder / f"{guid}.json").open("wb") as file:
        for order in invent_week(_SEED, Restaurant(guid, "", orders_per_week=count), WEEK.start_ms):
            file.write(order.json + b",")
            times.append(order.modified_ms)
            ends.append(file.tell())
        # Else the disk is still at it when the first measurement begins.
        file.flush()
        os.fsync(file.fileno())
    with (folder / f"{guid}.index").open("wb") as file:
        times.tofile(file)
        ends.tofile(file)
    return ends[-1] - count


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
