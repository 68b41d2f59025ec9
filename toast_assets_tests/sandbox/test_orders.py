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

from toast_assets.sandbox import Restaurant
from toast_assets.sandbox.order_builder import decode, toast_time
from toast_assets.sandbox.orders import StoredOrder, invent_week
from toast_assets.week import epoch_ms
from toast_assets_tests.support.services.toast_orders import edited, invent_order

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
    assert digest == "4401384d3a28cb65585f69e91b0000c2d8418f4c43df19682d35d7424d6fb181"


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
