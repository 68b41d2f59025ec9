"""Writes each restaurant's week as one gzipped JSON file, in the envelope of Amperity's guide.

The export is a function of the stored raw orders and the manifest alone: the same orders give the same bytes. One that
holds the stored orders already is left as it is.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from toast_assets.export.envelope import ExportMetadata, write_envelope
from toast_assets.export.read import UnreadableExportError, read_export
from toast_assets.store.bucket import Replacement, StoredObject
from toast_assets.store.manifest import PullRecord, RestaurantRecord
from toast_assets.store.order_store import OrderStore
from toast_assets.store.stored_week import (
    StoredWeek,
    all_failed,
    fetch_raw,
    manifest_mismatch,
    one_restaurant,
    reading_raw,
)
from toast_assets.week import Week, iso_ms

# Compressing and uploading overlap; more would only cost memory.
_AT_ONCE = 2


@dataclass(frozen=True)
class Export:
    """One exported object; ``bytes`` is its compressed size."""

    key: str
    bytes: int
    metadata: ExportMetadata


@dataclass(frozen=True)
class ExportReport:
    """The objects of a week's export, why some restaurants have none of their stored orders (``problems``, by
    restaurant), and the seconds it took."""

    week: Week
    exports: Sequence[Export]
    problems: Mapping[str, str]
    seconds: float


def export_week(
    week: Week, store: OrderStore, log: logging.Logger, exported: Callable[[Export], None] = lambda _: None
) -> ExportReport:
    """Export every restaurant of which the week's raw orders are stored whole. One that fails stops no other.

    Raises:
        ExportError: the week was never pulled, or no restaurant could be exported.
        StoreError: the bucket is missing or refuses access.
    """
    began = time.monotonic()
    stored = StoredWeek(week, store)
    exports: list[Export] = []
    problems: dict[str, str] = {}
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="export") as threads:
        jobs = {guid: threads.submit(_export, guid, stored) for guid in stored.restaurants()}
        try:
            for guid, job in jobs.items():
                with one_restaurant(guid, problems, store):
                    export = job.result()
                    log.info("%s: %d orders, %d bytes.", export.key, export.metadata.total_orders, export.bytes)
                    exported(export)
                    exports.append(export)
        finally:
            # A run that ends here waits for the exports under way, and not for all that have not begun.
            threads.shutdown(cancel_futures=True)
    for guid, problem in problems.items():
        log.error("Restaurant %s was not exported: %s", guid, problem)
    if not exports:
        raise all_failed(f"Week {week.key}: exports", problems)
    return ExportReport(week, exports, problems, time.monotonic() - began)


def _export(guid: str, stored: StoredWeek) -> Export:
    """Store the export of the orders that are stored now, and so never older ones than another run has exported."""
    key = stored.store.layout.export(stored.week, guid)
    made: list[Export] = []

    def change(before: StoredObject | None, target: Path) -> Replacement | None:
        export, replacement = stored.made_of(guid, partial(_made, stored, guid, key, before, target))
        made.append(export)
        return replacement

    stored.store.bucket.update(key, change)
    return made[-1]


def _made(
    stored: StoredWeek,
    guid: str,
    key: str,
    before: StoredObject | None,
    target: Path,
    record: RestaurantRecord,
    pull: PullRecord,
) -> tuple[Export, Replacement | None]:
    del record
    week, store = stored.week, stored.store
    metadata = ExportMetadata(
        fetch_date=pull.finished_at,
        start_date=iso_ms(week.start),
        end_date=iso_ms(week.end),
        total_orders=pull.orders,
        restaurant_guid=guid,
        partition=week.key,
        orders_sha256=pull.orders_sha256,
    )
    if before is not None and _holds(before, metadata):
        return Export(key, before.path.stat().st_size, metadata), None
    raw = target.with_name(f"{target.name}.raw")
    fetch_raw(week, guid, raw, store)
    with reading_raw(week, guid, store):
        whole = any(_written(target, raw, metadata, may_name_restaurant=may_name) for may_name in (False, True))
    if not whole:
        raise manifest_mismatch(week, guid, store)
    properties = {
        "ContentType": "application/json",
        "ContentEncoding": "gzip",
        "Metadata": {
            "source": "toast-orders",
            "timestamp": metadata.fetch_date,
            "total_orders": str(metadata.total_orders),
            "sha256": metadata.orders_sha256,
        },
    }
    return Export(key, target.stat().st_size, metadata), Replacement(target, properties)


def _holds(stored: StoredObject, metadata: ExportMetadata) -> bool:
    """Whether the stored export is whole and of these very orders; when they were pulled makes no difference."""
    if stored.metadata.get("sha256") != metadata.orders_sha256:
        return False
    try:
        content = read_export(stored.path)
    except UnreadableExportError:
        return False
    said = content.metadata
    return (content.orders, content.sha256) == (metadata.total_orders, metadata.orders_sha256) and all(
        getattr(said, name) == getattr(metadata, name) for name in metadata.__struct_fields__ if name != "fetch_date"
    )


def _written(target: Path, raw: Path, metadata: ExportMetadata, *, may_name_restaurant: bool) -> bool:
    """Write the envelope; whether it holds the orders that ``metadata`` tells of.

    Hardly any order says which restaurant it is of, and looking for those takes a sixth of the export's time. So it is
    written as if there were none, and only if the hash says otherwise, with a look at each.
    """
    with target.open("wb") as file:
        written = write_envelope(file, raw, metadata, may_name_restaurant=may_name_restaurant)
    return written == (metadata.total_orders, metadata.orders_sha256)
