"""The ledger while a delivery runs: when receipts are stored, what a death at any of its writes leaves behind."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from toast_assets.amperity.records import RecordKey
from toast_assets.delivery.deliver import WeekDelivery
from toast_assets.delivery.ledger import BATCH, LedgerEntry, RestaurantLedger, Slots
from toast_assets.errors import StoreError
from toast_assets.sandbox import Sandbox
from toast_assets.store.bucket import Bucket
from toast_assets.store.order_store import OrderStore
from toast_assets.week import Week
from toast_assets_tests.support.data.invented import check, encode, order, selection
from toast_assets_tests.support.faults import s3_faults
from toast_assets_tests.support.services.clients import s3_client
from toast_assets_tests.support.stores.deliveries import (
    accepted,
    amperity_client,
    deliver,
    guids,
    ledger,
    open_segments,
    prepare,
)

LOG = logging.getLogger(__name__)
A, B = "place-a", "place-b"


class DeadError(RuntimeError):
    """The process is no more, as far as the bucket can tell."""


def orders(count: int) -> list[bytes]:
    return encode(*(order(check(selection(f"{number + 5}.00"))) for number in range(count)))


def entry(number: int, restaurant: str = A, state: Any = "accepted") -> LedgerEntry:
    guid = f"order-{number}"
    return LedgerEntry(
        RecordKey("stream", "is-x", restaurant, guid, "1-a", guid), state, 1, 202, None, 1_758_000_000_000
    )


def dying_store(sandbox: Sandbox, at: int, *, before: bool) -> tuple[OrderStore, list[str]]:
    """A store whose client dies before or after its ``at``-th write, and does nothing from then on; and its writes."""
    client = s3_client(sandbox)
    writes: list[str] = []
    dead = False

    def check(*, dies: bool = False) -> None:
        nonlocal dead
        dead = dead or dies
        if dead:
            raise DeadError

    def begins(operation: str, _number: int) -> None:
        writes.append(operation)
        check(dies=before and len(writes) == at)

    for operation in ("PutObject", "DeleteObject"):
        s3_faults.before(client, operation, partial(begins, operation))
        s3_faults.after(client, operation, lambda _number: check(dies=len(writes) >= at))
    for operation in ("GetObject", "ListObjectsV2", "HeadObject"):
        s3_faults.before(client, operation, lambda _number: check())
    return OrderStore(Bucket(client, sandbox.bucket), sandbox.config.prefix), writes


async def die_at(sandbox: Sandbox, week: Week, number: int, *, before: bool) -> bool:
    """A delivery that dies at its ``number``-th write; whether it came to that."""
    store, writes = dying_store(sandbox, number, before=before)
    try:
        async with amperity_client(sandbox) as client:
            await WeekDelivery(week, client, store, log=LOG).run()
    except DeadError:
        return True
    assert len(writes) < number
    return False


@pytest.mark.parametrize("before", [True, False], ids=["before the write", "after the write"])
async def test_a_death_at_any_write_loses_no_order_and_the_next_delivery_leaves_a_whole_ledger(
    before: bool, sandbox: Sandbox, week: Week, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("toast_assets.delivery.ledger.SEGMENT", 2)
    number, died = 1, True
    while died:
        stored = {A: orders(4), B: orders(3)}
        prepare(sandbox, week, stored)
        sent = len(accepted(sandbox))
        died = await die_at(sandbox, week, number, before=before)
        await deliver(sandbox, week)
        arrived = accepted(sandbox)[sent:]
        assert sorted({str(record.guid) for record in arrived}) == guids(stored)
        assert max(Counter(record.request_id for record in arrived).values()) <= 2
        table = ledger(sandbox, week)
        known = table[table["record_id"].isin(guids(stored))]
        assert (len(known), set(known["state"])) == (7, {"accepted"})
        assert not open_segments(sandbox, week)
        number += 1
    # At least three segments, their removal, and two ledgers.
    assert number > 8


async def is_free(slots: Slots) -> bool:
    try:
        await asyncio.wait_for(slots.acquire(), 0.05)
    except TimeoutError:
        return False
    slots.release(1)
    return True


async def test_no_more_than_a_batch_is_sent_without_a_stored_receipt(
    sandbox: Sandbox, store: OrderStore, week: Week
) -> None:
    slots = Slots()
    book = RestaurantLedger(store, week, A, slots, [])
    for _ in range(BATCH):
        await slots.acquire()
    assert not await is_free(slots)
    await book.add(entry(0))
    # Slots come back with the receipts that are stored, and not before.
    assert not await is_free(slots)
    for number in range(1, BATCH // 4):
        await book.add(entry(number))
    assert await is_free(slots)
    assert len(open_segments(sandbox, week)) == 1
    await book.save()
    assert not open_segments(sandbox, week)
    assert len(ledger(sandbox, week)) == BATCH // 4


async def test_restaurants_at_once_never_wait_for_each_others_receipts(
    sandbox: Sandbox, week: Week, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As many of each as a real batch would have, in small: four restaurants acquire slots at once.
    monkeypatch.setattr("toast_assets.delivery.ledger.BATCH", 8)
    monkeypatch.setattr("toast_assets.delivery.ledger.SEGMENT", 2)
    stored = prepare(sandbox, week, {f"place-{number:02}": orders(7) for number in range(12)})
    url = f"{sandbox.amperity_url}/api/v1/streaming"
    delivery = deliver(sandbox, week, AMPERITY_DELIVERY="notify,stream", AMPERITY_API_URL=url)
    assert (await asyncio.wait_for(delivery, 100)).accepted == len(guids(stored)) + len(stored)
    assert not open_segments(sandbox, week)


async def test_whoever_sends_hears_that_receipts_cannot_be_stored(sandbox: Sandbox, week: Week) -> None:
    client = s3_client(sandbox)
    s3_faults.refuse(client, "PutObject", 403, "AccessDenied")
    store = OrderStore(Bucket(client, sandbox.bucket), sandbox.config.prefix)
    slots = Slots()
    book = RestaurantLedger(store, week, A, slots, [])
    for number in range(BATCH // 4):
        await slots.acquire()
        await book.add(entry(number))
    with pytest.raises(StoreError, match="s3:PutObject"):
        await slots.acquire()
    waiting = [asyncio.create_task(slots.acquire()) for _ in range(BATCH)]
    assert {type(error) for error in await asyncio.gather(*waiting, return_exceptions=True)} == {StoreError}
    with pytest.raises(StoreError, match="s3:PutObject"):
        await book.save()


async def test_receipts_survive_in_a_segment_where_the_ledger_cannot_be_written(sandbox: Sandbox, week: Week) -> None:
    prepare(sandbox, week, {A: orders(3), B: orders(2)})
    client = s3_client(sandbox)

    def refuse(request: Any, **_: Any) -> None:
        if f"{A}.parquet" in request.url and "/open/" not in request.url:
            raise ConnectionError("made to fail")

    client.meta.events.register("before-send.s3.PutObject", refuse)
    failing = OrderStore(Bucket(client, sandbox.bucket), sandbox.config.prefix)
    async with amperity_client(sandbox) as amperity:
        report = await WeekDelivery(week, amperity, failing, log=LOG).run()
    assert (list(report.problems), report.accepted, len(open_segments(sandbox, week))) == ([A], 5, 1)
    assert (await deliver(sandbox, week)).accepted == 0
    assert (len(ledger(sandbox, week)), open_segments(sandbox, week)) == (5, [])


async def test_what_a_delivery_that_died_left_behind_is_folded_by_the_next_and_seen_by_a_dry_run(
    sandbox: Sandbox, store: OrderStore, week: Week
) -> None:
    stored = prepare(sandbox, week, {A: orders(3), B: orders(2)})
    await deliver(sandbox, week)
    for number, place in enumerate(stored, 1):
        key = store.layout.ledger(week, place)
        found = store.bucket.read(key)
        assert found is not None
        store.bucket.write(store.layout.ledger_segment(week, place, number), found[0])
        store.bucket.delete(key)
    # A marker is none of ours.
    store.bucket.write(store.layout.ledger_segments(week), b"")
    report = await deliver(sandbox, week, dry_run=True)
    assert (report.would_send, report.methods["stream"].unchanged) == (0, 5)
    assert len(open_segments(sandbox, week)) == 3
    sent = len(accepted(sandbox))
    await deliver(sandbox, week)
    assert len(accepted(sandbox)) == sent
    assert open_segments(sandbox, week) == [store.layout.ledger_segments(week)]
    assert sorted(ledger(sandbox, week)["record_id"]) == guids(stored)


async def test_two_deliveries_at_once_both_keep_their_receipts_and_neither_says_that_nothing_is_due(
    sandbox: Sandbox, store: OrderStore, week: Week, tmp_path: Path
) -> None:
    books = [RestaurantLedger(store, week, A, Slots(), []) for _ in range(2)]
    for number, book in enumerate(books):
        book.fetch(tmp_path)
        await book.add(entry(number))
    await books[0].save("digest", {"stream": 1})
    await books[1].save("digest", {"stream": 1})
    assert set(ledger(sandbox, week)["record_id"]) == {"order-0", "order-1"}
    after = RestaurantLedger(store, week, A, Slots(), [])
    after.fetch(tmp_path)
    assert after.settled("digest") is None


async def test_a_ledger_that_says_that_nothing_is_due_says_so_of_one_digest_alone(
    store: OrderStore, week: Week, tmp_path: Path
) -> None:
    book = RestaurantLedger(store, week, A, Slots(), [])
    book.fetch(tmp_path)
    await book.add(entry(0))
    await book.save("digest", {"stream": 1})
    after = RestaurantLedger(store, week, A, Slots(), [])
    after.fetch(tmp_path)
    assert (after.settled("digest"), after.settled("another")) == ({"stream": 1}, None)
    left = RestaurantLedger(store, week, A, Slots(), [store.layout.ledger_segment(week, A, 1)])
    left.fetch(tmp_path)
    assert left.settled("digest") is None
    # Any other writing of the ledger takes it back.
    assert after.calls_so_far() == {entry(0).key.request_id: None}
    await after.add(entry(1, state="rejected"))
    await after.save()
    last = RestaurantLedger(store, week, A, Slots(), [])
    last.fetch(tmp_path)
    assert last.settled("digest") is None


async def test_receipts_that_another_delivery_folds_meanwhile_are_known(
    sandbox: Sandbox, store: OrderStore, week: Week, tmp_path: Path
) -> None:
    living = RestaurantLedger(store, week, A, Slots(), [])
    for number in range(BATCH // 4):
        await living.add(entry(number))
    (segment,) = open_segments(sandbox, week)
    client = s3_client(sandbox)
    # The other delivery ends between this one's two reads.
    s3_faults.before(client, "GetObject", lambda number: number == 2 and asyncio.run(living.save()))
    late = OrderStore(Bucket(client, sandbox.bucket), sandbox.config.prefix)
    book = RestaurantLedger(late, week, A, Slots(), [segment])
    await asyncio.to_thread(book.fetch, tmp_path)
    assert list(book.calls_so_far().values()) == [None] * (BATCH // 4)
