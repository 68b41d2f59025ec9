"""One restaurant's orders at Toast: invented a week at a time when first asked for, edited while the sandbox runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from itertools import count
from random import Random
from threading import RLock
from zlib import crc32

from toast_assets.sandbox.config import Restaurant, SandboxConfig, Sort
from toast_assets.sandbox.order_builder import DAY_MS, HOUR_MS, Json
from toast_assets.sandbox.orders import StoredOrder, invent_order, invent_week
from toast_assets.week import epoch_ms, from_epoch_ms

Moment = datetime | int
"""An aware datetime, or milliseconds since 1970 (UTC)."""
_WEEK_MS = 7 * DAY_MS
# 1970-01-05 was a Monday; weeks begin at 04:00 UTC.
_FIRST_WEEK_MS = 4 * DAY_MS + 4 * HOUR_MS


class RestaurantOrders:
    """The newest version of every order; any thread may call. ``served`` has the GUIDs of the orders on all pages.

    ``numbers`` is shared by all restaurants: each order that is added later takes one, and so differs from the others.
    """

    def __init__(self, restaurant: Restaurant, config: SandboxConfig, numbers: count[int]) -> None:
        self.served: set[str] = set()
        self._restaurant = restaurant
        self._config = config
        self._numbers = numbers
        self._orders: dict[str, StoredOrder] = {}
        self._weeks: set[int] = set()
        self._inventing = restaurant.live
        self._draw = Random(f"{config.seed}:{restaurant.guid}")
        self._lock = RLock()

    def between(self, start: Moment, end: Moment) -> list[StoredOrder]:
        """The truth: what Toast holds now with a modified time in [start, end), by modified time."""
        start_ms, end_ms = _ms(start), _ms(end)
        with self._lock:
            if self._inventing and start_ms < end_ms:
                first, last = ((moment - _FIRST_WEEK_MS) // _WEEK_MS for moment in (start_ms, end_ms - 1))
                for number in set(range(first, last + 1)) - self._weeks:
                    self._weeks.add(number)
                    start, each = from_epoch_ms(_FIRST_WEEK_MS + number * _WEEK_MS), self._restaurant
                    size, zone = each.orders_per_week, each.timezone
                    invented = invent_week(self._config.seed, each.guid, start, start + timedelta(days=7), size, zone)
                    self._orders |= {order.guid: order for order in invented}
            found = [order for order in self._orders.values() if start_ms <= order.modified_ms < end_ms]
        return sorted(found, key=lambda order: (order.modified_ms, order.guid))

    def view(self, start_ms: int, end_ms: int) -> list[StoredOrder]:
        """A window as ``ordersBulk`` pages through it: what exists by now, in the configured sort order.

        Orders modified after ``now`` do not exist yet [inferred].
        """
        orders = self.between(start_ms, min(end_ms, self._now_ms() + 1))
        match self._config.sort:
            case Sort.SHUFFLED:
                # A key of each order's own, so that an edit moves one order and leaves the others as they were.
                salt = crc32(str(start_ms).encode())
                orders.sort(key=lambda order: crc32(order.guid.encode(), salt))
            case Sort.MODIFIED_DESC:
                orders.reverse()
            case Sort.CREATED:
                orders.sort(key=lambda order: (order.created_ms, order.guid))
            case Sort.RANDOM:
                self._draw.shuffle(orders)
        return orders

    def replace_all(self, orders: Iterable[bytes]) -> None:
        """Only these orders (JSON objects) from now on: nothing is invented any more."""
        stored = {order.guid: order for order in map(StoredOrder.of, orders)}
        with self._lock:
            self._inventing = False
            self._orders = stored

    def put(self, raw: bytes) -> None:
        """Adds one order given as JSON, or replaces its older version."""
        self._put(StoredOrder.of(raw))

    def put_bytes(self, name: str, at: Moment, body: bytes) -> None:
        """Adds bytes that Toast sends as an order modified ``at``; they need not be one. ``name`` identifies them."""
        self._put(StoredOrder(name, _ms(at), _ms(at), lambda: body))

    def add(self, at: Moment | None = None) -> StoredOrder:
        """Invents one more order, modified at ``at`` (default: now).

        With an ``at`` in the past this is a late arrival: a device that was offline.
        """
        moment = self._now_ms() if at is None else _ms(at)
        order = invent_order(self._config.seed, self._restaurant.guid, moment, next(self._numbers))
        self._put(order)
        return order

    def late_arrivals(self, start: Moment, end: Moment, number: int) -> list[StoredOrder]:
        """``number`` orders that appear now with modified times spread evenly over the past window [start, end)."""
        step = (_ms(end) - _ms(start)) // (number + 1)
        return [self.add(_ms(start) + step * (each + 1)) for each in range(number)]

    def edit(self, guid: str, at: Moment | None = None, change: Callable[[Json], None] | None = None) -> StoredOrder:
        """Edits an order: its modified time moves to ``at`` (default: now) and, without ``change``, it is tipped.

        Raises:
            KeyError: no order of that GUID was served or put here before.
        """
        moment = self._now_ms() if at is None else _ms(at)
        with self._lock:
            order = self._orders[guid].edited(moment, change)
            self._put(order)
        return order

    def edit_one_in(self, start: Moment, end: Moment) -> StoredOrder | None:
        """Edits the first order of a window, as ``edit`` does; None if the window is empty."""
        with self._lock:
            view = self.view(_ms(start), _ms(end))
            return self.edit(view[0].guid) if view else None

    def remove(self, guid: str) -> None:
        """Removes an order, if it is here, without a trace."""
        with self._lock:
            self._orders.pop(guid, None)

    def _put(self, order: StoredOrder) -> None:
        with self._lock:
            self._orders[order.guid] = order

    def _now_ms(self) -> int:
        return int(self._config.now() * 1000)


def _ms(moment: Moment) -> int:
    return moment if isinstance(moment, int) else epoch_ms(moment)
