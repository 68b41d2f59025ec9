"""Deliveries of a sandbox's week to its Amperity, without any waiting, and what both sides know of it afterwards."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from io import BytesIO
from typing import Any

import pandas as pd

from toast_assets.amperity.client import AmperityClient
from toast_assets.amperity.settings import AmperitySettings
from toast_assets.delivery.deliver import DeliveryReport, WeekDelivery
from toast_assets.delivery.retries import Retries, retry_rejects
from toast_assets.export.write import export_week
from toast_assets.http.retry import RetryPolicy
from toast_assets.sandbox import Record, Sandbox
from toast_assets.week import Week
from toast_assets_tests.support.services.clients import QUICK, UNLIMITED, SkippedTime, order_store
from toast_assets_tests.support.stores.pulls import LOG
from toast_assets_tests.support.stores.stored_weeks import store_week

STREAM, ITEMS, CUSTOMERS = "is-toast-orders", "is-toast-order-items", "is-toast-customers"
TRANSACTIONS = "is-toast-transactions"
ROW_STREAMS: dict[str, Any] = {
    "AMPERITY_ORDER_ITEMS_STREAM_ID": ITEMS,
    "AMPERITY_TRANSACTIONS_STREAM_ID": TRANSACTIONS,
    "AMPERITY_CUSTOMERS_STREAM_ID": CUSTOMERS,
}
NO_CLIENT: dict[str, Any] = {"AMPERITY_CLIENT_ID": "", "AMPERITY_CLIENT_SECRET": ""}
"""Nothing to renew a token with."""

Orders = Mapping[str, Iterable[bytes]]
"""Orders (JSON objects) by restaurant."""


def amperity_settings(sandbox: Sandbox, **changes: str) -> AmperitySettings:
    """The sandbox's settings as an environment would give them; ``changes`` are variables."""
    names = {each.alias for each in AmperitySettings.model_fields.values()}
    environment = {"AMPERITY_REQUESTS_PER_SECOND": UNLIMITED} | sandbox.environment() | changes
    return AmperitySettings.parse({name: value for name, value in environment.items() if name in names})


def amperity_client(
    sandbox: Sandbox, *, retry: RetryPolicy = QUICK, skipped: SkippedTime | None = None, **changes: str
) -> AmperityClient:
    """A client that neither paces itself nor waits between retries; ``changes`` are environment variables."""
    skipped = skipped or SkippedTime()
    return AmperityClient(
        amperity_settings(sandbox, **changes), retry=retry, sleep=skipped.sleep, now=skipped.now, clock=skipped.clock
    )


def prepare(sandbox: Sandbox, week: Week, orders: Orders | None = None) -> dict[str, list[bytes]]:
    """Stores and exports a week, by default all that the sandbox has; the orders by restaurant."""
    store = order_store(sandbox)
    if orders is None:
        orders = {
            guid: [order.json for order in sandbox.toast.orders[guid].between(week.start_ms, week.end_ms)]
            for guid in sandbox.restaurant_guids
        }
    stored = {guid: list(bodies) for guid, bodies in orders.items()}
    store_week(store, week, stored)
    export_week(week, store, LOG)
    return stored


async def deliver(
    sandbox: Sandbox,
    week: Week,
    *,
    dry_run: bool = False,
    replay: bool = False,
    retry: RetryPolicy = QUICK,
    skipped: SkippedTime | None = None,
    now: datetime | None = None,
    **changes: str,
) -> DeliveryReport:
    """One run's delivery at ``now``; ``changes`` are environment variables."""
    async with amperity_client(sandbox, retry=retry, skipped=skipped, **changes) as client:
        delivery = WeekDelivery(week, client, order_store(sandbox), dry_run, replay, LOG)
        delivery.now = lambda: now or datetime.now(UTC)
        return await delivery.run()


async def deliver_and_retry(
    sandbox: Sandbox,
    week: Week,
    *,
    now: datetime | None = None,
    dry_run: bool = False,
    retry: RetryPolicy = QUICK,
    skipped: SkippedTime | None = None,
    **changes: str,
) -> Retries:
    """One run's delivery, and its retries of other weeks' rejects, at ``now``; ``changes`` are environment
    variables."""
    async with amperity_client(sandbox, retry=retry, skipped=skipped, **changes) as client:
        delivery = WeekDelivery(week, client, order_store(sandbox), dry_run, log=LOG)
        delivery.now = lambda: now or datetime.now(UTC)
        await delivery.run()
        return await retry_rejects(delivery)


def open_rejects(sandbox: Sandbox) -> dict[str, dict[str, Any]]:
    """The index of open rejects, read as people do, by week."""
    store = order_store(sandbox)
    found = store.bucket.read(store.layout.open_rejects)
    assert found is not None
    weeks: dict[str, dict[str, Any]] = json.loads(found[0])["weeks"]
    return weeks


def guids(orders: Mapping[str, Iterable[bytes]]) -> list[str]:
    """The GUIDs of orders, sorted."""
    return sorted(json.loads(body)["guid"] for bodies in orders.values() for body in bodies)


def accepted(sandbox: Sandbox, stream_id: str = STREAM) -> list[Record]:
    """What a stream accepted, in the order of arrival."""
    return sandbox.amperity.of_stream(stream_id)


def ledger(sandbox: Sandbox, week: Week) -> pd.DataFrame:
    """All of a week's ledger, read as people do: every Parquet file of the folder."""
    store = order_store(sandbox)
    folder = store.layout.deliveries(week)
    frames = []
    for key in store.bucket.keys(folder):
        if "/" not in key.removeprefix(folder):
            found = store.bucket.read(key)
            assert found is not None
            frames.append(pd.read_parquet(BytesIO(found[0])))
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def open_segments(sandbox: Sandbox, week: Week) -> list[str]:
    """Receipts that no restaurant's ledger holds yet; none after a delivery that ended."""
    store = order_store(sandbox)
    return list(store.bucket.keys(store.layout.ledger_segments(week)))


def rejects(sandbox: Sandbox, week: Week) -> list[dict[str, Any]]:
    """The week's rejects; none where there is no file."""
    store = order_store(sandbox)
    found = store.bucket.read(store.layout.rejects(week))
    return [] if found is None else [json.loads(line) for line in gzip.decompress(found[0]).splitlines()]
