"""The raw Parquet file of a restaurant's week: written, read and merged as a stream, by modified time and GUID.

A file holds one row per order, its newest version. Everything here works on local files, in small batches. A file that
cannot be read, or does not hold what was written into it, is an ``UnreadableFileError`` for every reader, which knows
the object that it came from.
"""

from __future__ import annotations

import hashlib
import heapq
import threading
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from enum import Enum
from itertools import accumulate, groupby
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from toast_assets.orders.lines import OrderLines
from toast_assets.orders.raw import RawOrder, version_of, with_restaurant
from toast_assets.orders.row_groups import row_groups

RAW_SCHEMA = pa.schema(
    [
        pa.field("restaurant_guid", pa.string(), nullable=False),
        pa.field("order_guid", pa.string(), nullable=False),
        pa.field("modified_at", pa.timestamp("ms", tz="UTC"), nullable=False),
        pa.field("business_date", pa.date32()),
        pa.field("deleted", pa.bool_(), nullable=False),
        pa.field("voided", pa.bool_(), nullable=False),
        pa.field("pulled_at", pa.timestamp("ms", tz="UTC"), nullable=False),
        pa.field("order_json", pa.string(), nullable=False),
        pa.field("version", pa.string(), nullable=False),
    ]
)

# Bounds the memory of each restaurant that is pulled or read; large enough to compress well.
_ROW_GROUP_BYTES = 4_000_000
_ROW_GROUP_ROWS = 5_000
# The entry of the file's footer that says how the orders were pulled.
_NOTE = b"toast_assets.pull"
# The entry that holds a hash of all rows and of the note: the checksums of pages do not cover what says where they are.
_ROWS = b"toast_assets.rows"

_Result = TypeVar("_Result")


class UnreadableFileError(ValueError):
    """A file that is no raw file of this package, or is damaged; the message says why, not which file."""


class RawFileWriter:
    """Writes orders, which come sorted by modified time and GUID, into a Parquet file at ``path``.

    ``sha256`` is over the export's order bytes, each followed by a line feed, in the file's order. Threads may share a
    writer: it is closed only when none of them is writing.
    """

    def __init__(self, path: Path, restaurant_guid: str) -> None:
        self._restaurant_guid = restaurant_guid
        # Nothing but the restaurant repeats itself, so a dictionary of the rest would be built in vain.
        self._file = pq.ParquetWriter(
            path,
            RAW_SCHEMA,
            compression="zstd",
            compression_level=1,
            use_dictionary=["restaurant_guid"],
            write_page_checksum=True,
            # The smallest and the largest order would stand in the footer as a whole, with their guests.
            write_statistics=[name for name in RAW_SCHEMA.names if name != "order_json"],
        )
        self._lock = threading.RLock()
        self._batch: list[RawOrder] = []
        self._batch_bytes = 0
        self._hash = hashlib.sha256()
        self._rows = hashlib.sha256()
        self._note = b""
        self.orders = 0
        self.bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            if error is None:
                self.flush()
                self._rows.update(self._note)
                note = {_NOTE: self._note} if self._note else {}
                self._file.add_key_value_metadata({**note, _ROWS: self._rows.hexdigest()})
            self._file.close()

    def write(self, orders: Iterable[RawOrder]) -> None:
        """Append ``orders``."""
        with self._lock:
            for order in orders:
                self._batch.append(order)
                self._batch_bytes += len(order.body)
                if self._batch_bytes >= _ROW_GROUP_BYTES or len(self._batch) >= _ROW_GROUP_ROWS:
                    self.flush()

    def note(self, text: bytes) -> None:
        """Put ``text`` into the file's footer, where ``read_note`` finds it."""
        self._note = text

    @property
    def sha256(self) -> str:
        """The hash of all that was written; complete once the writer is closed."""
        return self._hash.hexdigest()

    def flush(self) -> None:
        """Write the orders that wait for their row group to be full."""
        with self._lock:
            if not self._batch:
                return
            bodies = _binary([order.body for order in self._batch])
            may_name = any(order.may_name_restaurant for order in self._batch)
            lines = OrderLines(bodies, self._restaurant_guid, may_name_restaurant=may_name)
            self._hash.update(lines.ended_by(b"\n"))
            columns = _columns_of(self._batch)
            self._rows.update(_digested(columns))
            self._file.write_table(_to_arrow(columns, bodies, self._restaurant_guid))
            self.orders += len(self._batch)
            self.bytes += self._batch_bytes
            self._batch, self._batch_bytes = [], 0


class _Columns(NamedTuple):
    """Some orders by column, without their JSON."""

    guids: list[str]
    modified_ms: list[int]
    business_dates: list[date | None]
    deleted: list[bool]
    voided: list[bool]
    pulled_ms: list[int]
    versions: list[str]


def _columns_of(orders: list[RawOrder]) -> _Columns:
    return _Columns(
        [order.guid for order in orders],
        [order.modified_ms for order in orders],
        [order.business_date for order in orders],
        [order.deleted for order in orders],
        [order.voided for order in orders],
        [order.pulled_ms for order in orders],
        [order.version for order in orders],
    )


def _digested(columns: _Columns) -> bytes:
    return repr(tuple(columns)).encode()


def _to_arrow(columns: _Columns, bodies: pa.BinaryArray, restaurant_guid: str) -> pa.Table:
    # The same bytes under another name: they were found to be UTF-8 when the order was cut from its page.
    texts = bodies.view(pa.string())
    *before, versions = columns
    values = [pa.repeat(pa.scalar(restaurant_guid, pa.string()), len(bodies)), *before, texts, versions]
    arrays = [
        column if isinstance(column, pa.Array) else pa.array(column, field.type)
        for column, field in zip(values, RAW_SCHEMA, strict=True)
    ]
    return pa.Table.from_arrays(arrays, schema=RAW_SCHEMA)


def _binary(bodies: list[bytes]) -> pa.Array:
    # Put together in one go: growing by appending copies the bytes several times.
    ends = array("i", accumulate(map(len, bodies), initial=0))
    return pa.Array.from_buffers(pa.binary(), len(bodies), [None, pa.py_buffer(ends), pa.py_buffer(b"".join(bodies))])


@contextmanager
def _reading() -> Iterator[None]:
    """What Arrow says of a file that it cannot read, and Python of values that no file of this package has."""
    try:
        yield
    except OSError as error:
        # Arrow's have no number; the others are about the disk, not about what is in the file.
        if error.errno is not None:
            raise
        raise UnreadableFileError(f"it is damaged ({error})") from error
    except (pa.ArrowException, ValueError, OverflowError) as error:
        if isinstance(error, UnreadableFileError):
            raise
        raise UnreadableFileError(f"it is damaged, or no raw file ({error})") from error


def _converted(path: Path, columns: Sequence[str] | None, convert: Callable[[pa.Table], _Result]) -> Iterator[_Result]:
    """What ``convert`` makes of each row group."""
    groups = row_groups(path, columns)
    while True:
        with _reading():
            table = next(groups, None)
            if table is None:
                return
            converted = convert(table)
        yield converted


def read_raw(path: Path) -> Iterator[RawOrder]:
    """The orders of a raw file, in its order, one row group in memory at a time.

    Raises:
        UnreadableFileError: it is none, or does not hold what was written into it; known only at the end.
    """
    check_raw(path)
    digest = hashlib.sha256()
    for columns, bodies in _converted(path, None, _rows_of):
        digest.update(_digested(columns))
        for row in zip(*columns[:-1], bodies, columns.versions, strict=True):
            order = RawOrder(*row)
            if version_of(order.body) != order.version:
                raise UnreadableFileError("it is damaged (an order is not the one that was stored)")
            yield order
    with _reading():
        entries = pq.read_metadata(path).metadata or {}
    digest.update(entries.get(_NOTE, b""))
    if entries.get(_ROWS) != digest.hexdigest().encode():
        raise UnreadableFileError("it is damaged (its rows are not those that were stored)")


def _rows_of(table: pa.Table) -> tuple[_Columns, list[bytes]]:
    columns = _Columns(
        table["order_guid"].to_pylist(),
        table["modified_at"].cast(pa.int64()).to_pylist(),
        table["business_date"].to_pylist(),
        table["deleted"].to_pylist(),
        table["voided"].to_pylist(),
        table["pulled_at"].cast(pa.int64()).to_pylist(),
        table["version"].to_pylist(),
    )
    return columns, _bodies(table).to_pylist()


def _bodies(table: pa.Table) -> pa.ChunkedArray:
    return table["order_json"].cast(pa.binary())


class OrderRows(NamedTuple):
    """Some orders by column: GUIDs, modified times in milliseconds since 1970 (UTC), the JSON as Toast sent it, and the
    versions."""

    guids: list[str]
    modified_ms: list[int]
    bodies: list[bytes]
    versions: list[str]


def read_rows(path: Path) -> Iterator[OrderRows]:
    """What identifies the orders of a raw file, and what they say, in its order, one row group in memory at a time.

    Raises:
        UnreadableFileError: it is no raw file, or damaged.
    """
    check_raw(path)

    def convert(table: pa.Table) -> OrderRows:
        modified_ms = table["modified_at"].cast(pa.int64()).to_pylist()
        guids, versions = table["order_guid"].to_pylist(), table["version"].to_pylist()
        return OrderRows(guids, modified_ms, _bodies(table).to_pylist(), versions)

    return _converted(path, ["order_guid", "modified_at", "order_json", "version"], convert)


def read_bodies(path: Path) -> Iterator[pa.BinaryArray]:
    """Only the JSON of the orders of a raw file, in its order, one row group in memory at a time.

    Raises:
        UnreadableFileError: it is no raw file, or damaged.
    """
    check_raw(path)
    for bodies in _converted(path, ["order_json"], _bodies):
        yield from bodies.chunks


def check_raw(path: Path) -> None:
    """Make sure that ``path`` is a raw file.

    Raises:
        UnreadableFileError: it is not Parquet, or its columns are not those of a raw file, type by type.
    """
    try:
        with _reading():
            schema = pq.read_schema(path)
    except UnreadableFileError as error:
        raise UnreadableFileError(f"it is not Parquet ({error.__cause__})") from error
    if schema.equals(RAW_SCHEMA):
        return
    for field in RAW_SCHEMA:
        found = [other for other in schema if other.name == field.name]
        if not found:
            raise UnreadableFileError(f"it has no column {field.name}")
        if not found[0].equals(field):
            raise UnreadableFileError(f"its column {field.name} is {_form(found[0])} instead of {_form(field)}")
    raise UnreadableFileError(f"its columns are {', '.join(schema.names)} instead of {', '.join(RAW_SCHEMA.names)}")


def _form(field: pa.Field) -> str:
    return f"{field.type}{' (or null)' if field.nullable else ''}"


def read_note(path: Path) -> bytes | None:
    """What ``RawFileWriter.note`` put into the footer of a raw file, or None.

    Raises:
        UnreadableFileError: it is no raw file.
    """
    with _reading():
        entries = pq.read_metadata(path).metadata or {}
    note: bytes | None = entries.get(_NOTE)
    return note


def holds_duplicates(path: Path) -> bool:
    """Whether an order stands in the file more than once, as it does when it was edited while it was pulled."""
    guids = _columns(path, "order_guid")["order_guid"]
    return bool(pc.count_distinct(guids).as_py() != len(guids))


def repeated_guids(path: Path) -> list[str]:
    """The GUIDs that stand in the file more than once: each as often as it is repeated.

    Raises:
        UnreadableFileError: it is no raw file, or damaged.
    """
    if not holds_duplicates(path):
        return []
    counts = _columns(path, "order_guid")["order_guid"].combine_chunks().value_counts().to_pylist()
    return [count["values"] for count in counts for _ in range(count["counts"] - 1)]


@dataclass(frozen=True)
class Merged:
    """A merged file's content and what the pull brought: counts of orders, bytes of their JSON, hash of the export."""

    orders: int
    bytes: int
    sha256: str
    new: int
    changed: int

    @property
    def differs(self) -> bool:
        """Whether the file holds anything that the stored one did not."""
        return bool(self.new or self.changed)


@dataclass(frozen=True)
class Content:
    """What a raw file holds: counts of orders, bytes of their JSON, hash of the export; ``recent`` were pulled since
    the moment that was asked for."""

    orders: int
    bytes: int
    sha256: str
    recent: int


def content_of(path: Path, restaurant_guid: str, *, since_ms: int = 0) -> Content:
    """Read a raw file through; ``since_ms`` is in milliseconds since 1970, UTC.

    Raises:
        UnreadableFileError: it is no raw file, or does not hold what was written into it.
    """
    orders = size = recent = 0
    digest = hashlib.sha256()
    for order in read_raw(path):
        orders += 1
        size += len(order.body)
        recent += order.pulled_ms > since_ms
        digest.update(with_restaurant(order.body, restaurant_guid))
        digest.update(b"\n")
    return Content(orders, size, digest.hexdigest(), recent)


class _Origin(Enum):
    STORED = "stored before"
    PULLED = "pulled now"
    REPLACED = "pulled now instead of stored bytes with the same modified time"


def merge(stored: Path | None, pulled: Path, target: Path, restaurant_guid: str, note: bytes = b"") -> Merged:
    """Write into ``target`` the newest version of each order of both files, and ``note`` into its footer.

    What is stored is only ever added to. The newest modified time wins; for one time the stored bytes stay unless
    Toast now sends others, and then the newer pull wins.

    Raises:
        UnreadableFileError: a file is no raw file, or does not hold what was written into it.
    """
    sources = [path for path in (stored, pulled) if path is not None]
    newest = _newest_where_several(sources)
    outdated = _guids_among(stored, newest) if stored else frozenset()
    new = changed = 0
    with RawFileWriter(target, restaurant_guid) as writer:
        for _, versions in groupby(_interleaved(stored, pulled), key=lambda row: row[0].sort_key):
            order, origin = _winner(versions)
            if newest.get(order.guid, order.modified_ms) != order.modified_ms:
                continue
            if origin is not _Origin.STORED:
                was_stored = origin is _Origin.REPLACED or order.guid in outdated
                changed += was_stored
                new += not was_stored
            writer.write((order,))
        writer.note(note)
    return Merged(writer.orders, writer.bytes, writer.sha256, new, changed)


def _interleaved(stored: Path | None, pulled: Path) -> Iterator[tuple[RawOrder, bool]]:
    """Rows of both files by sort key, the stored one first; the flag tells those that were pulled."""
    before = ((order, False) for order in read_raw(stored)) if stored else iter(())
    after = ((order, True) for order in read_raw(pulled))
    return heapq.merge(before, after, key=lambda row: (row[0].sort_key, row[1]))


def _winner(versions: Iterable[tuple[RawOrder, bool]]) -> tuple[RawOrder, _Origin]:
    """Of rows with one GUID and one modified time: the first, unless a later one has other bytes."""
    rows = iter(versions)
    first, pulled = next(rows)
    order = first
    for other, _ in rows:
        if other.version != order.version:
            order = other
    if pulled:
        return order, _Origin.PULLED
    return (first, _Origin.STORED) if order.version == first.version else (order, _Origin.REPLACED)


def _newest_where_several(paths: Iterable[Path]) -> dict[str, int]:
    """The newest modified time (milliseconds) of the orders that have more than one: few, whatever the week's size."""
    tables = [_columns(path, "order_guid", "modified_at") for path in paths]
    grouped = (
        pa.concat_tables(tables).group_by("order_guid").aggregate([("modified_at", "min"), ("modified_at", "max")])
    )
    several = grouped.filter(pc.not_equal(grouped["modified_at_min"], grouped["modified_at_max"]))
    newest = several["modified_at_max"].cast(pa.int64()).to_pylist()
    return dict(zip(several["order_guid"].to_pylist(), newest, strict=True))


def _guids_among(path: Path, guids: Iterable[str]) -> frozenset[str]:
    stored = _columns(path, "order_guid")["order_guid"]
    wanted = pa.array(list(guids), pa.string())
    return frozenset(stored.filter(pc.is_in(stored, wanted)).to_pylist())


def _columns(path: Path, *names: str) -> pa.Table:
    """Small columns of a raw file as a whole. Threads would gain little here, and each would keep memory of its own."""
    check_raw(path)
    with _reading(), pq.ParquetFile(path, page_checksum_verification=True) as file:
        return file.read(list(names), use_threads=False)
