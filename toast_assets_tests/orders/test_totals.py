"""Net sales by Toast's recipe, one rule at a time."""

from __future__ import annotations

from decimal import Decimal

import pytest

from toast_assets.orders.read import decode_order
from toast_assets.orders.totals import Totals
from toast_assets_tests.support.data.guide import guide_order
from toast_assets_tests.support.data.invented import (
    Json,
    check,
    discount,
    encode,
    gift_card,
    modifier,
    order,
    payment,
    refund_details,
    selection,
    service_charge,
)
from toast_assets_tests.support.data.totals import order_totals


def totals(made: Json) -> Totals:
    return order_totals(decode_order(encode(made)[0]))


def sales(*bills: Json, **more: object) -> Decimal:
    return order_totals(decode_order(encode(order(*bills, **more))[0])).net_sales  # type: ignore[arg-type]


def test_net_sales_are_the_items_gross_prices() -> None:
    assert sales(check(selection("8.99"), selection("111"))) == Decimal("119.99")


def test_a_modifiers_price_is_in_its_items_price_already() -> None:
    assert sales(check(selection("10.00", modifiers=[modifier("2.00")]))) == Decimal("10.00")


def test_the_checks_of_an_order_add_up() -> None:
    assert sales(check(selection("1.10")), check(selection("2.20"))) == Decimal("3.30")


def test_an_items_discounts_are_subtracted_without_their_tax() -> None:
    item = selection("10.00", appliedDiscounts=[discount("1.50", taxed="1.62"), discount("0.25")])
    assert sales(check(item)) == Decimal("8.25")


def test_a_discounts_whole_amount_stands_in_where_its_non_tax_amount_is_null() -> None:
    assert sales(check(selection(appliedDiscounts=[discount("2.00", nonTaxDiscountAmount=None)]))) == Decimal("8.00")


@pytest.mark.parametrize("state", ["VOID", "PENDING_VOID"])
def test_a_loyalty_reward_that_was_taken_back_is_not_subtracted(state: str) -> None:
    assert sales(check(selection(appliedDiscounts=[discount("2.00", processingState=state)]))) == Decimal("10.00")


def test_a_discount_on_the_check_is_subtracted_once() -> None:
    assert sales(check(selection("10.00"), appliedDiscounts=[discount("3.00")])) == Decimal("7.00")


def test_a_service_charge_is_added_unless_it_is_a_gratuity() -> None:
    charges = [service_charge("4.00"), service_charge("9.00", gratuity=True)]
    assert sales(check(selection("10.00"), appliedServiceCharges=charges)) == Decimal("14.00")


def test_gift_cards_are_no_sales() -> None:
    assert sales(check(selection("10.00"), gift_card("50.00"))) == Decimal("10.00")


def test_paying_off_a_house_account_is_no_sale() -> None:
    assert sales(check(selection("75.00", selectionType="HOUSE_ACCOUNT_PAY_BALANCE"))) == 0


@pytest.mark.parametrize("flag", ["voided", "deleted"])
def test_what_is_voided_or_deleted_counts_nowhere(flag: str) -> None:
    gone = {flag: True}
    assert sales(check(selection("10.00"), selection("5.00") | gone)) == Decimal("10.00")
    assert sales(check(selection("10.00")), check(selection("5.00")) | gone) == Decimal("10.00")
    assert sales(check(), **gone) == 0


def test_an_open_and_unpaid_check_counts() -> None:
    assert sales(check(paymentStatus="OPEN", payments=[])) == Decimal("10.00")


def test_a_refund_changes_no_sales() -> None:
    item = selection("10.00", refundDetails=refund_details("10.00", "0.80"))
    refunded = totals(order(check(item, payments=[payment("10.80", refund="10.80")])))
    assert refunded.net_sales == Decimal("10.00")
    assert refunded.refund_amount == Decimal("10.80")


def test_only_payments_that_took_money_count() -> None:
    payments = [payment("20", "2"), payment("20", "2", voided=True), payment("20", "2", paymentStatus="DENIED")]
    added = totals(order(check(payments=payments)))
    assert added.payment_amount == 20
    assert added.tip_amount == 2


def test_money_taken_for_a_voided_order_is_still_money_taken() -> None:
    added = totals(order(check(payments=[payment("20")]), voided=True))
    assert added.payment_amount == 20
    assert added.net_sales == added.tax_amount == 0


def test_an_order_without_checks_adds_up_to_nothing() -> None:
    assert totals(order() | {"checks": []}) == Totals()


def test_the_guides_example_adds_up_in_its_own_whole_numbers() -> None:
    assert totals(guide_order()).net_sales == 1500
