"""The transactions: one row per order, product and kind, by the rules of docs/delivery-rules.md."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from toast_assets.orders.names import Name, Names
from toast_assets_tests.amperity.feeds.rows import STORE, names, only, ref, rows
from toast_assets_tests.support.data import invented
from toast_assets_tests.support.data.guide import guide_order
from toast_assets_tests.support.data.invented import (
    Json,
    check,
    customer,
    discount,
    gift_card,
    modifier,
    order,
    payment,
    refund_details,
    selection,
    service_charge,
)

SOUP = "400000000001"
SALAD = "400000000002"
# Payments are of 18:40.
BEFORE, AFTER = "2025-09-19T18:30:00.000+0000", "2025-09-19T18:44:00.000+0000"


def salad(price: str = "5.00", **more: object) -> Json:
    return selection(price, item=invented.ref("MenuItem", multiLocationId=SALAD), **more)  # type: ignore[arg-type]


def by_kind(*orders: Json) -> dict[str, Json]:
    found = rows("transactions", *orders)
    return {row["transaction_item_id"].rpartition("|")[2]: row for row in found}


def test_a_product_ordered_twice_is_one_row_with_its_units_summed() -> None:
    row = only("transactions", order(check(selection("10.00")), check(selection("21.50", quantity="2"))))
    assert (row["item_quantity"], row["item_revenue"], row["product_id"]) == (3, Decimal("31.50"), SOUP)
    assert row["item_tax_amount"] == Decimal("2.52")


def test_every_product_has_its_row() -> None:
    found = rows("transactions", order(check(selection(), salad(), selection())))
    assert [row["product_id"] for row in found] == [SOUP, SALAD]


def test_the_key_is_made_of_order_product_and_kind() -> None:
    made = order()
    assert only("transactions", made)["transaction_item_id"] == f"{made['guid']}|{SOUP}|purchase"


def test_modifiers_are_part_of_their_items_price_and_no_products() -> None:
    row = only("transactions", order(check(selection("12.00", modifiers=[modifier("2.00")]))))
    assert row["item_revenue"] == 12


def test_gift_cards_and_payments_on_account_are_no_transactions() -> None:
    paid_off = selection("75.00", selectionType="HOUSE_ACCOUNT_PAY_BALANCE")
    assert rows("transactions", order(check(gift_card(), paid_off))) == []


def test_an_item_without_a_menu_item_is_known_by_its_kind() -> None:
    made = order(check(selection(item=None, selectionType="SPECIAL_REQUEST"), selection(item=None, selectionType=None)))
    assert [row["product_id"] for row in rows("transactions", made)] == ["SPECIAL_REQUEST", "UNKNOWN_ITEM"]


@pytest.mark.parametrize(
    ("quantities", "unit", "units"),
    [
        (["2"], "NONE", 2),
        (["0.5", "0.5"], "NONE", 1),
        (["0.33"], "NONE", 1),
        (["1.5"], "NONE", 2),
        (["1.25", "0.75"], "LB", 2),
        (["3"], "OZ", 1),
        ([None], "NONE", 1),
        (["0"], "NONE", 0),
    ],
)
def test_units_are_whole_numbers(quantities: list[str | None], unit: str, units: int) -> None:
    items = [
        selection(unitOfMeasure=unit) | {"quantity": None if number is None else Decimal(number)}
        for number in quantities
    ]
    assert only("transactions", order(check(*items)))["item_quantity"] == units


def test_an_items_discounts_reduce_its_revenue_without_their_tax() -> None:
    item = selection("10.00", appliedDiscounts=[discount("1.50", taxed="1.62")])
    row = only("transactions", order(check(item)))
    assert (row["item_list_price"], row["item_discount_amount"], row["item_revenue"]) == (
        10,
        Decimal("1.5"),
        Decimal("8.5"),
    )
    assert row["order_discount_amount"] == 0


def test_a_discount_on_the_check_is_shared_out_to_the_cent() -> None:
    made = order(check(selection("10.00"), salad("20.00"), appliedDiscounts=[discount("1.00")]))
    found = rows("transactions", made)
    assert [row["order_discount_amount"] for row in found] == [0, 0]
    assert [row["check_discount_amount"] for row in found] == [Decimal("0.33"), Decimal("0.67")]
    assert [row["item_discount_amount"] for row in found] == [Decimal("0.33"), Decimal("0.67")]
    assert sum(row["item_revenue"] for row in found) == 29


def test_what_is_voided_bears_no_share_of_a_discount() -> None:
    made = order(
        check(selection("10.00", voided=True, voidDate=AFTER), salad("20.00"), appliedDiscounts=[discount("1.00")])
    )
    shared = {row["product_id"]: row["check_discount_amount"] for row in rows("transactions", made)}
    assert shared == {SOUP: 0, SALAD: 1}


def test_what_is_voided_after_it_was_paid_stays_a_purchase_and_is_taken_back_by_a_cancellation() -> None:
    found = by_kind(order(check(selection("10.00"), selection("4.00", voided=True, voidDate=AFTER))))
    assert set(found) == {"purchase", "cancellation"}
    assert (found["purchase"]["item_quantity"], found["purchase"]["item_revenue"]) == (2, 14)
    back = found["cancellation"]
    assert (back["item_quantity"], back["item_list_price"], back["item_revenue"]) == (-1, -4, -4)
    assert (back["is_cancellation"], back["is_return"]) == (True, False)


@pytest.mark.parametrize(
    ("voided", "paid", "kinds"),
    [
        ({"voidDate": BEFORE}, "10.80", {"purchase"}),
        ({"voidDate": AFTER}, "10.80", {"purchase", "cancellation"}),
        # Without a date: was the voided item paid for?
        ({}, "10.80", {"purchase"}),
        ({}, "15.12", {"purchase", "cancellation"}),
    ],
)
def test_what_was_voided_before_anybody_paid_for_it_is_no_purchase(
    voided: dict[str, Any], paid: str, kinds: set[str]
) -> None:
    made = order(check(selection("10.00"), selection("4.00", voided=True, **voided), payments=[payment(paid)]))
    found = by_kind(made)
    assert set(found) == kinds
    assert found["purchase"]["item_revenue"] == (10 if kinds == {"purchase"} else 14)


def test_where_no_money_was_taken_nothing_is_cancelled() -> None:
    denied = [payment("10.80", paymentStatus="DENIED"), payment("0")]
    assert rows("transactions", order(check(payments=denied), voided=True)) == []
    assert len(rows("transactions", order(check(payments=[payment("10.80", voided=True)]), voided=True))) == 2


@pytest.mark.parametrize("made", [order(voided=True), order(deleted=True), order(check() | {"voided": True})])
def test_a_voided_or_deleted_order_adds_up_to_nothing(made: Json) -> None:
    found = rows("transactions", made)
    assert len(found) == 2
    for column in ("item_quantity", "item_revenue", "item_discount_amount", "item_tax_amount", "check_discount_amount"):
        assert sum(row[column] for row in found) == 0


def test_a_voided_order_takes_back_what_it_was_before_discounts_included() -> None:
    bill = check(selection("10.00", off="1.00"), appliedDiscounts=[discount("2.00")])
    before = only("transactions", order(bill))
    after = by_kind(order(bill, voided=True))
    assert after["purchase"]["item_revenue"] == before["item_revenue"] == 7
    assert after["cancellation"]["item_discount_amount"] == -3


def test_a_refunded_item_is_a_return_of_its_units() -> None:
    item = selection("20.00", quantity="2", refundDetails=refund_details("20.00", "1.60"))
    found = by_kind(order(check(item, payments=[payment("21.60", refund="21.60")])))
    back = found["return"]
    assert (back["item_quantity"], back["item_revenue"], back["item_tax_amount"]) == (-2, -20, Decimal("-1.6"))
    assert (back["is_return"], back["is_cancellation"]) == (True, False)
    assert found["purchase"]["item_revenue"] == 20


def test_a_partial_refund_returns_money_and_no_units() -> None:
    item = selection("20.00", refundDetails=refund_details("5.00"))
    back = by_kind(order(check(item, payments=[payment("21.60", refund="5.00")])))["return"]
    assert (back["item_quantity"], back["item_revenue"]) == (0, -5)


def test_a_modifiers_refund_counts_where_its_item_has_none() -> None:
    extra = modifier("2.00", refundDetails=refund_details("2.00"))
    assert by_kind(order(check(selection("12.00", modifiers=[extra]))))["return"]["item_revenue"] == -2
    whole = selection("12.00", modifiers=[extra], refundDetails=refund_details("12.00"))
    assert by_kind(order(check(whole)))["return"]["item_revenue"] == -12


def test_a_refund_that_is_tied_to_no_item_is_a_return_of_its_own() -> None:
    found = rows("transactions", order(check(payments=[payment("10.80", refund="3.00")])))
    back = found[-1]
    assert (back["product_id"], back["item_quantity"], back["item_revenue"]) == ("UNITEMIZED_REFUND", 0, -3)
    assert back["item_tax_amount"] is None


def test_refunds_of_service_charges_and_gift_cards_are_no_refunds_of_items() -> None:
    charge = service_charge("2.00", refundDetails=refund_details("2.00", "0.16"))
    card = gift_card("50.00", refundDetails=refund_details("50.00"))
    bill = check(selection(), card, appliedServiceCharges=[charge], payments=[payment("70", refund="52.16")])
    assert set(by_kind(order(bill))) == {"purchase"}


def test_what_is_voided_is_not_returned_as_well() -> None:
    item = selection("10.00", refundDetails=refund_details("10.00", "0.80"))
    bill = check(item, payments=[payment("10.80", refund="10.80")])
    assert set(by_kind(order(bill, voided=True))) == {"purchase", "cancellation"}


def test_a_negative_price_is_a_return_and_voided_it_is_nothing() -> None:
    back = only("transactions", order(check(selection("-5.00"))))
    assert (back["is_return"], back["item_quantity"], back["item_revenue"]) == (True, -1, -5)
    assert rows("transactions", order(check(selection("-5.00", voided=True)))) == []


def test_tips_gratuities_and_service_charges_are_no_revenue() -> None:
    charges = [service_charge("5.00"), service_charge("3.00", gratuity=True)]
    made = order(check(selection("10.00"), appliedServiceCharges=charges, payments=[payment("19", tip="4")]))
    assert only("transactions", made)["item_revenue"] == 10


def test_the_payment_method_is_that_of_the_largest_payment_taken() -> None:
    payments = [payment("3", type="CASH"), payment("8", type="GIFTCARD"), payment("99", voided=True)]
    assert only("transactions", order(check(payments=payments)))["payment_method"] == "GIFTCARD"
    assert only("transactions", order(check() | {"payments": []}))["payment_method"] is None


def test_an_order_of_several_guests_is_the_first_ones() -> None:
    made = order(check(), check(guest=customer(guid="a")), check(guest=customer(guid="b")))
    assert only("transactions", made)["fk_customer"] == "a"


def test_times_are_on_the_restaurants_clock_and_in_utc() -> None:
    row = only("transactions", order())
    assert row["order_datetime"] == "2025-09-19 14:00:00.000"
    assert row["order_datetime_utc"] == "2025-09-19 18:00:00.000"
    assert row["modified_at"] == "2025-09-19 18:45:12.345"
    assert row["modified_at_local"] == "2025-09-19 14:45:12.345"
    assert row["business_date"] == "2025-09-19"


def test_another_time_stands_in_where_the_order_was_never_opened() -> None:
    row = only("transactions", order(openedDate=None, createdDate=None))
    assert row["order_datetime_utc"] == "2025-09-19 18:40:00.000"


def test_store_brand_and_currency_are_on_every_row() -> None:
    row = only("transactions", order())
    assert (row["store_id"], row["store_name"]) == (invented.RESTAURANT, STORE)
    assert (row["purchase_brand"], row["currency"]) == ("Example Brand", "USD")


CONFIGURED = names(dining_option=Name("Walk-up", "TAKE_OUT"))
OWN = ref("dining_option") | {"behavior": "DINE_IN"}


@pytest.mark.parametrize(
    ("said", "names", "channels"),
    [
        ({"source": "Kiosk", "diningOption": OWN}, CONFIGURED, ("TAKE_OUT", "Kiosk")),
        ({"source": None, "diningOption": ref("dining_option")}, CONFIGURED, ("TAKE_OUT", None)),
        ({"source": "Kiosk", "diningOption": OWN}, names(), ("DINE_IN", "Kiosk")),
        ({"source": "Kiosk", "diningOption": OWN}, names(dining_option=Name("Walk-up")), ("DINE_IN", "Kiosk")),
        ({"source": "Kiosk", "diningOption": OWN}, names(menu_item=Name("Soup", "TAKE_OUT")), ("DINE_IN", "Kiosk")),
        ({"source": "Kiosk", "diningOption": ref("dining_option")}, names(), ("Kiosk", "Kiosk")),
        ({"source": "Kiosk", "diningOption": {"behavior": "DELIVERY"}}, CONFIGURED, ("DELIVERY", "Kiosk")),
        ({"source": "Kiosk", "diningOption": None}, CONFIGURED, ("Kiosk", "Kiosk")),
        ({"source": None, "diningOption": None}, CONFIGURED, ("Unknown", None)),
        ({"source": "", "diningOption": ref("dining_option") | {"behavior": ""}}, names(), ("Unknown", None)),
    ],
)
@pytest.mark.parametrize("feed", ["transactions", "order_items"])
def test_the_purchase_channel_is_the_dining_behavior_and_the_digital_channel_is_toasts_source(
    feed: str, said: Json, names: Names, channels: tuple[str, str | None]
) -> None:
    row = only(feed, order(**said), names=names)
    assert (row["purchase_channel"], row["digital_channel"]) == channels


MENU = names(sales_category=Name("Food"), menu_group=Name("Soups"))
PLACED: dict[str, Any] = {"salesCategory": ref("sales_category"), "itemGroup": ref("menu_group")}


@pytest.mark.parametrize("feed", ["transactions", "order_items"])
def test_category_and_subcategory_are_the_names_of_sales_category_and_menu_group(feed: str) -> None:
    def found(names: Names = MENU, **placed: Json | None) -> tuple[str | None, str | None]:
        row = only(feed, order(check(selection(**PLACED | placed))), names=names)
        return row["product_category"], row["product_subcategory"]

    assert found() == ("Food", "Soups")
    assert found(salesCategory=None) == (None, "Soups")
    assert found(itemGroup=None) == ("Food", None)
    assert found(names(menu_group=Name("Soups"))) == (None, "Soups")
    assert found(names()) == (None, None)


def test_a_product_whose_first_item_has_no_category_has_that_of_the_next() -> None:
    items = [selection(salesCategory=None), selection(**PLACED | {"itemGroup": None}), selection(**PLACED)]
    row = only("transactions", order(check(*items)), names=MENU)
    assert (row["product_category"], row["product_subcategory"], row["item_quantity"]) == ("Food", "Soups", 3)


def test_returns_and_cancellations_have_the_names_of_their_purchase() -> None:
    item = selection("20.00", refundDetails=refund_details("20.00"), **PLACED)
    voided = salad("4.00", voided=True, voidDate=AFTER, **PLACED)
    found = rows("transactions", order(check(item, voided, payments=[payment("21.60", refund="29.32")])), names=MENU)
    kinds = [row["transaction_item_id"].rpartition("|")[2] for row in found]
    assert kinds == ["purchase", "return", "purchase", "cancellation", "return"]
    named = [(row["product_category"], row["product_subcategory"]) for row in found]
    assert named == [("Food", "Soups")] * 4 + [(None, None)]
    assert [row["item_revenue"] for row in found] == [20, -20, 4, -4, -5]


def test_a_return_is_what_was_given_back_and_has_no_discount() -> None:
    item = selection("20.00", off="1.00", refundDetails=refund_details("17.00", "1.36"))
    bill = check(item, appliedDiscounts=[discount("2.00")], payments=[payment("18.36", refund="18.36")])
    back = by_kind(order(bill))["return"]
    amounts = [back[name] for name in ("item_list_price", "item_discount_amount", "check_discount_amount")]
    assert (amounts, back["item_tax_amount"]) == ([-17, 0, 0], Decimal("-1.36"))


def test_the_guides_example_is_a_transaction() -> None:
    row = only("transactions", guide_order())
    assert (row["item_revenue"], row["product_name"]) == (1500, "Flatbread")
    assert (row["purchase_channel"], row["digital_channel"]) == ("DELIVERY", "ONLINE")
