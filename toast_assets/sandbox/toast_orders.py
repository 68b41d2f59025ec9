"""Toast's orders: invented a week at a time when first asked for, and edited while the sandbox runs."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from random import Random
from threading import RLock
from zlib import crc32

from toast_assets.sandbox.config import Restaurant, SandboxConfig, Sort
from toast_assets.sandbox.order_builder import DAY_MS, HOUR_MS, Json
from toast_assets.sandbox.orders import StoredOrder, invent_order, invent_week
from toast_assets.week import epoch_ms, from_epoch_ms

Moment = datetime | int
"""An aware datetime, or milliseconds since 1970 (UTC)."""
_VIEWS = 64
_WEEK_MS = 7 * DAY_MS
# 1970-01-05 was a Monday; weeks begin at 04:00 UTC.
_FIRST_WEEK_MS = 4 * DAY_MS + 4 * HOUR_MS


class RestaurantOrders:
    """The newest version of every order of one restaurant. Times are milliseconds since 1970 (UTC)."""

    def __init__(self, restaurant: Restaurant, seed: int) -> None:
        self.version = 0
        self._restaurant = restaurant
        self._seed = seed
        self._orders: dict[str, StoredOrder] = {}
        self._keys: list[tuple[int, str]] = []
        self._weeks: set[int] = set()
        self._inventing = restaurant.live

    def between(self, start_ms: int, end_ms: int) -> list[StoredOrder]:
        """The orders whose last modification is in [start, end), by modified time."""
        if self._inventing and start_ms < end_ms:
            first, last = ((moment - _FIRST_WEEK_MS) // _WEEK_MS for moment in (start_ms, end_ms - 1))
            for number in range(first, last + 1):
                if number not in self._weeks:
                    self._invent(number)
        low, high = bisect_left(self._keys, (start_ms, "")), bisect_left(self._keys, (end_ms, ""))
        return [self._orders[guid] for _, guid in self._keys[low:high]]

    def get(self, guid: str) -> StoredOrder:
        """The newest version of one order that was served or put here before; KeyError if it is unknown."""
        return self._orders[guid]

    def put(self, order: StoredOrder) -> None:
        """Adds an order, or replaces its older version."""
        self.remove(order.guid)
        self._orders[order.guid] = order
        insort(self._keys, (order.modified_ms, order.guid))
        self.version += 1

    def remove(self, guid: str) -> None:
        """Removes an order, if it is here."""
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

    def _invent(self, number: int) -> None:
        self._weeks.add(number)
        start = from_epoch_ms(_FIRST_WEEK_MS + number * _WEEK_MS)
        end, each = start + timedelta(days=7), self._restaurant
        for order in invent_week(self._seed, each.guid, start, end, each.orders_per_week, each.timezone):
            self._orders[order.guid] = order
            self._keys.append((order.modified_ms, order.guid))
        self._keys.sort()
        self.version += 1


class ToastOrders:
    """The orders of all restaurants, and what happens to them. Restaurants are named by GUID; any thread may call.

    ``served`` holds the GUIDs of the orders that were on a page, by restaurant.
    """

    def __init__(self, config: SandboxConfig) -> None:
        self.served: dict[str, set[str]] = {each.guid: set() for each in config.restaurants}
        self.lock = RLock()
        self._config = config
        self._restaurants = {each.guid: RestaurantOrders(each, config.seed) for each in config.restaurants}
        self._views: OrderedDict[tuple[str, int, int], tuple[int, list[StoredOrder]]] = OrderedDict()
        self._draw = Random(config.seed)
        self._added = 0

    def between(self, restaurant_guid: str, start: Moment, end: Moment) -> list[StoredOrder]:
        """The truth: what Toast holds now with a modified time in [start, end), by modified time."""
        with self.lock:
            return self._restaurants[restaurant_guid].between(_ms(start), _ms(end))

    def set_orders(self, restaurant_guid: str, orders: Iterable[bytes]) -> None:
        """Replaces the invented orders by a test's own (JSON objects)."""
        with self.lock:
            self._restaurants[restaurant_guid].replace_all(StoredOrder.of(raw) for raw in orders)

    def put_order(self, restaurant_guid: str, order: bytes) -> StoredOrder:
        """Adds one order given as JSON, or replaces its older version."""
        stored = StoredOrder.of(order)
        with self.lock:
            self._restaurants[restaurant_guid].put(stored)
        return stored

    def put_bytes(self, restaurant_guid: str, name: str, at: Moment, body: bytes) -> None:
        """Adds bytes that Toast sends as an order modified ``at``; they need not be one. ``name`` identifies them."""
        moment = _ms(at)
        with self.lock:
            self._restaurants[restaurant_guid].put(StoredOrder(name, moment, moment, lambda: body))

    def add_order(
        self, restaurant_guid: str, at: Moment | None = None, change: Callable[[Json], None] | None = None
    ) -> StoredOrder:
        """Invents one more order, modified at ``at`` (default: now); ``change`` may alter it before it is stored.

        With an ``at`` in the past this is a late arrival: a device that was offline.
        """
        moment = self._now_ms() if at is None else _ms(at)
        with self.lock:
            orders = self._restaurants[restaurant_guid]
            # The week's own orders first: they must not depend on what was added before.
            orders.between(moment, moment + 1)
            self._added += 1
            order = invent_order(self._config.seed, restaurant_guid, moment, self._added)
            if change is not None:
                order = order.edited(moment, change)
            orders.put(order)
        return order

    def late_arrivals(self, restaurant_guid: str, start: Moment, end: Moment, count: int) -> list[StoredOrder]:
        """``count`` orders that appear now with modified times spread evenly over the past window [start, end)."""
        first, step = _ms(start), (_ms(end) - _ms(start)) // (count + 1)
        return [self.add_order(restaurant_guid, first + step * (number + 1)) for number in range(count)]

    def edit_order(
        self,
        restaurant_guid: str,
        order_guid: str,
        at: Moment | None = None,
        change: Callable[[Json], None] | None = None,
    ) -> StoredOrder:
        """Edits an order: its modified time moves to ``at`` (default: now) and, without ``change``, it is tipped.

        Raises:
            KeyError: no order of that GUID was served or put here before.
        """
        moment = self._now_ms() if at is None else _ms(at)
        with self.lock:
            orders = self._restaurants[restaurant_guid]
            orders.between(moment, moment + 1)
            order = orders.get(order_guid).edited(moment, change)
            orders.put(order)
        return order

    def edit_one_in(self, restaurant_guid: str, start: Moment, end: Moment) -> StoredOrder | None:
        """Edits the first order of a window, as ``edit_order`` does; None if the window is empty."""
        with self.lock:
            view = self.view(restaurant_guid, _ms(start), _ms(end))
            return self.edit_order(restaurant_guid, view[0].guid) if view else None

    def remove_order(self, restaurant_guid: str, order_guid: str) -> None:
        """Removes an order at Toast without a trace."""
        with self.lock:
            self._restaurants[restaurant_guid].remove(order_guid)

    def view(self, restaurant_guid: str, start_ms: int, end_ms: int) -> list[StoredOrder]:
        """A window as ``ordersBulk`` pages through it: what exists by now, in the configured sort order.

        Orders modified after ``now`` do not exist yet [inferred].
        """
        end_ms = min(end_ms, self._now_ms() + 1)
        with self.lock:
            source = self._restaurants[restaurant_guid]
            key = (restaurant_guid, start_ms, end_ms)
            version, orders = self._views.get(key, (None, []))
            if version != source.version or self._config.sort is Sort.RANDOM:
                orders = self._sorted(source.between(start_ms, end_ms), start_ms)
                self._views[key] = (source.version, orders)
            self._views.move_to_end(key)
            if len(self._views) > _VIEWS:
                self._views.popitem(last=False)
            return orders

    def _sorted(self, orders: list[StoredOrder], start_ms: int) -> list[StoredOrder]:
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

    def _now_ms(self) -> int:
        return int(self._config.now() * 1000)


def _ms(moment: Moment) -> int:
    return moment if isinstance(moment, int) else epoch_ms(moment)
