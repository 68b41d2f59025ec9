"""Takes a forgotten guest out of the flat tables, so that they are what the scrubbed raw orders would make."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from toast_assets.orders.identity import traits
from toast_assets.orders.raw_file import row_groups
from toast_assets.orders.scrub import Customer, Guest, Scrubber
from toast_assets.tables.files import TableWriter
from toast_assets.tables.schema import TABLES

_OF_ORDER = (
    *("delivery_address1", "delivery_address2", "delivery_city", "delivery_state", "delivery_administrative_area"),
    *("delivery_postal_code", "delivery_country", "delivery_latitude", "delivery_longitude", "delivery_notes"),
    *("curbside_transport", "curbside_transport_color", "curbside_notes"),
)
# Which columns of which table are the guest's, and by which id the rows are theirs.
_COLUMNS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "orders": ("o:order_guid", _OF_ORDER),
    "checks": ("c:check_guid", ("customer_guid", "tab_name", "loyalty_vendor", "loyalty_identifier")),
    "discounts": ("c:check_guid", ("loyalty_vendor", "loyalty_reference", "reason_comment")),
    "payments": ("c:check_guid", ("house_account_guid",)),
}


_NAMING = ["order_guid", "check_guid", "customer_guid", "email", "phone", "phone_country_code"]


def scrub_table(table: str, stored: Path, target: Path, scrubber: Scrubber) -> bool:
    """Write the table at ``stored`` into ``target`` without forgotten guests; whether that changed anything.

    ``table`` is one of the week's tables, or ``orders`` for the current orders, whose rows are the same.
    """
    changed = False
    with TableWriter(target, TABLES[table]) as writer:
        for rows in row_groups(stored):
            scrubbed = _scrubbed(table, rows, scrubber)
            changed = changed or not scrubbed.equals(rows)
            for batch in scrubbed.to_batches():
                writer.write(batch)
    return changed


def _scrubbed(table: str, rows: pa.Table, scrubber: Scrubber) -> pa.Table:
    if table == "customers":
        theirs = _theirs(rows, "c:check_guid", scrubber)
        return rows.filter(pc.invert(theirs)) if pc.any(theirs).as_py() else rows
    by, columns = _COLUMNS.get(table, ("", ()))
    if by:
        theirs = _theirs(rows, by, scrubber)
        if pc.any(theirs).as_py():
            rows = _with_nulls(rows, columns, lambda _: theirs)
    texts = [field.name for field in rows.schema if pa.types.is_string(field.type) and not field.name.endswith("guid")]
    return _with_nulls(rows, texts, lambda column: _holding(column, scrubber))


def _theirs(rows: pa.Table, by: str, scrubber: Scrubber) -> pa.Array:
    kind, _, name = by.partition(":")
    known = [value for value in rows[name].unique().to_pylist() if scrubber.forgotten.knows(f"{kind}:{value}")]
    return pc.is_in(rows[name], pa.array(known, pa.string()))


def _holding(column: pa.ChunkedArray, scrubber: Scrubber) -> pa.Array | None:
    held = [value for value in column.unique().to_pylist() if value is not None and scrubber.holds(value)]
    return pc.is_in(column, pa.array(held, pa.string())) if held else None


def _with_nulls(
    rows: pa.Table, columns: tuple[str, ...] | list[str], where: Callable[[pa.ChunkedArray], pa.Array | None]
) -> pa.Table:
    for name in columns:
        column = rows[name]
        mask = where(column)
        if mask is not None:
            emptied = pc.if_else(mask, pa.scalar(None, column.type), column)
            rows = rows.set_column(rows.schema.get_field_index(name), rows.schema.field(name), emptied)
    return rows


def guests_of_table(path: Path) -> Iterator[Iterable[Guest]]:
    """The guests that the table ``customers`` at ``path`` names, a row at a time."""
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(columns=_NAMING):
            for row in batch.to_pylist():
                customer = Customer(row["customer_guid"], row["email"], row["phone"], row["phone_country_code"])
                found = traits(*(getattr(customer, name) for name in customer.__struct_fields__))
                yield [Guest(row["order_guid"], row["check_guid"], tuple(found), customer)] if found else []
