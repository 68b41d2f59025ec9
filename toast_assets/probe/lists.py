"""What Toast's lists of a business day have, compared with the orders that ``ordersBulk`` returned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Container, Sequence
from datetime import UTC, date

from toast_assets.errors import ToastRefusedError
from toast_assets.orders.times import zone
from toast_assets.probe.answers import Answer, answer, confirmed, refuted
from toast_assets.probe.filters import BOUNDS
from toast_assets.probe.observed import Json
from toast_assets.probe.reading import Scene, day_of, decoded, has, time_of
from toast_assets.toast.page import PAGE_SIZE, Window
from toast_assets.week import from_epoch_ms

# Business days to list, single orders and payments to ask for, and requests to keep for the questions after these.
_ORDER_DAYS, _PAYMENT_DAYS, _MOST_ORDERS, _MOST_PAYMENTS, _KEPT = 7, 3, 15, 8, 20
FLAGS = {"deleted_orders": "deleted", "voided_orders": "voided", "test_orders": "createdInTestMode"}
_TIMES = ("openedDate", "createdDate", "promisedDate", "modifiedDate")
_HOUR_MS = 3_600_000


async def order_list(scene: Scene) -> Answer:
    """Also finds what the next questions go by."""
    known = {order["guid"]: order for order in scene.observed.orders}
    listed = await _list(scene, scene.asker.order_guids, _ORDER_DAYS)
    missing = _missing(listed, known)
    unchecked: set[date] = set()
    undecided = 0
    for number, (day, guid) in enumerate(missing):
        if number == _MOST_ORDERS or scene.asker.left(scene.guid) <= _KEPT:
            unchecked = {day for day, _ in missing[number:]}
            break
        order = await _order(scene, guid)
        known |= {guid: order} if order else {}
        undecided += not (order and await _is_placed(scene, order))
    scene.listed = {day: [known[guid] for guid in guids if guid in known] for day, guids in listed.items()}
    lost = sum(not _flags(scene, order) for order in scene.lacking)
    is_whole = not undecided and any(listed[day] for day in listed.keys() - unchecked)
    reason = f"of {_all(listed)}, {len(missing)} were not returned, {lost} of them although their time was asked for"
    return _no_loss(lost, is_whole, reason)


async def payment_list(scene: Scene) -> Answer:
    orders = {order["guid"]: order for order in scene.observed.orders}
    checks = (check for order in orders.values() for check in _parts(order, "checks"))
    ours = {str(payment.get("guid")) for check in checks for payment in _parts(check, "payments")}
    listed = await _list(scene, scene.asker.payment_guids, _PAYMENT_DAYS)
    missing = _missing(listed, ours)
    owners = [await scene.asker.order_of_payment(scene.guid, guid) for _, guid in missing[:_MOST_PAYMENTS]]
    lost = sum(owner in orders for owner in owners)
    unchecked = {day for day, _ in missing[_MOST_PAYMENTS:]}
    reason = f"of {_all(listed)}, {len(missing)} are in no order, {lost} of them although their order was returned"
    return _no_loss(lost, any(listed[day] for day in listed.keys() - unchecked), reason)


def flagged(scene: Scene, flag: str) -> Answer:
    """Whether ``ordersBulk`` returns orders with a flag."""
    if count := _count(scene, flag):
        return confirmed(f"{count} of {len(scene.observed.orders)} orders have {flag}: true")
    lacking = sum(_flags(scene, order) == [flag] for order in scene.lacking)
    return answer(False if lacking else None, f"{lacking} listed orders with {flag}: true were not returned")


def no_backdated_orders(scene: Scene) -> Answer:
    if scene.appeared:
        reason = f"{scene.appeared} orders entered the window after it was read"
        return scene.spoilt(*BOUNDS) or refuted(reason)
    offline = 0
    for order in scene.observed.orders:
        opened, created, modified = (time_of(order, name) for name in ("openedDate", "createdDate", "modifiedDate"))
        if opened is not None and created is not None and modified is not None:
            offline += opened + _HOUR_MS < created <= modified
    return answer(True if offline else None, f"{offline} orders were created over an hour after they were opened")


async def business_date(scene: Scene) -> Answer:
    day = scene.observed.day
    reply = await scene.asker.orders(scene.guid, None, businessDate=f"{day:%Y%m%d}")
    listed = [(each, order) for each, orders in scene.listed.items() for order in orders]
    paged = [(day, order) for order in decoded(reply.page.orders)]
    found = [_compared(scene, name, pairs) for name, pairs in (("order list", listed), ("ordersBulk", paged)) if pairs]
    verdicts, reason = {holds for holds, _ in found}, "; ".join(text for _, text in found)
    return answer(False if False in verdicts else True if True in verdicts else None, reason or "no day has orders")


Pairs = Sequence[tuple[date, Json]]
"""Business days and orders that a list has of them."""


async def _list(scene: Scene, ask: Callable[[str, date], Awaitable[list[str]]], most: int) -> dict[date, list[str]]:
    """By business day, GUIDs of all orders or payments, for days that were read."""
    days = scene.whole_days()[:most]
    return {day: await ask(scene.guid, day) for day in days if scene.asker.left(scene.guid) > _KEPT or day == days[0]}


def _missing(listed: dict[date, list[str]], known: Container[str]) -> list[tuple[date, str]]:
    """What is listed and not known; of days with the fewest first, where it is most likely lost."""
    missing = [[(day, guid) for guid in guids if guid not in known] for day, guids in listed.items()]
    return [pair for pairs in sorted(missing, key=len) for pair in pairs]


def _all(listed: dict[date, list[str]]) -> str:
    return f"{sum(map(len, listed.values()))} that are listed for {len(listed)} days"


def _no_loss(lost: int, is_whole: bool, reason: str) -> Answer:
    """Confirmed only where all that a business day lacks was looked at."""
    return refuted(reason) if lost else answer(True if is_whole else None, reason)


async def _order(scene: Scene, guid: str) -> Json | None:
    try:
        return next(iter(decoded([await scene.asker.order(scene.guid, guid)])), None)
    except ToastRefusedError:
        return None


async def _is_placed(scene: Scene, order: Json) -> bool:
    """Whether it can be said why ``ordersBulk`` did not return an order: its time is outside of what was read, or it
    appeared meanwhile, or it is lacking."""
    at = time_of(order, scene.filter_field)
    if at is None or not scene.observed.window.holds(at):
        return at is not None
    page = (await scene.asker.orders(scene.guid, Window(at - 1000, at + 1001))).page
    if has(page, order["guid"]):
        scene.appeared += 1
    elif page.rows < PAGE_SIZE:
        scene.lacking.append(order)
    return page.rows < PAGE_SIZE


def _flags(scene: Scene, order: Json) -> list[str]:
    """The flags of an order that no order has that ``ordersBulk`` returned: one of them may be why it is lacking."""
    return [flag for flag in FLAGS.values() if order.get(flag) is True and not _count(scene, flag)]


def _parts(whole: Json, name: str) -> list[Json]:
    parts = whole.get(name)
    return [part for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []


def _count(scene: Scene, flag: str) -> int:
    return sum(order.get(flag) is True for order in scene.observed.orders)


def _compared(scene: Scene, name: str, pairs: Pairs) -> tuple[bool | None, str]:
    """Whether a list goes by the orders' own business days; None where it may go by days in UTC as well."""
    others = sum(day_of(order) != day for day, order in pairs)
    zones = {"UTC": UTC, "local": zone(scene.observed.details.time_zone) or UTC}
    fitting = Counter(
        f"{clock} date of {field}"
        for day, order in pairs
        for field in _TIMES
        for clock, place in zones.items()
        if (at := time_of(order, field)) is not None and from_epoch_ms(at).astimezone(place).date() == day
    )
    fits = [text for text, count in fitting.items() if count == len(pairs)]
    by = f"; the day is the {' and the '.join(fits)}" if fits else ""
    holds = None if not others and any(text.startswith("UTC") for text in fits) else not others
    return holds, f"{name}: {others} of {len(pairs)} orders have another businessDate{by}"
