"""Rows of the flat feeds, each streamed as one record to a stream of its own, against the strict sandbox."""

from __future__ import annotations

import gzip
import hashlib
import json
import logging
from pathlib import Path
from typing import Any

import msgspec
import pytest

from toast_assets.delivery.deliver import check_delivery
from toast_assets.delivery.feed_files import write_feeds
from toast_assets.delivery.history import DeliveredWeeks
from toast_assets.delivery.outgoing import Outgoing
from toast_assets.errors import AmperityError, StoreConflictError, StoreError
from toast_assets.export.write import export_week
from toast_assets.index.orders import OrderIndex
from toast_assets.sandbox import Kind, Sandbox
from toast_assets.store.bucket import Bucket
from toast_assets.store.manifest import RestaurantRecord
from toast_assets.store.raw_weeks import StoredWeek
from toast_assets.tables.names import StoredNames
from toast_assets.week import Week, WeekCalendar
from toast_assets_tests.support.data.invented import Json, check, customer, encode, order, selection
from toast_assets_tests.support.services.clients import order_store
from toast_assets_tests.support.stores.deliveries import (
    CUSTOMERS,
    ITEMS,
    ROW_STREAMS,
    STREAM,
    TRANSACTIONS,
    accepted,
    amperity_settings,
    deliver,
    guids,
    ledger,
    prepare,
    rejects,
)
from toast_assets_tests.support.stores.names import names_of, store_names
from toast_assets_tests.support.stores.stored_weeks import damage_at_the_end, save_manifest, store_week

LOG = logging.getLogger(__name__)
PLACE = "place-1"
LATER = WeekCalendar().week("2025-09-22")


def orders(count: int) -> list[Json]:
    return [
        order(check(selection(f"{one + 5}.00"), selection("2.00"), customer=customer(email=f"g{one}@example.com")))
        for one in range(count)
    ]


def small_place(sandbox: Sandbox, week: Week) -> dict[str, list[bytes]]:
    """Orders as the sandbox invents them."""
    guid = sandbox.restaurant_guids[2]
    return {guid: [one.json for one in sandbox.toast.orders[guid].between(week.start_ms, week.end_ms)]}


def contents(sandbox: Sandbox, stream: str) -> list[dict[str, Any]]:
    return [json.loads(record.body) for record in accepted(sandbox, stream)]


async def test_every_row_is_one_record_and_the_same_as_in_the_feeds_files(sandbox: Sandbox, week: Week) -> None:
    prepare(sandbox, week, small_place(sandbox, week))
    report = await deliver(sandbox, week, **ROW_STREAMS)
    store = order_store(sandbox)
    files = write_feeds(
        week, store, amperity_settings(sandbox).purchase_brand, amperity_settings(sandbox).redaction, LOG
    ).files
    for feed, stream in (("order_items", ITEMS), ("transactions", TRANSACTIONS), ("customers", CUSTOMERS)):
        lines = []
        for file in files:
            if file.feed == feed:
                found = store.bucket.read(file.key)
                assert found is not None
                lines += gzip.decompress(found[0]).splitlines()
        sent = [record.body for record in accepted(sandbox, stream)]
        assert sorted(sent, key=str) == sorted(lines, key=str)
        assert report.methods[f"stream_{feed}"].accepted == len(lines) > 10
    assert len(accepted(sandbox)) == report.methods["stream"].accepted


async def test_each_has_its_own_receipt_and_a_second_run_sends_nothing(sandbox: Sandbox, week: Week) -> None:
    prepare(sandbox, week, {PLACE: encode(*orders(4))})
    await deliver(sandbox, week, **ROW_STREAMS)
    table = ledger(sandbox, week)
    assert table["method"].value_counts().to_dict() == {
        "stream": 4,
        "stream_order_items": 8,
        "stream_transactions": 4,
        "stream_customers": 4,
    }
    assert (set(table["state"]), table["request_id"].is_unique) == ({"accepted"}, True)
    items = table[table["method"] == "stream_order_items"]
    assert set(items["record_id"]) == {row["order_item_id"] for row in contents(sandbox, ITEMS)}
    assert set(items["order_guid"]) == set(table[table["method"] == "stream"]["record_id"])
    assert set(items["destination"]) == {f"sandbox/{ITEMS}"}
    requests = sandbox.amperity.log.count("stream")
    await deliver(sandbox, week, **ROW_STREAMS)
    assert sandbox.amperity.log.count("stream") == requests


async def test_only_the_rows_of_a_changed_order_are_sent_again(sandbox: Sandbox, week: Week) -> None:
    made = orders(5)
    prepare(sandbox, week, {PLACE: encode(*made)})
    await deliver(sandbox, week, **ROW_STREAMS)
    made[2] = made[2] | {"modifiedDate": "2025-09-20T10:00:00.000+0000"}
    prepare(sandbox, week, {PLACE: encode(*made)})
    await deliver(sandbox, week, **ROW_STREAMS)
    again = contents(sandbox, ITEMS)[10:]
    assert {row["order_id"] for row in again} == {made[2]["guid"]}
    assert len(again) == 2
    assert [row["email"] for row in contents(sandbox, CUSTOMERS)[5:]] == ["g2@example.com"]


async def test_without_their_streams_no_row_is_sent(sandbox: Sandbox, week: Week) -> None:
    prepare(sandbox, week, {PLACE: encode(*orders(3))})
    report = await deliver(sandbox, week)
    assert list(report.methods) == ["stream"]
    assert {record.stream_id for record in sandbox.amperity.accepted} == {STREAM}


async def test_an_unknown_time_zone_rejects_the_rows_with_the_reason_and_the_orders_arrive(
    sandbox: Sandbox, week: Week
) -> None:
    store = order_store(sandbox)
    stored = {PLACE: encode(*orders(3))}
    store_week(store, week, stored, time_zone="Mars/Base")
    export_week(week, store, LOG)
    report = await deliver(sandbox, week, **ROW_STREAMS)
    assert (len(accepted(sandbox)), accepted(sandbox, ITEMS), accepted(sandbox, CUSTOMERS)) == (3, [], [])
    lines = [line for line in rejects(sandbox, week) if line["method"] == "stream_order_items"]
    assert sorted(line["order_guid"] for line in lines) == guids(stored)
    assert {line["reason"] for line in lines} == {
        "unknown_time_zone: the restaurant's time zone is missing or no IANA name"
    }
    assert {(line["status"], line["record"]) for line in lines} == {(None, None)}
    with pytest.raises(AmperityError, match="refused 3 of 3 stream_order_items records"):
        check_delivery(report, 0.01)
    store_week(store, week, stored)
    await deliver(sandbox, week, replay=True, **ROW_STREAMS)
    assert (len(accepted(sandbox, ITEMS)), len(accepted(sandbox, CUSTOMERS))) == (6, 3)
    assert not rejects(sandbox, week)


async def test_an_amount_that_cannot_be_represented_rejects_that_orders_rows_alone(
    sandbox: Sandbox, week: Week
) -> None:
    good, bad = orders(2)
    bad["checks"][0]["selections"][0]["price"] = "a lot"
    prepare(sandbox, week, {PLACE: encode(good, bad)})
    report = await deliver(sandbox, week, **ROW_STREAMS)
    assert report.methods["stream"].accepted == 2
    assert {row["order_id"] for row in contents(sandbox, ITEMS)} == {good["guid"]}
    assert {line["order_guid"] for line in rejects(sandbox, week)} == {bad["guid"]}


async def test_a_refused_row_is_kept_and_replayed_alone(sandbox: Sandbox, week: Week) -> None:
    made = orders(3)
    prepare(sandbox, week, {PLACE: encode(*made)})
    bad = made[1]["checks"][0]["selections"][1]["guid"]
    guest = "g0@example.com"
    sandbox.faults.arm(Kind.STATUS, "stream", target=ITEMS, status=400, containing=bad.encode())
    sandbox.faults.arm(Kind.STATUS, "stream", target=CUSTOMERS, status=400, containing=guest.encode())
    await deliver(sandbox, week, **ROW_STREAMS)
    item, person = sorted(rejects(sandbox, week), key=lambda line: line["method"], reverse=True)
    assert (item["method"], item["order_guid"], item["record"]["selection_id"]) == (
        "stream_order_items",
        made[1]["guid"],
        bad,
    )
    assert (person["method"], person["order_guid"], person["record"]["email"]) == ("stream_customers", None, guest)
    requests = sandbox.amperity.log.count("stream")
    report = await deliver(sandbox, week, replay=True, **ROW_STREAMS)
    assert sandbox.amperity.log.count("stream") == requests + 2
    assert report.accepted == 2
    assert not rejects(sandbox, week)


async def test_neither_cards_nor_employees_are_in_any_row(sandbox: Sandbox, week: Week) -> None:
    prepare(sandbox, week, small_place(sandbox, week))
    await deliver(sandbox, week, **ROW_STREAMS)
    names = {name for stream in (ITEMS, CUSTOMERS) for row in contents(sandbox, stream) for name in row}
    words = ("card", "digits", "server", "employee", "approver", "opened_by")
    assert {name for name in names if any(word in name for word in words)} == {"is_gift_card"}


async def test_a_redacted_contact_is_not_to_be_guessed_from_the_guests_key(sandbox: Sandbox, week: Week) -> None:
    nameless = order(check(selection(), customer=customer(guid=None, email="guest@example.com")))
    prepare(sandbox, week, {PLACE: encode(nameless)})
    privacy: dict[str, Any] = {"AMPERITY_REDACT": "email=hash,phone=drop,firstName=drop"}
    privacy["AMPERITY_REDACT_SALT"] = "pepper"
    await deliver(sandbox, week, **ROW_STREAMS, **privacy)
    (guest,), (item,) = contents(sandbox, CUSTOMERS), contents(sandbox, ITEMS)
    plain = hashlib.sha256(b"guest@example.com").hexdigest()
    assert guest["customer_id"] == guest["fk_customer"] == item["fk_customer"] != plain
    assert (guest["phone"], guest["given_name"]) == (None, None)
    assert guest["email"] not in ("guest@example.com", plain)
    (whole,) = contents(sandbox, STREAM)
    assert "guest@example.com" not in json.dumps(whole)
    assert "phone" not in whole["checks"][0]["customer"]


class TestNames:
    """Names of Toast's configuration are in streamed rows, and are no part of their versions."""

    ORDER_ROWS = (ITEMS, TRANSACTIONS)
    COLUMNS = ("store_name", "purchase_channel", "digital_channel", "product_category", "product_subcategory")
    UNNAMED = ("Place place-1", "In Store", "In Store", None, None)
    NAMED = ("Place place-1", "TAKE_OUT", "In Store", "Food", "Soups")

    def sent(self, sandbox: Sandbox, stream: str) -> list[tuple[str | None, ...]]:
        return [tuple(row[name] for name in self.COLUMNS) for row in contents(sandbox, stream)]

    async def run(self, sandbox: Sandbox, week: Week, made: list[Json], **changes: Any) -> dict[str, int]:
        """The records that a delivery of these orders sends, by method."""
        prepare(sandbox, week, {PLACE: encode(*made)})
        report = await deliver(sandbox, week, **ROW_STREAMS, **changes)
        return {name: counts.accepted for name, counts in report.methods.items() if counts.accepted}

    async def test_stored_names_are_in_every_streamed_row(self, sandbox: Sandbox, week: Week) -> None:
        made = order()
        store_names(order_store(sandbox), PLACE, *names_of(made, "Walk-up", "TAKE_OUT", "Food", "Soups"))
        await self.run(sandbox, week, [made])
        for stream in self.ORDER_ROWS:
            assert self.sent(sandbox, stream) == [self.NAMED]

    async def test_names_of_another_restaurant_are_not_used(self, sandbox: Sandbox, week: Week) -> None:
        made = order()
        store_names(order_store(sandbox), "place-2", *names_of(made, "Walk-up", "TAKE_OUT", "Food", "Soups"))
        await self.run(sandbox, week, [made])
        for stream in self.ORDER_ROWS:
            assert self.sent(sandbox, stream) == [self.UNNAMED]

    async def test_another_name_sends_nothing_again_and_an_edited_order_is_sent_with_it(
        self, sandbox: Sandbox, week: Week
    ) -> None:
        store, made, another = order_store(sandbox), order(), order()
        await self.run(sandbox, week, [made])
        requests = sandbox.amperity.log.count("stream")
        store_names(store, PLACE, *names_of(made, "Walk-up", "TAKE_OUT", "Food", "Soups"))
        assert await self.run(sandbox, week, [made]) == {}
        assert sandbox.amperity.log.count("stream") == requests
        # Another order lets the restaurant be looked at again, row by row.
        rows = {"stream": 1, "stream_order_items": 1, "stream_transactions": 1}
        assert await self.run(sandbox, week, [made, another]) == rows
        store_names(store, PLACE, *names_of(made, "To go", "DELIVERY", "Meals", "Broths"), day=23)
        edited = made | {"modifiedDate": "2025-09-20T10:00:00.000+0000"}
        assert await self.run(sandbox, week, [edited, another]) == rows
        for stream in self.ORDER_ROWS:
            found = self.sent(sandbox, stream)
            assert found == [self.UNNAMED, self.UNNAMED, ("Place place-1", "DELIVERY", "In Store", "Meals", "Broths")]

    async def test_another_name_of_the_restaurant_sends_nothing_again(self, sandbox: Sandbox, week: Week) -> None:
        made, another, store = order(), order(), order_store(sandbox)
        await self.run(sandbox, week, [made])
        prepare(sandbox, week, {PLACE: encode(made, another)})
        manifest, _ = store.load_manifest(week)
        assert manifest is not None
        record = msgspec.structs.replace(manifest.restaurants[PLACE], name="Harbor Grill")
        save_manifest(store, week, msgspec.structs.replace(manifest, restaurants={PLACE: record}))
        await deliver(sandbox, week, **ROW_STREAMS)
        for stream in self.ORDER_ROWS:
            assert [row[0] for row in self.sent(sandbox, stream)] == ["Place place-1", "Harbor Grill"]

    @pytest.mark.parametrize("rule", ["product_category=drop", "store_name=hash", "source=drop"])
    async def test_a_rule_for_a_name_sends_the_rows_again(self, sandbox: Sandbox, week: Week, rule: str) -> None:
        made = order()
        store_names(order_store(sandbox), PLACE, *names_of(made, "Walk-up", "TAKE_OUT", "Food", "Soups"))
        await self.run(sandbox, week, [made])
        changes = {"AMPERITY_REDACT": rule, "AMPERITY_REDACT_SALT": "pepper"}
        again = {"stream": 1, "stream_order_items": 1, "stream_transactions": 1}
        assert await self.run(sandbox, week, [made], **changes) == again
        for stream in self.ORDER_ROWS:
            first, second = self.sent(sandbox, stream)
            assert first == self.NAMED != second
            assert second[1:2] == ((None,) if rule.startswith("source") else first[1:2])

    async def test_the_digest_of_what_is_sent_does_not_depend_on_names(
        self, sandbox: Sandbox, week: Week, tmp_path: Path
    ) -> None:
        store, made = order_store(sandbox), order()
        prepare(sandbox, week, {PLACE: encode(made)})
        record = StoredWeek(week, store).restaurants()[PLACE]

        def digest(record: RestaurantRecord) -> str:
            names = StoredNames(store, tmp_path, LOG)
            return Outgoing(amperity_settings(sandbox), DeliveredWeeks(store, LOG), names).digest(record)

        before = digest(record)
        store_names(store, PLACE, *names_of(made, "Walk-up", "TAKE_OUT", "Food", "Soups"))
        assert digest(record) == before
        assert digest(msgspec.structs.replace(record, name="Harbor Grill")) == before
        assert digest(msgspec.structs.replace(record, currency="CAD")) != before


class TestGuestsOfAllRestaurants:
    """The rows of guests are made of the guest index, which is merged once for all restaurants."""

    def two_places(self) -> dict[str, list[bytes]]:
        """A delivery at one restaurant, and later a guest at another one who says no more than a first name."""
        whole = customer("ada@example.com")
        first = order(check(selection(), guest=whole), deliveryInfo={"address1": "12 Elm Street"})
        later = order(check(selection(), guest={"guid": whole["guid"], "firstName": "Adah"}))
        later["modifiedDate"] = "2025-09-20T10:00:00.000+0000"
        return {PLACE: encode(first), "place-2": encode(later)}

    async def test_each_restaurant_sends_what_all_know(self, sandbox: Sandbox, week: Week) -> None:
        prepare(sandbox, week, self.two_places())
        await deliver(sandbox, week, **ROW_STREAMS)
        found = contents(sandbox, CUSTOMERS)
        assert len(found) == 2
        assert {(row["given_name"], row["email"], row["address"]) for row in found} == {
            ("Adah", "ada@example.com", "12 Elm Street")
        }

    async def test_a_dry_run_knows_the_same_and_stores_no_index(self, sandbox: Sandbox, week: Week) -> None:
        prepare(sandbox, week, self.two_places())
        report = await deliver(sandbox, week, dry_run=True, **ROW_STREAMS)
        assert report.methods["stream_customers"].would_send == 2
        store = order_store(sandbox)
        assert store.bucket.info(store.layout.guest_index()) is None

    async def test_damaged_raw_orders_are_the_problem_of_their_restaurant_alone(
        self, sandbox: Sandbox, week: Week
    ) -> None:
        orders = prepare(sandbox, week, self.two_places())
        damage_at_the_end(order_store(sandbox), week, PLACE)
        report = await deliver(sandbox, week, **ROW_STREAMS)
        assert {guid: str(problem).count("cannot be read") for guid, problem in report.problems.items()} == {PLACE: 1}
        (row,) = contents(sandbox, CUSTOMERS)
        assert (row["given_name"], row["email"]) == ("Adah", None)
        prepare(sandbox, week, orders)
        await deliver(sandbox, week, **ROW_STREAMS)
        assert [row["email"] for row in contents(sandbox, CUSTOMERS)] == [None, "ada@example.com"]

    async def test_a_bucket_that_fails_while_guests_are_collected_ends_the_delivery_with_its_reason(
        self, sandbox: Sandbox, week: Week, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        prepare(sandbox, week, self.two_places())

        def refused(*_: Any, **__: Any) -> None:
            monkeypatch.setattr(Bucket, "check", gone)
            raise StoreError("The bucket is gone.")

        def gone(_: Bucket) -> None:
            raise StoreError("The bucket is gone.")

        monkeypatch.setattr("toast_assets.store.raw_weeks.fetch_raw", refused)
        with pytest.raises(StoreError, match="bucket is gone"):
            await deliver(sandbox, week, **ROW_STREAMS)

    async def test_an_index_that_cannot_be_stored_fails_every_restaurant_once(
        self, sandbox: Sandbox, week: Week, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        prepare(sandbox, week, self.two_places())
        tries: list[Week] = []

        def refused(week: Week, *_: Any, **__: Any) -> None:
            tries.append(week)
            raise StoreConflictError("The guest index was written by somebody else.")

        monkeypatch.setattr("toast_assets.delivery.guests.update_guest_index", refused)
        report = await deliver(sandbox, week, **ROW_STREAMS)
        assert (len(tries), sorted(report.problems)) == (1, [PLACE, "place-2"])
        assert report.accepted == 0


def guest_of(made: Json) -> str:
    return str(made["checks"][0]["customer"]["guid"])


class TestAfterALaterWeek:
    """An order that was edited later stands in both weeks; the earlier week must not bring its version back."""

    def two_weeks(self) -> tuple[list[Json], list[Json]]:
        first = orders(3)
        return first, [first[0] | {"modifiedDate": "2025-09-24T10:00:00.000+0000"}]

    async def test_its_version_stays_here_and_the_guests_row_is_the_newest(self, sandbox: Sandbox, week: Week) -> None:
        first, second = self.two_weeks()
        prepare(sandbox, LATER, {PLACE: encode(*second)})
        await deliver(sandbox, LATER, **ROW_STREAMS)
        prepare(sandbox, week, {PLACE: encode(*first)})
        report = await deliver(sandbox, week, **ROW_STREAMS)
        assert {name: counts.superseded for name, counts in report.methods.items()} == {
            "stream": 1,
            "stream_order_items": 0,
            "stream_transactions": 0,
            "stream_customers": 0,
        }
        guest = [row for row in contents(sandbox, CUSTOMERS) if row["customer_id"] == guest_of(first[0])]
        assert [row["modified_at"] for row in guest] == ["2025-09-24 10:00:00.000"] * 2
        sent = [record.modified for record in accepted(sandbox) if record.guid == first[0]["guid"]]
        assert sent == [second[0]["modifiedDate"]]
        rows = ledger(sandbox, week).query("state == 'superseded'")
        assert len(rows) == 1
        assert set(rows["reason"]) == {"a newer version has arrived with week 2025-09-22"}
        requests = sandbox.amperity.log.count("stream")
        await deliver(sandbox, week, **ROW_STREAMS)
        assert sandbox.amperity.log.count("stream") == requests

    @pytest.mark.parametrize("lost", ["months.json", "month=2025-09.parquet", ""])
    async def test_a_lost_index_is_rebuilt_from_raw_orders_and_ledgers(
        self, sandbox: Sandbox, week: Week, lost: str
    ) -> None:
        first, second = self.two_weeks()
        prepare(sandbox, LATER, {PLACE: encode(*second)})
        await deliver(sandbox, LATER)
        store = order_store(sandbox)
        folder = store.layout.order_index_folder(PLACE)
        for key in list(store.bucket.keys(folder + lost)):
            store.bucket.delete(key)
        prepare(sandbox, week, {PLACE: encode(*first)})
        assert (await deliver(sandbox, week)).methods["stream"].superseded == 1
        assert {key.removeprefix(folder) for key in store.bucket.keys(folder)} >= {"month=2025-09.parquet"}

    async def test_what_has_arrived_is_noted_by_the_next_delivery_where_the_index_could_not_be_written(
        self, sandbox: Sandbox, week: Week, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refused(_index: OrderIndex) -> None:
            raise StoreError("access denied")

        first, second = self.two_weeks()
        prepare(sandbox, LATER, {PLACE: encode(*second)})
        with monkeypatch.context() as patch:
            patch.setattr(OrderIndex, "save", refused)
            report = await deliver(sandbox, LATER)
        assert (report.accepted, list(report.problems)) == (1, [PLACE])
        again = await deliver(sandbox, LATER)
        assert (again.accepted, again.methods["stream"].unchanged) == (0, 1)
        prepare(sandbox, week, {PLACE: encode(*first)})
        assert (await deliver(sandbox, week)).methods["stream"].superseded == 1

    async def test_a_restaurant_without_orders_in_the_earlier_week_is_delivered(
        self, sandbox: Sandbox, week: Week
    ) -> None:
        prepare(sandbox, LATER, {PLACE: encode(*self.two_weeks()[1])})
        await deliver(sandbox, LATER)
        prepare(sandbox, week, {PLACE: []})
        report = await deliver(sandbox, week)
        check_delivery(report, 0.0)
        assert report.methods["stream"].records == 0

    async def test_in_the_usual_order_both_versions_are_sent(self, sandbox: Sandbox, week: Week) -> None:
        first, second = self.two_weeks()
        prepare(sandbox, week, {PLACE: encode(*first)})
        await deliver(sandbox, week)
        prepare(sandbox, LATER, {PLACE: encode(*second)})
        await deliver(sandbox, LATER)
        sent = [record.modified for record in accepted(sandbox) if record.guid == first[0]["guid"]]
        assert sent == [first[0]["modifiedDate"], second[0]["modifiedDate"]]
