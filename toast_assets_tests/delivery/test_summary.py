"""The summary of a week's delivery: what it says of each restaurant, and when it is written."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from toast_assets.amperity.client import AmperityClient
from toast_assets.delivery.deliver import WeekDelivery
from toast_assets.errors import AmperityError, AmperityRefusedError
from toast_assets.http.retry import RetryPolicy
from toast_assets.sandbox import Kind, Sandbox
from toast_assets.store.deliveries import MethodSummary, RestaurantDelivery, load_delivered, note_delivered
from toast_assets.store.order_store import OrderStore
from toast_assets.week import Week, WeekCalendar
from toast_assets_tests.support.data.invented import check, encode, order, selection
from toast_assets_tests.support.services.scripted_amperity import ScriptedAmperity
from toast_assets_tests.support.stores.deliveries import (
    NO_CLIENT,
    ROW_STREAMS,
    amperity_settings,
    deliver,
    guids,
    prepare,
)

PLACE, OTHER = "place-1", "place-2"


def orders(count: int) -> list[bytes]:
    return encode(*(order(check(selection(f"{number + 5}.00"))) for number in range(count)))


def summaries(store: OrderStore, week: Week) -> dict[str, RestaurantDelivery]:
    known = load_delivered(store, week.key)
    assert known is not None
    assert known.partition == week.key
    return known.restaurants


def stream(store: OrderStore, week: Week, place: str = PLACE) -> MethodSummary:
    return summaries(store, week)[place].methods["stream"]


async def test_it_counts_the_records_of_each_method_and_names_the_orders(
    sandbox: Sandbox, store: OrderStore, week: Week
) -> None:
    stored = prepare(sandbox, week, {PLACE: orders(4), OTHER: orders(2)})
    row = json.loads(stored[PLACE][0])["checks"][0]["selections"][0]["guid"]
    items = {"target": ROW_STREAMS["AMPERITY_ORDER_ITEMS_STREAM_ID"], "containing": row.encode()}
    sandbox.faults.arm(Kind.STATUS, "stream", status=400, **items)
    url = f"{sandbox.amperity_url}/api/v1/streaming"
    report = await deliver(sandbox, week, **ROW_STREAMS, AMPERITY_DELIVERY="stream,notify", AMPERITY_API_URL=url)
    found = summaries(store, week)
    manifest, _ = store.load_manifest(week)
    assert manifest is not None
    hashes = {guid: pull.orders_sha256 for guid, pull in manifest.stored.items()}
    assert {guid: one.orders_sha256 for guid, one in found.items()} == hashes
    assert {one.problem for one in found.values()} == {None}
    for method, counts in report.methods.items():
        sums = [one.methods[method] for one in found.values()]
        assert sum(one.records for one in sums) == counts.records
        assert sum(one.arrived for one in sums) == counts.accepted
        assert sum(one.rejected for one in sums) == counts.rejected
    assert found[PLACE].methods["stream_order_items"] == MethodSummary(records=4, arrived=3, rejected=1)
    assert found[OTHER].methods["notify"] == MethodSummary(records=1, arrived=1)


async def test_a_second_delivery_that_finds_the_same_writes_nothing(
    sandbox: Sandbox, store: OrderStore, week: Week
) -> None:
    prepare(sandbox, week, {PLACE: orders(3)})
    await deliver(sandbox, week)
    before = dict(store.bucket.listed(""))
    known = summaries(store, week)
    await deliver(sandbox, week)
    assert (dict(store.bucket.listed("")), summaries(store, week)) == (before, known)


async def test_what_a_later_week_superseded_stays_so_in_the_next_deliveries(
    sandbox: Sandbox, store: OrderStore, week: Week
) -> None:
    old = order(check(selection("5.00")), modifiedDate="2025-09-16T10:00:00.000+0000")
    later = WeekCalendar().week("2025-09-22")
    prepare(sandbox, later, {PLACE: encode(old | {"modifiedDate": "2025-09-23T10:00:00.000+0000"})})
    await deliver(sandbox, later)
    prepare(sandbox, week, {PLACE: [*orders(2), *encode(old)]})
    for _ in range(3):
        await deliver(sandbox, week)
        assert stream(store, week) == MethodSummary(records=3, arrived=2, superseded=1)


async def test_a_replay_keeps_what_is_known_of_the_other_records_and_restaurants(
    sandbox: Sandbox, store: OrderStore, week: Week
) -> None:
    stored = prepare(sandbox, week, {PLACE: orders(5), OTHER: orders(2)})
    bad = guids({PLACE: stored[PLACE]})[:2]
    sandbox.faults.arm(Kind.STATUS, "stream", status=400, containing=bad[0].encode())
    sandbox.faults.arm(Kind.STATUS, "stream", status=400, containing=bad[1].encode(), last=2)
    await deliver(sandbox, week)
    assert stream(store, week) == MethodSummary(records=5, arrived=3, rejected=2)
    await deliver(sandbox, week, replay=True)
    assert stream(store, week) == MethodSummary(records=5, arrived=4, rejected=1)
    await deliver(sandbox, week, replay=True)
    assert stream(store, week) == MethodSummary(records=5, arrived=5)
    assert stream(store, week, OTHER) == MethodSummary(records=2, arrived=2)


async def test_a_replay_alone_begins_no_summary_as_it_knows_some_restaurants_only(
    sandbox: Sandbox, store: OrderStore, week: Week
) -> None:
    stored = prepare(sandbox, week, {PLACE: orders(3), OTHER: orders(2)})
    sandbox.faults.arm(Kind.STATUS, "stream", status=400, containing=guids({PLACE: stored[PLACE]})[0].encode())
    await deliver(sandbox, week)
    store.bucket.delete(store.layout.delivered(week.key))
    await deliver(sandbox, week, replay=True)
    assert load_delivered(store, week.key) is None


async def test_a_dry_run_writes_none(sandbox: Sandbox, store: OrderStore, week: Week) -> None:
    prepare(sandbox, week, {PLACE: orders(3)})
    await deliver(sandbox, week, dry_run=True)
    assert load_delivered(store, week.key) is None


async def test_a_restaurant_that_is_not_delivered_whole_says_why_until_it_is(
    sandbox: Sandbox, store: OrderStore, week: Week
) -> None:
    stored = prepare(sandbox, week, {PLACE: orders(3), OTHER: orders(2)})
    store.bucket.delete(store.layout.export(week, OTHER))
    await deliver(sandbox, week)
    found = summaries(store, week)
    assert found[PLACE].problem is None
    assert store.layout.export(week, OTHER) in str(found[OTHER].problem)
    prepare(sandbox, week, stored)
    await deliver(sandbox, week)
    assert summaries(store, week)[OTHER].problem is None
    assert stream(store, week, OTHER) == MethodSummary(records=2, arrived=2)


async def test_records_without_an_answer_are_pending(sandbox: Sandbox, store: OrderStore, week: Week) -> None:
    stored = prepare(sandbox, week, {PLACE: orders(3)})
    sandbox.faults.arm(Kind.STATUS, "stream", status=500, containing=guids(stored)[0].encode(), last=None)
    await deliver(sandbox, week)
    assert stream(store, week) == MethodSummary(records=3, arrived=2, pending=1)


async def test_a_delivery_that_amperity_ends_keeps_what_has_arrived_with_the_reason(
    sandbox: Sandbox, store: OrderStore, week: Week
) -> None:
    prepare(sandbox, week, {PLACE: orders(80)})
    sandbox.faults.arm(Kind.REVOKE, "stream", first=41, last=41)
    with pytest.raises(AmperityRefusedError):
        await deliver(sandbox, week, **NO_CLIENT)
    (found,) = summaries(store, week).values()
    assert found.problem is not None
    assert "AMPERITY_API_KEY" in found.problem
    assert 40 <= found.methods["stream"].arrived < 80


async def test_a_delivery_that_was_down_before_the_first_answer_leaves_what_an_earlier_one_knew(
    sandbox: Sandbox, store: OrderStore, week: Week
) -> None:
    prepare(sandbox, week, {PLACE: orders(40)})
    await deliver(sandbox, week)
    settled = summaries(store, week)
    prepare(sandbox, week, {PLACE: orders(40), OTHER: orders(1)})
    sandbox.faults.arm(Kind.STATUS, "stream", status=503, last=None)
    with pytest.raises(AmperityError):
        await deliver(sandbox, week, retry=RetryPolicy(attempts=1))
    found = summaries(store, week)[PLACE]
    assert (found.orders_sha256 != settled[PLACE].orders_sha256, found.problem is None) == (True, False)
    assert found.methods["stream"].arrived == 40
    assert found.methods["stream"].pending >= 25


async def test_a_bug_is_named_by_its_kind_alone(sandbox: Sandbox, store: OrderStore, week: Week) -> None:
    def answer(_number: int, _request: httpx.Request) -> httpx.Response:
        raise LookupError("perhaps a guest's name")

    prepare(sandbox, week, {PLACE: orders(3)})
    settings = amperity_settings(sandbox, **NO_CLIENT)
    with pytest.raises(LookupError):
        async with AmperityClient(
            settings, retry=RetryPolicy(attempts=1), transport=ScriptedAmperity(answer)
        ) as client:
            await WeekDelivery(week, client, store).run()
    assert summaries(store, week)[PLACE].problem == "LookupError"


async def test_a_damaged_summary_is_made_again_by_the_next_delivery(
    sandbox: Sandbox, store: OrderStore, week: Week
) -> None:
    prepare(sandbox, week, {PLACE: orders(3)})
    await deliver(sandbox, week)
    whole = stream(store, week)
    store.bucket.write(store.layout.delivered(week.key), b"{")
    await deliver(sandbox, week)
    assert stream(store, week) == whole


def test_of_two_runs_at_once_the_newest_word_on_each_restaurant_stays(store: OrderStore, week: Week) -> None:
    def note(**minutes: int) -> None:
        times = {guid: datetime(2025, 9, 22, 5, minute, tzinfo=UTC).isoformat() for guid, minute in minutes.items()}
        found: dict[str, Any] = {
            guid: RestaurantDelivery(orders_sha256=at, updated_at=at) for guid, at in times.items()
        }
        note_delivered(store, week.key, found, is_first=True)

    note(one=10, two=10)
    note(one=5, two=20, three=5)
    found = summaries(store, week)
    assert {guid: one.updated_at[14:16] for guid, one in found.items()} == {"one": "10", "two": "20", "three": "05"}
