"""Invented orders: deterministic, inside their window, and with every odd shape that Toast is known to send."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from hashlib import sha256
from typing import Any

import pytest

from toast_assets.sandbox import Restaurant, RestaurantOrders, SandboxConfig
from toast_assets.sandbox.order_builder import decode, toast_time
from toast_assets.sandbox.orders import StoredOrder, invent_week
from toast_assets.week import epoch_ms
from toast_assets_tests.support.services.toast_orders import edit, edited, invent_order

Json = dict[str, Any]
MONDAY = datetime(2025, 9, 15, 4, tzinfo=UTC)


def week(count: int = 500, seed: int = 1, restaurant: str = "r1") -> list[StoredOrder]:
    return invent_week(seed, Restaurant(restaurant, "Pier 9", orders_per_week=count), epoch_ms(MONDAY))


@cache
def bodies() -> tuple[Json, ...]:
    return tuple(decode(order.json) for order in week())


def checks() -> Iterator[Json]:
    return (check for order in bodies() for check in order["checks"])


def selections() -> Iterator[Json]:
    return (line for check in checks() for line in check["selections"])


def payments() -> Iterator[Json]:
    return (payment for check in checks() for payment in check["payments"])


def discounts(check: Json) -> list[Json]:
    return [each for part in (check, *check["selections"]) for each in part["appliedDiscounts"]]


def depth(lines: list[Json]) -> int:
    return max((1 + depth(line["modifiers"]) for line in lines), default=0)


def opened(order: Json) -> datetime:
    return datetime.fromisoformat(order["openedDate"])


def late(order: Json) -> timedelta:
    return datetime.fromisoformat(order["modifiedDate"]) - opened(order)


def test_a_week_is_the_same_for_the_same_arguments() -> None:
    assert [order.json for order in week(60)] == [order.json for order in week(60)]


def test_the_orders_of_a_seed_stay_the_same_in_every_release() -> None:
    """The README, the pictures and other tests quote their numbers."""
    digest = sha256(b"\n".join(order.json for order in week())).hexdigest()
    assert digest == "0757471234253021a3a32f915e9bf5de2a0b1d72236da22b5b537f42619bb80f"


def test_another_seed_or_restaurant_gives_other_orders() -> None:
    guids = [{order.guid for order in week(60, seed, name)} for seed, name in ((1, "r1"), (2, "r1"), (1, "r2"))]
    assert not guids[0] & guids[1]
    assert not guids[0] & guids[2]


def test_orders_lie_in_their_week_and_touch_both_of_its_ends() -> None:
    orders = week()
    times = [order.modified_ms for order in orders]
    assert times == sorted(times)
    assert times[0] == epoch_ms(MONDAY)
    assert times[-1] == epoch_ms(MONDAY + timedelta(days=7)) - 1
    assert len(set(times)) < len(times), "some orders share one millisecond"


def test_what_is_stored_agrees_with_what_is_sent() -> None:
    for order, body in zip(week(), bodies(), strict=True):
        assert body["guid"] == order.guid
        assert datetime.fromisoformat(body["modifiedDate"]) == datetime.fromisoformat(toast_time(order.modified_ms))


def test_more_orders_are_modified_at_dinner_than_at_night() -> None:
    hours = [datetime.fromisoformat(body["modifiedDate"]).hour for body in bodies()]
    assert sum(hour >= 22 or hour == 0 for hour in hours) > 10 * sum(7 <= hour <= 9 for hour in hours)


def test_guids_are_unique_within_a_big_week() -> None:
    assert len({order.guid for order in week(20_000)}) == 20_000


def test_no_part_of_two_orders_shares_a_guid_of_its_own() -> None:
    guids = [part["guid"] for part in (*checks(), *selections(), *payments())]
    assert len(set(guids)) == len(guids)


def test_money_keeps_its_two_digits_and_is_an_integer_when_whole() -> None:
    amounts = re.findall(rb'"(?:price|amount|taxAmount|totalAmount)":(-?[\d.]+)', b"".join(o.json for o in week()))
    assert all(re.fullmatch(rb"-?\d+(\.\d\d)?", amount) for amount in amounts)
    assert any(b"." not in amount and amount != b"0" for amount in amounts)
    assert any(amount.endswith(b"0") and b"." in amount for amount in amounts)


def test_orders_weigh_a_few_kilobytes() -> None:
    sizes = [len(order.json) for order in week()]
    assert 3_000 < sum(sizes) / len(sizes) < 6_500


SHAPES: dict[str, Callable[[], bool]] = {
    "a voided order": lambda: any(o["voided"] and o["voidDate"] and o["voidBusinessDate"] for o in bodies()),
    "a voided check in an order that is not": lambda: any(
        c["voided"] and not o["voided"] for o in bodies() for c in o["checks"]
    ),
    "a voided selection in a check that is not": lambda: any(
        s["voided"] and not c["voided"] for c in checks() for s in c["selections"]
    ),
    "a voided payment": lambda: any(p["paymentStatus"] == "VOIDED" and p["voidInfo"]["voidUser"] for p in payments()),
    "a full refund": lambda: any(p["refundStatus"] == "FULL" and p["refund"] for p in payments()),
    "a partial refund": lambda: any(p["refundStatus"] == "PARTIAL" and p["refund"] for p in payments()),
    "a refunded selection": lambda: any(s["refundDetails"] for s in selections()),
    "a deleted order": lambda: any(o["deleted"] for o in bodies()),
    "a deletedDate of 1970": lambda: any(str(o["deletedDate"]).startswith("1970") for o in bodies()),
    "a deletedDate of null": lambda: any(o["deletedDate"] is None for o in bodies()),
    "a test order": lambda: any(o["createdInTestMode"] for o in bodies()),
    "excess food": lambda: any(o["excessFood"] for o in bodies()),
    "a gift card sold": lambda: any(
        s["selectionType"] == "TOAST_CARD_SELL" and s["deferred"] and s["item"] is None for s in selections()
    ),
    "a gift card used": lambda: any(p["type"] == "GIFTCARD" for p in payments()),
    "a discount on an item": lambda: any(s["appliedDiscounts"] for s in selections()),
    "a discount on a check": lambda: any(c["appliedDiscounts"] for c in checks()),
    "a gratuity": lambda: any(x["gratuity"] for c in checks() for x in c["appliedServiceCharges"]),
    "a service charge": lambda: any(not x["gratuity"] for c in checks() for x in c["appliedServiceCharges"]),
    "a delivery": lambda: any(o["deliveryInfo"] and o["deliveryInfo"]["address1"] for o in bodies()),
    "a server by reference": lambda: any(o["server"] and set(o["server"]) == {"guid", "entityType"} for o in bodies()),
    "several checks with different guests": lambda: any(
        len({(c.get("customer") or {}).get("email") for c in o["checks"]}) > 1 for o in bodies()
    ),
    "a guest": lambda: any("@example.com" in (c.get("customer") or {}).get("email", "") for c in checks()),
    "no guest at all": lambda: any("customer" not in c for c in checks()),
    "a null guest": lambda: any(c.get("customer", 0) is None for c in checks()),
    "a guest who is only a GUID": lambda: any(set(c.get("customer") or {}) == {"guid"} for c in checks()),
    "a guest without a GUID": lambda: any(c.get("customer") and "guid" not in c["customer"] for c in checks()),
    "modifiers three deep": lambda: any(depth(c["selections"]) == 4 for c in checks()),
    "a fractional quantity": lambda: any(isinstance(s["quantity"], Decimal) for s in selections()),
    "a selection without an item": lambda: any(s["selectionType"] == "SPECIAL_REQUEST" for s in selections()),
    "a check without selections": lambda: any(c["selections"] == [] for c in checks()),
    "an open check": lambda: any(c["paymentStatus"] == "OPEN" for c in checks()),
    "times that end in Z": lambda: any(o["modifiedDate"].endswith("Z") for o in bodies()),
    "times that end in +0000": lambda: any(o["modifiedDate"].endswith("+0000") for o in bodies()),
    "a tax without a GUID": lambda: any("guid" not in t for s in selections() for t in s["appliedTaxes"]),
    "an unknown field": lambda: any("kitchenPacing" in o for o in bodies()),
    "text beyond ASCII": lambda: any(not s["displayName"].isascii() for s in selections()),
    "a card": lambda: any(p["last4Digits"] and p["first6Digits"] and p["cardPaymentId"] for p in payments()),
    "a late modification": lambda: any(late(o) > timedelta(hours=3) for o in bodies()),
    "an order opened in the week before": lambda: any(
        datetime.fromisoformat(o["openedDate"]) < MONDAY for o in bodies()
    ),
    "a delivery by a market place": lambda: any(
        (o["deliveryServiceInfo"] or {}).get("providerName") in ("Quickdish", "Curbly") for o in bodies()
    ),
    "a promotion code": lambda: any(d["appliedPromoCode"] == "LOYAL15" for c in checks() for d in discounts(c)),
    "a discount without a promotion code": lambda: any(
        d["appliedPromoCode"] is None for c in checks() for d in discounts(c)
    ),
    "a guest in the loyalty program": lambda: any(
        c["appliedLoyaltyInfo"] and c["appliedLoyaltyInfo"]["loyaltyIdentifier"] == c["customer"]["phone"]
        for c in checks()
    ),
    "a guest who is not": lambda: any(c.get("customer") and not c["appliedLoyaltyInfo"] for c in checks()),
    "a promised time after the modification": lambda: any(o["promisedDate"] for o in bodies()),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_week_of_500_orders_holds(shape: str) -> None:
    assert SHAPES[shape]()


def test_an_edit_moves_the_modified_time_and_changes_the_content() -> None:
    order = next(o for o in week() if decode(o.json)["checks"][0]["payments"])
    newer = edited(order, order.modified_ms + 5)
    assert (newer.guid, newer.modified_ms) == (order.guid, order.modified_ms + 5)
    before, after = decode(order.json), decode(newer.json)
    assert after["openedDate"] == before["openedDate"]
    assert datetime.fromisoformat(after["modifiedDate"]) > datetime.fromisoformat(before["modifiedDate"])
    assert after["checks"][0]["payments"][0] != before["checks"][0]["payments"][0]


def test_one_more_order_is_deterministic_too() -> None:
    first, again = (invent_order(1, "r1", 1_757_908_800_000, 3) for _ in range(2))
    assert first.json == again.json
    assert first.guid != invent_order(1, "r1", 1_757_908_800_000, 4).guid


# Changes in the week after

DAY_MS = 86_400_000
TOTALS = ("amount", "taxAmount", "totalAmount")
RESTAURANTS = [each for each in SandboxConfig().restaurants if not each.state]


def orders_of(restaurant: Restaurant = RESTAURANTS[0], **settings: Any) -> RestaurantOrders:
    return RestaurantOrders(restaurant, SandboxConfig(**({"now": lambda: 1_790_000_000.0} | settings)))


def serve_week(orders: RestaurantOrders, number: int) -> dict[str, Json]:
    """The orders of the ``number``-th week from ``MONDAY`` on as Toast serves them, by GUID."""
    start_ms = epoch_ms(MONDAY) + 7 * DAY_MS * number
    served = {order.guid: decode(order.json) for order in orders.view(start_ms, start_ms + 7 * DAY_MS)}
    orders.served.update(served)
    return served


@cache
def changed_orders() -> tuple[tuple[str, Json, Json], ...]:
    """What changed in six weeks of the default sandbox: the restaurant, the order before and after."""
    found = []
    for restaurant in RESTAURANTS:
        orders = orders_of(restaurant)
        before: dict[str, Json] = {}
        for number in range(6):
            after = serve_week(orders, number)
            found += [(restaurant.guid, before[guid], after[guid]) for guid in after if guid in before]
            before |= after
    return tuple(found)


def kinds_of(restaurant: str) -> set[str]:
    kinds = set()
    for guid, before, after in changed_orders():
        if guid == restaurant:
            pairs = [
                (payment, newer)
                for check, changed in zip(before["checks"], after["checks"], strict=False)
                for payment, newer in zip(check["payments"], changed["payments"], strict=False)
            ]
            kinds |= {"void"} if after["voided"] else set()
            kinds |= {"move"} if after["deleted"] else set()
            kinds |= {"refund"} if any(newer["refund"] for _, newer in pairs) else set()
            kinds |= {"tip"} if any(newer["tipAmount"] > payment["tipAmount"] for payment, newer in pairs) else set()
    return kinds


@pytest.mark.parametrize("restaurant", RESTAURANTS)
def test_orders_are_tipped_voided_refunded_and_moved_in_later_weeks(restaurant: Restaurant) -> None:
    assert kinds_of(restaurant.guid) == {"tip", "void", "refund", "move"}


@pytest.mark.parametrize(("count", "least", "most"), [(19, 0, 0), (20, 2, 4), (320, 10, 20)])
def test_some_orders_leave_their_week_for_the_next(count: int, least: int, most: int) -> None:
    orders = orders_of(Restaurant("r1", "Pier 9", orders_per_week=count))
    before, second = serve_week(orders, 0), serve_week(orders, 1)
    changed = set(before) & set(second)
    # A move is one change of two orders.
    assert least <= len(changed) <= most
    assert set(serve_week(orders, 0)) == set(before) - changed
    assert len(second) == count + len(changed)
    assert len(set(serve_week(orders, 2)) & set(before)) == 0, "each order changes once"
    for guid in changed:
        assert datetime.fromisoformat(second[guid]["modifiedDate"]) >= MONDAY + timedelta(days=7)


def test_the_same_questions_give_the_same_changes() -> None:
    first, again = ([serve_week(orders, number) for number in range(3)] for orders in (orders_of(), orders_of()))
    assert first == again


def test_what_is_stored_of_a_changed_order_agrees_with_what_is_sent() -> None:
    orders = orders_of()
    changed = set(serve_week(orders, 0)) & set(serve_week(orders, 1))
    for guid in changed:
        version = orders.newest[guid]
        body = decode(version.json)
        assert body["guid"] == guid
        assert datetime.fromisoformat(body["modifiedDate"]) == datetime.fromisoformat(toast_time(version.modified_ms))


def test_an_order_that_was_not_served_or_that_somebody_edited_stays_as_it_is() -> None:
    orders = orders_of()
    first = [order.guid for order in orders.between(epoch_ms(MONDAY), epoch_ms(MONDAY) + 7 * DAY_MS)]
    orders.served.update(first[:40])
    for guid in first[:20]:
        edit(orders, guid, orders.newest[guid].modified_ms + 1)
    changed = set(serve_week(orders, 1)) & set(first)
    assert 2 <= len(changed) <= 4
    assert changed <= set(first[20:40])


@pytest.mark.parametrize("later", [2, -1])
def test_nothing_changes_in_another_week_than_the_next(later: int) -> None:
    orders = orders_of()
    assert not set(serve_week(orders, 0)) & set(serve_week(orders, later))


def test_changes_can_be_switched_off() -> None:
    orders = orders_of(late_changes=False)
    assert not set(serve_week(orders, 0)) & set(serve_week(orders, 1))


def test_changes_in_a_week_that_has_not_ended_are_past() -> None:
    now = epoch_ms(MONDAY) + 7 * DAY_MS + 5
    orders = orders_of(now=lambda: now / 1000)
    changed = set(serve_week(orders, 0)) & set(serve_week(orders, 1))
    assert changed
    assert all(orders.newest[guid].modified_ms < now for guid in changed)


def test_no_order_changes_in_a_week_that_has_not_begun() -> None:
    now = epoch_ms(MONDAY) + 7 * DAY_MS
    orders = orders_of(now=lambda: now / 1000)
    before = serve_week(orders, 0)
    orders.between(now, now + 7 * DAY_MS)
    assert serve_week(orders, 0) == before


def test_only_orders_that_count_and_are_paid_change() -> None:
    for _, before, _ in changed_orders():
        assert not any(before[flag] for flag in ("voided", "deleted", "createdInTestMode", "excessFood"))
        for check in before["checks"]:
            assert (check["voided"], check["paymentStatus"]) == (False, "CLOSED")
            assert all(
                each["paymentStatus"] != "VOIDED" and each["refundStatus"] == "NONE" for each in check["payments"]
            )
            assert not any(line["refundDetails"] for line in check["selections"])


def test_the_sums_of_a_changed_order_agree() -> None:
    for _, _, after in changed_orders():
        for check in after["checks"]:
            charges = check["appliedServiceCharges"]
            items = sum(line["price"] for line in check["selections"] if not line["voided"])
            gratuities = sum(each["chargeAmount"] for each in charges if each["gratuity"])
            fees = sum(each["chargeAmount"] for each in charges) - gratuities
            taken_off = sum(each["nonTaxDiscountAmount"] for each in check["appliedDiscounts"])
            assert check["amount"] == items + fees - taken_off
            assert check["totalAmount"] == check["amount"] + check["taxAmount"] + gratuities
            for payment in check["payments"]:
                voided, refund = payment["paymentStatus"] == "VOIDED", payment["refund"]
                assert voided or payment["amount"] == check["totalAmount"]
                assert not refund or refund["refundAmount"] <= payment["amount"]


def test_a_late_void_is_a_void_on_all_levels() -> None:
    for _, before, after in changed_orders():
        if after["voided"]:
            assert after["voidDate"] == after["modifiedDate"]
            assert after["voidBusinessDate"] > before["businessDate"]
            for check in after["checks"]:
                assert check["voided"]
                assert all(line["voided"] and line["voidReason"] for line in check["selections"])
                assert all(payment["paymentStatus"] == "VOIDED" for payment in check["payments"])
                assert all(payment["voidInfo"]["voidReason"] for payment in check["payments"])


def test_a_late_refund_leaves_the_checks_totals_as_they_were() -> None:
    refunds = [(b, a) for _, b, a in changed_orders() if any(p["refund"] for c in a["checks"] for p in c["payments"])]
    for before, after in refunds:
        payment = after["checks"][0]["payments"][0]
        part = payment["refund"]["refundAmount"] / payment["amount"]
        assert part == 1 if payment["refundStatus"] == "FULL" else 0 < part <= Decimal("0.5")
        for check, changed in zip(before["checks"], after["checks"], strict=True):
            assert [check[name] for name in TOTALS] == [changed[name] for name in TOTALS]
    assert {after["checks"][0]["payments"][0]["refundStatus"] for _, after in refunds} == {"FULL", "PARTIAL"}


def test_a_check_moves_to_another_order_and_its_own_is_deleted() -> None:
    moved = [(guid, before, after) for guid, before, after in changed_orders() if after["deleted"]]
    for guid, before, after in moved:
        (check,) = before["checks"]
        assert (after["checks"], after["deletedDate"]) == ([], after["modifiedDate"])
        (target,) = (
            newer
            for restaurant, _, newer in changed_orders()
            if restaurant == guid and check["guid"] in {each["guid"] for each in newer["checks"]}
        )
        arrived = target["checks"][-1]
        assert (target["modifiedDate"][:23], target["businessDate"]) == (
            after["modifiedDate"][:23],
            after["businessDate"],
        )
        assert [arrived[name] for name in ("selections", "payments", *TOTALS)] == [
            check[name] for name in ("selections", "payments", *TOTALS)
        ]
        assert arrived["displayNumber"] == str(len(target["checks"]))
