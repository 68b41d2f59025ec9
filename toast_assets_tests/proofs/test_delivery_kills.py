"""A delivery in a process of its own, killed by the server at the n-th record: what is sent again, and what the ledger
says. The points are seeded, and counted in records, never in time.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from random import Random
from threading import Lock

import pytest

from toast_assets.delivery.ledger import BATCH
from toast_assets.sandbox import Call, Kind, Sandbox
from toast_assets.store.deliveries import load_delivered
from toast_assets.week import Week
from toast_assets_tests.support.data.invented import check, encode, order, selection
from toast_assets_tests.support.services.clients import UNLIMITED, order_store
from toast_assets_tests.support.stores.deliveries import (
    ROW_STREAMS,
    accepted,
    deliver,
    guids,
    ledger,
    open_rejects,
    open_segments,
    prepare,
)

ORDERS = {"place-1": 600, "place-2": 160, "place-3": 40}
TOTAL = sum(ORDERS.values())
_DELIVERY = """
import asyncio, logging, os, sys
from toast_assets.amperity.client import AmperityClient
from toast_assets.delivery.deliver import WeekDelivery
from toast_assets.amperity.settings import AmperitySettings
from toast_assets.store.order_store import OrderStore
from toast_assets.week import WeekCalendar

async def main():
    names = (one.alias for one in AmperitySettings.model_fields.values())
    settings = AmperitySettings.parse({name: os.environ.get(name) for name in names})
    async with AmperityClient(settings) as client:
        week = WeekCalendar().week("2025-09-15")
        await WeekDelivery(week, client, OrderStore.from_environment()).run()

asyncio.run(main())
"""


def bodies(count: int) -> list[bytes]:
    return encode(*(order(check(selection("5.00", tax=0))) for _ in range(count)))


def killed_delivery(sandbox: Sandbox, arm: Callable[[Callable[[Call], object]], object], **changes: str) -> int:
    """Runs a delivery until the armed fault kills it; its exit code."""
    environment = os.environ | sandbox.environment() | {"AMPERITY_REQUESTS_PER_SECOND": UNLIMITED} | changes
    process = subprocess.Popen(  # noqa: S603 - this package itself
        [sys.executable, "-c", _DELIVERY], env=environment
    )
    lock = Lock()

    def kill(_call: Call) -> None:
        with lock:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                process.wait()

    arm(kill)
    try:
        return process.wait(600)
    finally:
        process.kill()
        process.wait()


POINTS = sorted(Random(20250915).sample(range(1, TOTAL), 3))


@pytest.mark.parametrize("number", POINTS)
async def test_a_kill_at_any_record_costs_one_batch_at_most_and_loses_nothing(
    number: int, sandbox: Sandbox, week: Week
) -> None:
    stored = {place: bodies(count) for place, count in ORDERS.items()}
    prepare(sandbox, week, stored)
    code = killed_delivery(
        sandbox, lambda kill: sandbox.faults.arm(Kind.HOOK_AFTER, "stream", action=kill, first=number, last=number)
    )
    assert code == -signal.SIGKILL
    before = Counter(record.request_id for record in accepted(sandbox))
    assert 0 < len(before) < TOTAL
    assert set(before.values()) == {1}
    sandbox.faults.clear()
    report = await deliver(sandbox, week)
    check_whole(sandbox, week, stored)
    assert report.methods["stream"].unchanged >= len(before) - BATCH
    requests = sandbox.amperity.log.count("stream")
    await deliver(sandbox, week)
    assert sandbox.amperity.log.count("stream") == requests


def check_whole(sandbox: Sandbox, week: Week, stored: dict[str, list[bytes]]) -> None:
    """Everything has arrived, at most one batch twice and then under the same id, and the ledger knows all of it."""
    arrived = accepted(sandbox)
    assert sorted({str(record.guid) for record in arrived}) == guids(stored)
    assert len({(record.guid, record.request_id, record.body) for record in arrived}) == TOTAL
    times = Counter(record.request_id for record in arrived)
    assert len(arrived) - TOTAL <= BATCH
    assert max(times.values()) <= 2
    table = ledger(sandbox, week)
    assert (len(table), set(table["state"])) == (TOTAL, {"accepted"})
    assert set(table["request_id"]) == set(times)
    assert not open_segments(sandbox, week)
    known = load_delivered(order_store(sandbox), week.key)
    assert known is not None
    arrived_of = {place: one.methods["stream"].arrived for place, one in known.restaurants.items()}
    assert (arrived_of, {one.problem for one in known.restaurants.values()}) == (ORDERS, {None})
    assert open_rejects(sandbox) == {}
    assert sandbox.amperity.sent_again == len(arrived) - TOTAL


async def test_a_delivery_of_feed_rows_that_is_killed_is_finished_by_the_next(sandbox: Sandbox, week: Week) -> None:
    prepare(sandbox, week, {"place-1": bodies(150)})
    code = killed_delivery(
        sandbox,
        lambda kill: sandbox.faults.arm(Kind.HOOK, "stream", action=kill, first=260, last=260),
        **ROW_STREAMS,
    )
    assert code == -signal.SIGKILL
    sandbox.faults.clear()
    await deliver(sandbox, week, **ROW_STREAMS)
    ids = {record.request_id for record in sandbox.amperity.accepted}
    table = ledger(sandbox, week)
    assert (len(table), set(table["state"]), set(table["request_id"])) == (len(ids), {"accepted"}, ids)
    assert table["method"].value_counts().to_dict() == {
        "stream": 150,
        "stream_order_items": 150,
        "stream_transactions": 150,
    }
    assert not open_segments(sandbox, week)
