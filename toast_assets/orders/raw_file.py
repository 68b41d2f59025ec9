"""The raw Parquet file of a restaurant's week: written, read and merged as a stream, by modified time and GUID.

A file holds one row per order, its newest version. Damage shows in the checksums of its pages, and in the proof of its
columns in the footer. Every function that reads raises UnreadableFileError for a file that is no raw file, is damaged,
or does not hold what was written into it; iterators may notice that only at the end.
"""

from __future__ import annotations

import hashlib
import heapq
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import pyarrow as pa
import pyarrow.parquet as pq

from toast_assets.orders.raw import RawOrder, with_restaurant

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
# The columns that are not an order's JSON, and the attributes of RawOrder in them.
_NARROW = {
    "order_guid": "guid",
    "modified_at": "modified_ms",
    "business_date": "business_date",
    "deleted": "deleted",
    "voided": "voided",
    "pulled_at": "pulled_ms",
    "version": "version",
}
# Bounds the memory of each restaurant that is pulled or read; large enough to compress well.
_ROW_GROUP_BYTES = 4_000_000
_ROW_GROUP_ROWS = 5_000
# Entries of the footer: how the orders were pulled, bytes and hash of the orders as the export holds them, and a hash
# of the narrow columns and of the other entries, because the checksums of pages do not cover what says where they are.
_PULL, _ORDERS, _PROOF = b"toast_assets.pull", b"toast_assets.orders", b"toast_assets.rows"
_OTHER_ROWS = "it is damaged (its rows are not those that were stored)"


class UnreadableFileError(ValueError):
    """A file that is no raw file of this package, or is damaged; the message says why, not which file."""


class RawFileWriter:
    """Writes orders, which come sorted by modified time and GUID, into a Parquet file at ``path``.

    ``sha256`` is over the export's order bytes, each followed by a line feed, in the file's order; ``pull_evidence``
    goes into the footer. Threads may share a writer: it is closed only when none of them is writing.
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
            # The footer would hold the smallest and the largest order as a whole, with their guests.
            write_statistics=[name for name in RAW_SCHEMA.names if name != "order_json"],
        )
        self._lock = threading.RLock()
        self._batch: list[RawOrder] = []
        self._batch_bytes = 0
        self._hash = hashlib.sha256()
        self._proof = hashlib.sha256()
        self.pull_evidence = b""
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
                entries = {_PULL: self.pull_evidence} if self.pull_evidence else {}
                entries[_ORDERS] = f"{self.bytes} {self.sha256}".encode()
                self._proof.update(b"".join(entries.values()))
                self._file.add_key_value_metadata(entries | {_PROOF: self._proof.hexdigest()})
            self._file.close()

    def write(self, orders: Iterable[RawOrder]) -> None:
        with self._lock:
            for order in orders:
                self._batch.append(order)
                self._batch_bytes += len(order.body)
                if self._batch_bytes >= _ROW_GROUP_BYTES or len(self._batch) >= _ROW_GROUP_ROWS:
                    self.flush()

    @property
    def sha256(self) -> str:
        """The hash of all that was written; complete once the writer is closed."""
        return self._hash.hexdigest()

    def flush(self) -> None:
        """Write the orders that wait for their row group to be full."""
        with self._lock:
            if not self._batch:
                return
            bodies = [order.body for order in self._batch]
            self._hash.update(b"".join(with_restaurant(body, self._restaurant_guid) + b"\n" for body in bodies))
            narrow = {name: list(map(attrgetter(attribute), self._batch)) for name, attribute in _NARROW.items()}
            self._proof.update(_digested(narrow))
            # The same bytes under another name: they were found to be UTF-8 when the order was cut from its page.
            texts = pa.array(bodies, pa.binary()).view(pa.string())
            guids = [self._restaurant_guid] * len(bodies)
            columns = {"restaurant_guid": guids, "order_json": texts, **narrow}
            self._file.write_table(pa.Table.from_pydict(columns, RAW_SCHEMA))
            self.orders += len(bodies)
            self.bytes += self._batch_bytes
            self._batch, self._batch_bytes = [], 0


def _digested(narrow: dict[str, list[Any]]) -> bytes:
    return repr(tuple(narrow.values())).encode()


def row_groups(path: Path, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """The row groups of any Parquet file, one in memory at a time, of all or some ``columns``; checksums are compared.

    Raises:
        pyarrow.ArrowException: it is not Parquet, or has no such column.
        OSError: it is damaged.
    """
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        for group in range(file.num_row_groups):
            # One thread takes no longer for a few megabytes, and each of Arrow's would keep memory of its own.
            yield file.read_row_group(group, columns=columns, use_threads=False)


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


def _whole_groups(path: Path, columns: Sequence[str] | None = None) -> Iterator[tuple[pa.Table, list[bytes]]]:
    """The row groups of a raw file with their orders' JSON. Some of them may be missing: known only at the end."""
    check_raw(path)
    size = 0
    for table in row_groups(path, columns):
        bodies = table["order_json"].cast(pa.binary()).to_pylist()
        size += sum(map(len, bodies))
        yield table, bodies
    said = _footer(path).get(_ORDERS, b"").split()
    if said and int(said[0]) != size:
        raise UnreadableFileError(_OTHER_ROWS)


def read_raw(path: Path) -> Iterator[RawOrder]:
    """The orders of a raw file, in its order, one row group in memory at a time."""
    proof = hashlib.sha256()
    with _reading():
        for table, bodies in _whole_groups(path):
            narrow = {name: _values(table[name]) for name in _NARROW}
            proof.update(_digested(narrow))
            *before, versions = narrow.values()
            yield from map(RawOrder, *before, bodies, versions)
    entries = _footer(path)
    proof.update(entries.get(_PULL, b"") + entries.get(_ORDERS, b""))
    if entries.get(_PROOF) != proof.hexdigest().encode():
        raise UnreadableFileError(_OTHER_ROWS)


def _values(column: pa.ChunkedArray) -> list[Any]:
    values: list[Any] = (column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column).to_pylist()
    return values


class OrderRows(NamedTuple):
    """Some orders by column: GUIDs, modified times in milliseconds since 1970 (UTC), the JSON as Toast sent it, and the
    versions."""

    guids: list[str]
    modified_ms: list[int]
    bodies: list[bytes]
    versions: list[str]


def read_rows(path: Path) -> Iterator[OrderRows]:
    """What identifies the orders of a raw file, and what they say, in its order, one row group in memory at a time."""
    names = ("order_guid", "modified_at", "version")
    with _reading():
        for table, bodies in _whole_groups(path, [*names, "order_json"]):
            guids, modified_ms, versions = (_values(table[name]) for name in names)
            yield OrderRows(guids, modified_ms, bodies, versions)


def check_raw(path: Path) -> None:
    """Make sure that ``path`` is Parquet with the columns of a raw file, type by type."""
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


def _footer(path: Path) -> dict[bytes, bytes]:
    with _reading():
        return pq.read_metadata(path).metadata or {}


def read_pull_evidence(path: Path) -> bytes | None:
    """``RawFileWriter.pull_evidence`` by the footer of a raw file, or None."""
    return _footer(path).get(_PULL)


def orders_sha256(path: Path) -> str | None:
    """``RawFileWriter.sha256`` by the footer of a raw file; None where it does not say."""
    said = _footer(path).get(_ORDERS, b"").split()
    return said[1].decode() if len(said) == 2 else None


def repeated_guids(path: Path) -> list[str]:
    """The GUIDs that are in the file more than once (of orders that were edited while they were pulled), each as often
    as it is repeated."""
    guids = _columns(path, "order_guid")["order_guid"].to_pylist()
    return list((Counter(guids) - Counter(set(guids))).elements())


@dataclass(frozen=True)
class Content:
    """What a raw file holds: orders, bytes of their JSON, hash of the export. ``new`` and ``changed`` orders are what
    the pull brought, ``recent`` those pulled since the moment that was asked for."""

    orders: int
    bytes: int
    sha256: str
    new: int = 0
    changed: int = 0
    recent: int = 0

    @property
    def differs(self) -> bool:
        return bool(self.new or self.changed)


def content_of(path: Path, *, since_ms: int = 0) -> Content:
    """Read a raw file through; ``since_ms`` is in milliseconds since 1970, UTC."""
    orders = size = recent = 0
    for order in read_raw(path):
        orders += 1
        size += len(order.body)
        recent += order.pulled_ms > since_ms
    sha256 = orders_sha256(path)
    if sha256 is None:
        raise UnreadableFileError("its footer does not say the hash of its orders")
    return Content(orders, size, sha256, recent=recent)


def merge(stored: Path | None, pulled: Path, target: Path, restaurant_guid: str, pull_evidence: bytes = b"") -> Content:
    """Write into ``target`` the newest version of each order of both files, and ``pull_evidence`` into its footer.

    What is stored is only ever added to. The newest modified time wins; for one time the stored bytes stay unless
    Toast now sends others, and then the newer pull wins.
    """
    before, after = _newest_times(stored) if stored else {}, _newest_times(pulled)
    newest = before | {guid: max(modified_ms, before.get(guid, modified_ms)) for guid, modified_ms in after.items()}
    # By sort key, the stored version first; the flag marks what was pulled.
    stored_rows = ((order, False) for order in read_raw(stored)) if stored else iter(())
    pulled_rows = ((order, True) for order in read_raw(pulled))
    rows = heapq.merge(stored_rows, pulled_rows, key=lambda row: (row[0].sort_key, row[1]))
    new = changed = 0
    with RawFileWriter(target, restaurant_guid) as writer:
        for _, versions in groupby(rows, key=lambda row: row[0].sort_key):
            # Of rows with one GUID and one modified time the first stays, unless a later one is another version.
            (first, is_pulled), *later = versions
            order = first
            for other, _ in later:
                if other.version != order.version:
                    order = other
            if newest.get(order.guid, order.modified_ms) > order.modified_ms:
                continue
            if is_pulled or order.version != first.version:
                changed += order.guid in before
                new += order.guid not in before
            writer.write((order,))
        writer.pull_evidence = pull_evidence
    return Content(writer.orders, writer.bytes, writer.sha256, new, changed)


def _newest_times(path: Path) -> dict[str, int]:
    """The newest modified time (milliseconds) of each order: the last, because the file is sorted by it."""
    rows = _columns(path, "order_guid", "modified_at")
    return dict(zip(rows["order_guid"].to_pylist(), _values(rows["modified_at"]), strict=True))


def _columns(path: Path, *names: str) -> pa.Table:
    check_raw(path)
    with _reading(), pq.ParquetFile(path, page_checksum_verification=True) as file:
        return file.read(list(names), use_threads=False)
