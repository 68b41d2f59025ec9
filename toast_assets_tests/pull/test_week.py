"""A week's pull: whom it asks, what a second run does, that one restaurant stops no other, and what is told of each."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from toast_assets.errors import StoreError, ToastIncompleteError
from toast_assets.pull.week import WeekPull
from toast_assets.sandbox import Kind, Restaurant, Sandbox
from toast_assets.sandbox.config import invent_restaurants
from toast_assets.store.bucket import Bucket
from toast_assets.store.order_store import OrderStore
from toast_assets.week import Week, WeekCalendar
from toast_assets_tests.support.services.clients import s3_client, toast_client
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
    late = sandbox.toast.orders[guid].late_arrivals(week.start, week.end, 3)
    renewed, left = sorted(before)[:2]
    sandbox.toast.orders[guid].edit(renewed, week.end_ms - 1)
    sandbox.toast.orders[guid].edit(left)
    report = await pull(sandbox, week)
    stored = stored_versions(store, week, guid)
    assert stored == {**true_versions(sandbox, week, guid), left: before[left]}
    assert {order.guid for order in late} <= stored.keys()
    assert [(result.new, result.changed) for result in report.restaurants if result.guid == guid] == [(3, 1)]


async def test_for_one_modified_time_the_newer_pull_wins_where_the_bytes_differ(
    sandbox: Sandbox, store: OrderStore, week: Week
) -> None:
    guid = sandbox.restaurant_guids[0]
    await pull(sandbox, week)
    first, second = stored_rows(store, week, guid)[:2]
    sandbox.toast.orders[guid].put(first.body[:-1] + b',"addedSilently":1}')
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
    with pytest.raises(ToastIncompleteError, match="none of 3 restaurants"):
        await pull(sandbox, week)
    assert bucket_content(sandbox) == content


# Many restaurants


async def test_one_restaurant_of_many_fails_and_all_others_are_stored(start_sandbox: StartSandbox, week: Week) -> None:
    sandbox = start_sandbox(restaurants=invent_restaurants(60, 4))
    failing = sandbox.restaurant_guids[57]
    sandbox.faults.arm(Kind.STATUS, "orders", status=403, target=failing, last=None)
    report = await pull(sandbox, week, TOAST_CONCURRENT_RESTAURANTS="20")
    assert report.manifest.failures.keys() == {failing}
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
    gone = (Restaurant("old", "Old", archived=True), Restaurant("gone", "Gone", deleted=True))
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
    assert "gives no hint" in caplog.text


# Threads


async def test_threads_take_short_turns_while_a_week_is_pulled_and_not_afterwards(
    sandbox: Sandbox, store: OrderStore, week: Week
) -> None:
    usual, seen = sys.getswitchinterval(), []

    def now() -> datetime:
        seen.append(sys.getswitchinterval())
        return datetime.now(UTC)

    async with toast_client(sandbox) as toast:
        await WeekPull(week, toast, store, now=now).run()

    assert max(seen) < usual
    assert sys.getswitchinterval() == usual
