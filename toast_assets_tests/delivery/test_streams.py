"""The first records for a stream are pointed out once, because Amperity answers 202 for one that does not exist."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from toast_assets.delivery.streams import note_streams
from toast_assets.errors import AmperityRefusedError
from toast_assets.sandbox import Kind, Sandbox
from toast_assets.store.bucket import Bucket
from toast_assets.store.order_store import OrderStore
from toast_assets.week import Week, WeekCalendar
from toast_assets_tests.support.data.invented import check, customer, encode, order
from toast_assets_tests.support.services.clients import order_store
from toast_assets_tests.support.stores.deliveries import (
    CUSTOMERS,
    ITEMS,
    ROW_STREAMS,
    STREAM,
    TRANSACTIONS,
    deliver,
    prepare,
)
from toast_assets_tests.support.stores.stored_weeks import store_week

TENANT = "sandbox"
NEXT = WeekCalendar().week("2025-09-22")
WARNED = "Amperity answers 202 for a stream that does not exist, too"


def put(sandbox: Sandbox, week: Week, count: int = 3) -> None:
    at = f"{week.start + timedelta(days=2):%Y-%m-%dT%H:%M:%S.000+0000}"
    prepare(
        sandbox, week, {"place-1": encode(*(order(check(guest=customer()), modifiedDate=at) for _ in range(count)))}
    )


def to(*streams: str) -> list[str]:
    return sorted(f"{TENANT}/{stream}" for stream in streams)


async def test_the_first_delivery_to_a_stream_warns_and_no_later_one_of_any_week(
    sandbox: Sandbox, week: Week, caplog: pytest.LogCaptureFixture
) -> None:
    put(sandbox, week)
    assert (await deliver(sandbox, week)).new_streams == to(STREAM)
    (said,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert f"First records for stream {TENANT}/{STREAM}." in said
    assert WARNED in said
    assert "toast-assets doctor --canary" in said
    caplog.clear()
    put(sandbox, week, 5)
    put(sandbox, NEXT)
    for again in (week, NEXT, week):
        assert not (await deliver(sandbox, again)).new_streams
    assert WARNED not in caplog.text


async def test_a_misspelt_stream_and_each_stream_of_a_feed_warn_by_themselves(sandbox: Sandbox, week: Week) -> None:
    put(sandbox, week)
    await deliver(sandbox, week)
    assert (await deliver(sandbox, week, **ROW_STREAMS)).new_streams == to(ITEMS, TRANSACTIONS, CUSTOMERS)
    assert (await deliver(sandbox, week, AMPERITY_STREAM_ID="is-nonsense")).new_streams == to("is-nonsense")
    assert not (await deliver(sandbox, week, **ROW_STREAMS)).new_streams


async def test_a_stream_that_refused_everything_is_still_new(sandbox: Sandbox, week: Week) -> None:
    put(sandbox, week)
    sandbox.faults.arm(Kind.STATUS, "stream", status=403, last=None)
    with pytest.raises(AmperityRefusedError):
        await deliver(sandbox, week)
    sandbox.faults.clear()
    assert (await deliver(sandbox, week)).new_streams == to(STREAM)


async def test_notices_go_to_an_address_that_answers_for_itself(sandbox: Sandbox, week: Week) -> None:
    put(sandbox, week)
    url = f"{sandbox.amperity_url}/api/v1/streaming"
    report = await deliver(sandbox, week, AMPERITY_DELIVERY="notify", AMPERITY_API_URL=url)
    assert (report.accepted, report.new_streams) == (1, [])


@pytest.mark.parametrize("lost", [lambda bucket, key: bucket.delete(key), lambda bucket, key: bucket.write(key, b"{")])
async def test_ledgers_of_other_weeks_say_what_is_known_after_an_upgrade(
    sandbox: Sandbox, week: Week, lost: Callable[[Bucket, str], object]
) -> None:
    put(sandbox, week)
    await deliver(sandbox, week)
    store = order_store(sandbox)
    lost(store.bucket, store.layout.streams)
    put(sandbox, NEXT)
    assert not (await deliver(sandbox, NEXT)).new_streams
    assert b"is-toast-orders" in (store.bucket.read(store.layout.streams) or (b"", None))[0]


async def test_a_first_delivery_that_was_killed_before_it_could_say_so_is_made_up_for(
    sandbox: Sandbox, week: Week
) -> None:
    put(sandbox, week)
    await deliver(sandbox, week)
    store = order_store(sandbox)
    store.bucket.delete(store.layout.streams)
    put(sandbox, week, 5)
    assert (await deliver(sandbox, week)).new_streams == to(STREAM)


def test_of_two_years_of_weeks_a_few_ledgers_are_read_once_and_then_one_object(
    store: OrderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = WeekCalendar().first
    weeks = [WeekCalendar().week(f"{first + timedelta(weeks=number)}") for number in range(104)]
    manifest = store_week(store, weeks[0], {"here": encode(order())})
    for one in weeks[1:]:
        store.bucket.write(store.layout.manifest(one), b"{}")
    assert manifest.stored
    calls: list[str] = []
    read, fetch, listed = Bucket.read, Bucket.fetch, Bucket.listed

    def counting(name: str, call: Callable[..., object]) -> Callable[..., object]:
        def counted(*given: object, **more: object) -> object:
            calls.append(name)
            return call(*given, **more)

        return counted

    for name, call in (("read", read), ("fetch", fetch), ("listed", listed)):
        monkeypatch.setattr(Bucket, name, counting(name, call))
    assert note_streams(["t/is-x"], weeks[-1], store) == ["t/is-x"]
    assert len(calls) <= 10
    calls.clear()
    assert note_streams(["t/is-x"], weeks[3], store) == []
    assert calls == ["fetch"]
