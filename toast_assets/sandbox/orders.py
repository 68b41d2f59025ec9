"""A restaurant's orders at Toast: invented a week at a time when first asked for, edited while the sandbox runs.

The same seed, restaurant, week and count give the same orders.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache, partial
from itertools import accumulate, count
from random import Random
from threading import RLock
from zlib import crc32
from zoneinfo import ZoneInfo

from toast_assets.sandbox.config import Restaurant, SandboxConfig, Sort
from toast_assets.sandbox.order_builder import HOUR_MS, Json, OrderBuilder, Placement, decode, encode, money, toast_time
from toast_assets.week import epoch_ms, from_epoch_ms

_KINDS = 480
_WEEK_MS = 168 * HOUR_MS
# 1970-01-05 was a Monday; weeks begin at 04:00 UTC.
_FIRST_WEEK_MS = 100 * HOUR_MS
# Orders per local hour of the day, from midnight: lunch and dinner peaks, next to nothing at night.
_HOURS = (3, 1, 0.3, 0.2, 0.2, 0.3, 2, 6, 9, 8, 10, 34, 62, 48, 20, 14, 22, 52, 78, 70, 46, 26, 16, 8)
_DAYS = (0.8, 0.8, 0.9, 1.0, 1.4, 1.6, 1.2)
# An aware datetime, or milliseconds since 1970 (UTC).
Moment = datetime | int


@dataclass(frozen=True, slots=True)
class StoredOrder:
    """One version of an order at Toast. Times are milliseconds since 1970 (UTC); ``json`` is built on demand."""

    guid: str
    modified_ms: int
    created_ms: int
    build: Callable[[], bytes]

    @property
    def json(self) -> bytes:
        """The order as Toast sends it, UTF-8."""
        return self.build()

    @classmethod
    def of(cls, raw: bytes) -> StoredOrder:
        """An order given as JSON; ``guid`` and ``modifiedDate`` are required, ``openedDate`` is optional."""
        # The standard library's decoder also reads half of an escaped pair, which orders at Toast can hold.
        order = json.loads(raw)
        modified = epoch_ms(datetime.fromisoformat(order["modifiedDate"]))
        opened = order.get("openedDate")
        created = epoch_ms(datetime.fromisoformat(opened)) if opened else modified
        return cls(order["guid"], modified, created, lambda: raw)

    def edited(self, modified_ms: int, change: Callable[[Json], None] | None = None) -> StoredOrder:
        """A newer version: modified at ``modified_ms`` and, without a ``change`` of its own, tipped."""
        order = decode(self.json)
        order["modifiedDate"] = toast_time(modified_ms)
        (change or _tip)(order)
        raw = encode(order)
        return StoredOrder(self.guid, modified_ms, self.created_ms, lambda: raw)


def _invented(seed: int, number: int, placement: Placement) -> StoredOrder:
    head, opened_ms = _identity(seed, number)
    guid, created_ms = head + placement.order_id, placement.modified_ms + opened_ms
    build = partial(OrderBuilder, seed, number, placement)
    return StoredOrder(guid, placement.modified_ms, created_ms, lambda: encode(build().order()))


@lru_cache(maxsize=8 * _KINDS)
def _identity(seed: int, number: int) -> tuple[str, int]:
    """What an order's position in the week needs before the order is built: its GUID without the id, and when it was
    opened (relative to its modification)."""
    builder = OrderBuilder(seed, number, Placement("", "", 0, 0))
    return builder.order()["guid"], builder.opened_ms


def _tip(order: Json) -> None:
    for check in order.get("checks") or []:
        check["modifiedDate"] = order["modifiedDate"]
        for payment in check.get("payments") or []:
            payment["tipAmount"] = money(int(payment["amount"] * 100) // 5)
            return


def invent_week(
    seed: int, restaurant_guid: str, start: datetime, end: datetime, count: int, timezone: str = "America/New_York"
) -> list[StoredOrder]:
    """``count`` orders of one restaurant, modified within [start, end) (aware), sorted by modified time.

    From 20 orders on the first is modified exactly at the start and the last one millisecond before the end, so that
    a window's inclusive and exclusive bound both matter.
    """
    start_ms, end_ms = epoch_ms(start), epoch_ms(end)
    offset = start.astimezone(ZoneInfo(timezone)).utcoffset()
    utc_offset = int(offset.total_seconds() // 3600) if offset else 0
    rng = Random(f"{seed}:{restaurant_guid}:{start_ms}")
    kinds = rng.sample(range(_KINDS), _KINDS)
    ids: dict[str, None] = {}
    while len(ids) < count:
        ids[_order_id(rng)] = None
    hours = range(start_ms, end_ms, HOUR_MS)
    local = [from_epoch_ms(hour_ms + utc_offset * HOUR_MS) for hour_ms in hours]
    weights = list(accumulate(_HOURS[hour.hour] * _DAYS[hour.weekday()] for hour in local))
    times = sorted(
        min(rng.choices(hours, cum_weights=weights)[0] + rng.randrange(HOUR_MS), end_ms - 1) for _ in range(count)
    )
    if count >= 20:
        times[0], times[-1] = start_ms, end_ms - 1
        # Tips are adjusted together at closing time: a few orders share one millisecond.
        together = rng.randrange(1, count - 4)
        times[together : together + 3] = [times[together]] * 3
    return [
        _invented(seed, kinds[number % _KINDS], Placement(order_id, restaurant_guid, modified_ms, utc_offset))
        for number, (order_id, modified_ms) in enumerate(zip(ids, times, strict=True))
    ]


def invent_order(seed: int, restaurant_guid: str, modified_ms: int, number: int) -> StoredOrder:
    """One more order of a restaurant, modified at ``modified_ms``; ``number`` makes it differ from others of then."""
    rng = Random(f"{seed}:{restaurant_guid}:{modified_ms}:{number}")
    return _invented(seed, rng.choice(range(_KINDS)), Placement(_order_id(rng), restaurant_guid, modified_ms, -5))


def _order_id(rng: Random) -> str:
    return f"{rng.getrandbits(48):012x}"


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
                    self._invent(from_epoch_ms(_FIRST_WEEK_MS + number * _WEEK_MS))
            found = [order for order in self._orders.values() if start_ms <= order.modified_ms < end_ms]
        return sorted(found, key=lambda order: (order.modified_ms, order.guid))

    def _invent(self, monday: datetime) -> None:
        each, end = self._restaurant, monday + timedelta(days=7)
        week = invent_week(self._config.seed, each.guid, monday, end, each.orders_per_week, each.timezone)
        self._orders |= {order.guid: order for order in week}

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

    def add(self, at: Moment) -> StoredOrder:
        """Invents one more order, modified at ``at``; in the past this is a late arrival: a device was offline."""
        order = invent_order(self._config.seed, self._restaurant.guid, _ms(at), next(self._numbers))
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
