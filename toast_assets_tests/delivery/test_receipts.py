"""The ledger while a delivery runs: when receipts are stored, what a death at any of its writes leaves behind."""

from __future__ import annotations

import logging
from collections import Counter
from functools import partial
from typing import Any

import pytest

from toast_assets.amperity.records import RecordKey
from toast_assets.delivery.deliver import WeekDelivery
from toast_assets.delivery.ledger import LedgerEntry
from toast_assets.delivery.receipts import BATCH, Receipts
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
    before: bool, sandbox: Sandbox, week: Week
) -> None:
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
    # At least a segment, two ledgers and the segment's removal.
    assert number > 4


async def test_no_more_than_a_batch_is_on_its_way_without_a_stored_receipt(
    sandbox: Sandbox, store: OrderStore, week: Week
) -> None:
    taken = 0
    async with Receipts(store, week) as receipts:
        for _ in range(BATCH):
            await receipts.place()
            taken += 1
        for number in range(BATCH):
            receipts.add(entry(number))
        # Places come back with the receipts that are stored, and not before.
        await receipts.place()
    assert taken == BATCH
    stored = Receipts(store, week).load(A)
    assert stored is not None
    assert len(stored) == BATCH


async def test_receipts_are_stored_while_others_are_still_on_their_way(
    sandbox: Sandbox, store: OrderStore, week: Week
) -> None:
    async with Receipts(store, week) as receipts:
        for number in range(130):
            await receipts.place()
            receipts.add(entry(number))
        for _ in range(BATCH - 130 + 1):
            await receipts.place()
        assert open_segments(sandbox, week)
    assert not open_segments(sandbox, week)


async def test_whoever_sends_hears_that_receipts_cannot_be_stored(sandbox: Sandbox, week: Week) -> None:
    client = s3_client(sandbox)
    s3_faults.refuse(client, "PutObject", 403, "AccessDenied")
    store = OrderStore(Bucket(client, sandbox.bucket), sandbox.config.prefix)

    async def send_two_batches() -> None:
        async with Receipts(store, week) as receipts:
            for number in range(2 * BATCH):
                await receipts.place()
                receipts.add(entry(number))

    with pytest.raises(StoreError, match="s3:PutObject"):
        await send_two_batches()


async def test_what_a_delivery_that_died_left_behind_is_folded_by_the_next_and_seen_by_a_dry_run(
    sandbox: Sandbox, store: OrderStore, week: Week
) -> None:
    receipts = Receipts(store, week)
    receipts._save_segment(store.layout.ledger_segment(week, 1), [entry(1, state="pending"), entry(2), entry(3, B)])
    receipts._save_segment(store.layout.ledger_segment(week, 2), [entry(1)])
    async with Receipts(store, week, read_only=True) as looking:
        seen = looking.load(A)
    assert seen is not None
    assert dict(zip(seen["record_id"].to_pylist(), seen["state"].to_pylist(), strict=True)) == {
        "order-1": "accepted",
        "order-2": "accepted",
    }
    assert len(open_segments(sandbox, week)) == 2
    async with Receipts(store, week):
        pass
    assert not open_segments(sandbox, week)
    table = ledger(sandbox, week)
    assert sorted(zip(table["restaurant_guid"], table["record_id"], strict=True)) == [
        (A, "order-1"),
        (A, "order-2"),
        (B, "order-3"),
    ]


async def test_two_deliveries_at_once_both_keep_their_receipts(sandbox: Sandbox, store: OrderStore, week: Week) -> None:
    async with Receipts(store, week) as first, Receipts(store, week) as second:
        for number, receipts in enumerate((first, second)):
            await receipts.place()
            receipts.add(entry(number))
        await first.close_restaurant(A)
        await second.close_restaurant(A)
    assert set(ledger(sandbox, week)["record_id"]) == {"order-0", "order-1"}
