"""The raw Parquet file of a restaurant's week: written, read and merged as a stream, by modified time and GUID.

A file holds one row per order, its newest version. Damage shows in the checksums of its pages, and in the proof of its
columns in the footer. Every function that reads raises UnreadableFileError for a file that is no raw file, is damaged,
or does not hold what was written into it; iterators may notice that only at the end.
"""

from __future__ import annotations

import hashlib
import heapq
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce
from itertools import chain, groupby
from operator import attrgetter
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pyarrow.compute as pc
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
_VERSIONS = ("order_guid", "modified_at", "version")
_IN_PYTHON = {"modified_at": pa.int64(), "pulled_at": pa.int64()}
# Bounds the memory of each restaurant that is pulled or read; large enough to compress well.
_ROW_GROUP_BYTES = 4_000_000
_ROW_GROUP_ROWS = 5_000
# Entries of the footer: how the orders were pulled, bytes and hash of the orders as the export holds them, and a hash
# of the narrow columns and of the other entries, because the checksums of pages do not cover what says where they are.
_PULL, _ORDERS, _PROOF = b"toast_assets.pull", b"toast_assets.orders", b"toast_assets.rows"


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

    def __exit__(self, kind: object, error: object, trace: object) -> None:
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
            self._proof.update(repr(tuple(narrow.values())).encode())
            # The same bytes under another name: they were found to be UTF-8 when the order was cut from its page.
            texts = pa.array(bodies, pa.binary()).view(pa.string())
            guids = [self._restaurant_guid] * len(bodies)
            columns = {"restaurant_guid": guids, "order_json": texts, **narrow}
            self._file.write_table(pa.Table.from_pydict(columns, RAW_SCHEMA))
            self.orders += len(bodies)
            self.bytes += self._batch_bytes
            self._batch, self._batch_bytes = [], 0


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
        raise UnreadableFileError(f"it is damaged, or no raw file ({error})") from error


def read_groups(path: Path) -> Iterator[list[RawOrder]]:
    """The orders of a raw file, in its order, one row group in memory at a time."""
    check_raw(path)
    proof = hashlib.sha256()
    size = 0
    with _reading():
        for table in row_groups(path):
            bodies = table["order_json"].cast(pa.binary()).to_pylist()
            size += sum(map(len, bodies))
            narrow = {name: table[name].cast(_IN_PYTHON.get(name, table[name].type)).to_pylist() for name in _NARROW}
            proof.update(repr(tuple(narrow.values())).encode())
            *before, versions = narrow.values()
            yield list(map(RawOrder, *before, bodies, versions))
    entries = _footer(path)
    orders = entries.get(_ORDERS, b"")
    proof.update(entries.get(_PULL, b"") + orders)
    # Row groups may be missing, or have another one's orders.
    if entries.get(_PROOF) != proof.hexdigest().encode() or int(orders.split()[0]) != size:
        raise UnreadableFileError("it is damaged (its rows are not those that were stored)")


def read_raw(path: Path) -> Iterator[RawOrder]:
    """The orders of ``read_groups``, one by one."""
    return chain.from_iterable(read_groups(path))


def check_raw(path: Path) -> None:
    """Make sure that ``path`` is Parquet with the columns of a raw file, type by type."""
    with _reading():
        schema = pq.read_schema(path)
    if not schema.equals(RAW_SCHEMA):
        ours, theirs = (set(each.remove_metadata().to_string().splitlines()) for each in (RAW_SCHEMA, schema))
        raise UnreadableFileError(f"its columns differ in {', '.join(sorted(ours ^ theirs)) or 'their order'}")


def _footer(path: Path) -> dict[bytes, bytes]:
    with _reading():
        return pq.read_metadata(path).metadata or {}


def read_pull_evidence(path: Path) -> bytes | None:
    """``RawFileWriter.pull_evidence`` by the footer of a raw file, or None."""
    return _footer(path).get(_PULL)


def _columns(path: Path, names: Sequence[str]) -> list[list[Any]]:
    check_raw(path)
    with _reading():
        table = pq.read_table(path, columns=list(names))
        return [table[name].cast(_IN_PYTHON.get(name, table[name].type)).to_pylist() for name in names]


def order_guids(path: Path) -> list[str]:
    """The GUIDs of the orders in a raw file."""
    return list(_columns(path, ["order_guid"])[0])


def repeats(path: Path) -> bool:
    """Whether a raw file has orders more than once: those that were edited while they were pulled."""
    guids = pq.read_table(path, columns=["order_guid"])["order_guid"]
    return bool(pc.count_distinct(guids).as_py() < len(guids))


def orders_sha256(path: Path) -> str:
    """``RawFileWriter.sha256`` by the footer of a raw file."""
    said = _footer(path).get(_ORDERS, b"").split()
    if len(said) != 2:
        raise UnreadableFileError("its footer does not say the hash of its orders")
    return said[1].decode()


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


def content_of(path: Path, *, since_ms: int = 0) -> Content:
    """Read a raw file through; ``since_ms`` is in milliseconds since 1970, UTC."""
    orders = size = recent = 0
    for order in read_raw(path):
        orders += 1
        size += len(order.body)
        recent += order.pulled_ms > since_ms
    return Content(orders, size, orders_sha256(path), recent=recent)


def merge(stored: Path | None, pulled: Path, target: Path, restaurant_guid: str, pull_evidence: bytes = b"") -> Content:
    """Write into ``target`` the newest version of each order of both files, and ``pull_evidence`` into its footer.

    What is stored is only ever added to. The newest modified time wins; for one time the stored bytes stay unless
    Toast now sends others, and then the newer pull wins.
    """
    before: dict[str, str] = {}
    newest: dict[str, int] = {}
    for path in (stored, pulled) if stored else (pulled,):
        for guid, modified_ms, version in zip(*_columns(path, _VERSIONS), strict=True):
            newest[guid] = max(modified_ms, newest.get(guid, modified_ms))
            if path is stored:
                before[guid] = version
    # By sort key, of equal ones what is stored first.
    rows = heapq.merge(read_raw(stored) if stored else (), read_raw(pulled), key=attrgetter("sort_key"))
    new = changed = 0
    with RawFileWriter(target, restaurant_guid) as writer:
        for (guid, modified_ms), versions in groupby(rows, key=attrgetter("guid", "modified_ms")):
            if modified_ms < newest[guid]:
                continue
            # Of rows with one GUID and one modified time the first stays, unless a later one is another version.
            order = reduce(lambda first, later: first if later.version == first.version else later, versions)
            new += guid not in before
            changed += before.get(guid, order.version) != order.version
            writer.write((order,))
        writer.pull_evidence = pull_evidence
    return Content(writer.orders, writer.bytes, writer.sha256, new, changed)
