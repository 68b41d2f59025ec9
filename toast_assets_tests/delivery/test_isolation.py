"""What one order or one restaurant does to a delivery: nothing to the others; and when a record is due again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import httpx
import pytest

from toast_assets.amperity.client import CONNECTIONS, AmperityClient
from toast_assets.delivery.deliver import DeliveryReport, WeekDelivery, check_delivery
from toast_assets.errors import ExportError, StoreError, ToastAssetsError
from toast_assets.http.retry import RetryPolicy
from toast_assets.sandbox import Kind, Sandbox
from toast_assets.week import Week
from toast_assets_tests.support.data.invented import check, customer, encode, order, selection
from toast_assets_tests.support.services.clients import order_store
from toast_assets_tests.support.services.scripted_amperity import ScriptedAmperity
from toast_assets_tests.support.stores.deliveries import (
    CUSTOMERS,
    ROW_STREAMS,
    accepted,
    amperity_settings,
    deliver,
    guids,
    ledger,
    open_segments,
    prepare,
    rejects,
)
from toast_assets_tests.support.stores.stored_weeks import store_week

P = ParamSpec("P")
T = TypeVar("T")
PLACES = ("place-1", "place-2", "place-3")


def orders(count: int) -> list[bytes]:
    return encode(
        *(order(check(selection("5.00"), guest=customer(email=f"g{number}@example.com"))) for number in range(count))
    )


def no_export(sandbox: Sandbox, week: Week, place: str) -> None:
    store = order_store(sandbox)
    store.bucket.delete(store.layout.export(week, place))


def no_raw(sandbox: Sandbox, week: Week, place: str) -> None:
    store = order_store(sandbox)
    store.bucket.delete(store.layout.raw(week, place))


def older_export(sandbox: Sandbox, week: Week, place: str) -> None:
    stored = {one: orders(3) for one in PLACES if one != place}
    store_week(order_store(sandbox), week, {place: orders(4)} | stored)
    for one, bodies in stored.items():
        prepare(sandbox, week, {one: bodies})
    store_week(order_store(sandbox), week, {place: orders(4)} | stored)


def damaged(key_of: Callable[[Any], Callable[..., str]], share: float) -> Callable[[Sandbox, Week, str], None]:
    def damage(sandbox: Sandbox, week: Week, place: str) -> None:
        store = order_store(sandbox)
        key = key_of(store.layout)(week, place)
        found = store.bucket.read(key)
        body = bytearray(found[0] if found else b"no Parquet at all")
        middle = int(len(body) * share)
        body[middle : middle + 40] = b"\0" * 40
        store.bucket.write(key, bytes(body))

    return damage


@pytest.mark.parametrize(
    ("harm", "kind", "reason"),
    [
        pytest.param(no_export, ExportError, "The export .*place-2.* is missing", id="no export"),
        pytest.param(older_export, ExportError, "older than the raw orders", id="older export"),
        pytest.param(no_raw, ExportError, "raw orders .*restaurant=place-2.* are not those", id="no raw orders"),
        pytest.param(damaged(lambda it: it.raw, 0.5), ExportError, "raw orders .*place-2", id="raw, in its middle"),
        pytest.param(damaged(lambda it: it.raw, 1.0), ExportError, "raw orders .*place-2", id="raw, at its end"),
        pytest.param(damaged(lambda it: it.ledger, 0.5), StoreError, "place-2.* earlier version", id="ledger"),
    ],
)
async def test_a_restaurant_that_cannot_be_delivered_is_named_and_all_others_are_delivered(
    harm: Callable[[Sandbox, Week, str], None],
    kind: type[ToastAssetsError],
    reason: str,
    sandbox: Sandbox,
    week: Week,
) -> None:
    prepare(sandbox, week, {place: orders(3) for place in PLACES})
    harm(sandbox, week, "place-2")
    report = await deliver(sandbox, week)
    assert {record.restaurant for record in accepted(sandbox)} == {"place-1", "place-3"}
    assert len(accepted(sandbox)) == report.accepted == 6
    with pytest.raises(kind, match=reason):
        check_delivery(report, 1.0)


async def test_receipts_that_a_cut_off_delivery_left_for_a_damaged_ledger_stop_no_other_restaurant(
    sandbox: Sandbox, week: Week
) -> None:
    prepare(sandbox, week, {place: orders(3) for place in PLACES})
    await deliver(sandbox, week)
    store = order_store(sandbox)
    segments = {place: store.bucket.read(store.layout.ledger(week, place)) for place in PLACES}
    for place, found in segments.items():
        assert found is not None
        store.bucket.write(store.layout.ledger_segment(week, place, 1), found[0])
    store.bucket.delete(store.layout.ledger(week, "place-1"))
    store.bucket.write(store.layout.ledger(week, "place-2"), b"no ledger")
    report = await deliver(sandbox, week)
    assert (report.accepted, report.methods["stream"].unchanged, list(report.problems)) == (0, 6, ["place-2"])
    assert open_segments(sandbox, week) == [store.layout.ledger_segment(week, "place-2", 1)]


async def test_the_rejects_of_a_restaurant_whose_ledger_cannot_be_read_are_carried_over(
    sandbox: Sandbox, week: Week
) -> None:
    stored = prepare(sandbox, week, {place: orders(3) for place in PLACES})
    bad = guids({"": stored["place-2"]})[0]
    sandbox.faults.arm(Kind.STATUS, "stream", status=400, containing=bad.encode())
    await deliver(sandbox, week)
    damaged(lambda it: it.ledger, 0.5)(sandbox, week, "place-2")
    report = await deliver(sandbox, week)
    assert (list(report.problems), report.methods["stream"].unchanged) == (["place-2"], 6)
    assert [line["order_guid"] for line in rejects(sandbox, week)] == [bad]


async def test_several_restaurants_that_cannot_be_delivered_are_named_in_one_error(
    sandbox: Sandbox, week: Week
) -> None:
    prepare(sandbox, week, {place: orders(3) for place in PLACES})
    no_export(sandbox, week, "place-1")
    no_raw(sandbox, week, "place-3")
    report = await deliver(sandbox, week, dry_run=True)
    assert report.would_send == 3
    names = (
        r"(?s)2 restaurants are not delivered whole.*place-1: .* \[EXPORT\]\n.*place-3: .* \[RAW-MISMATCH\]\n.*again"
    )
    with pytest.raises(ExportError, match=names) as failed:
        check_delivery(report, 1.0)
    assert failed.value.code == "SEVERAL-CAUSES"


async def test_an_order_too_deep_to_redact_is_rejected_by_name_and_the_rest_arrives(
    sandbox: Sandbox, week: Week
) -> None:
    *good, bad = orders(5)
    deep = bad.replace(b'"checks":', b'"x":' + b"[" * 20_000 + b'{"server":1}' + b"]" * 20_000 + b',"checks":', 1)
    prepare(sandbox, week, {PLACES[0]: [*good, deep]})
    report = await deliver(sandbox, week)
    assert (report.accepted, report.methods["stream"].rejected) == (4, 1)
    assert [line["order_guid"] for line in rejects(sandbox, week)] == guids({"": [bad]})
    assert rejects(sandbox, week)[0]["record"] is None
    report = await deliver(sandbox, week)
    assert (report.accepted, len(rejects(sandbox, week))) == (0, 1)


async def scripted(sandbox: Sandbox, week: Week, amperity: ScriptedAmperity, **changes: str) -> DeliveryReport:
    settings = amperity_settings(sandbox, AMPERITY_CLIENT_ID="", AMPERITY_CLIENT_SECRET="", **changes)
    async with AmperityClient(settings, retry=RetryPolicy(attempts=1), transport=amperity) as client:
        return await WeekDelivery(week, client, order_store(sandbox)).run()


async def test_a_bug_ends_the_delivery_and_no_receipt_of_what_was_on_its_way_is_lost(
    sandbox: Sandbox, week: Week
) -> None:
    def answer(number: int, _request: httpx.Request) -> httpx.Response:
        if number == 30:
            raise LookupError("a fault of ours")
        return httpx.Response(202)

    amperity = ScriptedAmperity(answer)
    prepare(sandbox, week, {place: orders(60) for place in PLACES})
    with pytest.raises(LookupError, match="a fault of ours"):
        await scripted(sandbox, week, amperity)
    arrived = {json.loads(request.content)["guid"] for request in amperity.asked}
    table = ledger(sandbox, week)
    assert len(table) == len(arrived) - 1 >= 29
    assert set(table["record_id"]) < arrived


async def test_a_cancelled_delivery_keeps_the_receipts_of_what_was_answered_and_the_next_sends_the_rest(
    sandbox: Sandbox, week: Week
) -> None:
    def answer(number: int, _request: httpx.Request) -> httpx.Response:
        if number == 80:
            task.cancel()
        return httpx.Response(202)

    first, second = ScriptedAmperity(answer, back=lambda: 0.02), ScriptedAmperity()
    stored = prepare(sandbox, week, {place: orders(60) for place in PLACES})
    task = asyncio.create_task(scripted(sandbox, week, first))
    with pytest.raises(asyncio.CancelledError):
        await task
    known = set(ledger(sandbox, week)["record_id"])
    arrived = {json.loads(request.content)["guid"] for request in first.asked}
    assert known < arrived
    assert len(arrived) - len(known) <= CONNECTIONS
    assert not open_segments(sandbox, week)
    await scripted(sandbox, week, second)
    again = [json.loads(request.content)["guid"] for request in second.asked]
    assert sorted([*known, *again]) == guids(stored)


async def test_the_same_stream_at_another_tenant_receives_everything(sandbox: Sandbox, week: Week) -> None:
    prepare(sandbox, week, {PLACES[0]: orders(4)})
    await deliver(sandbox, week, **ROW_STREAMS)
    other = ScriptedAmperity()
    report = await scripted(sandbox, week, other, AMPERITY_TENANT_ID="other", **ROW_STREAMS)
    assert {name: counts.accepted for name, counts in report.methods.items()} == {
        "stream": 4,
        "stream_order_items": 4,
        "stream_transactions": 4,
        "stream_customers": 4,
    }
    assert {request.headers["X-Amperity-Tenant"] for request in other.asked} == {"other"}
    streams = {request.url.path.rpartition("/")[2] for request in other.asked}
    assert streams == {"is-toast-orders", *ROW_STREAMS.values()}
    assert (await scripted(sandbox, week, other, AMPERITY_TENANT_ID="other", **ROW_STREAMS)).accepted == 0
    assert (await deliver(sandbox, week, **ROW_STREAMS)).accepted == 0


async def test_other_privacy_rules_send_orders_and_the_rows_that_change_again(sandbox: Sandbox, week: Week) -> None:
    prepare(sandbox, week, {PLACES[0]: orders(4)})
    await deliver(sandbox, week, **ROW_STREAMS)
    ids = {record.request_id for record in accepted(sandbox)}
    rules: dict[str, Any] = ROW_STREAMS | {"AMPERITY_REDACT": "email=hash", "AMPERITY_REDACT_SALT": "one"}
    for changes in (rules, rules | {"AMPERITY_REDACT_SALT": "another"}):
        report = await deliver(sandbox, week, **changes)
        sent = {name: counts.accepted for name, counts in report.methods.items()}
        assert sent == {"stream": 4, "stream_order_items": 0, "stream_transactions": 0, "stream_customers": 4}
        assert (await deliver(sandbox, week, **changes)).accepted == 0
    again = {record.request_id for record in accepted(sandbox)}
    assert (len(again), ids < again) == (12, True)
    hashes = [json.loads(record.body)["checks"][0]["customer"]["email"] for record in accepted(sandbox)[8:]]
    assert sorted(hashes) == sorted(json.loads(row.body)["email"] for row in accepted(sandbox, CUSTOMERS)[8:])
