"""A restaurant's orders at Toast: invented a week at a time, when somebody first asks for the week.

The same seed, restaurant, week and count give the same orders. Orders of the week before change then, and the same
sequence of questions gives the same changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime
from functools import lru_cache, partial
from itertools import accumulate
from random import Random
from threading import Lock
from types import MappingProxyType
from typing import NamedTuple
from zlib import crc32
from zoneinfo import ZoneInfo

import msgspec

from toast_assets.sandbox.assumptions import Switch
from toast_assets.sandbox.config import Restaurant, SandboxConfig
from toast_assets.sandbox.late_changes import late_versions
from toast_assets.sandbox.order_builder import DAY_MS, HOUR_MS, OrderBuilder, decode, encode
from toast_assets.week import epoch_ms, from_epoch_ms

KINDS = 480
_WEEK_MS = 168 * HOUR_MS
# 1970-01-05 was a Monday; weeks begin at 04:00 UTC.
_FIRST_WEEK_MS = 100 * HOUR_MS
# Orders per local hour of the day, from midnight: lunch and dinner peaks, next to nothing at night.
_HOURS = (3, 1, 0.3, 0.2, 0.2, 0.3, 2, 6, 9, 8, 10, 34, 62, 48, 20, 14, 22, 52, 78, 70, 46, 26, 16, 8)
_DAYS = (0.8, 0.8, 0.9, 1.0, 1.4, 1.6, 1.2)


class StoredOrder(NamedTuple):
    """One version of an order at Toast, modified at ``modified_ms`` (milliseconds since 1970, UTC)."""

    guid: str
    modified_ms: int
    build: Callable[[], bytes]

    @property
    def json(self) -> bytes:
        """The order as Toast sends it, UTF-8; built on demand, because a large brand's weeks exceed the memory."""
        return self.build()


def invented(
    seed: int, number: int, order_id: str, restaurant_guid: str, modified_ms: int, utc_offset: int
) -> StoredOrder:
    """The order of a seed and kind (``number``, below ``KINDS``); the rest is as for ``OrderBuilder``."""
    build = partial(OrderBuilder, seed, number, order_id, restaurant_guid, modified_ms, utc_offset)
    return StoredOrder(_guid_head(seed, number) + order_id, modified_ms, lambda: encode(build().order()))


@lru_cache(maxsize=8 * KINDS)
def _guid_head(seed: int, number: int) -> str:
    """The GUID without the order's id, which the week needs before the order is built."""
    guid: str = OrderBuilder(seed, number, "", "", 0, 0).order()["guid"]
    return guid


def invent_week(seed: int, restaurant: Restaurant, start_ms: int) -> list[StoredOrder]:
    """A restaurant's orders of the week that begins at ``start_ms`` (since 1970, UTC), sorted by modified time.

    From 20 orders on the first is modified exactly at the start and the last one millisecond before the end, so that
    a window's inclusive and exclusive bound both matter.
    """
    end_ms, guid, count = start_ms + _WEEK_MS, restaurant.guid, restaurant.orders_per_week
    utc_offset = _utc_offset(restaurant, start_ms)
    rng = Random(f"{seed}:{guid}:{start_ms}")
    kinds = rng.sample(range(KINDS), KINDS)
    ids: dict[str, None] = {}
    while len(ids) < count:
        ids[f"{rng.getrandbits(48):012x}"] = None
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
        invented(seed, kinds[number % KINDS], order_id, guid, modified_ms, utc_offset)
        for number, (order_id, modified_ms) in enumerate(zip(ids, times, strict=True))
    ]


def _utc_offset(restaurant: Restaurant, moment_ms: int) -> int:
    """In hours."""
    offset = from_epoch_ms(moment_ms).astimezone(ZoneInfo(restaurant.timezone)).utcoffset()
    return int(offset.total_seconds() // 3600) if offset else 0


class Facts(NamedTuple):
    """What an order's body says: its business day (``20250919``), its payments' by GUID, ``openedDate`` and
    ``createdDate``, which of ``deleted``, ``voided``, ``createdInTestMode`` are true, and whether a card payment is
    ``CAPTURED``."""

    business_date: int | None = None
    payments: Mapping[str, int | None] = MappingProxyType({})
    opened: str | None = None
    created: str | None = None
    flags: frozenset[str] = frozenset()
    captured: bool = False


class RestaurantOrders:
    """A restaurant's orders: ``newest`` is the newest version of each by GUID, without the weeks nobody asked for.

    While ``inventing``, a week's orders are invented when they are first asked for; ``served`` are the GUIDs on all
    pages, ``asked`` the beginnings of the weeks that ``between`` was asked for (milliseconds since 1970, UTC), in this
    order. ``lost`` GUIDs are on no page, and else like all others. Any thread may call.
    """

    def __init__(self, restaurant: Restaurant, config: SandboxConfig, switch: Switch | None = None) -> None:
        self.restaurant = restaurant
        self.config = config
        self.switch = switch or Switch(config.without)
        self.newest: dict[str, StoredOrder] = {}
        self.inventing = not restaurant.state
        self.served: set[str] = set()
        self.lost: set[str] = set()
        self.asked: dict[int, None] = {}
        self._weeks: set[int] = set()
        self._facts: dict[StoredOrder, Facts] = {}
        self._picked: dict[int, set[str]] = {}
        self._lock = Lock()

    def between(self, start_ms: int, end_ms: int) -> list[StoredOrder]:
        """The truth: what Toast holds now with a modified time in [start, end) (milliseconds since 1970, UTC)."""
        with self._lock:
            for number in self._invent(start_ms, end_ms):
                week_ms = _FIRST_WEEK_MS + number * _WEEK_MS
                if self.config.late_changes and week_ms not in self.asked and number - 1 in self._weeks:
                    self._change_week_before(week_ms)
                self.asked[week_ms] = None
        found = [order for order in list(self.newest.values()) if start_ms <= order.modified_ms < end_ms]
        return sorted(found, key=lambda order: (order.modified_ms, order.guid))

    def _invent(self, start_ms: int, end_ms: int) -> range:
        """Invents the weeks of a window that are not there yet; the numbers of all its weeks."""
        if not self.inventing or start_ms >= end_ms:
            return range(0)
        first, last = ((moment - _FIRST_WEEK_MS) // _WEEK_MS for moment in (start_ms, end_ms - 1))
        weeks = range(first, last + 1)
        for number in weeks:
            if number not in self._weeks:
                week = invent_week(self.config.seed, self.restaurant, _FIRST_WEEK_MS + number * _WEEK_MS)
                self.newest.update((order.guid, order) for order in week)
                self._weeks.add(number)
        return weeks

    def existing(self, start_ms: int, end_ms: int) -> list[StoredOrder]:
        """The orders that exist by ``now``: all that were modified in [start, end), and others."""
        now_ms = self._now_ms
        with self._lock:
            self._invent(start_ms, min(end_ms, now_ms + 1))
        held = list(self.newest.values())
        return [each for each in held if max(each.modified_ms, self.switch.filter_ms(self, each)) <= now_ms]

    def since(self, day: date) -> Iterator[tuple[StoredOrder, Facts]]:
        """The orders modified from the day before a business day on, by ``now``: all orders of that day, and others."""
        since_ms = epoch_ms(datetime(day.year, day.month, day.day, tzinfo=UTC)) - DAY_MS
        # Orders stay open for some days.
        for order in self.existing(since_ms, since_ms + _WEEK_MS):
            if since_ms <= order.modified_ms:
                yield order, self.facts(order)

    def of_payment(self, guid: str) -> StoredOrder | None:
        """The order that has a payment, if it was invented or put here."""
        return next((order for order in list(self.newest.values()) if guid in self.facts(order).payments), None)

    def facts(self, order: StoredOrder) -> Facts:
        if order not in self._facts:
            self._facts[order] = _read_facts(order)
        return self._facts[order]

    def picked(self) -> set[str]:
        """The GUID of one order of each business day of each invented week: paid that day, not deleted, no test."""
        with self._lock:
            for number in self._weeks - self._picked.keys():
                week = invent_week(self.config.seed, self.restaurant, _FIRST_WEEK_MS + number * _WEEK_MS)
                facts = ((order.guid, _read_facts(order)) for order in week)
                paid = ((guid, each) for guid, each in facts if each.business_date in each.payments.values())
                self._picked[number] = {*{each.business_date: guid for guid, each in paid if not each.flags}.values()}
            return set().union(*self._picked.values())

    @property
    def _now_ms(self) -> int:
        return int(self.config.now() * 1000)

    def _change_week_before(self, start_ms: int) -> None:
        """Some of its orders have newer versions in the week that begins at ``start_ms``: they leave their own
        [inferred]. Only served orders that nobody else edited change, and only before now."""
        seed, restaurant, newest = self.config.seed, self.restaurant, self.newest
        end_ms = min(start_ms + _WEEK_MS, self._now_ms)
        week = invent_week(seed, restaurant, start_ms - _WEEK_MS) if start_ms < end_ms else []
        unchanged = (each for each in week if each.guid in newest and newest[each.guid].modified_ms == each.modified_ms)
        orders = [each for each in unchanged if each.guid in self.served]
        rng = Random(f"changes:{seed}:{restaurant.guid}:{start_ms}")
        place = (restaurant.guid, (start_ms, end_ms), _utc_offset(restaurant, start_ms))
        for guid, modified_ms, raw in late_versions(rng, orders, *place):
            newest[guid] = StoredOrder(guid, modified_ms, partial(bytes, raw))

    def view(self, start_ms: int, end_ms: int) -> list[StoredOrder]:
        """A window as ``ordersBulk`` pages through it: shuffled, because Toast documents no order [forum].

        Orders modified after ``now`` do not exist yet [inferred].
        """
        return self._on_pages(self.switch.window(self, start_ms, min(end_ms, self._now_ms + 1)), start_ms)

    def view_day(self, day: date) -> list[StoredOrder]:
        """A business day as ``ordersBulk`` pages through it: by the body's ``businessDate`` (judgement)."""
        return self._on_pages(self.of_day(day), day.toordinal())

    def of_day(self, day: date) -> list[StoredOrder]:
        """The orders that lists name for a business day."""
        number = int(f"{day:%Y%m%d}")
        return [order for order, facts in self.since(day) if self.switch.business_date(facts) == number]

    def _on_pages(self, orders: list[StoredOrder], salt: int) -> list[StoredOrder]:
        orders = [order for order in self.switch.shown(self, orders) if order.guid not in self.lost]
        # By a key of each order's own: an edit moves one order, and the others stay as they were.
        key = crc32(str(salt).encode())
        return self.switch.arranged(sorted(orders, key=lambda order: crc32(order.guid.encode(), key)))


def _read_facts(order: StoredOrder) -> Facts:
    try:
        content = decode(order.json)
        payments = [payment for check in content.get("checks") or [] for payment in check.get("payments") or []]
        return Facts(
            content.get("businessDate"),
            {one["guid"]: one.get("paidBusinessDate") for one in payments},
            content.get("openedDate"),
            content.get("createdDate"),
            frozenset(name for name in ("deleted", "voided", "createdInTestMode") if content.get(name)),
            any((one.get("type"), one.get("paymentStatus")) == ("CREDIT", "CAPTURED") for one in payments),
        )
    except (msgspec.DecodeError, UnicodeDecodeError, AttributeError, KeyError, TypeError):
        # A test's own bytes.
        return Facts()
