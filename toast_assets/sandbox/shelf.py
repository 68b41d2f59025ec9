"""One restaurant's orders at Toast: sorted by modified time, invented a week at a time when first asked for."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable
from datetime import timedelta

from toast_assets.sandbox.config import Restaurant
from toast_assets.sandbox.orders import StoredOrder, invent_week
from toast_assets.week import from_epoch_ms

WEEK_MS = 7 * 24 * 3_600_000
# 1970-01-05 was a Monday; weeks begin at 04:00 UTC.
_FIRST_WEEK_MS = (4 * 24 + 4) * 3_600_000


class Shelf:
    """The newest version of every order of one restaurant. Times are milliseconds since 1970 (UTC)."""

    def __init__(self, restaurant: Restaurant, seed: int) -> None:
        self.restaurant = restaurant
        self.version = 0
        self._seed = seed
        self._orders: dict[str, StoredOrder] = {}
        self._keys: list[tuple[int, str]] = []
        self._weeks: set[int] = set()
        self._inventing = restaurant.live

    def between(self, start_ms: int, end_ms: int) -> list[StoredOrder]:
        """The orders whose last modification is in [start, end), by modified time."""
        self._invent(start_ms, end_ms)
        low, high = bisect_left(self._keys, (start_ms, "")), bisect_left(self._keys, (end_ms, ""))
        return [self._orders[guid] for _, guid in self._keys[low:high]]

    def get(self, guid: str) -> StoredOrder:
        """The newest version of one order that was served or put here before; KeyError if there is none."""
        return self._orders[guid]

    def put(self, order: StoredOrder) -> None:
        """Adds an order, or replaces its older version."""
        self.remove(order.guid)
        self._orders[order.guid] = order
        insort(self._keys, (order.modified_ms, order.guid))
        self.version += 1

    def remove(self, guid: str) -> None:
        """Takes an order away, if it is here."""
        old = self._orders.pop(guid, None)
        if old is not None:
            del self._keys[bisect_left(self._keys, (old.modified_ms, guid))]
            self.version += 1

    def replace_all(self, orders: Iterable[StoredOrder]) -> None:
        """Only these orders from now on: nothing is invented any more."""
        self._inventing = False
        self._orders = {order.guid: order for order in orders}
        self._keys = sorted((order.modified_ms, order.guid) for order in self._orders.values())
        self.version += 1

    def _invent(self, start_ms: int, end_ms: int) -> None:
        if not self._inventing or end_ms <= start_ms:
            return
        first = (start_ms - _FIRST_WEEK_MS) // WEEK_MS
        last = (end_ms - 1 - _FIRST_WEEK_MS) // WEEK_MS
        for number in range(first, last + 1):
            if number not in self._weeks:
                self._weeks.add(number)
                self._add_week(number)

    def _add_week(self, number: int) -> None:
        start = from_epoch_ms(_FIRST_WEEK_MS + number * WEEK_MS)
        count, zone = self.restaurant.orders_per_week, self.restaurant.timezone
        week = invent_week(self._seed, self.restaurant.guid, start, start + timedelta(days=7), count, zone)
        for order in week:
            self._orders[order.guid] = order
            self._keys.append((order.modified_ms, order.guid))
        # Nearly sorted already: a week is one ascending run.
        self._keys.sort()
        self.version += 1
