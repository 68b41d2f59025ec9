"""The flat feeds in the bucket, and the workflow that loads them, against the sandbox."""

from __future__ import annotations

import gzip
import json
import logging
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet as pq
import pytest
from botocore.exceptions import ClientError

from toast_assets.amperity.client import AmperityClient
from toast_assets.amperity.redaction import Redaction
from toast_assets.amperity.settings import AmperitySettings
from toast_assets.defs.metadata import load_metadata
from toast_assets.delivery.feed_files import FeedsReport, stored_feeds, write_feeds
from toast_assets.delivery.ledger import decode_ledger
from toast_assets.delivery.workflow import WeekLoad, WorkflowReport
from toast_assets.errors import AmperityError, AmperityRefusedError, ExportError
from toast_assets.pull.week import WeekPull
from toast_assets.sandbox import Sandbox
from toast_assets.store.bucket import Bucket
from toast_assets.store.order_store import NAMES_TABLE, OrderStore
from toast_assets.toast.configuration import Entity
from toast_assets.week import Week, WeekCalendar
from toast_assets_tests.support.data.invented import Json, check, customer, encode, order
from toast_assets_tests.support.faults import s3_faults
from toast_assets_tests.support.services.clients import QUICK, s3_client, toast_client
from toast_assets_tests.support.services.toast_orders import late_arrivals
from toast_assets_tests.support.stores.names import names_of, store_names
from toast_assets_tests.support.stores.stored_weeks import damage_at_the_end, save_manifest, store_week

LOG = logging.getLogger(__name__)
CONFIG = "cg-sandbox"


def amperity_settings(sandbox: Sandbox, **changes: str) -> AmperitySettings:
    names = {each.alias for each in AmperitySettings.model_fields.values()}
    environment = (
        sandbox.environment() | {"AMPERITY_DELIVERY": "s3_pull", "AMPERITY_WORKFLOW_CONFIG_ID": CONFIG} | changes
    )
    return AmperitySettings.parse({name: value for name, value in environment.items() if name in names})


def feeds(week: Week, store: OrderStore, redaction: Redaction | None = None) -> FeedsReport:
    return write_feeds(week, store, "Harbor", redaction or Redaction(), LOG)


def rows(store: OrderStore, report: FeedsReport, feed: str) -> list[dict[str, Any]]:
    found = []
    for file in report.files:
        if file.feed == feed:
            content = store.bucket.read(file.key)
            assert content is not None
            found += [json.loads(line) for line in gzip.decompress(content[0]).splitlines()]
    return found


async def load(
    sandbox: Sandbox, week: Week, store: OrderStore, dry_run: bool = False, **changes: str
) -> WorkflowReport:
    async def no_wait(_seconds: float) -> None:
        return

    async with AmperityClient(amperity_settings(sandbox, **changes), retry=QUICK) as client:
        return await WeekLoad(week, client, store, dry_run, LOG, no_wait).run()


@pytest.fixture
async def pulled(sandbox: Sandbox, store: OrderStore, week: Week) -> None:
    async with toast_client(sandbox) as toast:
        await WeekPull(week, toast, store).run()


@pytest.mark.usefixtures("pulled")
class TestFeeds:
    def test_there_is_a_file_per_feed_and_restaurant_dated_by_the_weeks_end(
        self, sandbox: Sandbox, store: OrderStore, week: Week
    ) -> None:
        report = feeds(week, store)
        assert len(report.files) == 3 * len(sandbox.restaurant_guids)
        for file in report.files:
            folder = f"toast-orders/amperity/{file.feed}/2025/09/22/{file.feed}_20250922_040000_"
            assert file.key == f"{folder}{file.restaurant_guid}.ndjson.gz"

    def test_every_guests_order_is_in_the_transactions(self, sandbox: Sandbox, store: OrderStore, week: Week) -> None:
        report = feeds(week, store)
        assert not report.rejections
        sold = {row["order_id"] for row in rows(store, report, "transactions")}
        known = {
            order.guid
            for guid in sandbox.restaurant_guids
            for order in sandbox.toast.orders[guid].between(week.start_ms, week.end_ms)
        }
        assert sold <= known
        assert len(sold) > 0.9 * (len(known) - report.left_out)
        assert all(row["purchase_brand"] == "Harbor" for row in rows(store, report, "transactions"))

    def test_every_row_of_a_feed_has_every_key_in_the_same_order(self, store: OrderStore, week: Week) -> None:
        report = feeds(week, store)
        for feed in ("order_items", "transactions", "customers"):
            assert len({tuple(row) for row in rows(store, report, feed)}) == 1

    def test_the_same_orders_give_the_same_bytes(self, store: OrderStore, week: Week) -> None:
        first = {file.key: store.bucket.read(file.key) for file in feeds(week, store).files}
        assert {file.key: store.bucket.read(file.key) for file in feeds(week, store).files} == first

    def test_the_privacy_setting_nulls_or_hashes_by_toasts_names(self, store: OrderStore, week: Week) -> None:
        plain = rows(store, feeds(week, store), "customers")
        redaction = Redaction({"email": "hash", "phone": "drop", "firstName": "drop"}, b"salt")
        guarded = rows(store, feeds(week, store, redaction), "customers")
        assert {row["phone"] for row in guarded} == {row["given_name"] for row in guarded} == {None}
        emails = [row["email"] for row in plain if row["email"]]
        hashes = [row["email"] for row in guarded if row["email"]]
        assert hashes == [redaction.hashed(email) for email in emails]
        assert [tuple(row) for row in guarded] == [tuple(row) for row in plain]

    def test_an_unknown_time_zone_rejects_the_restaurants_orders_and_no_others(
        self, sandbox: Sandbox, store: OrderStore, week: Week
    ) -> None:
        manifest, _ = store.load_manifest(week)
        assert manifest is not None
        bad = sandbox.restaurant_guids[0]
        record = msgspec.structs.replace(manifest.restaurants[bad], time_zone="Mars/Base")
        changed = msgspec.structs.replace(manifest, restaurants=manifest.restaurants | {bad: record})
        save_manifest(store, week, changed)
        report = feeds(week, store)
        assert {rejection.restaurant_guid for rejection in report.rejections} == {bad}
        assert {row["store_id"] for row in rows(store, report, "transactions")} == set(sandbox.restaurant_guids[1:])


class TestNames:
    """Names that a pull has stored, in the files of a week that was stored before or after."""

    NAMED = ("Place place", "TAKE_OUT", "In Store", "Food", "Soups")

    def found(self, store: OrderStore, week: Week) -> set[tuple[str | None, ...]]:
        columns = ("store_name", "purchase_channel", "digital_channel", "product_category", "product_subcategory")
        report = feeds(week, store)
        some = [row for feed in ("transactions", "order_items") for row in rows(store, report, feed)]
        return {tuple(row[name] for name in columns) for row in some}

    def test_files_have_todays_names_when_they_are_made_again(self, store: OrderStore, week: Week) -> None:
        made = order()
        store_week(store, week, {"place": encode(made)})
        assert self.found(store, week) == {("Place place", "In Store", "In Store", None, None)}
        store_names(store, "place", *names_of(made, "Walk-up", "TAKE_OUT", "Food", "Soups"))
        assert self.found(store, week) == {self.NAMED}
        store_names(store, "place", *names_of(made, "Walk-up", "DELIVERY", "Meals", "Broths"), day=29)
        assert self.found(store, week) == {("Place place", "DELIVERY", "In Store", "Meals", "Broths")}

    def test_a_name_that_toast_no_longer_returns_stays_in_the_files(self, store: OrderStore, week: Week) -> None:
        made = order()
        store_week(store, week, {"place": encode(made)})
        store_names(store, "place", *names_of(made, "Walk-up", "TAKE_OUT", "Food", "Soups"))
        store_names(store, "place", Entity("menu_group", "new", "Salads", None), day=29)
        assert self.found(store, week) == {self.NAMED}

    def test_damaged_names_are_reported_and_the_files_are_written_without(
        self, store: OrderStore, week: Week, caplog: pytest.LogCaptureFixture
    ) -> None:
        store_week(store, week, {"place": encode(order())})
        store.bucket.write(store.layout.whole_table(NAMES_TABLE), b"PAR1 and nothing else")
        assert self.found(store, week) == {("Place place", "In Store", "In Store", None, None)}
        assert "Names are left out" in caplog.text


class TestGuests:
    """The guest index between the orders and the files of guests."""

    EARLIER = WeekCalendar().week("2025-09-08")
    GUEST = customer("ada@example.com")

    def store_visits(self, store: OrderStore, week: Week, **guests: Json) -> None:
        """A week with one order of a guest in each restaurant."""
        modified = f"{week.start + timedelta(days=1):%Y-%m-%dT%H:%M:%S}.000+0000"
        visits = {place: order(check(guest=guest)) | {"modifiedDate": modified} for place, guest in guests.items()}
        store_week(store, week, {place: encode(visit) for place, visit in visits.items()})

    def known(self, store: OrderStore) -> set[str]:
        found = store.bucket.read(store.layout.guest_index())
        assert found is not None
        return set(pq.read_table(BytesIO(found[0]))["email"].to_pylist())

    def test_guests_of_a_restaurant_that_fails_do_not_enter_the_index(self, store: OrderStore, week: Week) -> None:
        self.store_visits(store, week, good=customer("ada@example.com"), bad=customer("bo@example.com"))
        damage_at_the_end(store, week, "bad")
        assert list(feeds(week, store).problems) == ["bad"]
        assert self.known(store) == {"ada@example.com"}
        self.store_visits(store, week, good=customer("ada@example.com"), bad=customer("bo@example.com"))
        assert not feeds(week, store).problems
        assert self.known(store) == {"ada@example.com", "bo@example.com"}

    def test_a_restaurant_whose_file_of_guests_fails_stops_no_other(
        self, sandbox: Sandbox, store: OrderStore, week: Week
    ) -> None:
        self.store_visits(store, week, good=customer("ada@example.com"), bad=customer("bo@example.com"))
        client = s3_client(sandbox)

        def refuse(params: dict[str, Any], **_: Any) -> None:
            if params["Key"] == store.layout.feed(week, "bad", "customers"):
                raise ClientError({"Error": {"Code": "AccessDenied"}}, "PutObject")

        client.meta.events.register("provide-client-params.s3.PutObject", refuse)
        report = feeds(week, OrderStore(Bucket(client, sandbox.bucket), store.layout.prefix))
        assert list(report.problems) == ["bad"]
        assert {file.restaurant_guid for file in report.files} == {"good"}
        assert len(rows(store, report, "customers")) == 1

    def test_a_lost_index_is_made_of_all_weeks_that_were_delivered_and_those_that_are_gone_are_named(
        self, store: OrderStore, week: Week, caplog: pytest.LogCaptureFixture
    ) -> None:
        gone, empty = WeekCalendar().week("2025-09-01"), WeekCalendar().week("2025-08-25")
        self.store_visits(store, self.EARLIER, place=self.GUEST, other=customer("bo@example.com"))
        self.store_visits(store, gone, place=customer("cy@example.com"))
        store_week(store, empty, {"place": []})
        for earlier in (self.EARLIER, gone, empty):
            feeds(earlier, store)
        for lost in (gone, empty):
            store.bucket.delete(store.layout.raw(lost, "place"))
        store.bucket.delete(store.layout.guest_index())
        self.store_visits(store, week, place={"guid": self.GUEST["guid"]})
        (row,) = rows(store, feeds(week, store), "customers")
        assert row["email"] == "ada@example.com"
        assert self.known(store) == {"ada@example.com", "bo@example.com"}
        warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
        assert len(warnings) == 1
        assert warnings[0].startswith("Week 2025-09-01: raw orders are gone")

    def test_an_index_without_loyalty_accounts_gets_those_of_other_weeks_and_keeps_what_their_orders_no_longer_say(
        self, store: OrderStore, week: Week, tmp_path: Path
    ) -> None:
        gone = WeekCalendar().week("2025-09-01")
        self.store_visits(store, gone, place=self.GUEST)
        feeds(gone, store)
        store.bucket.delete(store.layout.raw(gone, "place"))
        found = store.bucket.read(store.layout.guest_index())
        assert found is not None
        earlier = pq.read_table(BytesIO(found[0])).drop_columns(["loyalty_id", "loyalty_id_ms"])
        pq.write_table(earlier, tmp_path / "earlier")
        store.bucket.write(store.layout.guest_index(), tmp_path / "earlier")
        account = {"vendor": "TOAST", "loyaltyIdentifier": "gold"}
        known = {"guid": self.GUEST["guid"]}
        visit = order(check(guest=known, appliedLoyaltyInfo=account), modifiedDate="2025-09-09T10:00:00.000+0000")
        store_week(store, self.EARLIER, {"place": encode(visit)})
        store.bucket.write(store.layout.feed(self.EARLIER, "place", "transactions"), b"of the earlier release")
        self.store_visits(store, week, place=known)
        (row,) = rows(store, feeds(week, store), "customers")
        assert (row["email"], row["loyalty_id"]) == ("ada@example.com", "gold")

    def test_no_guest_is_in_a_log(self, store: OrderStore, week: Week, caplog: pytest.LogCaptureFixture) -> None:
        self.store_visits(store, self.EARLIER, place=self.GUEST)
        self.store_visits(store, week, place=self.GUEST)
        with caplog.at_level(logging.DEBUG):
            feeds(week, store)
            store.bucket.write(store.layout.guest_index(), b"damaged")
            feeds(week, store)
        assert "made again of all stored weeks" in caplog.text
        assert [word for word in ("ada@", self.GUEST["guid"], "Greta") if word in caplog.text] == []


@pytest.mark.usefixtures("pulled")
class TestWorkflow:
    async def test_what_the_ingest_jobs_report_counts_as_loaded(
        self, sandbox: Sandbox, store: OrderStore, week: Week
    ) -> None:
        feeds(week, store)
        sandbox.amperity.ingest_counts["orders"] = {"read": 9, "inserted": 7, "updated": 1, "rejected": 1}
        report = await load(sandbox, week, store)
        assert (report.state, report.started) == ("loaded", True)
        (table,) = [table for table in report.tables if table.table_name == "orders"]
        assert (table.read, table.inserted, table.updated, table.rejected) == (9, 7, 1, 1)
        (run,) = sandbox.amperity.runs
        assert run["request"] == {
            "config_id": CONFIG,
            "range_from": "2025-09-22",
            "range_to": "2025-09-23",
            "run_mode": "full",
        }

    async def test_one_version_of_the_files_is_started_once(
        self, sandbox: Sandbox, store: OrderStore, week: Week
    ) -> None:
        feeds(week, store)
        await load(sandbox, week, store)
        again = await load(sandbox, week, store)
        assert (again.state, again.started, len(sandbox.amperity.runs)) == ("loaded", False, 1)

    async def test_a_restaurant_whose_raw_orders_are_damaged_is_named_and_the_others_are_written_and_loaded(
        self, sandbox: Sandbox, store: OrderStore, week: Week
    ) -> None:
        bad, *others = sandbox.restaurant_guids
        store.bucket.write(store.layout.raw(week, bad), b"PAR1")
        report = feeds(week, store)
        assert list(report.problems) == [bad]
        assert store.bucket.uri(store.layout.raw(week, bad)) in report.problems[bad]
        assert {file.restaurant_guid for file in report.files} == set(others)
        with pytest.raises(ExportError, match=rf"{bad}.* is missing"):
            await load(sandbox, week, store)
        assert [row["state"] for row in ledger(store, week)] == ["loaded"]

    async def test_files_that_are_there_already_are_left_as_they_are_and_damaged_ones_made_again(
        self, sandbox: Sandbox, store: OrderStore, week: Week
    ) -> None:
        first = feeds(week, store)
        found = {file.key: store.bucket.read(file.key) for file in first.files}
        writes: list[int] = []
        client = s3_client(sandbox)
        s3_faults.before(client, "PutObject", writes.append)
        watched = OrderStore(Bucket(client, sandbox.bucket), store.layout.prefix)
        assert feeds(week, watched).files == first.files
        assert not writes
        key = first.files[0].key
        info = store.bucket.info(key)
        assert info is not None
        store.bucket.write(key, b"damaged", Metadata=dict(info.metadata))
        feeds(week, watched)
        assert len(writes) == 1
        assert {file.key: store.bucket.read(file.key) for file in first.files} == found

    async def test_changed_files_are_loaded_again(self, sandbox: Sandbox, store: OrderStore, week: Week) -> None:
        feeds(week, store)
        await load(sandbox, week, store)
        late_arrivals(sandbox.toast.orders[sandbox.restaurant_guids[0]], week.start, week.end, 1)
        async with toast_client(sandbox) as toast:
            await WeekPull(week, toast, store).run()
        _, problem = stored_feeds(week, store, Redaction())
        assert "Materialize amperity_feeds" in str(problem)
        feeds(week, store)
        assert (await load(sandbox, week, store)).started
        assert len(sandbox.amperity.runs) == 2

    async def test_files_under_other_privacy_rules_are_not_loaded(
        self, sandbox: Sandbox, store: OrderStore, week: Week
    ) -> None:
        feeds(week, store)
        rules = Redaction({"email": "drop"})
        with pytest.raises(ExportError, match=r"was made under other privacy rules .* Materialize amperity_feeds"):
            await load(sandbox, week, store, AMPERITY_REDACT="email=drop")
        assert not sandbox.amperity.runs
        feeds(week, store, rules)
        assert (await load(sandbox, week, store, AMPERITY_REDACT="email=drop")).started

    async def test_a_run_that_is_still_under_way_is_followed_not_started_again(
        self, sandbox: Sandbox, store: OrderStore, week: Week
    ) -> None:
        feeds(week, store)
        with pytest.raises(AmperityError, match="still running"):
            await load(sandbox, week, store, AMPERITY_WORKFLOW_TIMEOUT_SECONDS="15")
        assert [row["state"] for row in ledger(store, week)] == ["pending"]
        assert not (await load(sandbox, week, store)).started
        assert [row["state"] for row in ledger(store, week)] == ["loaded"]

    async def test_a_run_that_fails_is_an_error_and_is_started_again_next_time(
        self, sandbox: Sandbox, store: OrderStore, week: Week
    ) -> None:
        feeds(week, store)
        sandbox.amperity.ingest_state = "failed"
        with pytest.raises(AmperityError, match="did not load everything"):
            await load(sandbox, week, store)
        sandbox.amperity.ingest_state = "succeeded"
        assert (await load(sandbox, week, store)).state == "loaded"
        assert len(sandbox.amperity.runs) == 2

    async def test_a_wrong_key_is_one_sentence_and_nothing_counts_as_loaded(
        self, sandbox: Sandbox, store: OrderStore, week: Week
    ) -> None:
        feeds(week, store)
        with pytest.raises(AmperityRefusedError, match="AMPERITY_API_KEY"):
            await load(sandbox, week, store, AMPERITY_API_KEY="wrong", AMPERITY_CLIENT_ID="", AMPERITY_CLIENT_SECRET="")
        assert [row["state"] for row in ledger(store, week)] == ["rejected"]
        report = await load(sandbox, week, store)
        assert (report.state, report.starts, report.doubtful) == ("loaded", 2, False)
        assert len(sandbox.amperity.runs) == 1

    async def test_a_start_whose_answer_was_lost_is_an_error_and_the_next_one_says_that_it_starts_again(
        self, sandbox: Sandbox, store: OrderStore, week: Week, caplog: pytest.LogCaptureFixture
    ) -> None:
        feeds(week, store)
        sandbox.faults.arm("reset_after", "control")
        with pytest.raises(AmperityError, match="cannot be reached for /api/workflow/runs"):
            await load(sandbox, week, store)
        assert len(sandbox.amperity.runs) == 1
        assert [(row["state"], row["reason"]) for row in ledger(store, week)] == [
            ("pending", "asked to start, no answer yet")
        ]
        report = await load(sandbox, week, store)
        assert (report.state, report.starts, report.doubtful) == ("loaded", 2, True)
        assert "may be running already" in caplog.text
        assert load_metadata(report)["workflow_started_again"]
        assert (await load(sandbox, week, store)).starts == 2
        assert len(sandbox.amperity.runs) == 2

    async def test_the_wish_to_start_is_stored_before_amperity_hears_of_it(
        self, sandbox: Sandbox, store: OrderStore, week: Week
    ) -> None:
        feeds(week, store)
        seen: list[list[dict[str, Any]]] = []
        sandbox.faults.arm("hook", "control", action=lambda _call: seen.append(ledger(store, week)))
        await load(sandbox, week, store)
        assert [(row["state"], row["attempts"]) for row in seen[0]] == [("pending", 1)]

    async def test_without_a_workflow_the_files_are_left_to_the_couriers(
        self, sandbox: Sandbox, store: OrderStore, week: Week
    ) -> None:
        feeds(week, store)
        report = await load(sandbox, week, store, AMPERITY_WORKFLOW_CONFIG_ID="")
        assert (report.state, sandbox.amperity.runs) == (None, [])

    async def test_a_dry_run_starts_nothing(self, sandbox: Sandbox, store: OrderStore, week: Week) -> None:
        feeds(week, store)
        await load(sandbox, week, store, dry_run=True)
        assert not sandbox.amperity.runs


def ledger(store: OrderStore, week: Week) -> list[dict[str, Any]]:
    found = store.bucket.read(store.layout.workflow_ledger(week))
    assert found is not None
    table = decode_ledger(found[0])
    assert all(row["updated_at"] <= datetime.now(UTC) for row in table.to_pylist())
    return list(table.to_pylist())
