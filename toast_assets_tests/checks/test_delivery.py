"""The ledger against what is stored: every method that is set has to show its receipts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from toast_assets.amperity.records import RecordKey, destination, notice_destination, order_version
from toast_assets.amperity.redaction import Redaction
from toast_assets.amperity.settings import AmperitySettings
from toast_assets.checks.check import CheckResult
from toast_assets.delivery.ledger import LedgerEntry, State, encode_ledger, to_table
from toast_assets.orders.raw import RawOrder, cut_orders
from toast_assets.store.manifest import Manifest
from toast_assets.store.order_store import OrderStore
from toast_assets.week import Week
from toast_assets_tests.checks.evaluating import evaluate
from toast_assets_tests.support.data.invented import encode, order
from toast_assets_tests.support.stores.stored_weeks import store_week

STREAM, URL = "is-orders", "https://notices.example.com/toast"
Judge = Callable[..., CheckResult]


def settings(**changes: str) -> AmperitySettings:
    given = {"AMPERITY_TENANT_ID": "here", "AMPERITY_API_KEY": "key", "AMPERITY_STREAM_ID": STREAM} | changes
    return AmperitySettings.parse(given)


def entry(key: RecordKey, state: State) -> LedgerEntry:
    return LedgerEntry(key, state, 1, 202, None, 0)


def order_entry(one: RawOrder, state: State = "accepted") -> LedgerEntry:
    version, to = order_version(one.version, Redaction()), destination("here", STREAM)
    return entry(RecordKey("stream", to, "here", one.guid, version, one.guid, one.version, one.modified_ms), state)


@pytest.fixture
def manifest(store: OrderStore, week: Week) -> Manifest:
    return store_week(store, week, {"here": encode(*BODIES)})


@pytest.fixture
def judge(store: OrderStore, week: Week, manifest: Manifest) -> Judge:
    """Asks the check with this ledger."""

    def run(entries: Iterable[LedgerEntry], **changes: str) -> CheckResult:
        store.bucket.write(store.layout.ledger(week, "here"), encode_ledger(to_table(list(entries))))
        return evaluate("delivered_equals_exported", week, manifest, store, settings(**changes))

    return run


BODIES: list[dict[str, Any]] = [order(), order(), order()]
ORDERS, _ = cut_orders(b"[%s]" % b",".join(encode(*BODIES)), restaurant_guid="here", pulled_ms=0)


def test_orders_that_arrived_in_their_stored_versions_pass(judge: Judge) -> None:
    found = judge(map(order_entry, ORDERS))
    assert found.passed, found.description
    assert found.description == (
        "Amperity answered 202 for all 3 records. It answers so for unknown streams, too: compare the number of records"
        " there, or run toast-assets doctor --canary."
    )


def test_an_order_of_which_a_newer_version_arrived_with_a_later_week_is_not_missing(judge: Judge) -> None:
    first, *others = ORDERS
    found = judge([order_entry(first, "superseded"), *map(order_entry, others)])
    assert found.passed, found.description
    assert (found.figures["accepted"], found.figures["superseded"]) == (2, 1)


@pytest.mark.parametrize(("state", "warns"), [("rejected", True), ("pending", False)])
def test_a_refused_order_warns_and_one_without_an_answer_is_an_error(judge: Judge, state: State, warns: bool) -> None:
    first, *others = ORDERS
    found = judge([order_entry(first, state), *map(order_entry, others)])
    assert (found.passed, found.warns) == (False, warns)
    assert f"Place here (here): 2 of 3 stream records accepted, 1 {state}" in found.description


def test_an_order_that_the_ledger_does_not_know_is_an_error(judge: Judge) -> None:
    found = judge(map(order_entry, ORDERS[1:]))
    assert (found.passed, found.warns, found.figures["missing"]) == (False, False, 1)


def test_another_version_than_the_stored_one_is_an_error(judge: Judge) -> None:
    first, *others = ORDERS
    key = RecordKey("stream", destination("here", STREAM), "here", first.guid, "1-older", first.guid, "0-older")
    found = judge([entry(key, "accepted"), *map(order_entry, others)])
    assert (found.passed, found.warns) == (False, False)
    assert "other versions of some stream records" in found.description


@pytest.mark.parametrize("changes", [{"AMPERITY_STREAM_ID": "is-another"}, {"AMPERITY_TENANT_ID": "there"}])
def test_receipts_of_another_stream_or_tenant_prove_nothing(judge: Judge, changes: dict[str, str]) -> None:
    found = judge(map(order_entry, ORDERS), **changes)
    assert "0 of 3 stream records accepted" in found.description


@pytest.mark.parametrize("changes", [{"AMPERITY_REDACT": "email=drop"}, {"AMPERITY_REDACT_SALT": "new"}])
def test_what_left_under_other_privacy_rules_is_due(judge: Judge, changes: dict[str, str]) -> None:
    found = judge(map(order_entry, ORDERS), **changes)
    assert (found.passed, found.warns) == (False, False)
    assert "the orders or the privacy rules have changed since" in found.description


def test_a_restaurant_whose_ledger_cannot_be_read_is_named_and_the_others_are_compared(
    store: OrderStore, week: Week
) -> None:
    manifest = store_week(store, week, {"here": encode(*BODIES), "there": encode(order())})
    store.bucket.write(store.layout.ledger(week, "here"), encode_ledger(to_table(list(map(order_entry, ORDERS)))))
    store.bucket.write(store.layout.ledger(week, "there"), b"no ledger")
    found = evaluate("delivered_equals_exported", week, manifest, store, settings())
    assert (found.passed, found.warns, found.figures["accepted"]) == (False, False, 3)
    assert "Place there (there): s3://" in found.description
    assert found.causes == ["STORE-DAMAGED there"]
    assert "Place here" not in found.description


def test_rows_of_a_feed_that_were_not_taken_are_named(judge: Judge) -> None:
    key = RecordKey("stream_order_items", "here/is-items", "here", "row", "1-x", ORDERS[0].guid)
    ledger = [*map(order_entry, ORDERS), entry(key, "pending")]
    assert judge(ledger).passed
    found = judge(ledger, AMPERITY_ORDER_ITEMS_STREAM_ID="is-items")
    assert "0 of 1 stream_order_items records accepted, 1 pending" in found.description


def test_a_notice_counts_for_the_very_content_that_is_stored(
    judge: Judge, store: OrderStore, week: Week, manifest: Manifest
) -> None:
    notify = {"AMPERITY_DELIVERY": "notify", "AMPERITY_API_URL": URL}
    export, pull = store.layout.export(week, "here"), manifest.stored["here"]
    keys = [
        RecordKey("notify", notice_destination("here", URL), "here", export, version)
        for version in (pull.orders_sha256, "of an older export")
    ]
    assert judge([entry(keys[0], "accepted")], **notify).passed
    found = judge([entry(keys[1], "accepted")], **notify)
    assert (found.passed, found.warns) == (False, False)
    assert "0 of 1 notify records accepted" in found.description


def test_a_load_of_feeds_that_were_not_written_is_not_proved(judge: Judge) -> None:
    found = judge([], AMPERITY_DELIVERY="s3_pull", AMPERITY_WORKFLOW_CONFIG_ID="cg-1")
    assert (found.passed, found.warns) == (False, False)
    assert "all restaurants: 0 of 1 s3_pull records accepted" in found.description


def test_without_a_workflow_nothing_can_be_compared(judge: Judge) -> None:
    found = judge([], AMPERITY_DELIVERY="s3_pull")
    assert found.passed
    assert "no receipts to compare" in found.description
