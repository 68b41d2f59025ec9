"""Names in a pull: read once for a restaurant and week, beside its orders, and no fault in them fails a pull."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from toast_assets.orders.names import references
from toast_assets.sandbox import Call, Kind, Restaurant, Sandbox
from toast_assets.store.bucket import Bucket
from toast_assets.store.order_store import OrderStore
from toast_assets.tables.names import StoredNames, stored_rows
from toast_assets.tables.schema import NAMES, RESTAURANTS
from toast_assets.toast.configuration import ENTITIES
from toast_assets.week import Week, WeekCalendar
from toast_assets_tests.support.services.clients import order_store
from toast_assets_tests.support.stores.pulls import LOG, check_complete, export, manifest_of, pull
from toast_assets_tests.support.stores.pulls import stored_rows as orders_of

StartSandbox = Callable[..., Sandbox]
NEXT = WeekCalendar().week("2025-09-22")
SCOPES = "orders:read restaurants:read guest.pi:read delivery_info.address:read"
FAULTS: dict[str, tuple[Kind, dict[str, Any]]] = {
    "403": (Kind.STATUS, {"status": 403}),
    "401": (Kind.STATUS, {"status": 401}),
    "500": (Kind.STATUS, {"status": 500}),
    "429 for ever": (Kind.STATUS, {"status": 429, "retry_after": 30}),
    "HTML": (Kind.HTML, {}),
    "an object": (Kind.OBJECT, {}),
    "an empty body": (Kind.EMPTY_BODY, {}),
    "half of a body": (Kind.CUT_JSON, {}),
    "a broken connection": (Kind.RESET, {}),
    "no answer": (Kind.NEVER, {}),
}


def asked(sandbox: Sandbox, path: str = "configuration") -> list[int]:
    """The requests of one kind, by restaurant."""
    return [sandbox.toast.log.count(path, guid) for guid in sandbox.restaurant_guids]


def names(store: OrderStore, guid: str) -> dict[str, str]:
    """The stored names of a restaurant by GUID."""
    rows = stored_rows(store, NAMES).to_pylist()
    return {row["guid"]: row["name"] for row in rows if row["restaurant_guid"] == guid}


async def test_names_cost_13_requests_a_restaurant_and_week_and_none_for_orders(
    start_sandbox: StartSandbox, week: Week
) -> None:
    without, sandbox = start_sandbox(), start_sandbox()
    for each in (week, NEXT, week):
        await pull(without, each, TOAST_NAMES="off")
        await pull(sandbox, each)
    assert asked(sandbox) == [26, 26, 26], "the second look does not ask again"
    assert asked(without) == [0, 0, 0]
    assert asked(sandbox, "orders") == asked(without, "orders")
    assert asked(sandbox, "restaurants") == asked(without, "restaurants")


async def test_each_further_page_costs_one_request(start_sandbox: StartSandbox, week: Week) -> None:
    sandbox = start_sandbox(configuration_page_size=10)
    await pull(sandbox, week)
    for guid, requests in zip(sandbox.restaurant_guids, asked(sandbox), strict=True):
        configuration = sandbox.toast.configurations[guid]
        kinds = {entity: len(configuration.names(entity)) for entity in ENTITIES.values()}
        assert requests == sum(max(1, -(-count // 10)) for count in kinds.values()) > 13


async def test_every_guid_of_a_weeks_orders_has_its_name(
    sandbox: Sandbox, store: OrderStore, week: Week, tmp_path: Path
) -> None:
    await pull(sandbox, week)
    stored = StoredNames(store, tmp_path, LOG)
    for guid in sandbox.restaurant_guids:
        found = {one for order in orders_of(store, week, guid) for one in references(msgspec.json.decode(order.body))}
        assert len(found) > 20
        assert [one for one in found if not stored.of(guid).find(*one).name] == []


async def test_what_is_archived_renamed_or_published_between_two_pages_loses_no_name(
    start_sandbox: StartSandbox, week: Week
) -> None:
    sandbox = start_sandbox(configuration_page_size=10)
    store = order_store(sandbox)
    guid = sandbox.restaurant_guids[0]
    configuration = sandbox.toast.configurations[guid]
    await pull(sandbox, week)
    before, requests = names(store, guid), asked(sandbox)[0]
    items = configuration.names("menuItems")
    archived, renamed, moved = list(items)[:3]
    configuration.archive(archived)
    configuration.rename(renamed, "Another Name")

    def publish(call: Call) -> None:
        # Once, after the first page of menu items.
        if call.request.url.path.endswith("menuItems") and configuration.names("menuItems")[moved] == items[moved]:
            configuration.rename(moved, "Published Meanwhile")

    sandbox.faults.arm(Kind.HOOK_AFTER, "configuration", target=guid, action=publish, last=None)
    await pull(sandbox, NEXT)
    assert sandbox.toast.log.count("configuration", guid, 409) == 1
    assert asked(sandbox)[0] == 2 * requests + 2, "the first page once more, and the one that was answered 409"
    assert names(store, guid) == before | {renamed: "Another Name", moved: "Published Meanwhile"}
    rows = {row["guid"]: row for row in stored_rows(store, NAMES).to_pylist()}
    assert rows[archived]["last_seen"] < rows[renamed]["last_seen"]


async def test_without_the_scope_all_but_the_names_is_there_and_one_line_says_why(
    start_sandbox: StartSandbox, week: Week, caplog: pytest.LogCaptureFixture
) -> None:
    sandbox = start_sandbox(scopes=SCOPES)
    store = order_store(sandbox)
    with caplog.at_level(logging.WARNING):
        report = await pull(sandbox, week)
    export(sandbox, week)
    check_complete(sandbox, week)
    (warning,) = caplog.messages
    assert "The names of 3 restaurants were not read" in warning
    assert "403" in warning
    assert "config:read" in warning
    assert asked(sandbox) == [1, 1, 1]
    assert stored_rows(store, NAMES).num_rows == 0
    assert stored_rows(store, RESTAURANTS).num_rows == 3
    for record in report.manifest.restaurants.values():
        assert record.names_read_at is None
        assert "config:read" in (record.names_failure or "")


async def test_a_second_look_tries_again_what_failed_and_changes_no_byte_while_it_fails(
    start_sandbox: StartSandbox, week: Week
) -> None:
    sandbox = start_sandbox()
    store = order_store(sandbox)
    fault = sandbox.faults.arm(Kind.STATUS, "configuration", status=403, last=None)
    await pull(sandbox, week)
    content = store.bucket.read(store.layout.manifest(week))
    await pull(sandbox, week)
    assert fault.fired == 6
    assert store.bucket.read(store.layout.manifest(week)) == content
    sandbox.faults.clear()
    await pull(sandbox, week)
    for record in manifest_of(store, week).restaurants.values():
        assert record.names_failure is None
        assert record.names_read_at
    assert all(names(store, guid) for guid in sandbox.restaurant_guids)


async def test_a_failure_is_forgotten_where_names_are_switched_off(
    sandbox: Sandbox, store: OrderStore, week: Week
) -> None:
    sandbox.faults.arm(Kind.STATUS, "configuration", status=403, last=None)
    await pull(sandbox, week)
    await pull(sandbox, week, TOAST_NAMES="off")
    assert {record.names_failure for record in manifest_of(store, week).restaurants.values()} == {None}


@pytest.mark.parametrize("fault", FAULTS)
async def test_no_fault_in_the_configuration_fails_a_pull_or_takes_a_known_name(
    fault: str, sandbox: Sandbox, store: OrderStore, week: Week
) -> None:
    await pull(sandbox, week)
    known = [names(store, guid) for guid in sandbox.restaurant_guids]
    kind, settings = FAULTS[fault]
    sandbox.faults.arm(kind, "configuration", target=sandbox.restaurant_guids[1], first=3, last=None, **settings)
    report = await pull(sandbox, NEXT, TOAST_TIMEOUT_SECONDS="2" if kind is Kind.NEVER else "60")
    assert report.manifest.outcome == "complete"
    assert not any(one.failure for one in report.restaurants)
    failures = [record.names_failure for record in report.manifest.restaurants.values()]
    assert [bool(failure) for failure in failures] == [False, True, False]
    assert "request id" not in (failures[1] or "")
    assert sandbox.restaurant_guids[1] not in (failures[1] or "")
    assert [names(store, guid) for guid in sandbox.restaurant_guids] == known


async def test_a_restaurant_of_which_no_orders_can_be_read_is_asked_for_its_names_by_the_next_run(
    sandbox: Sandbox, store: OrderStore, week: Week
) -> None:
    failing = sandbox.restaurant_guids[1]
    sandbox.faults.arm(Kind.STATUS, "orders", status=403, target=failing, last=None)
    await pull(sandbox, week)
    sandbox.faults.clear()
    await pull(sandbox, week)
    assert manifest_of(store, week).restaurants[failing].names_read_at
    assert asked(sandbox)[::2] == [13, 13], "others are complete, and not asked again"
    assert names(store, failing)


async def test_a_run_that_was_killed_before_the_manifest_leaves_names_to_the_next_one(
    sandbox: Sandbox, store: OrderStore, week: Week
) -> None:
    await pull(sandbox, week)
    for key in (store.layout.manifest(week), store.layout.whole_table("names")):
        store.bucket.delete(key)
    orders = asked(sandbox, "orders")
    await pull(sandbox, week)
    assert asked(sandbox, "orders") == orders, "raw files are taken as they are"
    assert asked(sandbox) == [26, 26, 26]
    assert all(names(store, guid) for guid in sandbox.restaurant_guids)


async def test_a_damaged_table_of_names_is_named_and_neither_replaced_nor_a_failure(
    sandbox: Sandbox, store: OrderStore, week: Week, caplog: pytest.LogCaptureFixture
) -> None:
    key = store.layout.whole_table("names")
    store.bucket.write(key, b"no parquet")
    with caplog.at_level(logging.WARNING):
        report = await pull(sandbox, week)
    assert report.manifest.outcome == "complete"
    assert all(key in (record.names_failure or "") for record in report.manifest.restaurants.values())
    assert [key in message for message in caplog.messages] == [True]
    found = store.bucket.read(key)
    assert found is not None
    assert found[0] == b"no parquet"
    store.bucket.delete(key)
    await pull(sandbox, week)
    assert all(names(store, guid) for guid in sandbox.restaurant_guids)


async def test_names_of_two_runs_at_once_are_all_kept(
    sandbox: Sandbox, store: OrderStore, week: Week, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, *others = sandbox.restaurant_guids
    write, waiting = Bucket.write, [others]

    def interrupted(bucket: Bucket, key: str, *arguments: Any, **options: Any) -> str:
        if key == store.layout.whole_table("names") and waiting:
            guids = waiting.pop()
            asyncio.run(pull(sandbox, NEXT, TOAST_RESTAURANT_GUID=",".join(guids)))
        return write(bucket, key, *arguments, **options)

    monkeypatch.setattr(Bucket, "write", interrupted)
    await pull(sandbox, week, TOAST_RESTAURANT_GUID=first)
    assert all(names(store, guid) for guid in sandbox.restaurant_guids)


async def test_restaurants_are_described_archived_ones_included_where_they_are_discovered(
    start_sandbox: StartSandbox, week: Week
) -> None:
    live = Restaurant("live", "Harbor, Pier", "America/Denver", closeout_hour=3, orders_per_week=5)
    gone = (Restaurant("old", "Harbor, Old", state="archived"), Restaurant("gone", "Gone", state="deleted"))
    sandbox = start_sandbox(restaurants=(live, *gone))
    store = order_store(sandbox)
    await pull(sandbox, week, TOAST_RESTAURANT_GUID="*")
    first, second = stored_rows(store, RESTAURANTS).to_pylist()
    assert (first["restaurant_guid"], first["restaurant_name"], first["location_name"]) == ("live", "Harbor", "Pier")
    assert (first["time_zone"], first["closeout_hour"], first["archived"]) == ("America/Denver", 3, False)
    assert first["location_code"]
    assert first["currency"] == "USD"
    assert first["first_business_date"]
    assert (second["restaurant_guid"], second["archived"]) == ("old", True)
    version = store.bucket.info(store.layout.whole_table("restaurants"))
    await pull(sandbox, week, TOAST_RESTAURANT_GUID="*")
    assert store.bucket.info(store.layout.whole_table("restaurants")) == version, "a second look changes nothing"
