"""A file of current orders: its columns, and how rows are merged into it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from toast_assets.orders.raw_file import row_groups
from toast_assets.store.order_store import CURRENT_ORDERS
from toast_assets.tables.columns import Column, Kind
from toast_assets.tables.files import TableWriter
from toast_assets.tables.schema import TABLES

ORDERS = TABLES["orders"]
_FLAG = "newest_unreadable"
_MEANING = "A newer version of this order is stored, and cannot be read: this row shows an older one."
CURRENT = replace(
    ORDERS,
    name=CURRENT_ORDERS,
    description="One row per order over all weeks, in its newest version.",
    columns=(*ORDERS.columns, Column(Kind.FLAG, _FLAG, _MEANING, given="")),
)


def fits(path: Path, month: str) -> bool:
    """Whether a file can be read and has the columns of current orders, and orders of that month alone."""
    with suppress(pa.ArrowException, OSError):
        if pq.read_schema(path).equals(CURRENT.schema, check_metadata=True):
            # All columns, because damage shows nowhere else.
            return all(months_of(group).unique().to_pylist() in ([], [month]) for group in row_groups(path))
    return False


def months_of(rows: pa.Table) -> pa.ChunkedArray:
    """The month, in UTC, in which each order was created, else opened (``2025-09``), else ``unknown``."""
    made = pc.coalesce(*(rows[name].cast(pa.timestamp("ms")) for name in ("created_at", "opened_at")))
    return pc.strftime(made, "%Y-%m").fill_null("unknown")


def rows_of(orders: pa.Array, paths: Iterable[Path]) -> pa.Table:
    """The rows of these orders in files, without their flag."""
    groups = (group.select(ORDERS.schema.names) for path in paths for group in row_groups(path))
    parts = [group.filter(pc.is_in(group["order_guid"], orders)) for group in groups]
    return pa.concat_tables([ORDERS.schema.empty_table(), *parts])


def newest(rows: pa.Table) -> pa.Table:
    """One row per order, the one modified last (of equal ones the last), sorted by modified time."""
    ordered = _sorted(rows)
    places = pa.table({"order_guid": ordered["order_guid"], "place": pa.array(range(len(ordered)), pa.int64())})
    last = places.group_by("order_guid").aggregate([("place", "max")])["place_max"]
    return _sorted(ordered.take(last))


def flagged(rows: pa.Table, unreadable: Mapping[str, int]) -> pa.Table:
    """The rows with their flag. ``unreadable`` has the newest versions that cannot be read: their modified time
    (milliseconds since 1970, UTC) by order."""
    times = pa.array(map(unreadable.get, rows["order_guid"].to_pylist()), pa.int64())
    # Toast can change an order without a new modified time.
    flags = pc.greater_equal(times, rows["modified_at"].cast(pa.int64())).fill_null(False)
    return rows.append_column(CURRENT.schema.field(_FLAG), flags)


def write_merged(target: Path, stored: Path | None, orders: pa.Array, rows: pa.Table) -> bool:
    """Write the file ``stored`` with ``rows`` in place of its ``orders``, with one of its row groups in memory at a
    time. Whether ``target`` has an order without a time of creation."""
    undated = rows["created_at"].null_count
    with TableWriter(target, CURRENT) as writer:
        for group in row_groups(stored) if stored else ():
            kept = group.filter(pc.invert(pc.is_in(group["order_guid"], orders)))
            undated += kept["created_at"].null_count
            due = pc.less_equal(rows["modified_at"], pc.max(group["modified_at"])).fill_null(False)
            writer.write(_sorted(pa.concat_tables([kept, rows.filter(due)])))
            rows = rows.filter(pc.invert(due))
        writer.write(rows)
    return bool(undated)


def _sorted(rows: pa.Table) -> pa.Table:
    return rows.sort_by([("modified_at", "ascending"), ("order_guid", "ascending")])
