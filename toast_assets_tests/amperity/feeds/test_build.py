"""All feeds together: what is rejected, what is left out, what must never be sent."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from toast_assets.amperity.feeds.build import FEEDS, feed_batches
from toast_assets.index.orders import OrderEntry
from toast_assets.orders.names import Name
from toast_assets.orders.read import RawOrders, Reason
from toast_assets_tests.amperity.feeds.rows import (
    BRAND,
    STORE,
    WEEK,
    ZONE,
    batches,
    customers,
    lines,
    names,
    ref,
    rows,
)
from toast_assets_tests.support.data.guide import guide_order
from toast_assets_tests.support.data.invented import RESTAURANT, Json, check, customer, encode, order, selection

DINING = names(dining_option=Name("Walk-up", "TAKE_OUT"))


@pytest.mark.parametrize("timezone", [None, "", "Mars/Olympus", "EST5EDT\0", "../../etc/passwd", "America"])
def test_a_restaurant_with_an_unknown_time_zone_has_its_orders_rejected_and_the_others_go_on(
    timezone: str | None,
) -> None:
    known, unknown = order(), order()
    raw = [RawOrders("lost", encode(unknown), timezone), RawOrders(RESTAURANT, encode(known), ZONE)]
    made = list(feed_batches(raw, BRAND, WEEK, {}))
    (rejection,) = [rejection for batch in made for rejection in batch.rejections]
    assert (rejection.reason, rejection.order_guid) == (Reason.UNKNOWN_TIME_ZONE, unknown["guid"])
    assert rejection.restaurant_guid == "lost"
    assert len(lines("transactions", made)) == 1


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda made: b"<html>gateway</html>", Reason.UNREADABLE),
        (lambda made: encode(made | {"guid": ""})[0], Reason.UNREADABLE),
        (lambda made: encode(made | {"modifiedDate": None})[0], Reason.UNREPRESENTABLE),
        (lambda made: encode(made | {"modifiedDate": "Greta's birthday"})[0], Reason.UNREPRESENTABLE),
        (lambda made: encode(made | {"openedDate": "0001-01-01T00:00:00Z"})[0], Reason.UNREPRESENTABLE),
        (lambda made: encode(made | {"businessDate": 20259999})[0], Reason.UNREPRESENTABLE),
        (lambda made: encode(order(check(selection(guid=None))))[0], Reason.UNREPRESENTABLE),
        (lambda made: encode(made)[0].replace(b'"tax":0.8000', b'"tax":"NaN"', 1), Reason.UNREPRESENTABLE),
        (lambda made: encode(made)[0].replace(b'"quantity":1', b'"quantity":"Infinity"', 1), Reason.UNREPRESENTABLE),
        (lambda made: encode(made)[0].replace(b'"quantity":1', b'"quantity":1e-9999999', 1), Reason.UNREPRESENTABLE),
        (lambda made: encode(made)[0].replace(b'"quantity":1', b'"quantity":1e99999', 1), Reason.UNREPRESENTABLE),
        (lambda made: encode(made | {"voided": "false"})[0], Reason.UNREADABLE),
        (
            lambda made: encode(made)[0].replace(b'"preDiscountPrice":10.00', b'"preDiscountPrice":"sNaN"'),
            Reason.UNREPRESENTABLE,
        ),
    ],
)
def test_an_order_that_cannot_be_sent_is_rejected_in_every_feed_and_the_others_go_on(
    spoil: Any, reason: Reason
) -> None:
    spoilt = spoil(order(check(guest=customer("rejected@example.com"))))
    made = batches(order(), spoilt, order())
    (rejection,) = [rejection for batch in made for rejection in batch.rejections]
    assert rejection.reason is reason
    assert "Greta" not in rejection.detail
    assert len(lines("transactions", made)) == len(lines("order_items", made)) == 2
    assert lines("customers", made) == []


def test_optional_fields_that_became_null_are_counted_and_their_orders_sent() -> None:
    made = batches(order(source=["Online"]), order(numberOfGuests="two", source={}), order())
    assert not any(batch.rejections for batch in made)
    assert made[0].nulled == {"source": 2, "numberOfGuests": 1}
    assert len(lines("transactions", made)) == 3


def test_test_orders_and_wasted_food_are_left_out_and_counted() -> None:
    made = batches(order(), order(createdInTestMode=True, guest=customer()), order(excessFood=True))
    assert sum(batch.left_out for batch in made) == 2
    assert len(lines("transactions", made)) == 1


@pytest.mark.parametrize("made", [order(check(tabName="Edna's tab")), guide_order()])
def test_no_employee_and_no_card_is_in_any_row(made: Json) -> None:
    text = b"".join(line for feed in FEEDS for line in lines(feed, batches(made))).decode()
    for secret in ("Edna", "edna@", "4242", "411111", "card-payment-id"):
        assert secret not in text


def test_every_row_has_every_key_in_the_declared_order() -> None:
    for name, feed in FEEDS.items():
        declared = list(feed.columns)
        found = rows(name, order(check(guest=customer())), order(check(guest={"guid": "g"})), guide_order())
        assert found
        assert all(list(row) == declared for row in found)


def test_rows_of_zero_have_every_key_too_and_what_is_the_same_on_all_rows_of_an_order() -> None:
    before = order(check(selection(), selection(item=None)))
    after = before | {"checks": [check()], "modifiedDate": "2025-09-20T10:00:00.000+0000"}
    raw = [
        RawOrders(RESTAURANT, encode(one | {"diningOption": ref("dining_option")}), ZONE, "USD", STORE, DINING)
        for one in (before, after)
    ]
    (first,) = feed_batches(raw[:1], BRAND, WEEK, {})
    index = {guid: OrderEntry(guid, fed=fed) for guid, fed in first.fed.items()}
    made = list(feed_batches(raw[1:], BRAND, WEEK, index))
    for feed, count in (("transactions", 2), ("order_items", 3)):
        found = [json.loads(line) for line in lines(feed, made)]
        assert [list(row) for row in found] == [list(FEEDS[feed].columns)] * count
        channels = {(row["store_name"], row["purchase_channel"], row["digital_channel"]) for row in found}
        assert channels == {(STORE, "TAKE_OUT", "In Store")}


def test_without_its_names_a_row_is_the_same_whatever_they_are() -> None:
    made = order(diningOption=ref("dining_option"))
    for feed in (FEEDS["transactions"], FEEDS["order_items"]):
        found = [batches(made, names=known)[0].rows[feed.name] for known in (names(), DINING)]
        (one,), (other,) = found
        assert one != other
        assert feed.without_names(one) == feed.without_names(other)
    (guest,) = customers(batches(order(check(guest=customer()))))
    assert FEEDS["customers"].without_names(guest) == guest


def test_amounts_are_json_numbers_with_their_digits() -> None:
    (line,) = lines("transactions", batches(order(check(selection("12.10") | {"tax": Decimal("0.90")}))))
    assert b'"item_revenue":12.10,' in line
    assert b'"item_tax_amount":0.90,' in line


def test_rows_and_guests_come_batch_by_batch() -> None:
    consumed = 0

    def raw() -> Any:
        nonlocal consumed
        for _ in range(3):
            consumed += 1
            yield RawOrders(RESTAURANT, encode(order(check(guest=customer()))), ZONE)

    made = feed_batches(raw(), BRAND, WEEK, {})
    first = next(made)
    assert (set(first.rows), len(first.guests)) == ({"order_items", "transactions"}, 1)
    assert consumed == 1
    assert [len(batch.guests) for batch in made] == [1, 1]


def test_the_same_orders_make_the_same_bytes() -> None:
    made = [order(check(guest=customer())), guide_order()]
    for feed in FEEDS:
        assert lines(feed, batches(*made)) == lines(feed, batches(*made))
