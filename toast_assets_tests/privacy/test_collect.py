"""Everything that is stored about one guest, nothing of another one, and the bucket stays as it is."""

from __future__ import annotations

from datetime import timedelta
from hashlib import sha256
from typing import Any

import msgspec
import pytest

from toast_assets.amperity.redaction import Redaction
from toast_assets.delivery.feed_files import write_feeds
from toast_assets.errors import NoGuestError, StoreError
from toast_assets.export.write import export_week
from toast_assets.orders.identity import given_traits
from toast_assets.privacy.collect import CollectGuest
from toast_assets.privacy.forget import ForgetGuest, UnknownGuestError
from toast_assets.sandbox import Sandbox
from toast_assets.store.order_store import OrderStore
from toast_assets.week import Week
from toast_assets_tests.support.data import invented
from toast_assets_tests.support.stores.deliveries import CUSTOMERS, deliver
from toast_assets_tests.support.stores.guests import (
    EMAIL,
    GUID,
    LOG,
    PHONE,
    SECRETS,
    content,
    fill,
    guest,
    holding,
    namings,
    weeks,
)
from toast_assets_tests.support.stores.stored_weeks import store_week

# An order's server is one of the restaurant's employees.
STRANGERS = ("stranger", "other@example.org", "6175560000", "edna@staff.example", "RestaurantUser")


def collect(store: OrderStore, *given: str, redaction: Redaction | None = None) -> dict[str, Any]:
    """The document, as its reader decodes it."""
    collected = CollectGuest(store, given_traits(given), redaction or Redaction()).run()
    document: dict[str, Any] = msgspec.json.decode(collected.document())
    return document


@pytest.mark.parametrize("given", [EMAIL, GUID, PHONE])
async def test_all_of_the_guest_is_collected_and_nothing_of_others_and_the_bucket_stays(
    sandbox: Sandbox, store: OrderStore, week: Week, given: str
) -> None:
    orders = namings()
    fill(store, week, orders, derived=True)
    await deliver(sandbox, week, AMPERITY_CUSTOMERS_STREAM_ID=CUSTOMERS)
    before = content(store)
    document = collect(store, given)
    assert content(store) == before
    text = msgspec.json.encode(document).decode()
    assert [secret for secret in SECRETS if secret not in text and secret != "jane.roe@example.org"] == []
    assert [stranger for stranger in STRANGERS if stranger in text] == []
    assert holding(store).keys() <= document["objects"].keys()
    assert document["look_at"] == {}
    assert document["known_by"] == {
        "guid": [GUID],
        "email": [EMAIL],
        "phone": [PHONE],
        "key_at_amperity": sorted([GUID, *(sha256(one.encode()).hexdigest() for one in (EMAIL, PHONE))]),
    }
    named = {order["guid"]: order for order in orders[:6]}
    assert {one["order_guid"] for one in document["orders"]} == named.keys()
    raw, export = store.layout.raw(week, "place-1"), store.layout.export(week, "place-1")
    assert all(one["objects"] == [raw, export] for one in document["orders"])
    assert {one["order_guid"] for one in document["customers"]} == named.keys()
    assert [row["email"] for row in document["guest_index"] if row["customer_id"] == GUID] == [EMAIL]
    assert len([row for row in document["feeds"] if row.get("given_name") == "Janelle"]) == 3
    assert {row["record_id"] for row in document["receipts"] if row["method"] == "stream"} == named.keys()
    assert GUID in {row["record_id"] for row in document["receipts"]}
    assert {(one["field"], one["of"]) for one in document["mentions"]} == {
        ("checks.0.appliedLoyaltyInfo.loyaltyIdentifier", orders[6]["guid"]),
        ("checks.0.selections.0.displayName", orders[7]["guid"]),
        *((one["field"], one["of"]) for one in document["mentions"] if "/amperity/" in one["object"]),
    }


def test_of_an_order_of_several_guests_only_the_own_checks_and_no_address_that_may_be_anothers(
    store: OrderStore, week: Week
) -> None:
    mine = invented.check(invented.selection("12.10"), guest=guest(), tabName="Janelle's tab")
    other = invented.check(guest=invented.customer("other@example.org"), tabName="Otto", note=f"splits with {EMAIL}")
    nobody = invented.check(tabName="Window seat")
    shared = invented.order(other, mine, nobody, deliveryInfo={"address1": "7 Other Street"})
    alone = invented.order(mine, nobody, deliveryInfo={"address1": "9 Hidden Lane"})
    store_week(store, week, {"place-1": invented.encode(shared, alone)})
    found = {one["order_guid"]: one for one in collect(store, EMAIL)["orders"]}
    for order, left_out in ((shared, ["deliveryInfo"]), (alone, [])):
        part = found[order["guid"]]
        assert part["left_out"] == left_out
        assert [check["tabName"] for check in part["order"]["checks"]] == ["Janelle's tab"]
        assert part["order"].keys() == order.keys() - set(left_out)
    (mention,) = collect(store, EMAIL)["mentions"]
    assert (mention["field"], mention["value"]) == ("checks.0.note", f"splits with {EMAIL}")
    raw = CollectGuest(store, given_traits([EMAIL])).run().document()
    assert b"12.10" in raw
    assert not [one for one in (b"Other Street", b"Otto", b"Window", b"other@example.org") if one in raw]


def test_an_order_is_there_once_in_its_newest_version_with_the_objects_of_all(store: OrderStore) -> None:
    first, second = weeks(2)
    order = invented.order(invented.check(guest=guest()), source="old")
    for week, source in ((second, "new"), (first, "old")):
        at = {"modifiedDate": f"{week.start + timedelta(days=1):%Y-%m-%dT%H:%M:%S}.000+0000"}
        store_week(store, week, {"place-1": invented.encode({**order, **at, "source": source})})
    # Read after all raw orders.
    export_week(first, store, LOG)
    (found,) = collect(store, GUID)["orders"]
    assert found["order"]["source"] == "new"
    raw = [store.layout.raw(week, "place-1") for week in (first, second)]
    assert found["objects"] == [*raw, store.layout.export(first, "place-1")]


async def test_a_refused_record_is_collected_without_the_other_guests_of_its_order(
    sandbox: Sandbox, store: OrderStore, week: Week
) -> None:
    fill(store, week, namings()[4:5], derived=False)
    sandbox.faults.arm("status", "stream", status=400, last=None)
    await deliver(sandbox, week, AMPERITY_MAX_REJECT_SHARE="1")
    (reject,) = collect(store, GUID)["rejects"]
    assert [check["customer"]["guid"] for check in reject["record"]["checks"]] == [GUID]


def test_rows_with_hashed_keys_and_contacts_are_found(store: OrderStore, week: Week) -> None:
    redaction = Redaction({"email": "hash", "phone": "drop"}, b"salt")
    fill(store, week, namings()[2:3], derived=False)
    write_feeds(week, store, "brand", redaction, LOG)
    feeds = collect(store, EMAIL, redaction=redaction)["feeds"]
    assert {row["fk_customer"] for row in feeds} == {redaction.hashed(sha256(EMAIL.encode()).hexdigest())}


def test_what_cannot_be_taken_apart_is_named_and_not_copied(store: OrderStore, week: Week) -> None:
    fill(store, week, namings(), derived=False)
    note = store.layout.prefix + "notes/list.csv"
    store.bucket.write(note, f"1,{EMAIL},somebody else".encode())
    document = collect(store, EMAIL)
    assert document["look_at"] == {note: "no object of this package"}
    assert "somebody else" not in str(document)


def test_after_forget_the_certificate_and_what_amperity_is_asked_are_what_is_left(
    store: OrderStore, week: Week
) -> None:
    fill(store, week, namings(), derived=True)
    forgotten = ForgetGuest(store, given_traits([EMAIL])).run()
    ForgetGuest(store, given_traits(["stranger0@example.com"])).run()
    document = collect(store, EMAIL)
    assert [one["object"] for one in document["certificates"]] == [forgotten.key]
    assert {row["email"] for row in document["privacy_requests"]} == {EMAIL, None}
    assert forgotten.certificate.amperity is not None
    assert document["objects"].keys() == {forgotten.certificate.amperity.key}
    assert document["orders"] == document["customers"] == document["feeds"] == document["mentions"] == []


def test_nobody_and_nonsense_are_errors(store: OrderStore, week: Week) -> None:
    fill(store, week, namings(), derived=False)
    with pytest.raises(UnknownGuestError):
        collect(store, "nobody@example.org")
    with pytest.raises(NoGuestError, match="in line 2"):
        collect(store, EMAIL, "nonsense")
    store.bucket.write(store.layout.table("customers", week.key), b"no parquet")
    with pytest.raises(StoreError, match=r"tables/customers/.* cannot be read"):
        collect(store, EMAIL)
