"""Turns a week's stored raw orders into the flat tables, one Parquet file per table and week.

A table is a function of the raw orders, their restaurants' time zones and the declared schemas: the same input gives
the same bytes. Toast is never asked.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, defaultdict, deque
from collections.abc import Mapping
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from functools import partial, reduce
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from toast_assets.errors import ExportError
from toast_assets.orders.names import Names
from toast_assets.orders.read import Rejection
from toast_assets.scratch import scratch_folder
from toast_assets.store.bucket import Replacement, StoredObject
from toast_assets.store.manifest import SECOND_LOOK, RestaurantRecord
from toast_assets.store.order_store import PARQUET, OrderStore
from toast_assets.store.raw_weeks import RawFile, StoredWeek, all_failed, raw_files
from toast_assets.tables.files import (
    Backdated,
    TableWriter,
    backdated_in,
    fitted,
    restaurants_in,
    sha256_of,
    unreadable_in,
)
from toast_assets.tables.flatten import flatten
from toast_assets.tables.names import StoredNames
from toast_assets.tables.schema import TABLES
from toast_assets.week import Week

# Two days after the beginning of its business date every restaurant of the world has closed that day.
_LATE_AFTER = pa.scalar(timedelta(days=2), pa.duration("ms"))
_REJECTIONS_SHOWN = 20
_VERSION = ["restaurant_guid", "order_guid", "modified_at"]
_SALES = ["order_guid", "net_sales"]


@dataclass(frozen=True)
class TableFile:
    """One table of a week: its object, rows, compressed bytes, and the hash of these."""

    key: str
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class RestaurantSummary:
    """What the tables hold of one restaurant. ``net_sales`` is in its ``currency`` (an ISO code).

    ``late`` orders were last modified when their business date was over for a day or more.
    """

    guid: str
    name: str | None
    currency: str | None
    orders: int
    net_sales: Decimal
    late: int


class SalesPart(NamedTuple):
    """Orders of one currency and channel (``dining_behavior``, else ``source``) that were opened in one hour of the day
    on the restaurant's clock; None is unknown."""

    currency: str | None
    channel: str | None
    hour: int | None


@dataclass
class TablesReport:
    """The tables of a week. ``changes`` counts orders that are ``new``, ``changed`` (by their modified time) and
    ``unchanged`` since the tables were last made, ``opened`` by day (0 is Monday) and hour on the restaurant's clock.
    ``sales`` are net sales without what is voided or deleted, wasted food and orders made in test mode.
    ``rejections`` are the first of ``rejected`` orders that could not be converted; ``nulled`` counts optional fields
    that are null because they had an unexpected type, by path. ``problems`` say by restaurant why its stored orders
    could not be read; of these the tables keep the rows that they had. ``records`` are those of the stored
    restaurants."""

    week: Week
    records: Mapping[str, RestaurantRecord]
    problems: dict[str, str] = field(default_factory=dict)
    files: dict[str, TableFile] = field(default_factory=dict)
    restaurants: list[RestaurantSummary] = field(default_factory=list)
    changes: Counter[str] = field(default_factory=Counter)
    opened: Counter[tuple[int, int]] = field(default_factory=Counter)
    sales: dict[SalesPart, Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    rejected: int = 0
    rejections: list[Rejection] = field(default_factory=list)
    nulled: Counter[str] = field(default_factory=Counter)
    seconds: float = 0


def build_tables(week: Week, store: OrderStore, log: logging.Logger, *, salt: bytes = b"") -> TablesReport:
    """Make all tables of a week and store those that changed. A restaurant that fails stops no other. ``salt`` is that
    of the guests' ``email_key``.

    Raises:
        ExportError: the week was never pulled, or the raw orders of no restaurant can be read.
        StoreError: the bucket is missing or refuses access.
    """
    began = time.monotonic()
    report = None
    with scratch_folder() as folder:
        while report is None:
            report = _stored_tables(StoredWeek(week, store), folder, salt, StoredNames(store, folder, log))
    report.seconds = time.monotonic() - began
    for guid, problem in report.problems.items():
        log.error("Restaurant %s: its orders could not be read, its rows stay as they are: %s", guid, problem)
    for one in report.rejections:
        log.warning("Order %s of %s: %s (%s).", one.order_guid, one.restaurant_guid, one.reason.value, one.detail)
    rows = ", ".join(f"{file.rows} {table}" for table, file in report.files.items())
    log.info("Week %s: %s; %d orders could not be converted.", week.key, rows, report.rejected)
    return report


def _stored_tables(stored: StoredWeek, folder: Path, salt: bytes, names: StoredNames) -> TablesReport | None:
    """Make them all in files below ``folder`` and store them, all of the same orders; None where newer ones came
    meanwhile."""
    records = stored.restaurants()
    report = _made_of(stored, records, folder, salt, names)
    if report.problems:
        # Rows of a file that turned out to be damaged may be among them.
        report = _made_of(stored, records, folder, salt, names, prove_first=True)
    if len(report.problems) == len(records) and stored.restaurants() is records:
        raise all_failed(f"Week {stored.week.key}: tables", report.problems)

    def replacement(name: str, before: StoredObject | None, _: Path) -> Replacement | None:
        if stored.restaurants() is not records:
            return None
        path, sha256 = folder / f"{name}.parquet", report.files[name].sha256
        if before is not None and before.metadata.get("sha256") != sha256_of(before.path):
            # What is damaged is replaced, and nothing is read out of it.
            before = None
        if name == "orders":
            report.changes = _changes(path, before.path if before is not None else None)
        if before is not None and before.metadata["sha256"] == sha256:
            return None
        return Replacement(path, {"ContentType": PARQUET, "Metadata": {"sha256": sha256}})

    for name, file in report.files.items():
        stored.store.bucket.update(file.key, partial(replacement, name))
    return report if stored.restaurants() is records else None


def _made_of(
    stored: StoredWeek,
    records: Mapping[str, RestaurantRecord],
    folder: Path,
    salt: bytes,
    names: StoredNames,
    *,
    prove_first: bool = False,
) -> TablesReport:
    """The tables with new rows of all restaurants that can be read; of the others the rows stay. Damage may show only
    at a file's end: with ``prove_first`` no row is written before all of it was read."""
    week, store = stored.week, stored.store
    keys = {name: store.layout.table(name, week.key) for name in TABLES}
    report = TablesReport(week, records)
    before: dict[str, Path] = {}
    with ExitStack() as stack:
        writers = {
            name: stack.enter_context(TableWriter(folder / f"{name}.parquet", table)) for name, table in TABLES.items()
        }
        files = stack.enter_context(closing(raw_files(week, records, store, report.problems)))
        file = next(files, None)
        for guid in sorted(records):
            if file is not None and file.guid == guid:
                try:
                    if prove_first:
                        deque(file.bodies(), maxlen=0)
                    report.restaurants.append(_add(file, writers, report, salt, names.of(guid)))
                except ExportError as error:
                    report.problems[guid] = str(error)
                file = next(files, None)
            if guid in report.problems:
                paths = {name: folder / f"{name}.before.parquet" for name in TABLES}
                before = before or {name: path for name, path in paths.items() if store.bucket.fetch(keys[name], path)}
                _keep_rows(guid, before, writers)
    for name, writer in writers.items():
        size, sha256 = writer.path.stat().st_size, sha256_of(writer.path)
        report.files[name] = TableFile(keys[name], writer.rows, size, sha256)
    return report


def _keep_rows(guid: str, before: Mapping[str, Path], writers: Mapping[str, TableWriter]) -> None:
    for name, path in before.items():
        rows = TABLES[name].schema.empty_table()
        # A file that is damaged has no rows to keep.
        with suppress(pa.ArrowException, ValueError, OSError):
            rows = fitted(pq.read_table(path, filters=[("restaurant_guid", "==", guid)]), rows.schema)
            writers[name].unreadable |= {guid: of} if (of := unreadable_in(path).get(guid)) else {}
            writers[name].backdated |= {guid: found} if (found := backdated_in(path).get(guid)) else {}
        writers[name].write(rows)


def _add(
    file: RawFile, writers: Mapping[str, TableWriter], report: TablesReport, salt: bytes, names: Names
) -> RestaurantSummary:
    record = file.record
    orders, late, net_sales = 0, 0, Decimal(0)
    converted, rejected = [TABLES["orders"].schema.empty_table().select(_SALES)], report.rejected
    for bodies in file.bodies():
        found, tables = flatten(file.batch(bodies, names), salt=salt)
        # The next orders are decoded into the memory of these.
        found.orders.clear()
        for name, batch in tables.items():
            writers[name].write(batch)
        report.rejected += len(found.rejections)
        report.rejections += found.rejections[: _REJECTIONS_SHOWN - len(report.rejections)]
        report.nulled.update(found.nulled)
        rows = tables["orders"]
        converted.append(pa.Table.from_batches([rows.select(_SALES)]))
        report.opened.update((at.weekday(), at.hour) for at in rows["opened_at_local"].to_pylist() if at)
        _add_sales(rows, record.currency, report)
        orders += rows.num_rows
        over = pc.add(rows["business_date"].cast(pa.timestamp("ms")), _LATE_AFTER)
        late += pc.sum(pc.greater_equal(rows["modified_at"].cast(pa.timestamp("ms")), over)).as_py() or 0
        net_sales += pc.sum(rows["net_sales"]).as_py() or 0
    if report.rejected > rejected or record.second_look_at:
        raw = pq.read_table(file.path, columns=["order_guid", "modified_at", "pulled_at"])
        known = pa.concat_tables(converted)
        left = raw.filter(pc.invert(pc.is_in(raw["order_guid"], known["order_guid"])))
        if left.num_rows:
            times = left["modified_at"].cast(pa.int64()).to_pylist()
            writers["orders"].unreadable[file.guid] = dict(zip(left["order_guid"].to_pylist(), times, strict=True))
        if record.second_look_at and (backdated := _backdated(file.week, raw, known)).orders:
            writers["orders"].backdated[file.guid] = backdated
    return RestaurantSummary(file.guid, record.name, record.currency, orders, net_sales, late)


def _backdated(week: Week, raw: pa.Table, orders: pa.Table) -> Backdated:
    """Of a restaurant's ``raw`` rows those that a second look brought, with net sales by its ``orders``."""
    start, end, look = (
        pa.scalar(moment, raw["pulled_at"].type) for moment in (week.start, week.end, week.end + SECOND_LOOK)
    )
    modified, pulled = pc.field("modified_at"), pc.field("pulled_at")
    guids = raw.filter((pulled >= look) & (modified >= start) & (modified < end))["order_guid"]
    sales = pc.sum(orders.filter(pc.is_in(orders["order_guid"], guids))["net_sales"]).as_py()
    return Backdated(len(guids), sales or Decimal(0))


def _add_sales(orders: pa.RecordBatch, currency: str | None, report: TablesReport) -> None:
    parts = {
        "channel": pc.coalesce(orders["dining_behavior"], orders["source"]),
        "hour": pc.hour(orders["opened_at_local"]),
        "net_sales": orders["net_sales"],
    }
    no_sale = reduce(pc.or_, (orders[name] for name in ("voided", "deleted", "excess_food", "created_in_test_mode")))
    found = pa.table(parts).filter(pc.invert(no_sale)).group_by(["channel", "hour"])
    for row in found.aggregate([("net_sales", "sum")]).to_pylist():
        report.sales[SalesPart(currency, row["channel"], row["hour"])] += row["net_sales_sum"]


def _changes(path: Path, before: Path | None) -> Counter[str]:
    """The orders in the file at ``path`` against those that were stored ``before``; both sorted by restaurant."""
    counts = Counter[str]()
    stored = restaurants_in(before, _VERSION) if before is not None else iter(())
    known = next(stored, None)
    for guid, rows in restaurants_in(path, _VERSION):
        counts["new"] += rows.num_rows
        while known is not None and known[0] < guid:
            known = next(stored, None)
        if known is not None and known[0] == guid:
            times = known[1].select(["order_guid", "modified_at"]).rename_columns(["order_guid", "known"])
            both = rows.join(times, "order_guid", join_type="inner")
            unchanged = pc.sum(pc.equal(both["modified_at"], both["known"])).as_py() or 0
            counts.update(new=-both.num_rows, changed=both.num_rows - unchanged, unchanged=unchanged)
    return counts
