"""Table files on the local disk: written in row groups of a good size, read restaurant by restaurant."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from toast_assets.orders.raw_file import row_groups
from toast_assets.tables.arrays import Kind
from toast_assets.tables.columns import Table

# Large enough for readers that scan, small enough that six tables side by side stay small in memory.
_ROW_GROUP_ROWS = 10_000
# What readers filter by; for all other columns minimum and maximum would say nothing.
_STATISTICS = ("restaurant_guid", "order_guid", "business_date", "modified_at", "order_modified_at")


class TableWriter:
    """Writes batches of ``table``, sorted by restaurant and modified time, into a Parquet file at ``path``.

    Equal rows give equal bytes, however they are cut into batches. Memory holds one row group.
    """

    def __init__(self, path: Path, table: Table) -> None:
        self.path = path
        self.rows = 0
        names = table.schema.names
        modified = "modified_at" if table.name == "orders" else "order_modified_at"
        self._pending: list[pa.RecordBatch] = []
        self._pending_rows = 0
        self._schema = table.schema
        self._file = pq.ParquetWriter(
            path,
            table.schema,
            compression="zstd",
            compression_level=1,
            use_dictionary=_repeating(table),
            write_statistics=[name for name in _STATISTICS if name in names],
            sorting_columns=[pq.SortingColumn(names.index(name)) for name in ("restaurant_guid", modified)],
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._flush()
        self._file.close()

    def write(self, batch: pa.RecordBatch) -> None:
        """Append ``batch``."""
        self.rows += batch.num_rows
        self._pending_rows += batch.num_rows
        self._pending.append(batch)
        while self._pending_rows >= _ROW_GROUP_ROWS:
            self._flush()

    def _flush(self) -> None:
        rows = pa.Table.from_batches(self._pending, self._schema)
        group, rest = rows.slice(0, _ROW_GROUP_ROWS), rows.slice(_ROW_GROUP_ROWS)
        if group.num_rows:
            self._file.write_table(group, row_group_size=_ROW_GROUP_ROWS)
        self._pending, self._pending_rows = rest.to_batches(), rest.num_rows


def _repeating(table: Table) -> list[str]:
    """Text whose values repeat. A dictionary of unique ids or of amounts costs time and saves nothing."""
    unique = {*table.key, "order_guid", "check_guid", "selection_guid", "parent_selection_guid"} - {"restaurant_guid"}
    return [one.name for one in table.columns if one.kind is Kind.TEXT and one.name not in unique]


def restaurants_in(path: Path, columns: Sequence[str] | None = None) -> Iterator[tuple[str, pa.Table]]:
    """The rows of a file that is sorted by restaurant, a restaurant at a time; ``columns`` has ``restaurant_guid``."""
    open_guid: str | None = None
    parts: list[pa.Table] = []
    for group in row_groups(path, columns):
        for guid, rows in _runs(group):
            if guid != open_guid and open_guid is not None:
                yield open_guid, pa.concat_tables(parts)
                parts = []
            open_guid = guid
            parts.append(rows)
    if open_guid is not None:
        yield open_guid, pa.concat_tables(parts)


def _runs(rows: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    runs = pc.run_end_encode(rows["restaurant_guid"].combine_chunks())
    start = 0
    for guid, end in zip(runs.values.to_pylist(), runs.run_ends.to_pylist(), strict=True):
        yield guid, rows.slice(start, end - start)
        start = end
