"""Table files on the local disk: written in row groups of a good size, read restaurant by restaurant."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from decimal import Decimal
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from toast_assets.orders.raw_file import row_groups
from toast_assets.tables.columns import Kind, Table

# Large enough for readers that scan, small enough that six tables side by side stay small in memory.
_ROW_GROUP_ROWS = 10_000
# What readers filter by; for all other columns minimum and maximum would say nothing.
_STATISTICS = ("restaurant_guid", "order_guid", "business_date", "modified_at", "order_modified_at")
# Text that does not repeat: a dictionary of it costs time and saves nothing.
_UNIQUE = frozenset({"order_guid", "check_guid", "selection_guid", "parent_selection_guid", "payment_guid"})
# Entries of the footer of ``orders``.
UNREADABLE, BACKDATED = b"toast_assets.unreadable", b"toast_assets.backdated"
_Note = TypeVar("_Note")


class Backdated(NamedTuple):
    """Orders that a second look brought although their modified time lies in the week, and their net sales."""

    orders: int
    net_sales: Decimal


Unreadable = dict[str, dict[str, int]]
"""Stored orders that cannot be converted: their modified time (milliseconds since 1970, UTC) by restaurant and GUID."""


class TableWriter(AbstractContextManager["TableWriter"]):
    """Writes rows of ``table``, sorted by restaurant and, where they have one, modified time, into a Parquet file at
    ``path``.

    Equal rows give equal bytes, however they are cut into batches. Memory holds one row group. ``unreadable`` and
    ``backdated``, by restaurant, go into the footer.
    """

    def __init__(self, path: Path, table: Table) -> None:
        self.path = path
        self.rows = 0
        self.unreadable: Unreadable = {}
        self.backdated: dict[str, Backdated] = {}
        names = table.schema.names
        sorted_by = [name for name in ("restaurant_guid", "modified_at", "order_modified_at") if name in names][:2]
        self._pending = table.schema.empty_table()
        self._file = pq.ParquetWriter(
            path,
            table.schema,
            compression="zstd",
            compression_level=1,
            use_dictionary=[c.name for c in table.columns if c.kind is Kind.TEXT and c.name not in _UNIQUE],
            write_statistics=[name for name in _STATISTICS if name in names],
            sorting_columns=[pq.SortingColumn(names.index(name)) for name in sorted_by],
        )

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None and self._pending.num_rows:
            self._file.write_table(self._pending, row_group_size=_ROW_GROUP_ROWS)
        for name, note in ((UNREADABLE, self.unreadable), (BACKDATED, self.backdated)):
            if note:
                self._file.add_key_value_metadata({name: msgspec.json.encode(note)})
        self._file.close()

    def write(self, rows: pa.RecordBatch | pa.Table) -> None:
        self.rows += rows.num_rows
        batches = rows.to_batches() if isinstance(rows, pa.Table) else [rows]
        self._pending = pa.Table.from_batches([*self._pending.to_batches(), *batches], self._pending.schema)
        while self._pending.num_rows >= _ROW_GROUP_ROWS:
            self._file.write_table(self._pending.slice(0, _ROW_GROUP_ROWS), row_group_size=_ROW_GROUP_ROWS)
            self._pending = self._pending.slice(_ROW_GROUP_ROWS)


def sha256_of(path: Path) -> str:
    """The hash of a file's bytes."""
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def unreadable_in(path: Path) -> Unreadable:
    """``TableWriter.unreadable`` by the footer of a file."""
    return _note_in(path, UNREADABLE, Unreadable)


def backdated_in(path: Path) -> dict[str, Backdated]:
    """``TableWriter.backdated`` by the footer of a file."""
    return _note_in(path, BACKDATED, dict[str, Backdated])


def notes_in(path: Path) -> dict[bytes, bytes]:
    """What a ``TableWriter`` wrote into the footer of a file beside its rows."""
    found = pq.read_metadata(path).metadata or {}
    return {name: found[name] for name in (UNREADABLE, BACKDATED) if name in found}


def _note_in(path: Path, name: bytes, kind: type[_Note]) -> _Note:
    return msgspec.json.decode(notes_in(path).get(name, b"{}"), type=kind)


def fitted(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """Rows that an earlier release wrote, with null in columns that it did not have; an ArrowException or ValueError
    where ``schema`` cannot hold them."""
    known = rows.select([name for name in schema.names if name in rows.schema.names])
    return pa.concat_tables([schema.empty_table(), known], promote_options="default").cast(schema)


def fit_file(path: Path, table: Table) -> bool:
    """Rewrite a file of an earlier release with the columns of ``table``; whether it could
    be done."""
    target = path.with_name(f"{path.name}.fitted")
    with suppress(pa.ArrowException, ValueError, OSError):
        with TableWriter(target, table) as writer:
            writer.unreadable, writer.backdated = unreadable_in(path), backdated_in(path)
            for group in row_groups(path):
                writer.write(fitted(group, table.schema))
        target.replace(path)
        return True
    return False


def restaurants_in(path: Path, columns: Sequence[str] | None = None) -> Iterator[tuple[str, pa.Table]]:
    """The rows of a file that is sorted by restaurant, a restaurant at a time; ``columns`` has ``restaurant_guid``."""
    parts = (
        (guid, group.filter(pc.equal(group["restaurant_guid"], guid)))
        for group in row_groups(path, columns)
        for guid in group["restaurant_guid"].unique().to_pylist()
    )
    for guid, of_restaurant in groupby(parts, key=itemgetter(0)):
        yield guid, pa.concat_tables([rows for _, rows in of_restaurant])
