"""Who is meant: one form for each way of writing a GUID, an e-mail or a phone."""

from __future__ import annotations

from hashlib import sha256

import pytest

from toast_assets.amperity.redaction import Redaction
from toast_assets.errors import NoGuestError
from toast_assets.orders.identity import (
    doubtful,
    email_key,
    given_trait,
    given_traits,
    guest_key,
    normal_email,
    normal_phone,
    order_customer,
    traits,
)
from toast_assets.orders.model import Customer
from toast_assets.orders.read import decode_order
from toast_assets_tests.support.data.invented import check, customer, encode, order


@pytest.mark.parametrize(
    ("given", "trait"),
    [
        (" Jane@Example.ORG\n", "e:jane@example.org"),
        ("(617) 555-0188", "p:6175550188"),
        ("+1 617.555.0188", "p:6175550188"),
        ("+44 20 7946 0958", "p:+442079460958"),
        ("0d3c6a52-7c3d-4e8f-9a10-4d2c6b7e8f01", "g:0d3c6a52-7c3d-4e8f-9a10-4d2c6b7e8f01"),
        ("{0D3C6A52-7C3D-4E8F-9A10-4D2C6B7E8F01}", "g:0d3c6a52-7c3d-4e8f-9a10-4d2c6b7e8f01"),
        ("urn:uuid:0d3c6a52-7c3d-4e8f-9a10-4d2c6b7e8f01", "g:0d3c6a52-7c3d-4e8f-9a10-4d2c6b7e8f01"),
        ("mailto:Jane@Example.org", "e:jane@example.org"),
        ("Jane Roe <jane@example.org>", "e:jane@example.org"),
        ('"jane@example.org";', "e:jane@example.org"),
        ("\ufeffjane@example.org", "e:jane@example.org"),
        ("tel:+1-617-555-0188", "p:6175550188"),
        ("+1\u00a0(617)\u00a0555\u20130188", "p:6175550188"),
        ("1-617-555-0188", "p:6175550188"),
        ("617.555.0188 x12", "p:6175550188"),
        ("tel:617-555-0188;ext=12", "p:6175550188"),
    ],
)
def test_what_is_typed_in_is_understood(given: str, trait: str) -> None:
    assert given_trait(given) == trait


def test_a_phone_is_the_same_whether_the_country_stands_before_it_or_beside_it() -> None:
    assert traits(phone="020 7946 0958", country_code="44") == [given_trait("+44 20 7946 0958")]


@pytest.mark.parametrize(
    "given", ["000-000-0000", "Jane Roe", "jane@", "jane.roe@example", "@example.org", "a@b.org c@d.org", "x" * 101]
)
def test_what_names_nobody_is_refused_by_its_line_without_repeating_it(given: str) -> None:
    with pytest.raises(NoGuestError, match=r"^No guest's GUID, e-mail or phone in line 3 \(2 are fine\)") as caught:
        given_traits(["a@example.org", "", given, "+1 617 555 0188"])
    assert given not in str(caught.value)


def test_several_lines_that_name_nobody_are_named_together() -> None:
    with pytest.raises(NoGuestError, match=r"No guest's .* in line 1, 3 \(1 are fine\)"):
        given_traits(["jane@", "jane@example.org", "Jane Roe"])


def test_a_guid_that_is_no_uuid_is_doubtful_until_it_is_found() -> None:
    assert [doubtful(trait) for trait in given_traits(["not-an-email", "jane-doe", "12"])] == [True] * 3
    known = given_traits(["0d3c6a52-7c3d-4e8f-9a10-4d2c6b7e8f01", "jane@example.org", "617-555-0188"])
    assert not any(map(doubtful, known))


def test_nobody_is_refused() -> None:
    with pytest.raises(NoGuestError, match="No guest was named"):
        given_traits(["", " "])


# The key under which a guest is known


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
        ("79460", "44", None),
        ("0000001", "44", None),
        ("617-555-0111 617-555-0222", None, None),
        ("617.555.0111 x12", None, "6175550111"),
        ("617.555.0111x12", "1", "6175550111"),
        ("(617) 555-0111 ext. 12", None, "6175550111"),
        ("617-555-0111 #12", None, "6175550111"),
        ("617-555-0111;ext=12", None, "6175550111"),
        ("Home: 617 555 0111", None, "6175550111"),
        ("+44 20 7946 0958 ext 7", None, "+442079460958"),
        ("001 617 555 0111", None, "6175550111"),
        ("011 44 20 7946 0958", "1", "+442079460958"),
        ("0044 20 7946 0958", None, "+442079460958"),
        ("0044 20 7946 0958", "44", "+442079460958"),
        ("442079460958", None, "+442079460958"),
        ("+44 (0)20 7946 0958", "44", "+442079460958"),
        ("(+44) 20 7946 0958", None, "+442079460958"),
        ("0114 234 5678", "44", "+441142345678"),
        ("011 91234 5678", "55", "+5511912345678"),
        ("353861234567", "353", "+353861234567"),
        ("086 123 4567", "353", "+353861234567"),
        ("086 123 4567", "00353", "+353861234567"),
        ("393 123 4567", "39", "+393931234567"),
        ("+44 20 7946 0958", "1", "+442079460958"),
        ("+1 617 555 0111", "44", "6175550111"),
        ("322 1234", "1242", "2423221234"),
    ],
)
def test_north_american_numbers_have_ten_digits_and_others_their_country(
    phone: str, code: str | None, expected: str | None
) -> None:
    assert normal_phone(phone, code) == expected


@pytest.mark.parametrize("email", ["greta@example.com", " Greta@Example.COM "])
def test_an_e_mail_has_one_key_however_it_is_typed_and_with_a_salt_that_of_hashed_fields(email: str) -> None:
    assert email_key(email) == hashed("greta@example.com")
    assert email_key(email, b"salt") == Redaction({}, b"salt").hashed("greta@example.com")


@pytest.mark.parametrize("email", [None, "", "no e-mail"])
def test_what_is_no_e_mail_has_no_key(email: str | None) -> None:
    assert email_key(email) is email_key(email, b"salt") is None


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
