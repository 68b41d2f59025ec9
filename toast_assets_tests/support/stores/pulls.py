"""Pulls of a sandbox's week, and what its bucket holds afterwards against what the sandbox knows to be true."""

from __future__ import annotations

import gzip
import hashlib
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

from toast_assets.export.write import ExportReport, export_week
from toast_assets.orders.raw import RawOrder, with_restaurant
from toast_assets.orders.raw_file import read_raw
from toast_assets.pull.week import PullReport, WeekPull
from toast_assets.sandbox import Sandbox
from toast_assets.store.manifest import Manifest
from toast_assets.store.order_store import OrderStore
from toast_assets.toast.client import ToastClient
from toast_assets.week import Week
from toast_assets_tests.support.services.clients import order_store, toast_client

LOG = logging.getLogger("toast_assets.test")

Versions = Mapping[str, tuple[int, bytes]]
"""Orders by GUID: modified time in milliseconds, and the JSON."""


async def pull(
    sandbox: Sandbox, week: Week, *, refresh: bool | None = None, client: ToastClient | None = None, **changes: Any
) -> PullReport:
    """One run's pull, without any waiting, and without a census unless it is asked for: the sandbox would invent three
    weeks for it. ``changes`` are environment variables."""
    async with client or toast_client(sandbox, **{"TOAST_CENSUS": "off"} | changes) as toast:
        return await WeekPull(week, toast, order_store(sandbox), refresh=refresh, log=LOG).run()


def export(sandbox: Sandbox, week: Week) -> ExportReport:
    """One run's export."""
    return export_week(week, order_store(sandbox), LOG)


def manifest_of(store: OrderStore, week: Week) -> Manifest:
    """The week's manifest, which has to be there."""
    manifest, _ = store.load_manifest(week)
    assert manifest is not None
    return manifest


def stored_rows(store: OrderStore, week: Week, guid: str) -> list[RawOrder]:
    """The rows of a raw file; none where there is no file."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "raw.parquet"
        return list(read_raw(path)) if store.bucket.fetch(store.layout.raw(week, guid), path) else []


def stored_versions(store: OrderStore, week: Week, guid: str) -> Versions:
    """What is stored of a restaurant, each order once."""
    rows = stored_rows(store, week, guid)
    versions = {order.guid: (order.modified_ms, order.body) for order in rows}
    assert len(versions) == len(rows)
    return versions


def true_versions(sandbox: Sandbox, week: Week, guid: str) -> Versions:
    """What the sandbox holds of a restaurant's week now."""
    orders = sandbox.toast.orders[guid].between(week.start_ms, week.end_ms)
    return {order.guid: (order.modified_ms, order.json) for order in orders}


@dataclass(frozen=True)
class ReadExport:
    """An export, read as its readers do."""

    orders: list[dict[str, Any]]
    metadata: dict[str, Any]
    raw: bytes


def read_export(store: OrderStore, week: Week, guid: str) -> ReadExport:
    """The export of a restaurant's week."""
    found = store.bucket.read(store.layout.export(week, guid))
    assert found is not None
    raw = gzip.decompress(found[0])
    content = msgspec.json.decode(raw)
    return ReadExport(content["orders"], content["metadata"], raw)


def check_export(store: OrderStore, week: Week, guid: str) -> None:
    """The export is readable, and holds exactly what is stored, in its order, with the right count and hash."""
    rows = stored_rows(store, week, guid)
    found = read_export(store, week, guid)
    bodies = [with_restaurant(row.body, guid) for row in rows]
    assert found.orders == [msgspec.json.decode(body) for body in bodies]
    assert found.metadata["total_orders"] == len(rows)
    assert found.metadata["restaurant_guid"] == guid
    digest = hashlib.sha256(b"".join(body + b"\n" for body in bodies)).hexdigest()
    assert found.metadata["orders_sha256"] == digest
    record = manifest_of(store, week).stored[guid]
    assert (record.orders, record.orders_sha256) == (len(rows), digest)


def check_complete(sandbox: Sandbox, week: Week, guids: Iterable[str] | None = None) -> int:
    """Everything that the sandbox holds is stored, byte for byte, nothing else is, and the exports agree; the count."""
    store = order_store(sandbox)
    total = 0
    for guid in sandbox.restaurant_guids if guids is None else guids:
        versions = stored_versions(store, week, guid)
        assert versions == true_versions(sandbox, week, guid), guid
        check_export(store, week, guid)
        total += len(versions)
    return total


def bucket_content(sandbox: Sandbox) -> dict[str, bytes]:
    """All objects of the bucket."""
    bucket = order_store(sandbox).bucket
    found = {key: bucket.read(key) for key in bucket.keys("")}
    return {key: item[0] for key, item in found.items() if item is not None}
