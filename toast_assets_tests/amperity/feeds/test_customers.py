"""The customers: one row per guest, the newest wins, and nothing that is known is forgotten."""

from __future__ import annotations

import itertools
from hashlib import sha256

import pytest

from toast_assets_tests.amperity.feeds.rows import only, rows
from toast_assets_tests.support.data.guide import guide_order
from toast_assets_tests.support.data.invented import Json, check, customer, order

MONDAY, TUESDAY, FRIDAY = (f"2025-09-{day}T12:00:00.000+0000" for day in (15, 16, 19))
ADDRESS = {"address1": "1 Example Road", "city": "Sampleton", "state": "MA", "zipCode": "01234", "address2": ""}


def visit(guest: Json | None, modified: str = MONDAY, **more: object) -> Json:
    return order(check(guest=guest), modifiedDate=modified, **more)  # type: ignore[arg-type]


def test_a_guest_is_one_row_however_many_orders_there_are() -> None:
    guest = customer(guid="g")
    assert only("customers", visit(guest), visit(guest, FRIDAY))["customer_id"] == "g"


def test_each_field_is_of_the_newest_order_that_has_it_whatever_comes_first() -> None:
    visits = [
        visit(customer(guid="g", firstName="Old", email="old@example.com"), MONDAY),
        visit(customer(guid="g", firstName="Newer", email="newer@example.com"), TUESDAY),
        visit(customer(guid="g", firstName="New", email=None), FRIDAY),
    ]
    for sequence in itertools.permutations(visits):
        row = only("customers", *sequence)
        assert (row["given_name"], row["email"]) == ("New", "newer@example.com")
        assert row["modified_at"] == "2025-09-19 12:00:00.000"
        assert row["modified_at_local"] == "2025-09-19 08:00:00.000"


def test_an_address_outlives_orders_without_one() -> None:
    for sequence in itertools.permutations(
        [
            visit(customer(guid="g"), TUESDAY, deliveryInfo=ADDRESS),
            visit(customer(guid="g", firstName="New"), FRIDAY),
            visit(customer(guid="g"), MONDAY, deliveryInfo=ADDRESS | {"address1": "Old Lane"}),
        ]
    ):
        row = only("customers", *sequence)
        assert (row["address"], row["postal"], row["given_name"]) == ("1 Example Road", "01234", "New")
        assert row["address2"] is None


def test_an_address_is_never_a_mixture_of_two() -> None:
    old = ADDRESS | {"address2": "Floor 3"}
    new = {"address1": "2 Other Street", "city": "Otherton"}
    row = only("customers", visit(customer(guid="g"), deliveryInfo=old), visit({"guid": "g"}, FRIDAY, deliveryInfo=new))
    assert [row[name] for name in ("address", "address2", "city", "state", "postal")] == [
        *("2 Other Street", None, "Otherton", None, None)
    ]
    assert (row["email"], row["modified_at"]) == ("guest@example.com", "2025-09-19 12:00:00.000")


def test_the_key_of_an_e_mail_is_the_hash_of_its_normal_form() -> None:
    row = only("customers", visit(customer(" Greta@Example.COM")))
    assert row["email_key"] == sha256(b"greta@example.com").hexdigest()
    assert only("customers", visit(customer(None)))["email_key"] is None


def loyal(guest: Json | None, account: object, modified: str = MONDAY) -> Json:
    return order(check(guest=guest, appliedLoyaltyInfo=account), modifiedDate=modified)


def test_the_loyalty_account_is_the_newest_on_a_check_that_names_the_guest() -> None:
    guest = customer(guid="g")
    visits = [
        loyal(guest, {"loyaltyIdentifier": "old"}, MONDAY),
        loyal({"guid": "g"}, {"loyaltyIdentifier": " 617.555.0188 "}, TUESDAY),
        loyal(guest, {"loyaltyIdentifier": None}, FRIDAY),
        loyal(guest, None, FRIDAY),
    ]
    for sequence in itertools.permutations(visits):
        assert only("customers", *sequence)["loyalty_id"] == "617.555.0188"


def test_a_loyalty_account_is_that_of_its_own_checks_guest_and_of_nobody_where_there_is_none() -> None:
    bills = [check(guest=customer(guid="a"), appliedLoyaltyInfo={"loyaltyIdentifier": "1"})]
    bills += [check(guest=customer(guid="b")), check(appliedLoyaltyInfo={"loyaltyIdentifier": "3"})]
    found = rows("customers", order(*bills))
    assert {row["customer_id"]: row["loyalty_id"] for row in found} == {"a": "1", "b": None}


@pytest.mark.parametrize(
    ("account", "known"),
    [
        ({"loyaltyIdentifier": 6175550188}, "6175550188"),
        ({"loyaltyIdentifier": ["1"]}, None),
        ({"loyaltyIdentifier": "  "}, None),
        ("Gold", None),
    ],
)
def test_a_loyalty_account_of_an_unexpected_type_is_read_where_it_has_digits(
    account: object, known: str | None
) -> None:
    row = only("customers", loyal(customer(), account))
    assert (row["loyalty_id"], row["given_name"]) == (known, "Greta")


def test_an_order_that_knows_a_guest_by_guid_alone_takes_nothing_away() -> None:
    row = only("customers", visit({"guid": "g"}, FRIDAY), visit(customer(guid="g"), MONDAY))
    assert (row["given_name"], row["modified_at"]) == ("Greta", "2025-09-15 12:00:00.000")


def test_a_row_that_knows_only_a_guid_can_never_replace_a_better_one() -> None:
    row = only("customers", visit({"guid": "g"}, FRIDAY))
    assert row["modified_at"] == row["modified_at_local"] == "1970-01-01 00:00:00.000"
    assert row["fk_customer"] == "g"
    assert row["email"] is None


def test_a_guest_without_a_guid_is_known_by_e_mail_else_by_phone() -> None:
    by_mail = visit(customer("Greta@Example.com ", guid=None))
    by_phone = visit(customer(None, guid=None))
    keys = {row["customer_id"] for row in rows("customers", by_mail, by_phone)}
    assert keys == {sha256(text).hexdigest() for text in (b"greta@example.com", b"6175550123")}


def test_a_guest_of_whom_only_the_name_is_known_is_no_customer() -> None:
    made = visit(customer(None, guid=None, phone=None))
    assert rows("customers", made) == []
    assert only("transactions", made)["fk_customer"] is None


def test_every_guest_of_an_order_has_a_row_and_the_address_is_the_first_ones() -> None:
    made = order(check(guest=customer(guid="a")), check(guest=customer(guid="b")), deliveryInfo=ADDRESS)
    assert {row["customer_id"]: row["address"] for row in rows("customers", made)} == {"a": "1 Example Road", "b": None}


@pytest.mark.parametrize(("flag"), ["voided", "deleted"])
def test_a_guest_of_a_voided_order_is_still_a_guest(flag: str) -> None:
    assert only("customers", visit(customer(guid="g")) | {flag: True})["customer_id"] == "g"


def test_every_customer_key_of_the_transactions_has_its_row() -> None:
    made = [visit(customer(guid="a")), visit({"guid": "b"}), visit(customer(guid=None)), visit(None), guide_order()]
    keys = {row["fk_customer"] for row in rows("transactions", *made)} - {None}
    assert keys == {row["customer_id"] for row in rows("customers", *made)}


def test_e_mail_and_phone_are_normalised_and_null_when_they_are_none() -> None:
    row = only("customers", visit(customer(" Greta@Example.COM", phone="+1-617-555-0123")))
    assert (row["email"], row["phone"]) == ("greta@example.com", "6175550123")
    row = only("customers", visit(customer("none", phone="000-000-0000")))
    assert (row["email"], row["phone"]) == (None, None)
