"""Reading an order: exact money, every shape that Toast and the guide's example are known to send."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toast_assets.orders.model import Order, decode_order
from toast_assets_tests.guide import guide_order
from toast_assets_tests.invented import Json, check, customer, encode, gift_card, modifier, order, payment, selection


def decoded(made: Json) -> Order:
    return decode_order(encode(made)[0])


def first_check(made: Json | bytes) -> Any:
    checks = decode_order(made if isinstance(made, bytes) else encode(made)[0]).checks
    assert checks
    return checks[0]


def only_selection(made: Json) -> Any:
    return first_check(made).selections[0]


@pytest.mark.parametrize("digits", ["8.99", "111", "12.10", "0.1", "-3.50", "1e2", "10.989999999999998", '"8.99"'])
def test_money_keeps_the_digits_that_toast_sent(digits: str) -> None:
    data = b'{"guid": "o", "checks": [{"amount": %s}]}' % digits.encode()
    assert first_check(data).amount == Decimal(digits.strip('"'))


@given(st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-(10**9), max_value=10**9))
def test_any_amount_is_read_exactly(amount: Decimal) -> None:
    assert first_check({"guid": "o", "checks": [{"totalAmount": amount}]}).total_amount == amount


def test_an_order_of_nothing_but_a_guid_is_read() -> None:
    assert decode_order(b'{"guid": "o"}') == Order(guid="o")


def test_null_is_read_wherever_a_field_can_be() -> None:
    nothing = dict.fromkeys(order(), None)
    assert decoded(nothing | {"guid": "o"}) == Order(guid="o")
    bare = dict.fromkeys(check(), None)
    bare_line = dict.fromkeys(selection(), None)
    bare_payment = dict.fromkeys(payment(), None)
    assert first_check(order(bare)).selections is None
    read = first_check(order(bare | {"selections": [bare_line], "payments": [bare_payment]}))
    assert not read.selections[0].is_gone
    assert not read.payments[0].is_voided


@pytest.mark.parametrize("guest", [None, {"guid": "g"}, customer(guid=None), customer(phone=None, email=None)])
def test_a_guest_may_be_missing_in_part_or_whole(guest: Json | None) -> None:
    assert (first_check(order(check(guest=guest))).customer is None) == (guest is None)


def test_a_guest_may_be_absent() -> None:
    made = check()
    del made["customer"]
    assert first_check(order(made)).customer is None


def test_modifiers_are_read_to_any_depth() -> None:
    deep = modifier(modifiers=[modifier(modifiers=[modifier(displayName="deepest")])])
    item = only_selection(order(check(selection(modifiers=[deep]))))
    assert item.modifiers[0].modifiers[0].modifiers[0].name == "deepest"


def test_a_gift_card_is_no_revenue_even_without_the_deferred_flag() -> None:
    assert not only_selection(order(check(gift_card(deferred=None)))).is_revenue


def test_fields_and_enum_values_that_nobody_knows_are_no_error() -> None:
    made = order(check(payments=[payment(type="SEASHELLS")]), somethingNew={"a": [1]}, source="Telepathy")
    assert decoded(made).source == "Telepathy"


def test_numbers_sent_as_text_are_still_numbers() -> None:
    read = decode_order(b'{"guid": "o", "businessDate": "20250919", "numberOfGuests": "2", "voided": "false"}')
    assert (read.business_date, read.number_of_guests, read.voided) == (20250919, 2, False)


def test_the_guides_example_is_read_in_its_own_spelling() -> None:
    read = decoded(guide_order())
    assert read.number == "777"
    assert read.served_as is not None
    assert read.served_as.behavior == "DELIVERY"
    assert read.delivery_info is not None
    assert read.delivery_info.place.zip_code == "01234"
    assert read.delivery_info.instructions == "Second door"
    item = only_selection(guide_order())
    assert (item.name, item.lookup_code, item.modifiers[0].name) == ("Flatbread", "PLU1", "Olives")


@pytest.mark.parametrize("made", [order(), guide_order()])
def test_employees_names_and_card_numbers_are_never_read(made: Json) -> None:
    text = repr(decoded(made))
    assert "Edna" not in text
    assert "edna@" not in text
    assert "4242" not in text
    assert "411111" not in text


def test_the_date_of_a_deletion_counts_only_with_the_flag() -> None:
    assert decoded(order()).gone_date is None
    assert decoded(order(deleted=True)).gone_date == "2025-09-19T18:44:00.000+0000"


@pytest.mark.parametrize("data", [b"", b"<html>", b"[]", b'{"guid": "o", "checks": [{"amount": "Greta"}]}'])
def test_what_cannot_be_read_is_an_error_that_does_not_repeat_it(data: bytes) -> None:
    with pytest.raises(msgspec.DecodeError) as caught:
        decode_order(data)
    assert "Greta" not in str(caught.value)
