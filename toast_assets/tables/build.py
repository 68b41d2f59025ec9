"""Turns a week's stored raw orders into the flat tables, one Parquet file per table and week.

A table is a function of the raw orders, their restaurants' time zones and the declared schemas: the same input gives
the same bytes. Toast is never asked.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from toast_assets.errors import ExportError
from toast_assets.orders.read import RawOrders, Rejection
from toast_assets.scratch import scratch_folder
from toast_assets.store.bucket import Replacement, StoredObject
from toast_assets.store.manifest import RestaurantRecord
from toast_assets.store.order_store import PARQUET, OrderStore
from toast_assets.store.raw_weeks import RawFile, StoredWeek, all_failed, raw_files
from toast_assets.tables.files import TableWriter, restaurants_in
from toast_assets.tables.flatten import FlatBatch, flatten
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
    that are null because they had an unexpected type, by path. ``problems`` say by restaurant why its stored orders
    could not be read; of these the tables keep the rows that they had."""

    week: Week
    files: Mapping[str, TableFile]
    restaurants: tuple[RestaurantSummary, ...]
    changes: Changes
    opened: Mapping[Hour, int]
    rejected: int
    rejections: tuple[Rejection, ...]
    nulled: Mapping[str, int]
    problems: Mapping[str, str]
    seconds: float

    @property
    def net_sales(self) -> Decimal:
        """Net sales of all restaurants, in currency units."""
        return sum((one.net_sales for one in self.restaurants), Decimal(0))


def build_tables(week: Week, store: OrderStore, log: logging.Logger) -> TablesReport:
    """Make all tables of a week and store those that changed. A restaurant that fails stops no other.

    Raises:
        ExportError: the week was never pulled, or the raw orders of no restaurant can be read.
        StoreError: the bucket is missing or refuses access.
    """
    began = time.monotonic()
    with scratch_folder() as folder:
        tables = _Tables(StoredWeek(week, store), folder)
        build = tables.store()
    for guid, problem in build.problems.items():
        log.error("Restaurant %s: its orders could not be read, its rows stay as they are: %s", guid, problem)
    for rejection in build.rejections:
        log.warning("Order %s of %s: %s (%s).", rejection.order_guid, *_where_and_why(rejection))
    rows = ", ".join(f"{file.rows} {table}" for table, file in build.files.items())
    log.info("Week %s: %s; %d orders could not be converted.", week.key, rows, build.rejected)
    return TablesReport(
        week,
        build.files,
        tuple(build.restaurants),
        tables.changes,
        dict(build.opened),
        build.rejected,
        tuple(build.rejections),
        build.nulled,
        build.problems,
        time.monotonic() - began,
    )


class _Tables:
    """The tables of what is stored of a week, in files below ``folder``; made again once newer orders are stored."""

    def __init__(self, stored: StoredWeek, folder: Path) -> None:
        self.changes = Changes()
        self._stored = stored
        self._folder = folder
        self._builds = 0
        self._newest: _Build | None = None

    def store(self) -> _Build:
        """Store them all, of the same orders, also where newer ones come meanwhile.

        Raises:
            ExportError: the raw orders of no restaurant can be read.
        """
        build = None
        while build is not (newest := self._made_now()):
            build = newest
            for table in TABLES:
                self._store(table)
        return build

    def _store(self, table: str) -> None:
        """One table into the bucket, as what is stored now makes it; an object of the same content is left as it is."""

        def change(before: StoredObject | None, target: Path) -> Replacement | None:
            del target
            build = self._made_now()
            path, sha256 = build.writers[table].path, build.files[table].sha256
            known = _sha256(before.path) if before is not None else None
            # What is damaged is replaced, and nothing is read out of it.
            intact = before is not None and before.metadata.get("sha256") == known
            if table == "orders":
                self.changes = _changes(path, before.path if before is not None and intact else None)
            if intact and known == sha256:
                return None
            return Replacement(path, {"ContentType": PARQUET, "Metadata": {"sha256": sha256}})

        key = self._stored.store.layout.table(table, self._stored.week.key)
        self._stored.store.bucket.update(key, change)

    def _made_now(self) -> _Build:
        """The tables of the orders that are stored now."""
        while self._newest is None or self._newest.records is not self._stored.restaurants():
            records = self._stored.restaurants()
            self._newest = self._built(records, {})
            if len(self._newest.problems) == len(records) and records is self._stored.restaurants():
                raise all_failed(f"Week {self._stored.week.key}: tables", self._newest.problems)
        return self._newest

    def _built(self, records: dict[str, RestaurantRecord], problems: dict[str, str]) -> _Build:
        """The tables with new rows of all restaurants but those with ``problems``."""
        self._builds += 1
        folder = self._folder / f"tables-{self._builds}"
        folder.mkdir()
        build = _Build(folder, records, dict(problems))
        build.run(self._stored)
        # Where a file broke half-way, its first rows are in the tables already.
        return build if len(build.problems) == len(problems) else self._built(records, build.problems)


@dataclass
class _Build:
    """The tables of one week under way, in files below ``folder``; ``records`` are what they are made of."""

    folder: Path
    records: dict[str, RestaurantRecord]
    problems: dict[str, str]
    writers: dict[str, TableWriter] = field(default_factory=dict)
    files: dict[str, TableFile] = field(default_factory=dict)
    restaurants: list[RestaurantSummary] = field(default_factory=list)
    opened: Counter[Hour] = field(default_factory=Counter)
    rejected: int = 0
    rejections: list[Rejection] = field(default_factory=list)
    nulled: Counter[str] = field(default_factory=Counter)

    def run(self, stored: StoredWeek) -> None:
        kept = deque(sorted(self.problems))
        good = {guid: record for guid, record in self.records.items() if guid not in self.problems}
        before = self._before(stored) if kept else {}
        with ExitStack() as stack:
            for name, table in TABLES.items():
                writer = TableWriter(self.folder / f"{name}.parquet", table)
                self.writers[name] = stack.enter_context(writer)
            files = stack.enter_context(closing(raw_files(stored.week, good, stored.store, self.problems)))
            for file in files:
                while kept and kept[0] < file.guid:
                    self._keep(kept.popleft(), before)
                try:
                    self.restaurants.append(self._add(file))
                except ExportError as error:
                    self.problems[file.guid] = str(error)
            for guid in kept:
                self._keep(guid, before)
        for name, writer in self.writers.items():
            size, sha256 = writer.path.stat().st_size, _sha256(writer.path)
            self.files[name] = TableFile(stored.store.layout.table(name, stored.week.key), writer.rows, size, sha256)

    def _before(self, stored: StoredWeek) -> dict[str, Path]:
        """The stored tables that can be read, for the rows of restaurants whose orders cannot."""
        found = {}
        for name, table in TABLES.items():
            path = self.folder / f"{name}.before.parquet"
            if stored.store.bucket.download(stored.store.layout.table(name, stored.week.key), path):
                try:
                    if pq.read_schema(path).equals(table.schema):
                        found[name] = path
                except (pa.ArrowException, OSError):
                    continue
        return found

    def _keep(self, guid: str, before: Mapping[str, Path]) -> None:
        for name, path in before.items():
            try:
                rows = pq.read_table(path, filters=[("restaurant_guid", "==", guid)])
            except (pa.ArrowException, OSError):
                continue
            for batch in rows.to_batches():
                self.writers[name].write(batch)

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


def _sha256(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _changes(path: Path, before: Path | None) -> Changes:
    """The orders in the file at ``path`` against those that were stored ``before``; both sorted by restaurant."""
    if before is None:
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
