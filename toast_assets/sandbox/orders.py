"""Invented orders: a restaurant's week of them, the same for the same seed, restaurant, week and count."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from itertools import accumulate
from random import Random
from zoneinfo import ZoneInfo

from toast_assets.sandbox.order_builder import HOUR_MS, Json, OrderBuilder, Placement, decode, encode, money, toast_time
from toast_assets.week import epoch_ms, from_epoch_ms

_KINDS = 480
# Orders per local hour of the day, from midnight: lunch and dinner peaks, next to nothing at night.
_HOURS = (3, 1, 0.3, 0.2, 0.2, 0.3, 2, 6, 9, 8, 10, 34, 62, 48, 20, 14, 22, 52, 78, 70, 46, 26, 16, 8)
_DAYS = (0.8, 0.8, 0.9, 1.0, 1.4, 1.6, 1.2)


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
    modified_ms = placement.modified_ms
    return StoredOrder(
        head + placement.order_id,
        modified_ms,
        modified_ms + opened_ms,
        lambda: encode(OrderBuilder(seed, number, placement).order()),
    )


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
    seed: int,
    restaurant_guid: str,
    start: datetime,
    end: datetime,
    count: int,
    timezone: str = "America/New_York",
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
    times = _times(rng, start_ms, end_ms, count, utc_offset)
    return [
        _invented(seed, kinds[number % _KINDS], Placement(order_id, restaurant_guid, modified_ms, utc_offset))
        for number, (order_id, modified_ms) in enumerate(zip(ids, times, strict=True))
    ]


def invent_order(seed: int, restaurant_guid: str, modified_ms: int, number: int) -> StoredOrder:
    """One more order of a restaurant, modified at ``modified_ms``; ``number`` makes it differ from others of then."""
    rng = Random(f"{seed}:{restaurant_guid}:{modified_ms}:{number}")
    kind = rng.choice(range(_KINDS))
    return _invented(seed, kind, Placement(_order_id(rng), restaurant_guid, modified_ms, -5))


def _order_id(rng: Random) -> str:
    return f"{rng.getrandbits(48):012x}"


def _times(rng: Random, start_ms: int, end_ms: int, count: int, utc_offset: int) -> list[int]:
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
    return times
