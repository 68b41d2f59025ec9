"""What goes with a guest and what stays: byte for byte, and not a value more."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest

from toast_assets.orders.identity import Forgotten, given_traits
from toast_assets.orders.raw import version_of
from toast_assets.orders.scrub import Scrubber
from toast_assets_tests.support.data import invented
from toast_assets_tests.support.services.simulated import raw_order
from toast_assets_tests.support.stores.guests import EMAIL, PHONE, guest

NOW = datetime(2025, 10, 1, tzinfo=UTC)


def scrubber(*given: str) -> Scrubber:
    return Scrubber(Forgotten(b"salt", {}).with_traits(given_traits(given), NOW, None))


def test_an_order_without_the_guest_is_the_very_same_object() -> None:
    (body,) = invented.encode(invented.order(invented.check(guest=invented.customer())))
    assert scrubber(EMAIL).order(body) is body


def test_digits_strangers_and_employees_stay() -> None:
    stranger = invented.check(guest=invented.customer("other@example.com"))
    (body,) = invented.encode(invented.order(stranger, invented.check(invented.selection("12.10"), guest=guest())))
    scrubbed = scrubber(EMAIL).order(body)
    assert b"12.10" in scrubbed
    assert b"edna@staff.example" in scrubbed
    before, after = msgspec.json.decode(body), msgspec.json.decode(scrubbed)
    assert after["checks"][0] == before["checks"][0]
    assert after["checks"][1]["customer"] is None
    assert {name: after[name] for name in after if name != "checks"} == {
        name: before[name] for name in before if name != "checks"
    }


def test_a_scrubbed_raw_order_has_the_version_of_its_new_bytes() -> None:
    (body,) = invented.encode(invented.order(invented.check(guest=guest())))
    order = raw_order("a", 0, body)
    scrubbed = scrubber(EMAIL).raw(order)
    assert scrubbed.version == version_of(scrubbed.body) != order.version
    assert scrubber("other@example.com").raw(order) is order


def test_scrubbing_twice_changes_nothing_more() -> None:
    (body,) = invented.encode(invented.order(invented.check(guest=guest(), tabName="Janelle")))
    once = scrubber(EMAIL).order(body)
    assert scrubber(EMAIL).order(once) is once


def test_a_guest_who_comes_back_later_is_a_new_guest() -> None:
    later = "2025-10-02T18:00:00.000+0000"
    returned = invented.order(invented.check(guest=guest())) | {"openedDate": later, "createdDate": later}
    (body,) = invented.encode(returned)
    assert scrubber(EMAIL).order(body) is body


@pytest.mark.parametrize(
    "times",
    [
        {"openedDate": "2025-10-02T18:00:00.000+0000"},
        {"createdDate": "2025-10-02T18:00:00.000+0000"},
        {"openedDate": "2025-10-02T01:00:00.000+0200", "createdDate": "2025-10-01T02:00:00.000+0200"},
        {"openedDate": "2025-10-02T18:00:00.000+0000", "createdDate": "some day"},
        {"openedDate": None, "createdDate": None},
    ],
)
def test_an_order_that_was_opened_or_created_before_is_no_new_one(times: dict[str, str | None]) -> None:
    """However late it was modified."""
    modified = {"modifiedDate": "2025-11-01T18:00:00.000+0000"}
    (body,) = invented.encode(invented.order(invented.check(guest=guest())) | modified | times)
    assert EMAIL.encode() not in scrubber(EMAIL).order(body).lower()


def test_an_order_of_a_forgotten_guest_stays_one_whatever_becomes_of_its_times() -> None:
    later = "2025-10-02T18:00:00.000+0000"
    order = invented.order(invented.check(guest=guest())) | {"openedDate": later, "createdDate": later}
    (body,) = invented.encode(order)
    forgotten = scrubber(EMAIL).forgotten.with_traits([f"o:{order['guid']}"], NOW, None)
    assert EMAIL.encode() not in Scrubber(forgotten).order(body).lower()


def test_escapes_hide_nobody() -> None:
    (body,) = invented.encode(invented.order(invented.check(guest=guest(guid=None, phone=None))))
    hidden = body.replace(b"Jane.Roe@", rb"Jane.Roe\u0040")
    assert hidden != body
    assert b"u0040" not in scrubber(EMAIL).order(hidden)


def test_what_says_who_paid_goes_at_any_depth_and_so_does_what_discounts_say_of_the_guest() -> None:
    modifiers = [invented.modifier(giftCardSelectionInfo={"last4CardDigits": "4711", "purchaserEmail": "p@x.org"})]
    reason = {"name": "Birthday", "comment": "Janelle turns 40"}
    discount = invented.discount("1.00", appliedDiscountReason=reason, loyaltyDetails={"referenceId": "card-of-jane"})
    item = invented.selection(modifiers=modifiers, appliedDiscounts=[discount])
    payment = invented.payment("10.00") | {"cardHolderLastName": "Roe", "last4Digits": "4711", "tipAmount": 2}
    theirs = invented.check(item, guest=guest(), payments=[payment], appliedPreauthInfo={"cardHolderName": "Roe"})
    stranger = invented.check(guest=invented.customer("x@example.com"), payments=[payment])
    (body,) = invented.encode(invented.order(theirs, stranger, appliedPreauthInfo={"cardHolderName": "Roe"}))
    after = msgspec.json.decode(scrubber(EMAIL).order(body))
    assert after["appliedPreauthInfo"] is None
    assert after["checks"][1]["payments"][0]["cardHolderLastName"] == "Roe"
    check = msgspec.json.encode(after["checks"][0])
    assert not [word for word in (b"Roe", b"4711", b"p@x.org", b"Janelle", b"card-of-jane") if word in check]
    assert after["checks"][0]["payments"][0]["tipAmount"] == 2
    assert after["checks"][0]["selections"][0]["appliedDiscounts"][0]["appliedDiscountReason"]["name"] == "Birthday"


def test_a_contact_goes_as_a_fields_name_as_a_number_in_an_address_and_behind_an_escape() -> None:
    odd = rb"""{"map":{"Jane.Roe@example.org":1,"jane.roe@example.org":2,"x":3},"call":16175550188,
        "n":[6175550188,12.10],"link":"https://x/?e=jane.roe%40example.org&n=1","text":"call\njane.roe@example.org"}"""
    scrubbed = scrubber(EMAIL, PHONE).text(odd)
    assert msgspec.json.decode(scrubbed) == {
        "map": {"forgotten-1": 1, "forgotten-2": 2, "x": 3},
        **{"call": None, "n": [None, 12.10], "link": None, "text": None},
    }


@pytest.mark.parametrize("text", [rb'"C:\\"', rb'"say \"hi\""', rb'"\\\\", "\n"'])
def test_backslashes_are_part_of_their_text(text: bytes) -> None:
    body = b'{"guid":"o","names":[%b],"contact":"jane.roe@example.org"}' % text
    assert scrubber(EMAIL).order(body) == body.replace(b'"jane.roe@example.org"', b"null")


def test_what_says_who_paid_goes_from_a_pick_up_too() -> None:
    car = {"transportColor": "red", "cardHolderName": "Roe", "arrived": True}
    (body,) = invented.encode(invented.order(invented.check(guest=guest()), curbsidePickupInfo=car))
    after = msgspec.json.decode(scrubber(EMAIL).order(body))
    assert after["curbsidePickupInfo"] == {"transportColor": None, "cardHolderName": None, "arrived": True}


def test_checks_in_two_fields_of_one_name_are_all_the_guests() -> None:
    check = b'{"guid":"c","tabName":"Janelle","customer":{"email":"jane.roe@example.org"}}'
    body = b'{"guid":"o","checks":[%b,%b],"checks":[%b]}' % (check, check, check)
    assert b"Janelle" not in scrubber(EMAIL).order(body)


def test_an_order_of_any_depth_is_searched() -> None:
    deep = b'{"guid":"o","x":' + b"[" * 5000 + b'"jane.roe@example.org"' + b"]" * 5000 + b"}"
    assert scrubber(EMAIL).order(deep) == deep.replace(b'"jane.roe@example.org"', b"null")
