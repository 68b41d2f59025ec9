"""Writes each restaurant's week as one gzipped JSON file, in the envelope of Amperity's guide.

The export is a function of the stored raw orders and the manifest alone: the same orders give the same bytes. One that
holds the stored orders already is left as it is.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import BoundedSemaphore
from typing import BinaryIO, cast

import msgspec
from isal import igzip

from toast_assets.orders.raw import with_restaurant
from toast_assets.orders.raw_file import read_groups
from toast_assets.store.bucket import Replacement, StoredObject
from toast_assets.store.client import CALLS_AT_ONCE
from toast_assets.store.manifest import PullRecord, RestaurantRecord
from toast_assets.store.order_store import OrderStore
from toast_assets.store.raw_weeks import (
    StoredWeek,
    all_failed,
    fetch_raw,
    manifest_mismatch,
    one_restaurant,
    reading_raw,
)
from toast_assets.week import Week, iso_ms

HEAD, TAIL = b'{"orders":[', b'],"metadata":'
# Compressing takes a processor and memory; everything else waits for S3.
_COMPRESSED_AT_ONCE = 2


class ExportMetadata(msgspec.Struct, frozen=True):
    """The envelope's ``metadata``; the first four fields are the guide's. Times are UTC."""

    fetch_date: str
    start_date: str
    end_date: str
    total_orders: int
    restaurant_guid: str
    partition: str
    orders_sha256: str


@dataclass(frozen=True)
class Export:
    """One exported object; ``bytes`` is its compressed size."""

    key: str
    bytes: int
    metadata: ExportMetadata


@dataclass(frozen=True)
class ExportReport:
    """The objects of a week's export, why restaurants have none of their stored orders, and the seconds it took;
    ``records`` are those of the stored restaurants."""

    week: Week
    records: Mapping[str, RestaurantRecord]
    exports: Sequence[Export]
    problems: Mapping[str, str]
    seconds: float


def export_week(week: Week, store: OrderStore, log: logging.Logger) -> ExportReport:
    """Export every restaurant of which the week's raw orders are stored whole. One that fails stops no other.

    Raises:
        ExportError: the week was never pulled, or no restaurant could be exported.
        StoreError: the bucket is missing or refuses access.
    """
    began = time.monotonic()
    stored = StoredWeek(week, store)
    records = stored.restaurants()
    present = frozenset(store.bucket.keys(store.layout.exports(week)))
    exports: list[Export] = []
    problems: dict[str, str] = {}
    compressing = BoundedSemaphore(_COMPRESSED_AT_ONCE)
    with ThreadPoolExecutor(CALLS_AT_ONCE, thread_name_prefix="export") as threads:
        jobs = {guid: threads.submit(_export, guid, stored, present, compressing) for guid in records}
        try:
            for guid, job in jobs.items():
                with one_restaurant(guid, problems, store):
                    export = job.result()
                    log.info("%s: %d orders, %d bytes.", export.key, export.metadata.total_orders, export.bytes)
                    exports.append(export)
        finally:
            # A run that ends here waits for the exports under way, and not for all that have not begun.
            threads.shutdown(cancel_futures=True)
    for guid, problem in problems.items():
        log.error("Restaurant %s was not exported: %s", guid, problem)
    if not exports:
        raise all_failed(f"Week {week.key}: exports", problems)
    return ExportReport(week, records, exports, problems, time.monotonic() - began)


def _export(guid: str, stored: StoredWeek, present: frozenset[str], compressing: BoundedSemaphore) -> Export:
    """Store the export of the orders that are stored now, and so never older ones than another run has exported."""
    week, store = stored.week, stored.store
    key = store.layout.export(week, guid)
    made: list[Export] = []

    def change(before: StoredObject | None, target: Path) -> Replacement | None:
        return stored.made_of(guid, partial(make, before, target), look_first=False)

    def make(before: StoredObject | None, target: Path, _: RestaurantRecord, pull: PullRecord) -> Replacement | None:
        metadata = ExportMetadata(
            fetch_date=pull.finished_at,
            start_date=iso_ms(week.start),
            end_date=iso_ms(week.end),
            total_orders=pull.orders,
            restaurant_guid=guid,
            partition=week.key,
            orders_sha256=pull.orders_sha256,
        )
        said = before.metadata if before else {}
        # Where S3 says the MD5, the stored object must still be what was written.
        if before and said.get("sha256") == metadata.orders_sha256 and before.md5 in (None, said.get("md5")):
            made.append(Export(key, before.size, metadata))
            return None
        raw = target.with_name(f"{target.name}.raw")
        fetch_raw(week, guid, raw, store)
        with compressing, reading_raw(week, guid, store), target.open("w+b") as file:
            written = write_envelope(file, raw, metadata)
            file.seek(0)
            md5 = hashlib.file_digest(file, partial(hashlib.md5, usedforsecurity=False)).hexdigest()
        raw.unlink()
        if written != (metadata.total_orders, metadata.orders_sha256):
            raise manifest_mismatch(week, guid, store)
        made.append(Export(key, target.stat().st_size, metadata))
        about = {
            "source": "toast-orders",
            "timestamp": metadata.fetch_date,
            "total_orders": str(metadata.total_orders),
            "sha256": metadata.orders_sha256,
            "md5": md5,
        }
        return Replacement(target, {"ContentType": "application/json", "ContentEncoding": "gzip", "Metadata": about})

    store.bucket.update(key, change, content=False, exists=key in present)
    return made[-1]


def write_envelope(file: BinaryIO, raw: Path, metadata: ExportMetadata) -> tuple[int, str]:
    """Write one gzip member, equal for equal orders; how many orders were written, and their ``orders_sha256``."""
    orders, digest = 0, hashlib.sha256()
    with cast(BinaryIO, igzip.IGzipFile("", "wb", compresslevel=2, fileobj=file, mtime=0)) as member:  # type: ignore[no-untyped-call]
        member.write(HEAD)
        for group in read_groups(raw):
            lines = [with_restaurant(order.body, metadata.restaurant_guid) for order in group]
            member.write((b",\n" if orders else b"\n") + b",\n".join(lines))
            digest.update(b"\n".join((*lines, b"")))
            orders += len(lines)
        member.write(b"\n" + TAIL + msgspec.json.encode(metadata) + b"}\n")
    return orders, digest.hexdigest()
