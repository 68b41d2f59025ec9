"""The key under which a guest is known."""

from __future__ import annotations

from hashlib import sha256

import pytest

from toast_assets.orders.guests import guest_key, normal_email, normal_phone, order_customer
from toast_assets.orders.model import Customer
from toast_assets.orders.read import decode_order
from toast_assets_tests.support.data.invented import check, customer, encode, order


def hashed(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def test_a_guest_is_known_by_toasts_guid() -> None:
    assert guest_key(Customer(guid="g", email="a@example.com")) == "g"


def test_without_a_guid_by_the_hash_of_the_e_mail_however_it_is_typed() -> None:
    assert guest_key(Customer(email=" Greta@Example.COM ")) == hashed("greta@example.com")


def test_without_an_e_mail_by_the_hash_of_the_phone_however_it_is_typed() -> None:
    keys = {
        guest_key(Customer(phone=phone))
        for phone in ["(617) 555-0123", "+1 617 555 0123", "617.555.0123", "16175550123"]
    }
    assert keys == {hashed("6175550123")}


@pytest.mark.parametrize(
    "guest", [None, Customer(), Customer(first_name="Greta"), Customer(email="none", phone="0000000000")]
)
def test_a_guest_of_whom_nothing_distinct_is_known_has_no_key(guest: Customer | None) -> None:
    assert guest_key(guest) is None


@pytest.mark.parametrize("text", ["greta", "@example.com", "a@b", "a b@example.com", "a@example..com", "", None])
def test_what_is_no_e_mail_is_none(text: str | None) -> None:
    assert normal_email(text) is None


@pytest.mark.parametrize(
    ("phone", "code", "expected"),
    [
        ("(617) 555-0123", None, "6175550123"),
        ("1-617-555-0123", "1", "6175550123"),
        ("+44 20 7946 0018", None, "+442079460018"),
        ("020 7946 0018", "44", "+442079460018"),
        ("911", None, None),
        ("999-999-9999", None, None),
    ],
)
def test_north_american_numbers_have_ten_digits_and_others_their_country(
    phone: str, code: str | None, expected: str | None
) -> None:
    assert normal_phone(phone, code) == expected


def test_the_guest_of_an_order_is_the_first_one_on_a_check_that_still_stands() -> None:
    made = order(check(guest=customer(guid="a"), voided=True), check(), check(guest=customer(guid="b")))
    guest = order_customer(decode_order(encode(made)[0]))
    assert guest is not None
    assert guest.guid == "b"


def test_a_voided_order_still_knows_its_guest() -> None:
    guest = order_customer(decode_order(encode(order(check(guest=customer(guid="a"), voided=True)))[0]))
    assert guest is not None
    assert guest.guid == "a"


def test_an_order_without_guests_has_none() -> None:
    assert order_customer(decode_order(encode(order())[0])) is None
