"""A week's pull: which restaurants it asks, what a second run does, that one restaurant stops no other, calls to S3."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from toast_assets.errors import StoreConflictError, StoreError, ToastIncompleteError
from toast_assets.orders.times import parse_time_ms
from toast_assets.pull.week import WeekPull
from toast_assets.sandbox import Call, Kind, Restaurant, Sandbox
from toast_assets.sandbox.config import invent_restaurants
from toast_assets.store.bucket import Bucket, Replacement, StoredObject, Version
from toast_assets.store.order_store import OrderStore
from toast_assets.week import Week, WeekCalendar
from toast_assets_tests.support.services.clients import s3_client, toast_client
from toast_assets_tests.support.services.toast_orders import edit, late_arrivals, put
from toast_assets_tests.support.stores.pulls import (
    LOG,
    bucket_content,
    check_complete,
    export,
    manifest_of,
    pull,
    stored_rows,
    stored_versions,
    true_versions,
)

StartSandbox = Callable[..., Sandbox]


def asked(sandbox: Sandbox) -> dict[str, int]:
    return {guid: sandbox.toast.log.count("orders", guid) for guid in sandbox.restaurant_guids}


# Second runs


async def test_an_unchanged_second_run_asks_for_every_restaurant_and_changes_no_byte(
    sandbox: Sandbox, week: Week
) -> None:
    await pull(sandbox, week)
    export(sandbox, week)
    content, before = bucket_content(sandbox), asked(sandbox)
    report = await pull(sandbox, week)
    export(sandbox, week)
    assert all(count > before[guid] for guid, count in asked(sandbox).items())
    assert [(result.new, result.changed) for result in report.restaurants] == [(0, 0)] * 3
    assert bucket_content(sandbox) == content


async def test_a_second_run_adds_and_renews_and_takes_nothing_away(
    sandbox: Sandbox, store: OrderStore, week: Week
) -> None:
    guid = sandbox.restaurant_guids[0]
    await pull(sandbox, week)
    before = true_versions(sandbox, week, guid)
    late = late_arrivals(sandbox.toast.orders[guid], week.start, week.end, 3)
    renewed, left = sorted(before)[:2]
    edit(sandbox.toast.orders[guid], renewed, week.end_ms - 1)
    edit(sandbox.toast.orders[guid], left)
    report = await pull(sandbox, week)
    stored = stored_versions(store, week, guid)
    assert stored == {**true_versions(sandbox, week, guid), left: before[left]}
    assert {order.guid for order in late} <= stored.keys()
    assert [(result.new, result.changed) for result in report.restaurants if result.guid == guid] == [(3, 1)]


async def test_an_order_that_is_edited_while_the_first_pull_reads_on_is_stored_once_in_its_newest_version(
    sandbox: Sandbox, store: OrderStore, week: Week
) -> None:
    guid = sandbox.restaurant_guids[0]
    first = min(sandbox.toast.orders[guid].between(week.start_ms, week.end_ms), key=lambda order: order.modified_ms)

    def to_the_end(call: Call) -> None:
        # Once a window is asked for that begins after the order, its older version was read.
        if parse_time_ms(call.request.query_params["startDate"]) > first.modified_ms:
            edit(sandbox.toast.orders[guid], first.guid, week.end_ms - 1)

    hook = sandbox.faults.arm(Kind.HOOK, "orders", target=guid, action=to_the_end, last=None)
    await pull(sandbox, week)
    assert hook.fired > 1
    rows = [row for row in stored_rows(store, week, guid) if row.guid == first.guid]
    assert [row.modified_ms for row in rows] == [week.end_ms - 1]
    assert stored_versions(store, week, guid) == true_versions(sandbox, week, guid)


async def test_for_one_modified_time_the_newer_pull_wins_where_the_bytes_differ(
    sandbox: Sandbox, store: OrderStore, week: Week
) -> None:
    guid = sandbox.restaurant_guids[0]
    await pull(sandbox, week)
    first, second = stored_rows(store, week, guid)[:2]
    put(sandbox.toast.orders[guid], first.body[:-1] + b',"addedSilently":1}')
    await pull(sandbox, week)
    rows = {order.guid: order for order in stored_rows(store, week, guid)}
    assert rows[first.guid].body.endswith(b',"addedSilently":1}')
    assert rows[first.guid].modified_ms == first.modified_ms
    assert rows[second.guid] == second, "what was pulled again unchanged keeps its time of pulling, too"


@pytest.mark.parametrize(("refresh", "wanted"), [(None, 1), (False, 1), (True, 3)])
async def test_after_an_incomplete_run_only_the_rest_is_asked_for_unless_told_otherwise(
    sandbox: Sandbox, week: Week, refresh: bool | None, wanted: int
) -> None:
    fault = sandbox.faults.arm(Kind.STATUS, "orders", status=403, target=sandbox.restaurant_guids[1], last=None)
    await pull(sandbox, week)
    assert fault.fired
    sandbox.faults.clear()
    before = asked(sandbox)
    report = await pull(sandbox, week, refresh=refresh)
    assert sum(count > before[guid] for guid, count in asked(sandbox).items()) == wanted
    assert report.manifest.outcome == "complete"
    export(sandbox, week)
    check_complete(sandbox, week)


async def test_a_complete_week_is_left_alone_where_only_the_rest_is_wanted(sandbox: Sandbox, week: Week) -> None:
    await pull(sandbox, week)
    before, content = asked(sandbox), bucket_content(sandbox)
    report = await pull(sandbox, week, refresh=False)
    assert (report.restaurants, asked(sandbox), bucket_content(sandbox)) == ([], before, content)


async def test_a_restaurant_that_fails_later_keeps_what_is_stored(
    sandbox: Sandbox, store: OrderStore, week: Week
) -> None:
    guid = sandbox.restaurant_guids[0]
    await pull(sandbox, week)
    stored = stored_versions(store, week, guid)
    sandbox.faults.arm(Kind.STATUS, "orders", status=500, target=guid, last=None)
    report = await pull(sandbox, week)
    assert report.manifest.failures.keys() == {guid}
    assert report.manifest.stored.keys() == set(sandbox.restaurant_guids)
    assert stored_versions(store, week, guid) == stored


async def test_where_none_can_be_pulled_again_nothing_is_written(sandbox: Sandbox, week: Week) -> None:
    await pull(sandbox, week)
    content = bucket_content(sandbox)
    sandbox.faults.arm(Kind.STATUS, "orders", status=500, last=None)
    with pytest.raises(ToastIncompleteError, match=r"(?s)none of 3 restaurants.* \[TOAST-UNAVAILABLE\]$") as failed:
        await pull(sandbox, week)
    assert str(failed.value).count("[TOAST-UNAVAILABLE]") == 1
    assert bucket_content(sandbox) == content


# Many restaurants


async def test_one_restaurant_of_many_fails_and_all_others_are_stored(start_sandbox: StartSandbox, week: Week) -> None:
    sandbox = start_sandbox(restaurants=invent_restaurants(60, 4))
    failing = sandbox.restaurant_guids[57]
    sandbox.faults.arm(Kind.STATUS, "orders", status=403, target=failing, last=None)
    report = await pull(sandbox, week, TOAST_CONCURRENT_RESTAURANTS="20")
    assert report.manifest.failures.keys() == {failing}
    assert report.manifest.failures[failing].endswith(" [TOAST-403-RESTAURANT]")
    assert report.manifest.stored.keys() == set(sandbox.restaurant_guids) - {failing}
    export(sandbox, week)
    check_complete(sandbox, week, report.manifest.stored)


async def test_no_more_restaurants_than_allowed_are_under_way_at_once(start_sandbox: StartSandbox, week: Week) -> None:
    sandbox = start_sandbox(restaurants=invent_restaurants(12, 150))
    order: list[str] = []
    sandbox.faults.arm("hook", "orders", action=lambda call: order.append(call.target or ""), last=None)
    await pull(sandbox, week, TOAST_CONCURRENT_RESTAURANTS="3")
    first = {guid: order.index(guid) for guid in set(order)}
    last = {guid: len(order) - order[::-1].index(guid) for guid in set(order)}
    assert max(sum(first[guid] <= at < last[guid] for guid in first) for at in range(len(order))) <= 3


async def test_discovered_restaurants_are_stored_with_name_zone_and_closeout_hour(
    start_sandbox: StartSandbox, store: OrderStore, week: Week
) -> None:
    live = Restaurant("live", "Harbor, Pier", "America/Denver", closeout_hour=3, orders_per_week=5)
    gone = (Restaurant("old", "Old", state="archived"), Restaurant("gone", "Gone", state="deleted"))
    sandbox = start_sandbox(restaurants=(live, *gone))
    report = await pull(sandbox, week, TOAST_RESTAURANT_GUID="*")
    (record,) = report.manifest.restaurants.values()
    assert (record.name, record.time_zone, record.closeout_hour) == ("Harbor – Pier", "America/Denver", 3)
    assert sandbox.toast.log.count("orders", "old") == 0


# Evidence, and what else can be wrong


async def test_the_manifest_shows_windows_that_touch_and_add_up(
    sandbox: Sandbox, store: OrderStore, week: Week
) -> None:
    await pull(sandbox, week)
    manifest = manifest_of(store, week)
    for guid, record in manifest.stored.items():
        edges = [(piece.start, piece.end) for piece in record.slices]
        assert edges[0][0] == manifest.start_date == "2025-09-15T04:00:00.000Z"
        assert edges[-1][1] == manifest.end_date == "2025-09-22T04:00:00.000Z"
        assert [end for _, end in edges[:-1]] == [start for start, _ in edges[1:]]
        assert sum(piece.orders for piece in record.slices) == record.orders
        # Besides its orders, its name and time zone were asked for.
        assert sum(piece.requests for piece in record.slices) == sandbox.toast.log.count("orders", guid)


async def test_a_bucket_that_is_missing_is_told_before_toast_is_asked(sandbox: Sandbox, week: Week) -> None:
    store = OrderStore(Bucket(s3_client(sandbox), "no-such-bucket"), "")
    async with toast_client(sandbox) as toast:
        with pytest.raises(StoreError, match="no-such-bucket"):
            await WeekPull(week, toast, store, log=LOG).run()
    assert sandbox.toast.log.count() == 0


async def test_a_manifest_of_the_week_before_that_is_broken_is_only_warned_of(
    sandbox: Sandbox, store: OrderStore, week: Week, caplog: pytest.LogCaptureFixture
) -> None:
    previous = WeekCalendar().week("2025-09-08")
    store.bucket.write(store.layout.manifest(previous), b"{")
    async with toast_client(sandbox) as toast:
        with caplog.at_level(logging.WARNING):
            report = await WeekPull(week, toast, store, previous, log=LOG).run()
    assert report.manifest.outcome == "complete"
    assert "window sizes start from defaults" in caplog.text


# Calls to S3, which is far away


@dataclass
class CountedCalls:
    """The calls of one client: operation and key, in the order in which they left; listings have their prefix."""

    calls: list[tuple[str, str]] = field(default_factory=list)

    def store(self, sandbox: Sandbox) -> OrderStore:
        """The sandbox's store, through a client that is counted."""
        client = s3_client(sandbox)

        def count(params: dict[str, Any], model: Any, **_: Any) -> None:
            self.calls.append((model.name, params.get("Key", params.get("Prefix", ""))))

        client.meta.events.register("provide-client-params.s3", count)
        return OrderStore(Bucket(client, sandbox.bucket), sandbox.config.prefix)

    def of(self, guid: str) -> list[str]:
        """The calls for one restaurant."""
        return [operation for operation, key in self.calls if guid in key]

    @property
    def of_none(self) -> list[str]:
        """The calls of the run as a whole."""
        return sorted(operation for operation, key in self.calls if "restaurant=" not in key)


async def counted(sandbox: Sandbox, week: Week, *, refresh: bool | None = None) -> CountedCalls:
    """One pull's calls to S3, without those of the census."""
    calls = CountedCalls()
    async with toast_client(sandbox, TOAST_CENSUS="off") as toast:
        await WeekPull(week, toast, calls.store(sandbox), refresh=refresh, log=LOG).run()
    return calls


WHOLE_RUN = ["GetObject"] * 4 + ["HeadBucket", "ListObjectsV2", "ListObjectsV2", "PutObject", "PutObject"]
"""The bucket; the forgotten guests, a list and its key; the raw files; the manifest, read twice and written; which
orders the week holds, read and written."""
FOR_NAMES = ["GetObject", "GetObject", "PutObject", "PutObject"]
"""The tables of names and of restaurants."""


async def test_a_first_pull_takes_one_call_to_s3_for_each_restaurant(sandbox: Sandbox, week: Week) -> None:
    calls = await counted(sandbox, week)
    assert [calls.of(guid) for guid in sandbox.restaurant_guids] == [["PutObject"]] * 3
    assert calls.of_none == sorted([*WHOLE_RUN, *FOR_NAMES])


async def test_a_second_look_that_finds_nothing_new_reads_each_raw_file_once_and_writes_nothing(
    sandbox: Sandbox, week: Week
) -> None:
    await pull(sandbox, week)
    calls = await counted(sandbox, week)
    assert [calls.of(guid) for guid in sandbox.restaurant_guids] == [["GetObject"]] * 3
    assert calls.of_none == [operation for operation in WHOLE_RUN if operation != "PutObject"]


async def test_a_second_look_reads_and_writes_only_the_raw_file_of_a_restaurant_with_something_new(
    sandbox: Sandbox, week: Week
) -> None:
    await pull(sandbox, week)
    first, *others = sandbox.restaurant_guids
    late_arrivals(sandbox.toast.orders[first], week.start, week.end, 1)
    calls = await counted(sandbox, week)
    assert calls.of(first) == ["GetObject", "PutObject"]
    assert [calls.of(guid) for guid in others] == [["GetObject"]] * 2


async def test_a_run_for_what_is_missing_looks_at_what_is_stored_by_its_hash_alone(
    sandbox: Sandbox, week: Week
) -> None:
    *known, missing = sandbox.restaurant_guids
    await pull(sandbox, week, TOAST_RESTAURANT_GUID=",".join(known))
    calls = await counted(sandbox, week)
    assert [calls.of(guid) for guid in known] == [["HeadObject"]] * 2
    assert calls.of(missing) == ["PutObject"]
    left = await counted(sandbox, week, refresh=False)
    assert [left.of(guid) for guid in sandbox.restaurant_guids] == [["HeadObject"]] * 3


async def test_a_raw_file_that_is_not_the_one_of_the_manifest_is_taken_from_its_footer(
    sandbox: Sandbox, store: OrderStore, week: Week
) -> None:
    """A run stored a restaurant and was killed before it wrote the manifest."""
    guid = sandbox.restaurant_guids[0]
    await pull(sandbox, week)
    before = store.bucket.read(store.layout.manifest(week))
    assert before is not None
    late_arrivals(sandbox.toast.orders[guid], week.start, week.end, 2)
    await pull(sandbox, week)
    store.bucket.write(store.layout.manifest(week), before[0])
    requests = sandbox.toast.log.count("orders")
    calls = await counted(sandbox, week, refresh=False)
    assert calls.of(guid) == ["HeadObject", "GetObject"]
    assert sandbox.toast.log.count("orders") == requests
    assert manifest_of(store, week).stored[guid].orders == len(true_versions(sandbox, week, guid))


async def test_a_raw_file_that_was_only_copied_needs_no_pull(sandbox: Sandbox, store: OrderStore, week: Week) -> None:
    guid = sandbox.restaurant_guids[0]
    await pull(sandbox, week)

    def copy(stored: StoredObject | None, _target: Path) -> Replacement | None:
        return Replacement(stored.path, {"Metadata": stored.metadata}) if stored else None

    store.bucket.update(store.layout.raw(week, guid), copy)
    before = asked(sandbox)
    calls = await counted(sandbox, week, refresh=False)
    assert calls.of(guid) == ["HeadObject"]
    assert asked(sandbox) == before


async def test_a_restaurant_that_another_run_stored_first_is_merged_with_it(
    sandbox: Sandbox, store: OrderStore, week: Week
) -> None:
    """The listing said that nothing is stored; when this run is done with the orders, something is."""
    calls, guid = CountedCalls(), sandbox.restaurant_guids[0]
    counted_store = calls.store(sandbox)
    write = counted_store.bucket.write
    added: list[str] = []

    def after_another_run(key: str, body: bytes | Path, **properties: Any) -> Version:
        if guid in key and not added:
            late = late_arrivals(sandbox.toast.orders[guid], week.start, week.end, 2)
            added.extend(order.guid for order in late)
            asyncio.run(pull(sandbox, week, TOAST_RESTAURANT_GUID=guid))
        return write(key, body, **properties)

    counted_store.bucket.write = after_another_run  # type: ignore[method-assign]
    async with toast_client(sandbox, TOAST_CENSUS="off") as toast:
        report = await WeekPull(week, toast, counted_store, log=LOG).run()
    # Of two records in the manifest, the hash tells which one describes what is stored.
    assert calls.of(guid) == ["PutObject", "GetObject", "HeadObject"]
    assert stored_versions(store, week, guid) == true_versions(sandbox, week, guid)
    assert {*added} <= stored_versions(store, week, guid).keys()
    assert report.manifest.stored[guid].orders_sha256 == store.sha256(store.layout.raw(week, guid))


async def test_an_answer_of_s3_that_was_lost_counts_as_this_runs_own_write(sandbox: Sandbox, week: Week) -> None:
    """S3 stored the raw file; the SDK sent it again, and was refused as something is stored there now."""
    calls, guid = CountedCalls(), sandbox.restaurant_guids[0]
    store = calls.store(sandbox)
    write = store.bucket.write

    def lost(key: str, body: bytes | Path, **properties: Any) -> Version:
        version = write(key, body, **properties)
        if guid in key:
            raise StoreConflictError(key)
        return version

    store.bucket.write = lost  # type: ignore[method-assign]
    async with toast_client(sandbox, TOAST_CENSUS="off") as toast:
        report = await WeekPull(week, toast, store, log=LOG).run()
    assert calls.of(guid) == ["PutObject", "GetObject"]
    (result,) = [result for result in report.restaurants if result.guid == guid]
    assert result.new == result.orders == len(true_versions(sandbox, week, guid))


async def test_calls_to_s3_do_not_wait_for_one_another(start_sandbox: StartSandbox, week: Week) -> None:
    sandbox = start_sandbox(restaurants=invent_restaurants(32, 3))
    store = CountedCalls().store(sandbox)
    together = threading.Barrier(32)
    write = store.bucket.write

    def all_at_once(key: str, body: bytes | Path, **properties: Any) -> Version:
        if "restaurant=" in key:
            together.wait(60)
        return write(key, body, **properties)

    store.bucket.write = all_at_once  # type: ignore[method-assign]
    async with toast_client(sandbox, TOAST_CONCURRENT_RESTAURANTS="32") as toast:
        report = await WeekPull(week, toast, store, log=LOG).run()
    assert report.manifest.outcome == "complete"
