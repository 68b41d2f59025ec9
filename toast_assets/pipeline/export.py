"""Writes each restaurant's week as one gzipped JSON file, in the envelope of Amperity's guide.

The export is a function of the stored raw orders and the manifest alone: the same orders give the same bytes.
"""

from __future__ import annotations

import hashlib
import logging
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import msgspec
from isal import igzip

from toast_assets.errors import ExportError
from toast_assets.orders.files import UnreadableFileError, check_raw, read_bodies
from toast_assets.orders.lines import OrderLines
from toast_assets.store.manifest import Manifest, PullRecord, RestaurantRecord
from toast_assets.store.order_store import OrderStore
from toast_assets.week import Week, iso_ms

_SEPARATOR = b",\n"
_COMPRESSION = 2
# Compressing and uploading overlap; more would only cost memory.
_AT_ONCE = 2


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
    """All objects of a week's export, and the seconds it took."""

    week: Week
    exports: Sequence[Export]
    seconds: float


def export_week(
    week: Week, store: OrderStore, log: logging.Logger, exported: Callable[[Export], None] = lambda _: None
) -> ExportReport:
    """Export every restaurant of which the week's raw orders are stored whole.

    Raises:
        ExportError: the week was never pulled; or raw orders and manifest do not belong together, which is told when
            all other restaurants are exported.
        StoreError: the bucket is missing or refuses access.
    """
    began = time.monotonic()
    stored = stored_pulls(week, store)
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="export") as threads:
        jobs = [threads.submit(_export, week, guid, pull, store) for guid, pull in stored.items()]
        exports, problems = [], []
        for job in jobs:
            try:
                export = job.result()
            except ExportError as error:
                problems.append(error)
                continue
            log.info("%s: %d orders, %d bytes.", export.key, export.metadata.total_orders, export.bytes)
            exported(export)
            exports.append(export)
    if problems:
        raise _not_all_exported(week, problems)
    return ExportReport(week, exports, time.monotonic() - began)


def stored_pulls(week: Week, store: OrderStore) -> dict[str, PullRecord]:
    """What the manifest says is stored of each restaurant's week.

    Raises:
        ExportError: the week was never pulled.
    """
    records = stored_restaurants(week, store)
    return {guid: record.pull for guid, record in records.items() if record.pull is not None}


def stored_restaurants(week: Week, store: OrderStore) -> dict[str, RestaurantRecord]:
    """The manifest's records of the restaurants of which the week is stored.

    Raises:
        ExportError: the week was never pulled.
    """
    manifest: Manifest | None = store.load_manifest(week)[0]
    if manifest is None or not manifest.stored:
        raise ExportError(
            f"Week {week.key} was not pulled yet: there is no {store.bucket.uri(store.layout.manifest(week))}.",
            hint="Materialize raw_toast_orders for this week first.",
        )
    return {guid: manifest.restaurants[guid] for guid in manifest.stored}


def _export(week: Week, guid: str, pull: PullRecord, store: OrderStore) -> Export:
    metadata = ExportMetadata(
        fetch_date=pull.finished_at,
        start_date=iso_ms(week.start),
        end_date=iso_ms(week.end),
        total_orders=pull.orders,
        restaurant_guid=guid,
        partition=week.key,
        orders_sha256=pull.orders_sha256,
    )
    key = store.layout.export(week, guid)
    with tempfile.TemporaryDirectory(prefix="toast-assets-") as folder:
        raw, target = Path(folder) / "raw.parquet", Path(folder) / "export.json.gz"
        fetch_raw(week, guid, raw, store)
        if not any(_written(target, raw, metadata, may_name_restaurant=may_name) for may_name in (False, True)):
            raise apart(week, guid, store)
        store.bucket.write(
            key,
            target,
            ContentType="application/json",
            ContentEncoding="gzip",
            Metadata={
                "source": "toast-orders",
                "timestamp": metadata.fetch_date,
                "total_orders": str(metadata.total_orders),
                "sha256": metadata.orders_sha256,
            },
        )
        return Export(key, target.stat().st_size, metadata)


def _written(target: Path, raw: Path, metadata: ExportMetadata, *, may_name_restaurant: bool) -> bool:
    """Write the envelope; whether it holds the orders that ``metadata`` tells of.

    Hardly any order says which restaurant it is of, and looking for those takes a sixth of the export's time. So it is
    written as if there were none, and only if the hash says otherwise, with a look at each.
    """
    with target.open("wb") as file:
        written = write_envelope(file, raw, metadata, may_name_restaurant=may_name_restaurant)
    return written == (metadata.total_orders, metadata.orders_sha256)


def write_envelope(
    file: BinaryIO, raw: Path, metadata: ExportMetadata, *, may_name_restaurant: bool = True
) -> tuple[int, str]:
    """Write one gzip member without name and time, so that equal orders give equal bytes; orders and hash written.

    ``may_name_restaurant`` false takes it for granted that no order says which restaurant it is of.
    """
    orders, digest = 0, hashlib.sha256()
    with cast(BinaryIO, igzip.IGzipFile("", "wb", _COMPRESSION, file, mtime=0)) as member:  # type: ignore[no-untyped-call]
        member.write(b'{"orders":[')
        for bodies in read_bodies(raw):
            member.write(_SEPARATOR if orders else b"\n")
            lines = OrderLines(bodies, metadata.restaurant_guid, may_name_restaurant=may_name_restaurant)
            member.write(lines.ended_by(_SEPARATOR)[: -len(_SEPARATOR)])
            digest.update(lines.ended_by(b"\n"))
            orders += len(lines)
        member.write(b'\n],"metadata":' + msgspec.json.encode(metadata) + b"}\n")
    return orders, digest.hexdigest()


def _not_all_exported(week: Week, problems: Sequence[ExportError]) -> ExportError:
    if len(problems) == 1:
        return problems[0]
    reasons = "".join(f"\n  - {problem.message}" for problem in problems)
    return ExportError(f"Week {week.key}: {len(problems)} exports are missing.{reasons}\n", hint=problems[0].hint)


def fetch_raw(week: Week, guid: str, path: Path, store: OrderStore) -> None:
    """Write a restaurant's stored raw file to ``path``.

    Raises:
        ExportError: it is missing, or is no raw file.
        StoreError: the bucket is missing or refuses access.
    """
    if store.download_raw(week, guid, path).etag is None:
        raise apart(week, guid, store)
    try:
        check_raw(path)
    except UnreadableFileError as error:
        raise apart(week, guid, store) from error


def apart(week: Week, guid: str, store: OrderStore) -> ExportError:
    """The error for raw orders and a manifest that do not belong together."""
    return ExportError(
        f"The raw orders {store.bucket.uri(store.layout.raw(week, guid))} are not those that the manifest describes.",
        hint="A run that was cut off can leave them so: materialize raw_toast_orders for this week again.",
    )
