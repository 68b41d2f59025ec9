"""Turns a week's stored raw orders into the flat tables, one Parquet file per table and week.

A table is a function of the raw orders, their restaurants' time zones and the declared schemas: the same input gives
the same bytes. Toast is never asked.
"""

from __future__ import annotations

import hashlib
import logging
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from toast_assets.pipeline.export import stored_restaurants
from toast_assets.pipeline.raw_files import RawFile, raw_files
from toast_assets.pipeline.table_files import TableWriter, restaurants_in
from toast_assets.store.order_store import OrderStore
from toast_assets.tables.flatten import FlatBatch, flatten
from toast_assets.tables.reading import RawOrders, Rejection
from toast_assets.tables.schema import TABLES
from toast_assets.week import Week

# Two days after the beginning of its business date every restaurant of the world has closed that day.
_LATE_AFTER = timedelta(days=2)
_REJECTIONS_SHOWN = 20
_VERSION = ["restaurant_guid", "order_guid", "modified_at"]
Hour = tuple[int, int]
"""Day of the week, Monday is 0, and hour of the day."""


@dataclass(frozen=True)
class TableFile:
    """One table of a week: its object, rows, compressed bytes, and the hash of these."""

    key: str
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class RestaurantSummary:
    """What the tables hold of one restaurant. ``net_sales`` is in its currency's units.

    ``late`` orders were last modified when their business date was over for a day or more. ``requests`` and
    ``seconds`` are those of the pull that brought the orders.
    """

    guid: str
    name: str | None
    orders: int
    net_sales: Decimal
    late: int
    requests: int
    seconds: float


@dataclass(frozen=True)
class Changes:
    """Orders by what became of them since the tables were last made; the modified time tells a change."""

    new: int = 0
    changed: int = 0
    unchanged: int = 0


@dataclass(frozen=True)
class TablesReport:
    """The tables of a week. ``opened`` counts orders by the hour at which they were opened, on the restaurant's clock;
    ``rejections`` are the first of ``rejected`` orders that could not be converted; ``nulled`` counts optional fields
    that are null because they had an unexpected type, by their path in Toast's order."""

    week: Week
    files: Mapping[str, TableFile]
    restaurants: tuple[RestaurantSummary, ...]
    changes: Changes
    opened: Mapping[Hour, int]
    rejected: int
    rejections: tuple[Rejection, ...]
    nulled: Mapping[str, int]
    seconds: float

    @property
    def net_sales(self) -> Decimal:
        """Net sales of all restaurants, in currency units."""
        return sum((one.net_sales for one in self.restaurants), Decimal(0))


def build_tables(week: Week, store: OrderStore, log: logging.Logger) -> TablesReport:
    """Make all tables of a week and store those that changed.

    Raises:
        ExportError: the week was never pulled, or raw orders and manifest do not belong together.
        StoreError: the bucket is missing or refuses access.
    """
    began = time.monotonic()
    records = stored_restaurants(week, store)
    with tempfile.TemporaryDirectory(prefix="toast-assets-") as name:
        build = _Build(Path(name))
        build.run(raw_files(week, records, store))
        changes = _changes(week, store, build.writers["orders"].path, Path(name) / "before.parquet")
        files = {table: _store(week, store, table, writer) for table, writer in build.writers.items()}
    for rejection in build.rejections:
        log.warning("Order %s of %s: %s (%s).", rejection.order_guid, *_where_and_why(rejection))
    rows = ", ".join(f"{file.rows} {table}" for table, file in files.items())
    log.info("Week %s: %s; %d orders could not be converted.", week.key, rows, build.rejected)
    return TablesReport(
        week,
        files,
        tuple(build.restaurants),
        changes,
        dict(build.opened),
        build.rejected,
        tuple(build.rejections),
        build.nulled,
        time.monotonic() - began,
    )


@dataclass
class _Build:
    """The tables of one week under way, in files below ``folder``."""

    folder: Path
    writers: dict[str, TableWriter] = field(default_factory=dict)
    restaurants: list[RestaurantSummary] = field(default_factory=list)
    opened: Counter[Hour] = field(default_factory=Counter)
    rejected: int = 0
    rejections: list[Rejection] = field(default_factory=list)
    nulled: Counter[str] = field(default_factory=Counter)

    def run(self, files: Iterator[RawFile]) -> None:
        with ExitStack() as stack:
            for name, table in TABLES.items():
                writer = TableWriter(self.folder / f"{name}.parquet", table)
                self.writers[name] = stack.enter_context(writer)
            for file in files:
                self.restaurants.append(self._add(file))

    def _add(self, file: RawFile) -> RestaurantSummary:
        orders, late, net_sales = 0, 0, Decimal(0)
        for flat in flatten(_raw_orders(file)):
            for name, batch in flat.tables.items():
                self.writers[name].write(batch)
            self._reject(flat)
            self.nulled.update(flat.nulled)
            rows = flat.tables["orders"]
            self.opened.update(_opened_hours(rows))
            orders += rows.num_rows
            late += _late(rows)
            net_sales += pc.sum(rows["net_sales"]).as_py() or 0
        pull = file.pull
        seconds = datetime.fromisoformat(pull.finished_at) - datetime.fromisoformat(pull.started_at)
        return RestaurantSummary(
            file.guid, file.record.name, orders, net_sales, late, pull.requests, seconds.total_seconds()
        )

    def _reject(self, flat: FlatBatch) -> None:
        self.rejected += len(flat.rejections)
        self.rejections += flat.rejections[: _REJECTIONS_SHOWN - len(self.rejections)]


def _raw_orders(file: RawFile) -> Iterator[RawOrders]:
    for bodies in file.bodies():
        yield RawOrders(file.guid, bodies, file.record.time_zone, file.record.currency)


def _where_and_why(rejection: Rejection) -> tuple[str, str, str]:
    return rejection.restaurant_guid, rejection.reason.value, rejection.detail


def _opened_hours(orders: pa.RecordBatch) -> dict[Hour, int]:
    opened = orders["opened_at_local"].drop_null()
    counts = pc.value_counts(pc.add(pc.multiply(pc.day_of_week(opened), 24), pc.hour(opened)))
    numbers = zip(counts.field("values").to_pylist(), counts.field("counts").to_pylist(), strict=True)
    return {divmod(hour, 24): count for hour, count in numbers}


def _late(orders: pa.RecordBatch) -> int:
    over = pc.add(orders["business_date"].cast(pa.timestamp("ms")), pa.scalar(_LATE_AFTER, pa.duration("ms")))
    return pc.sum(pc.greater_equal(orders["modified_at"].cast(pa.timestamp("ms")), over)).as_py() or 0


def _store(week: Week, store: OrderStore, table: str, writer: TableWriter) -> TableFile:
    """One table into the bucket; an object that has the same content is left as it is."""
    with writer.path.open("rb") as content:
        sha256 = hashlib.file_digest(content, "sha256").hexdigest()
    file = TableFile(store.layout.table(table, week.key), writer.rows, writer.path.stat().st_size, sha256)
    if store.table_version(table, week.key) != sha256:
        store.save_table(table, week.key, writer.path, sha256)
    return file


def _changes(week: Week, store: OrderStore, path: Path, before: Path) -> Changes:
    """The orders in the file at ``path`` against those that are stored; both sorted by restaurant."""
    if not store.bucket.download(store.layout.table("orders", week.key), before):
        return Changes(new=sum(rows.num_rows for _, rows in restaurants_in(path, _VERSION)))
    counts = Counter[str]()
    stored = restaurants_in(before, _VERSION)
    known = next(stored, None)
    for guid, rows in restaurants_in(path, _VERSION):
        while known is not None and known[0] < guid:
            known = next(stored, None)
        counts.update(_compared(rows, known[1] if known is not None and known[0] == guid else rows.slice(0, 0)))
    return Changes(**counts)


def _compared(rows: pa.Table, before: pa.Table) -> dict[str, int]:
    """Rows of one restaurant against those of before."""
    known = before.select(["order_guid", "modified_at"]).rename_columns(["order_guid", "known"])
    joined = rows.join(known, "order_guid", join_type="inner")
    unchanged = pc.sum(pc.equal(joined["modified_at"], joined["known"])).as_py() or 0
    return {
        "new": rows.num_rows - joined.num_rows,
        "changed": joined.num_rows - unchanged,
        "unchanged": unchanged,
    }
