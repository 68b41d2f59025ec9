"""The manifest keeps in step with a pull: noted before it counts, in few writes, unchanged where nothing changed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from toast_assets.errors import StoreError
from toast_assets.pipeline.progress import PullProgress
from toast_assets.sandbox import Sandbox
from toast_assets.store.bucket import Bucket
from toast_assets.store.manifest import Manifest, PullEvidence, PullRecord, RestaurantRecord
from toast_assets.store.order_store import OrderStore
from toast_assets.week import Week
from toast_assets_tests.support.clients import s3_client
from toast_assets_tests.support.s3_faults import after, before, refuse

GUIDS = ("a", "b", "c")


def complete(orders: int = 1) -> RestaurantRecord:
    evidence = PullEvidence(requests=1, retries=0, throttled=0, started_at="", finished_at="", slices=())
    pull = PullRecord.of(evidence, orders=orders, size=9, orders_sha256=str(orders), new=orders, changed=0)
    return RestaurantRecord(outcome="complete", pull=pull)


FAILED = RestaurantRecord(outcome="failed", failure="Toast answered 403.")


def progress(store: OrderStore, week: Week, asked: Sequence[str] = GUIDS) -> PullProgress:
    manifest, version = store.load_manifest(week)
    return PullProgress(store, week, manifest, version, asked, asked)


def saved(store: OrderStore, week: Week) -> Manifest:
    manifest, _ = store.load_manifest(week)
    assert manifest is not None
    return manifest


@pytest.fixture
def writes(sandbox: Sandbox, store: OrderStore) -> list[int]:
    """The numbers of the manifest's writes, while they happen; slow ones."""
    client = s3_client(sandbox)
    store.bucket = Bucket(client, sandbox.bucket)
    numbers: list[int] = []
    before(client, "PutObject", numbers.append)
    return numbers


async def test_a_restaurant_is_noted_before_it_counts_as_finished(store: OrderStore, week: Week) -> None:
    async with progress(store, week) as run:
        await run.finished("b", complete())
        assert saved(store, week).stored.keys() == {"b"}
        assert saved(store, week).pending == ("a", "c")
        assert saved(store, week).outcome == "incomplete"


async def test_those_that_finish_together_share_a_write(store: OrderStore, week: Week, writes: list[int]) -> None:
    many = [f"r{number:03}" for number in range(200)]
    async with progress(store, week, many) as run:
        await asyncio.gather(*(run.finished(guid, complete()) for guid in many))
    manifest = await run.finish()
    assert manifest == saved(store, week)
    assert len(manifest.stored) == 200
    assert len(writes) <= 3


async def test_a_run_in_which_nothing_is_stored_leaves_no_trace(store: OrderStore, week: Week) -> None:
    async with progress(store, week) as run:
        for guid in GUIDS:
            await run.finished(guid, FAILED)
    assert list(store.bucket.keys("")) == []


async def test_a_failure_is_noted_with_its_reason_beside_what_is_stored(store: OrderStore, week: Week) -> None:
    async with progress(store, week) as run:
        await run.finished("a", FAILED)
        await run.finished("b", complete())
        await run.finished("c", complete())
    manifest = await run.finish()
    assert manifest.outcome == "incomplete"
    assert manifest.failures == {"a": "Toast answered 403."}


async def test_an_unchanged_week_ends_with_the_same_bytes(store: OrderStore, week: Week) -> None:
    async with progress(store, week) as run:
        for guid in GUIDS:
            await run.finished(guid, complete())
    await run.finish()
    first = store.bucket.read(store.layout.manifest(week))
    async with progress(store, week) as run:
        for guid in reversed(GUIDS):
            known = run.record_of(guid)
            assert known is not None
            await run.finished(guid, known)
    await run.finish()
    second = store.bucket.read(store.layout.manifest(week))
    assert first is not None
    assert second is not None
    assert first[0] == second[0]


async def test_an_error_half_way_leaves_the_rest_pending(store: OrderStore, week: Week) -> None:
    with pytest.raises(RuntimeError):
        await _dies_after_one(progress(store, week))
    assert saved(store, week).stored.keys() == {"a"}
    assert saved(store, week).missing(GUIDS) == ("b", "c")


async def _dies_after_one(run: PullProgress) -> None:
    async with run:
        await run.finished("a", complete())
        raise RuntimeError


async def test_a_cancelled_run_leaves_the_rest_pending(store: OrderStore, week: Week) -> None:
    noted = asyncio.Event()

    async def work() -> None:
        async with progress(store, week) as run:
            await run.finished("a", complete())
            noted.set()
            await asyncio.sleep(60)

    task = asyncio.create_task(work())
    await noted.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert saved(store, week).missing(GUIDS) == ("b", "c")


async def test_the_error_that_ended_the_run_is_told_and_not_that_of_the_last_save(
    sandbox: Sandbox, store: OrderStore, week: Week
) -> None:
    client = s3_client(sandbox)
    store.bucket = Bucket(client, sandbox.bucket)
    run = progress(store, week)
    after(client, "PutObject", lambda number: number == 1 and refuse(client, "PutObject", 403, "AccessDenied"))
    with pytest.raises(RuntimeError):
        await _dies_after_one(run)


async def test_a_save_that_fails_ends_the_run(sandbox: Sandbox, store: OrderStore, week: Week) -> None:
    client = s3_client(sandbox)
    refuse(client, "PutObject", 403, "AccessDenied")
    store.bucket = Bucket(client, sandbox.bucket)
    async with progress(store, week) as run:
        with pytest.raises(StoreError, match="AccessDenied"):
            await run.finished("a", complete())


async def test_two_runs_of_one_week_keep_each_others_restaurants(store: OrderStore, week: Week) -> None:
    one, other = progress(store, week, ("a", "b")), progress(store, week, ("b", "c"))
    async with one, other:
        await one.finished("a", complete(1))
        await other.finished("c", complete(3))
        await one.finished("b", complete(2))
        await other.finished("b", complete(2))
    await one.finish()
    manifest = await other.finish()
    assert {guid: pull.orders for guid, pull in manifest.stored.items()} == {"a": 1, "b": 2, "c": 3}
    assert manifest == saved(store, week)


async def test_a_failure_of_a_restaurant_that_is_not_wanted_any_more_keeps_no_week_incomplete(
    store: OrderStore, week: Week
) -> None:
    async with progress(store, week) as run:
        await run.finished("a", FAILED)
        await run.finished("b", complete())
        await run.finished("c", complete())
    await run.finish()
    async with progress(store, week, ("b",)) as run:
        await run.finished("b", complete())
    manifest = await run.finish()
    assert manifest.outcome == "complete"
    assert manifest.stored.keys() == {"b", "c"}
