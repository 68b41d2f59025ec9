"""Reading an order: exact money, every shape that Toast and the guide's example are known to send."""

from __future__ import annotations

import copy
import re
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toast_assets.orders.model import Order
from toast_assets.orders.read import UnreadableOrderError, decode_order
from toast_assets_tests.support.data.guide import guide_order
from toast_assets_tests.support.data.invented import (
    Json,
    check,
    customer,
    encode,
    gift_card,
    modifier,
    order,
    payment,
    selection,
)


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


def noted(made: bytes) -> tuple[Order, list[str]]:
    notes: list[str] = []
    return decode_order(made, notes), notes


@pytest.mark.parametrize("number", ["20250919", '"20250919"', "20250919.0"])
def test_numbers_sent_as_text_are_still_numbers(number: str) -> None:
    read, notes = noted(b'{"guid": "o", "businessDate": %s, "numberOfGuests": "2"}' % number.encode())
    assert (read.business_date, read.number_of_guests, notes) == (20250919, 2, [])


@pytest.mark.parametrize(
    ("place", "value", "expected"),
    [
        ("displayNumber", b"12", "12"),
        ("displayNumber", b"12345678901234567890", "12345678901234567890"),
        ("displayNumber", b"2.5", None),
        ("displayNumber", b"true", None),
        ("source", b'{"name": "Online"}', None),
        ("source", b"1e999", None),
        ("numberOfGuests", b'"2"', 2),
        ("numberOfGuests", b"2.0", 2),
        ("numberOfGuests", b"2.5", None),
        ("numberOfGuests", b"9223372036854775808", None),
        ("numberOfGuests", b"9" * 5000, None),
        ("numberOfGuests", b"[]", None),
        ("duration", b"99999999999", None),
        ("deliveryInfo", b'"here"', None),
        ("table", b"5", None),
    ],
)
def test_an_optional_field_of_an_unexpected_type_is_read_without_loss_or_is_null_and_noted(
    place: str, value: bytes, expected: object
) -> None:
    read, notes = noted(b'{"guid": "o", "%s": %s, "unknown": 1e999}' % (place.encode(), value))
    name = "".join("_" + letter.lower() if letter.isupper() else letter for letter in place)
    assert getattr(read, name) == expected
    assert notes == ([] if expected is not None else [place])


def test_odd_optional_fields_at_any_depth_leave_the_rest_of_the_order_as_it_is() -> None:
    good = order(check(selection(modifiers=[modifier(modifiers=[modifier()])])), deliveryInfo={"latitude": 1.5})
    bill = good["checks"][0]
    bill |= {"customer": customer(lastName="7"), "payments": [payment()]}
    odd = copy.deepcopy(good)
    odd["deliveryInfo"]["latitude"] = "1.5"
    odd["checks"][0]["customer"]["lastName"] = 7
    odd["checks"][0]["selections"][0]["modifiers"][0]["modifiers"][0]["plu"] = []
    assert noted(encode(odd)[0]) == (decoded(good), ["checks.selections.modifiers.plu"])


@pytest.mark.parametrize("value", [b"{}", b'{"guid": "m"}', b"[5]", b"7"])
def test_modifiers_that_are_none_are_null_and_noted(value: bytes) -> None:
    read, notes = noted(b'{"guid":"o","checks":[{"selections":[{"price":5,"modifiers":%s}]}]}' % value)
    assert read.checks
    assert read.checks[0].selections
    assert read.checks[0].selections[0].price == 5
    assert notes == ["checks.selections.modifiers"]


@pytest.mark.parametrize(
    ("order_of", "field"),
    [
        (b'{"guid":5}', "got `decimal` - at `$.guid`"),
        (b'{"guid":"o","voided":"true"}', "got `str` - at `$.voided`"),
        (b'{"guid":"o","deleted":0}', "got `decimal` - at `$.deleted`"),
        (b'{"guid":"o","openedDate":1736136000000}', "got `decimal` - at `$.openedDate`"),
        (b'{"guid":"o","businessDate":"2025-09-19"}', "got `str` - at `$.businessDate`"),
        (b'{"guid":"o","checks":{"a":1}}', "got `object` - at `$.checks`"),
        (b'{"guid":"o","checks":[null]}', "got `null` - at `$.checks[0]`"),
        (
            b'{"guid":"o","checks":[{"selections":[{"quantity":""}]}]}',
            "Invalid decimal string - at `$.checks[0].selections[0].quantity`",
        ),
        (b'{"guid":"o","checks":[{"amount":{"amount":1050}}]}', "got `object` - at `$.checks[0].amount`"),
        (
            b'{"guid":"o","checks":[{"payments":[{"tipAmount":true}]}]}',
            "got `bool` - at `$.checks[0].payments[0].tipAmount`",
        ),
        (
            b'{"guid":"o","checks":[{"payments":[{"refund":[]}]}]}',
            "got `array` - at `$.checks[0].payments[0].refund`",
        ),
        (
            b'{"guid":"o","checks":[{"selections":[{"modifiers":[{"price":"x"}]}]}]}',
            "Invalid decimal string - at `$.checks[0].selections[0].modifiers[0].price`",
        ),
    ],
)
def test_amounts_quantities_times_flags_guids_and_what_holds_them_are_never_null(order_of: bytes, field: str) -> None:
    with pytest.raises(UnreadableOrderError, match=re.escape(field)):
        decode_order(order_of)


@pytest.mark.parametrize("levels", [400, 1_000, 100_000])
def test_an_order_is_read_however_deep_a_field_that_is_not_needed_is_nested(levels: int) -> None:
    deep = b"[" * levels + b"]" * levels
    assert decode_order(b'{"x":%s,"guid":"o","table":%s}' % (deep, deep)) == Order(guid="o")


@pytest.mark.parametrize("levels", [101, 149, 400, 2_000, 50_000])
def test_modifiers_that_are_nested_beyond_all_measure_are_an_error_at_every_depth(levels: int) -> None:
    modifiers = b'{"guid":"m","modifiers":[' * levels + b"]}" * levels
    with pytest.raises(UnreadableOrderError, match="more than 100 levels deep"):
        decode_order(b'{"guid":"o","checks":[{"selections":[{"guid":"s","modifiers":[%s]}]}]}' % modifiers)


def test_half_of_an_escaped_pair_is_read_beside_an_odd_field() -> None:
    read, notes = noted(rb'{"guid":"o","displayNumber":[],"source":"cut \ud83d"}')
    assert (read.source, notes) == ("cut \ufffd", ["displayNumber"])


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
    with pytest.raises(UnreadableOrderError) as caught:
        decode_order(data)
    assert "Greta" not in str(caught.value)
