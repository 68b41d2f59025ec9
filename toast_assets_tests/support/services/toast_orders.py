"""What happens to a sandbox's orders: edits, late arrivals, a test's own orders, other sort orders.

Moments are aware datetimes, or milliseconds since 1970 (UTC).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import partial
from random import Random
from typing import Any

from toast_assets.sandbox import RestaurantOrders, Sandbox
from toast_assets.sandbox.order_builder import Json, decode, encode, money, toast_time
from toast_assets.sandbox.orders import KINDS, StoredOrder, invented
from toast_assets.week import epoch_ms

Moment = datetime | int
Sort = Callable[[list[StoredOrder]], list[StoredOrder]]


def in_random_order() -> Sort:
    """Another order on each request: a walk over several pages then loses and repeats orders."""
    rng = Random(1)
    return lambda orders: rng.sample(orders, len(orders))


# How a window's pages can be sorted, given its orders by modified time; ``None`` is the sandbox's own order.
SORTS: Mapping[str, Callable[[], Sort | None]] = {
    "shuffled": lambda: None,
    "modified": lambda: list,
    "modified, newest first": lambda: lambda orders: orders[::-1],
    "random": in_random_order,
}


def sort_pages(sandbox: Sandbox, name: str) -> None:
    """The sandbox's pages are sorted by one of ``SORTS`` from now on."""
    sort = SORTS[name]()
    for orders in sandbox.toast.orders.values():
        vars(orders).pop("view", None)
        if sort is not None:
            vars(orders)["view"] = partial(_sorted_view, orders, sort)


def _sorted_view(orders: RestaurantOrders, sort: Sort, start_ms: int, end_ms: int) -> list[StoredOrder]:
    view = RestaurantOrders.view(orders, start_ms, end_ms)
    return sort(sorted(view, key=lambda order: (order.modified_ms, order.guid)))


def stored(raw: bytes) -> StoredOrder:
    """An order given as JSON with ``guid`` and ``modifiedDate``."""
    # The standard library's decoder also reads half of an escaped pair, which orders at Toast can hold.
    order = json.loads(raw)
    return StoredOrder(order["guid"], epoch_ms(datetime.fromisoformat(order["modifiedDate"])), lambda: raw)


def replace_all(orders: RestaurantOrders, bodies: Iterable[bytes]) -> None:
    """Only these orders (JSON objects) from now on: nothing is invented any more."""
    orders.inventing = False
    orders.newest = {order.guid: order for order in map(stored, bodies)}


def put(orders: RestaurantOrders, raw: bytes) -> None:
    """Adds one order given as JSON, or replaces its older version."""
    order = stored(raw)
    orders.newest[order.guid] = order


def put_bytes(orders: RestaurantOrders, name: str, at: Moment, body: bytes) -> None:
    """Adds bytes that Toast sends as an order modified ``at``; they need not be one. ``name`` identifies them."""
    orders.newest[name] = StoredOrder(name, _ms(at), lambda: body)


def invent_order(seed: int, restaurant_guid: str, modified_ms: int, number: int) -> StoredOrder:
    """One more order of a restaurant, modified at ``modified_ms``; ``number`` makes it differ from others of then."""
    rng = Random(f"{seed}:{restaurant_guid}:{modified_ms}:{number}")
    kind = rng.choice(range(KINDS))
    return invented(seed, kind, f"{rng.getrandbits(48):012x}", restaurant_guid, modified_ms, -5)


def add(orders: RestaurantOrders, at: Moment) -> StoredOrder:
    """Invents one more order, modified at ``at``; in the past this is a late arrival: a device was offline."""
    order = invent_order(orders.config.seed, orders.restaurant.guid, _ms(at), len(orders.newest))
    orders.newest[order.guid] = order
    return order


def late_arrivals(orders: RestaurantOrders, start: Moment, end: Moment, number: int) -> list[StoredOrder]:
    """``number`` orders that appear now with modified times spread evenly over the past window [start, end)."""
    step = (_ms(end) - _ms(start)) // (number + 1)
    return [add(orders, _ms(start) + step * (each + 1)) for each in range(number)]


def edited(order: StoredOrder, modified_ms: int, change: Callable[[Json], Any] | None = None) -> StoredOrder:
    """A newer version: modified at ``modified_ms`` and, without a ``change`` of its own, tipped."""
    content = decode(order.json)
    content["modifiedDate"] = toast_time(modified_ms)
    (change or _tip)(content)
    raw = encode(content)
    return StoredOrder(order.guid, modified_ms, lambda: raw)


def edit(
    orders: RestaurantOrders, guid: str, at: Moment | None = None, change: Callable[[Json], Any] | None = None
) -> StoredOrder:
    """Edits an order that was served or put here: its modified time moves to ``at`` (default: now)."""
    moment = int(orders.config.now() * 1000) if at is None else _ms(at)
    order = orders.newest[guid] = edited(orders.newest[guid], moment, change)
    return order


def _ms(moment: Moment) -> int:
    return moment if isinstance(moment, int) else epoch_ms(moment)


def _tip(order: Json) -> None:
    for check in order.get("checks") or []:
        check["modifiedDate"] = order["modifiedDate"]
        for payment in check.get("payments") or []:
            payment["tipAmount"] = money(int(payment["amount"] * 100) // 5)
            return
