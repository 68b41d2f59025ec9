"""One restaurant of a Toast in memory, read through ``FetchPage``, with things that happen in between."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from random import Random
from typing import Protocol
from zlib import crc32

from toast_assets.orders.raw import RawOrder, version_of
from toast_assets.orders.times import format_time
from toast_assets.toast.page import PAGE_SIZE, OrdersPage, PageReader, Window
from toast_assets_tests.support.services.scripted import MemoryToast

WEEK = Window(1_757_908_800_000, 1_758_513_600_000)
"""The week of 2025-09-15."""
HOUR_MS = 3_600_000
# Orders per hour of a day from 04:00 UTC on: a restaurant with a lunch and a dinner peak that is shut at night.
_HOURS = (1, 0, 0, 0, 0, 1, 3, 6, 8, 8, 10, 30, 60, 50, 20, 14, 20, 50, 80, 70, 40, 20, 10, 4)
_DAYS = (0.8, 0.8, 0.9, 1.0, 1.4, 1.6, 1.2)


class Sorting(Protocol):
    """Puts the orders of a window, sorted by time, into the order in which they are paged."""

    def __call__(self, orders: list[RawOrder], rng: Random) -> list[RawOrder]: ...


def ascending(orders: list[RawOrder], rng: Random) -> list[RawOrder]:
    """By modified time."""
    del rng
    return orders


def descending(orders: list[RawOrder], rng: Random) -> list[RawOrder]:
    """By modified time, newest first."""
    del rng
    return orders[::-1]


def by_guid(orders: list[RawOrder], rng: Random) -> list[RawOrder]:
    """Neither by time nor by anything useful, but the same each time."""
    del rng
    return sorted(orders, key=lambda order: crc32(order.guid.encode()))


def at_random(orders: list[RawOrder], rng: Random) -> list[RawOrder]:
    """Another order on each request."""
    return rng.sample(orders, len(orders))


def lunch_times(count: int, seed: int = 1, week: Window = WEEK) -> list[int]:
    """``count`` times of a restaurant that opens for lunch on five days only."""
    rng = Random(seed)
    return [week.start + rng.randrange(1, 6) * 24 * HOUR_MS + int(rng.gauss(13.5, 1.1) * HOUR_MS) for _ in range(count)]


def raw_order(guid: str, modified_ms: int, body: bytes | None = None) -> RawOrder:
    """One version of an order; its body is of the time unless one is given."""
    text = format_time(modified_ms)
    raw = body or b'{"guid":"%s","modifiedDate":"%s"}' % (guid.encode(), text.encode())
    return RawOrder(
        guid, modified_ms, None, deleted=False, voided=False, pulled_ms=0, body=raw, version=version_of(raw)
    )


def uniform_times(count: int, seed: int = 1, week: Window = WEEK) -> list[int]:
    """``count`` times spread over a week by chance."""
    rng = Random(seed)
    return [rng.randrange(week.start, week.end) for _ in range(count)]


def realistic_times(count: int, seed: int = 1, week: Window = WEEK) -> list[int]:
    """``count`` times as restaurants have them: peaks, quiet nights, busier weekends."""
    rng = Random(seed)
    weights = [hour * day for day in _DAYS for hour in _HOURS]
    hours = rng.choices(range(len(weights)), weights, k=count)
    return [week.start + hour * HOUR_MS + rng.randrange(HOUR_MS) for hour in hours]


@dataclass
class SimulatedToast:
    """One restaurant of a ``MemoryToast``, whose orders move: ``before`` is called ahead of every reply with the number
    of the request. ``unreadable`` are GUIDs of orders that cannot be read, ``shown`` the bytes of those in replies."""

    sorting: Sorting = by_guid
    page_size: int = PAGE_SIZE
    seed: int = 1
    before: Callable[[int], object] = lambda _: None
    orders: dict[str, RawOrder] = field(default_factory=dict)
    asked: list[Window] = field(default_factory=list)
    unreadable: set[str] = field(default_factory=set)
    shown: set[bytes] = field(default_factory=set)
    _sorted: list[RawOrder] | None = None

    @classmethod
    def of(cls, times: Iterable[int], sorting: Sorting = by_guid, page_size: int = PAGE_SIZE) -> SimulatedToast:
        """Orders with these modified times."""
        toast = cls(sorting, page_size)
        for number, time in enumerate(times):
            toast.put(f"order-{number}", time)
        return toast

    def put(self, guid: str, modified_ms: int, body: bytes | None = None) -> None:
        """Add an order, or replace its older version."""
        if body is None and guid in self.unreadable:
            body = b'{"nobody":"%s","modifiedDate":"%s"}' % (guid.encode(), format_time(modified_ms).encode())
        self.orders[guid] = raw_order(guid, modified_ms, body)
        self._sorted = None

    def spoil(self, guids: Iterable[str]) -> None:
        """These orders, now and after edits, lack what an order needs."""
        self.unreadable = set(guids)
        for guid in self.unreadable & self.orders.keys():
            self.put(guid, self.orders[guid].modified_ms)

    def within(self, window: Window) -> list[RawOrder]:
        """The orders of a window by modified time: the truth."""
        if self._sorted is None:
            self._sorted = sorted(self.orders.values(), key=lambda order: order.sort_key)
        times = (window.start, window.end)
        low, high = (bisect_left(self._sorted, time, key=lambda order: order.modified_ms) for time in times)
        return self._sorted[low:high]

    def view(self, window: Window) -> list[bytes]:
        """The orders of a window, in the order in which they are paged."""
        self.asked.append(window)
        self.before(len(self.asked))
        rng = Random(f"{self.seed}:{len(self.asked)}")
        return [order.body for order in self.sorting(self.within(window), rng)]

    async def __call__(self, window: Window, *, page: int = 1, token: str | None = None) -> OrdersPage:
        """One page, as it is read from the reply that has it."""
        del token
        toast = MemoryToast(lambda _guid, window: self.view(window), page_size=self.page_size)
        read = PageReader(window, "").read(toast.reply("", window, page), 0)
        self.shown |= {order.body for order in read.unreadable}
        return read
