"""What people see of the first record of a dry run: its form, and nothing of a guest."""

from __future__ import annotations

import json
from typing import Any

import pytest

from toast_assets.amperity.records import stream_body
from toast_assets.amperity.redaction import Redaction
from toast_assets.delivery.deliver import check_delivery
from toast_assets.delivery.preview import LONGEST, preview
from toast_assets.sandbox import Sandbox
from toast_assets.week import Week
from toast_assets_tests.support.data.invented import Json, check, encode, modifier, order, selection
from toast_assets_tests.support.services.clients import order_store
from toast_assets_tests.support.stores.deliveries import ROW_STREAMS, STREAM, deliver, prepare

GUEST: Json = {
    "guid": "6f1c2a7e-0d3b-4b5e-9a51-0c6f2f3e7d11",
    "firstName": "Jane",
    "lastName": "Doe",
    "email": "jane.doe@example.com",
    "phone": "6175550123",
    "phoneCountryCode": "1",
}
PLACE: Json = {
    "address1": "12 Elm Street",
    "zipCode": "02101",
    "latitude": 42.361145,
    "notes": "ring twice",
    "deliveredDate": "2025-09-19T18:45:12.345+0000",
}


def shown(made: Json, rules: Json | None = None) -> Json:
    redaction = Redaction(rules or {}, b"salt")
    text = preview("stream", stream_body(encode(made)[0], "place-1", redaction), redaction)
    assert text is not None
    assert len(text) <= LONGEST
    found: Json = json.loads(text)
    return found


def of_guest(**more: Any) -> Json:
    bill = check(selection("9.50", displayName="No onions for Jane"), guest=GUEST, tabName="Jane D.")
    return order(bill, deliveryInfo=PLACE, **more)


def test_fields_stay_and_what_may_be_a_guests_is_described() -> None:
    found = shown(of_guest())
    bill = found["checks"][0]
    assert bill["customer"] == {
        "guid": "<hidden: text of 36 characters>",
        "firstName": "<hidden: text of 4 characters>",
        "lastName": "<hidden: text of 3 characters>",
        "email": "<hidden: text of 20 characters>",
        "phone": "<hidden: text of 10 characters>",
        "phoneCountryCode": "<hidden: text of 1 character>",
    }
    assert found["deliveryInfo"]["latitude"] == "<hidden: number>"
    assert set(found["deliveryInfo"].values()) == {
        "<hidden: number>",
        *(f"<hidden: text of {len(text)} characters>" for text in PLACE.values() if isinstance(text, str)),
    }
    assert bill["tabName"] == "<hidden: text of 7 characters>"
    assert bill["selections"][0]["displayName"] == "<hidden: text of 18 characters>"


def test_what_says_nothing_of_a_guest_is_shown_with_its_own_digits() -> None:
    made = of_guest(source="Online", modifiedDate="2025-09-19T18:45:12.345+0000")
    found = shown(made)
    for name in ("guid", "source", "modifiedDate", "businessDate", "voided", "numberOfGuests"):
        assert found.get(name) == made.get(name), name
    assert found["restaurantGuid"] == "place-1"
    line = found["checks"][0]["selections"][0]
    assert (line["guid"], line["preDiscountPrice"]) == (made["checks"][0]["selections"][0]["guid"], 9.5)
    assert '"preDiscountPrice": 9.50' in str(preview("stream", encode(made)[0], Redaction()))
    assert "server" not in found


def test_fields_that_a_rule_drops_are_absent_and_hashed_ones_are_their_hash() -> None:
    found = shown(of_guest(), {"email": "hash", "phone": "drop", "deliveryInfo": "drop"})
    guest = found["checks"][0]["customer"]
    assert guest["email"] == Redaction({}, b"salt").hashed("jane.doe@example.com")
    assert "phone" not in guest
    assert "deliveryInfo" not in found


def test_hashed_columns_of_a_feed_are_their_hash_and_keys_of_guests_stay_hidden() -> None:
    keyed, redaction = "a" * 64, Redaction({"email": "hash"})
    row = {"customer_id": keyed, "fk_customer": keyed, "email_key": keyed, "email": keyed, "loyalty_id": "1234"}
    found = json.loads(str(preview("stream_customers", encode(row)[0], redaction)))
    assert {name for name, value in found.items() if value == keyed} == {"email"}
    assert set(found.values()) == {keyed, "<hidden: text of 64 characters>", "<hidden: text of 4 characters>"}


def test_names_and_values_that_nobody_documents_may_be_a_guests() -> None:
    new = {"jane.doe@example.com": 1, "kitchenPacing": {"phone": 6175550123, "at": "2025-09-19"}, "deep": ["Jane"]}
    text = json.dumps(shown(of_guest(extra=new)))
    assert "kitchenPacing" in text
    for part in ("Jane", "jane", "6175550123", "Elm", "02101", "ring", "Doe"):
        assert part not in text, part


@pytest.mark.parametrize("levels", [3, 60])
def test_a_long_record_is_shortened_to_whole_json_that_counts_what_it_leaves_out(levels: int) -> None:
    deep = modifier()
    for _ in range(levels):
        deep = modifier(modifiers=[deep, deep] if levels < 10 else [deep])
    made = order(check(*(selection(modifiers=[deep]) for _ in range(40))))
    many: Json = {f"new{number}": 1 for number in range(300)}
    found = json.dumps(shown(made | many))
    assert "more>" in found or "<array of" in found
    assert "more fields>" in found


@pytest.mark.parametrize("number", ["1e400", "9" * 400, "-1.50"])
def test_numbers_of_any_size_are_shown_or_described(number: str) -> None:
    text = preview("stream", b'{"checks":[{"amount":%s}]}' % number.encode(), Redaction())
    assert json.loads(str(text))["checks"][0].keys() == {"amount"}


def test_a_notice_is_shown_whole_and_what_nobody_can_read_not_at_all() -> None:
    body = b'{"s3_location":"s3://bucket/toast-orders/x","tenant_id":"socktown"}'
    assert json.loads(str(preview("notify", body, Redaction()))) == json.loads(body)
    assert preview("stream", b"<html>", Redaction()) is None


class TestDryRun:
    async def test_it_shows_the_first_record_and_changes_nothing_at_all(self, sandbox: Sandbox, week: Week) -> None:
        made = {place: encode(*(of_guest() for _ in range(3))) for place in ("place-2", "place-1")}
        prepare(sandbox, week, made)
        before = sandbox.objects()
        report = await deliver(sandbox, week, dry_run=True, **ROW_STREAMS)
        assert sandbox.objects() == before
        assert not list(sandbox.amperity.log.entries)
        assert (report.records, report.accepted, report.new_streams) == (report.would_send, 0, [])
        assert json.loads(str(report.first_record))["guid"] in {json.loads(one)["guid"] for one in made["place-1"]}
        assert "Jane" not in str(report.first_record)
        check_delivery(report, 0.0)

    async def test_it_changes_nothing_where_indexes_are_lost_or_all_was_delivered(
        self, sandbox: Sandbox, week: Week
    ) -> None:
        prepare(sandbox, week, {"place-1": encode(of_guest())})
        await deliver(sandbox, week, **ROW_STREAMS)
        store = order_store(sandbox)
        for key in [*store.bucket.keys(f"{store.layout.prefix}index/"), store.layout.streams]:
            store.bucket.delete(key)
        before = sandbox.objects()
        for changes in (ROW_STREAMS, {"AMPERITY_STREAM_ID": "is-another"}, {"AMPERITY_REDACT": "email=drop"}):
            report = await deliver(sandbox, week, dry_run=True, **changes)
            assert sandbox.objects() == before
            assert bool(report.would_send) == bool(report.first_record) == (changes is not ROW_STREAMS)

    async def test_rows_of_feeds_name_no_guest_either(self, sandbox: Sandbox, week: Week) -> None:
        prepare(sandbox, week, {"place-1": encode(of_guest())})
        await deliver(sandbox, week)
        report = await deliver(sandbox, week, dry_run=True, **ROW_STREAMS)
        row = json.loads(str(report.first_record))
        (record,) = sandbox.amperity.of_stream(STREAM)
        assert (row["order_id"], row["fk_customer"][:7]) == (record.guid, "<hidden")
        said = str(report.first_record)
        assert not [text for text in (*GUEST.values(), *PLACE.values()) if len(str(text)) > 3 and str(text) in said]
