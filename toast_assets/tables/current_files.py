"""A file of current orders: its columns, and how rows are merged into it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from toast_assets.orders.raw_file import row_groups
from toast_assets.store.order_store import CURRENT_ORDERS
from toast_assets.tables.columns import Column, Kind
from toast_assets.tables.files import TableWriter
from toast_assets.tables.schema import TABLES

ORDERS = TABLES["orders"]
FLAG = Column(
    Kind.FLAG,
    "newest_unreadable",
    "A newer version of this order is stored, and cannot be read: this row shows an older one.",
    given="",
)
CURRENT = replace(
    ORDERS,
    name=CURRENT_ORDERS,
    description="One row per order over all weeks, in its newest version.",
    columns=(*ORDERS.columns, FLAG),
)
_VERSION = ["order_guid", "modified_at"]
_MADE = ["created_at", "opened_at"]
# What Arrow raises for a file that is damaged.
DAMAGE = (pa.ArrowException, OSError)


class Merged(NamedTuple):
    """A file that was written: how many orders it has more than before, how many were replaced by a newer version, and
    whether it has orders without a time of creation."""

    new: int
    replaced: int
    undated: bool


def merge_files(stored: Path | None, rows: pa.Table, month: str, target: Path, *, same_time_wins: bool) -> Merged:
    """Write the newest of both into ``target``, with one row group of ``stored`` in memory at a time; without orders of
    which ``rows`` has a version of another month."""
    versions = pq.read_table(stored, columns=_VERSION) if stored else rows.select(_VERSION).slice(0, 0)
    before = versions.rename_columns(["order_guid", "before"])
    met = rows.select(_VERSION).join(before, "order_guid", join_type="inner")
    replaced = met.filter(pc.greater(met["modified_at"], met["before"])).num_rows
    older = (pc.less if same_time_wins else pc.less_equal)(met["modified_at"], met["before"])
    outdated = met.filter(older)["order_guid"].combine_chunks()
    rows = rows.filter(pc.invert(pc.is_in(rows["order_guid"], outdated)))
    replacing = rows["order_guid"].combine_chunks()
    rows = rows.filter(pc.equal(months_of(rows), month))
    undated = rows["created_at"].null_count
    with TableWriter(target, CURRENT) as writer:
        for group in row_groups(stored) if versions.num_rows and stored else ():
            due = pc.less_equal(rows["modified_at"], pc.max(group["modified_at"]))
            kept = group.filter(pc.invert(pc.is_in(group["order_guid"], replacing)))
            undated += kept["created_at"].null_count
            writer.write(_sorted(pa.concat_tables([kept, rows.filter(due)])))
            rows = rows.filter(pc.invert(due))
        writer.write(rows)
    return Merged(writer.rows - versions.num_rows, replaced, undated > 0)


def fits(path: Path, month: str) -> bool:
    """Whether a file can be read and has the columns of current orders, orders of that month, and each once."""
    with suppress(*DAMAGE):
        if pq.read_schema(path).equals(CURRENT.schema, check_metadata=True):
            rows = pq.read_table(path, columns=["order_guid", *_MADE])
            strange = pc.any(pc.not_equal(months_of(rows), month)).as_py()
            return not strange and bool(pc.count_distinct(rows["order_guid"]).as_py() == len(rows))
    return False


def months_of(rows: pa.Table) -> pa.ChunkedArray:
    """The month, in UTC, in which each order was created, else opened (``2025-09``), else ``unknown``."""
    made = pc.coalesce(*(rows[name].cast(pa.timestamp("ms")) for name in _MADE))
    return pc.strftime(made, "%Y-%m").fill_null("unknown")


def newest(rows: pa.Table) -> pa.Table:
    """One row per order, the one modified last (of equal ones the last), sorted by modified time."""
    ordered = _sorted(rows)
    places = pa.table({"order_guid": ordered["order_guid"], "place": pa.array(range(len(ordered)), pa.int64())})
    last = places.group_by("order_guid").aggregate([("place", "max")])["place_max"]
    return _sorted(ordered.take(last))


def _sorted(rows: pa.Table) -> pa.Table:
    return rows.sort_by([("modified_at", "ascending"), ("order_guid", "ascending")])
