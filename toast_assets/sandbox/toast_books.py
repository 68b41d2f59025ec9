"""What Toast holds and what was asked of it: orders, edits, requests, logins. May be used from any thread."""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable
from datetime import datetime
from random import Random
from threading import RLock
from typing import NamedTuple
from zlib import crc32

from toast_assets.sandbox.checks import Json
from toast_assets.sandbox.config import Restaurant, SandboxConfig, Sort
from toast_assets.sandbox.orders import StoredOrder, invent_order
from toast_assets.sandbox.shelf import Shelf
from toast_assets.week import epoch_ms

Moment = datetime | int
"""An aware datetime, or milliseconds since 1970 (UTC)."""
_LOG_LENGTH = 200_000
_VIEWS = 64


class ToastCall(NamedTuple):
    """One request to Toast: when (Unix seconds), of which kind, and for data calls window, page and orders returned.

    ``status`` is 0 where no answer was given; ``window`` is [start, end) in milliseconds since 1970.
    """

    at: float
    path: str
    restaurant: str | None
    status: int
    window: tuple[int, int] | None
    page: int
    orders: int


class ToastBooks:
    """Toast's data and its request log. Restaurants are named by GUID, times are ``Moment``.

    ``orders_served`` counts the orders on all pages, ``guids_served`` holds each order once; both by restaurant.
    """

    def __init__(self, config: SandboxConfig) -> None:
        self.restaurants: dict[str, Restaurant] = {each.guid: each for each in config.restaurants}
        self.requests: Counter[tuple[str, str | None, int]] = Counter()
        self.log: deque[ToastCall] = deque(maxlen=_LOG_LENGTH)
        self.orders_served: Counter[str] = Counter()
        self.guids_served: dict[str, set[str]] = {each.guid: set() for each in config.restaurants}
        self.logins = 0
        self.lock = RLock()
        self._config = config
        self._shelves = {each.guid: Shelf(each, config.seed) for each in config.restaurants}
        self._views: OrderedDict[tuple[str, int, int], tuple[int, list[StoredOrder]]] = OrderedDict()
        self._draw = Random(config.seed)
        self._added = 0

    def orders(self, restaurant_guid: str, start: Moment, end: Moment) -> list[StoredOrder]:
        """The truth: what Toast holds now with a modified time in [start, end), by modified time."""
        with self.lock:
            return self._shelves[restaurant_guid].between(_ms(start), _ms(end))

    def set_orders(self, restaurant_guid: str, orders: Iterable[bytes]) -> None:
        """Puts a test's own orders (JSON objects) in place of the invented ones."""
        with self.lock:
            self._shelves[restaurant_guid].replace_all(StoredOrder.of(raw) for raw in orders)

    def put_order(self, restaurant_guid: str, order: bytes) -> StoredOrder:
        """Adds one order given as JSON, or replaces its older version."""
        stored = StoredOrder.of(order)
        with self.lock:
            self._shelves[restaurant_guid].put(stored)
        return stored

    def put_bytes(self, restaurant_guid: str, name: str, at: Moment, body: bytes) -> None:
        """Adds what Toast sends in an order's place, as it is: it need not be an order. ``name`` tells it from others;
        the windows that hold ``at`` have it."""
        moment = _ms(at)
        with self.lock:
            self._shelves[restaurant_guid].put(StoredOrder(name, moment, moment, lambda: body))

    def add_order(
        self, restaurant_guid: str, at: Moment | None = None, change: Callable[[Json], None] | None = None
    ) -> StoredOrder:
        """Invents one more order, modified at ``at`` (default: now); ``change`` may alter it before it is stored.

        With an ``at`` in the past this is a late arrival: a device that was offline.
        """
        moment = self._now_ms() if at is None else _ms(at)
        with self.lock:
            shelf = self._shelves[restaurant_guid]
            # The week's own orders first: they must not depend on what was added before.
            shelf.between(moment, moment + 1)
            self._added += 1
            order = invent_order(self._config.seed, restaurant_guid, moment, self._added)
            if change is not None:
                order = order.edited(moment, change)
            shelf.put(order)
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
            shelf = self._shelves[restaurant_guid]
            shelf.between(moment, moment + 1)
            order = shelf.get(order_guid).edited(moment, change)
            shelf.put(order)
        return order

    def edit_one_in(
        self, restaurant_guid: str, start: Moment, end: Moment, at: Moment | None = None
    ) -> StoredOrder | None:
        """Edits the first order of a window, as ``edit_order`` does; None where the window is empty."""
        with self.lock:
            view = self.view(restaurant_guid, _ms(start), _ms(end))
            return self.edit_order(restaurant_guid, view[0].guid, at) if view else None

    def remove_order(self, restaurant_guid: str, order_guid: str) -> None:
        """Takes an order away at Toast without a trace."""
        with self.lock:
            self._shelves[restaurant_guid].remove(order_guid)

    def view(self, restaurant_guid: str, start_ms: int, end_ms: int) -> list[StoredOrder]:
        """A window as ``ordersBulk`` pages through it: what exists by now, in the configured sort order.

        Orders modified after ``now`` do not exist yet [inferred].
        """
        end_ms = min(end_ms, self._now_ms() + 1)
        with self.lock:
            shelf = self._shelves[restaurant_guid]
            key = (restaurant_guid, start_ms, end_ms)
            kept = self._views.get(key)
            if kept is not None and kept[0] == shelf.version:
                self._views.move_to_end(key)
                return kept[1]
            orders = self._sorted(shelf.between(start_ms, end_ms), start_ms)
            if self._config.sort is not Sort.RANDOM:
                self._views[key] = (shelf.version, orders)
                if len(self._views) > _VIEWS:
                    self._views.popitem(last=False)
            return orders

    def _sorted(self, orders: list[StoredOrder], start_ms: int) -> list[StoredOrder]:
        match self._config.sort:
            case Sort.SHUFFLED:
                # A key of each order's own, so that an edit moves one order and leaves the others as they were.
                salt = str(start_ms).encode()
                orders.sort(key=lambda order: crc32(order.guid.encode(), crc32(salt)))
            case Sort.MODIFIED_DESC:
                orders.reverse()
            case Sort.CREATED:
                orders.sort(key=lambda order: (order.created_ms, order.guid))
            case Sort.RANDOM:
                self._draw.shuffle(orders)
            case Sort.MODIFIED:
                pass
        return orders

    def write(self, call: ToastCall) -> None:
        """Adds a request to the log and the counters."""
        self.log.append(call)
        self.requests[call.path, call.restaurant, call.status] += 1
        if call.restaurant is not None and call.orders:
            self.orders_served[call.restaurant] += call.orders

    def count(self, path: str | None = None, restaurant: str | None = None, status: int | None = None) -> int:
        """The number of requests that match what is given."""
        return sum(
            number
            for (of_path, of_restaurant, of_status), number in self.requests.copy().items()
            if path in (None, of_path) and restaurant in (None, of_restaurant) and status in (None, of_status)
        )

    def _now_ms(self) -> int:
        return int(self._config.now() * 1000)


def _ms(moment: Moment) -> int:
    return moment if isinstance(moment, int) else epoch_ms(moment)
