"""The delivery ledger: for each record and method whether Amperity has it, in which version, and the receipt.

A restaurant's week has one Parquet file with one row per record, method and destination. The workflow of ``s3_pull``
has one of the same form.

Each record acquires a slot before it is sent, and the slot is free again once its receipt is in the bucket: so a crash
costs the receipts of one batch at most. A quarter of a batch is stored as a segment beside the ledger; all receipts go
into the ledger when the restaurant's records are answered. A ledger by which nothing is due says so in its metadata,
and the next delivery does not read the orders.

What reads or writes raises StoreError where the bucket is missing or refuses access, or a ledger cannot be read.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Literal

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from toast_assets.amperity.records import RecordKey
from toast_assets.concurrency import in_thread
from toast_assets.errors import StoreConflictError, StoreError
from toast_assets.store.bucket import ABSENT, Bucket, Replacement, StoredObject
from toast_assets.store.order_store import PARQUET, OrderStore
from toast_assets.store.s3_errors import readable
from toast_assets.week import Week

State = Literal["pending", "accepted", "loaded", "rejected", "superseded"]
"""``pending``: no answer yet. ``accepted``: Amperity has it. ``loaded``: it is in a table there. ``rejected``: Amperity
refused it. ``superseded``: not sent, because a newer version of the order had arrived with a later week."""

ARRIVED: tuple[State, ...] = ("accepted", "loaded")
# What need not be sent (again).
SETTLED: tuple[State, ...] = (*ARRIVED, "superseded")

LEDGER_SCHEMA = pa.schema(
    [
        pa.field("restaurant_guid", pa.string(), nullable=False),
        pa.field("record_id", pa.string(), nullable=False),
        pa.field("order_guid", pa.string()),
        pa.field("method", pa.string(), nullable=False),
        pa.field("destination", pa.string(), nullable=False),
        pa.field("version", pa.string(), nullable=False),
        pa.field("order_version", pa.string()),
        pa.field("modified_at", pa.timestamp("ms", tz="UTC")),
        pa.field("state", pa.string(), nullable=False),
        pa.field("request_id", pa.string(), nullable=False),
        pa.field("attempts", pa.int32(), nullable=False),
        pa.field("status", pa.int32()),
        pa.field("reason", pa.string()),
        pa.field("updated_at", pa.timestamp("ms", tz="UTC"), nullable=False),
    ]
)

BATCH = 500
"""The most records whose receipts a crash can cost, so the most that are sent twice after one."""
READERS = 4
"""How many restaurants at most may acquire slots at one time."""
# So all readers together never hold a whole batch of receipts that wait to be stored: some slot always comes free.
SEGMENT = BATCH // READERS

_SETTLED, _RECORDS = "settled", "records"
# Whatever else lies in the folders (a marker, a note) is none of ours.
_NAME = re.compile(r"week=([0-9-]{10})/(?:open/)?restaurant=([^/.]+)(?:\.[0-9]+)?\.parquet")
_RECORD = ["restaurant_guid", "method", "destination", "record_id"]


@dataclass(frozen=True)
class LedgerEntry:
    """The latest on one version of one record. ``attempts`` are all calls that this version took, in all runs;
    ``status`` is HTTP's of the last answer, None where there was none; ``updated_ms`` is in milliseconds since 1970,
    UTC."""

    key: RecordKey
    state: State
    attempts: int
    status: int | None
    reason: str | None
    updated_ms: int


def to_table(entries: Sequence[LedgerEntry]) -> pa.Table:
    """Entries as rows of the ledger."""
    rows = [
        vars(entry)
        | vars(entry.key)
        | {"request_id": entry.key.request_id, "modified_at": entry.key.modified_ms, "updated_at": entry.updated_ms}
        for entry in entries
    ]
    return pa.Table.from_pylist(rows, LEDGER_SCHEMA)


def fold(tables: Iterable[pa.Table]) -> pa.Table:
    """One row per record and method, sorted by record: the one of its newest version, whatever the order of the tables.

    That is the version modified last, because Amperity keeps it, whichever arrived last. Of versions of one modified
    time it is the one that was noted last. A version that has arrived stays so, whatever was noted of it later.
    """
    rows = pa.concat_tables([LEDGER_SCHEMA.empty_table(), *tables])
    rows = rows.append_column("answered", pc.not_equal(rows["state"], "pending"))
    rows = rows.sort_by([(name, "ascending") for name in ("modified_at", "updated_at", "answered")])
    rows = rows.append_column("row", pa.array(range(len(rows)), pa.int64()))

    def last(found: pa.Table, by: list[str]) -> pa.Table:
        # Threads would gain nothing on so few rows, and each would keep memory of its own.
        return rows.take(found.group_by(by, use_threads=False).aggregate([("row", "max")])["row_max"].combine_chunks())

    newest = last(rows, _RECORD)
    arrived = last(rows.filter(pc.is_in(rows["state"], pa.array(ARRIVED))), ["request_id"])
    chosen = pc.is_in(newest["request_id"], arrived["request_id"].combine_chunks())
    found = pc.is_in(arrived["request_id"], newest["request_id"].combine_chunks())
    kept = pa.concat_tables([newest.filter(pc.invert(chosen)), arrived.filter(found)]).select(LEDGER_SCHEMA.names)
    return kept.sort_by([(name, "ascending") for name in _RECORD])


def calls_so_far(table: pa.Table) -> dict[str, int | None]:
    """How many calls a ledger's records took, None where no more is due; by request id, which stands for method,
    destination, record and version together."""
    settled = pc.is_in(table["state"], pa.array(SETTLED))
    calls = pc.if_else(settled, pa.scalar(None, pa.int32()), table["attempts"])
    return dict(zip(table["request_id"].to_pylist(), calls.to_pylist(), strict=True))


def encode_ledger(table: pa.Table) -> bytes:
    """Parquet, the same bytes for the same rows."""
    buffer = pa.BufferOutputStream()
    pq.write_table(table, buffer, compression="zstd")
    return bytes(buffer.getvalue())


def decode_ledger(body: bytes) -> pa.Table:
    """The inverse of ``encode_ledger``."""
    # In this thread alone: one of Arrow's that lets go of Python's bytes while the interpreter ends aborts the process.
    with pq.ParquetFile(pa.BufferReader(body)) as file:
        return file.read(LEDGER_SCHEMA.names, use_threads=False).cast(LEDGER_SCHEMA)


def decoded(bucket: Bucket, key: str, body: bytes) -> pa.Table:
    """The rows of a ledger's ``body``, which was read from ``key``."""
    hint = "Restore an earlier version of the object; without it everything that it records is sent again."
    with readable(bucket.uri(key), hint):
        return decode_ledger(body)


def read_ledger(bucket: Bucket, key: str) -> pa.Table | None:
    """The ledger's rows, or None where there is no such object."""
    found = bucket.read(key)
    return None if found is None else decoded(bucket, key, found[0])


def fold_into(bucket: Bucket, key: str, receipts: Sequence[pa.Table]) -> pa.Table:
    """Fold ``receipts`` into the ledger that is stored under ``key``, and return that; StoreConflictError: others kept
    writing it."""
    rows = LEDGER_SCHEMA.empty_table()

    def change(stored: StoredObject | None, _target: Path) -> Replacement:
        nonlocal rows
        known = [decoded(bucket, key, stored.path.read_bytes())] if stored else []
        rows = fold([*known, *receipts])
        return Replacement(encode_ledger(rows), {"ContentType": PARQUET})

    bucket.update(key, change)
    return rows


States = Counter[tuple[str, str, str]]
"""How many records there are by method, destination and state."""


def _states(table: pa.Table) -> States:
    by = ["method", "destination", "state"]
    counts = table.group_by(by, use_threads=False).aggregate([([], "count_all")])
    return Counter({(row["method"], row["destination"], row["state"]): row["count_all"] for row in counts.to_pylist()})


def stored_ledgers(folder: str, store: OrderStore) -> Iterator[tuple[str, str, str]]:
    """The ledgers of restaurants, and their segments, below a folder: week, restaurant and key of each."""
    for key in store.bucket.keys(folder):
        if found := _NAME.fullmatch(key.removeprefix(store.layout.all_deliveries)):
            yield found[1], found[2], key


class Slots:
    """The right to send: as many records as a batch may be without a stored receipt."""

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(BATCH)
        self._problem: StoreError | None = None
        self.folding = Lock()
        """Folding takes many times a ledger's memory, and restaurants of one size come to it at the same time."""

    async def acquire(self) -> None:
        """Wait until one more record may be sent; raises StoreError where receipts cannot be stored any more."""
        await self._free.acquire()
        if self._problem is not None:
            # Also fail the callers still waiting for a slot.
            self._free.release()
            raise self._problem

    def release(self, count: int) -> None:
        """Call when the receipts of ``count`` records are stored."""
        for _ in range(count):
            self._free.release()

    def fail(self, problem: StoreError) -> None:
        """Receipts cannot be stored: nothing more may be sent."""
        self._problem = problem
        self._free.release()


class RestaurantLedger:
    """The ledger of one restaurant's week during one delivery.

    ``leftovers`` are the keys of segments that a delivery that died left behind. Those of one that is still alive may
    be among them: it folds the same receipts once more, which changes nothing.
    """

    def __init__(self, store: OrderStore, week: Week, guid: str, slots: Slots, leftovers: Sequence[str]) -> None:
        self._bucket = store.bucket
        self._key = store.layout.ledger(week, guid)
        self._segment_key = partial(store.layout.ledger_segment, week, guid)
        self._slots = slots
        self._segments = list(leftovers)
        self._version = ABSENT
        self._metadata: Mapping[str, str] = {}
        self._rows = LEDGER_SCHEMA.empty_table()
        self._receipts: list[pa.Table] = []
        self._waiting: list[LedgerEntry] = []
        self.states: States | None = None
        """Those of the ledger as it is stored; None until it was fetched."""

    def fetch(self, folder: Path) -> None:
        """Read what is stored, the ledger by way of ``folder``."""
        # The ledger last: what a delivery that is still alive has removed by then is in it.
        receipts = (read_ledger(self._bucket, key) for key in self._segments)
        self._receipts = [table for table in receipts if table is not None]
        stored = self._bucket.fetch(self._key, folder / "ledger.parquet")
        if stored is not None:
            self._version, self._metadata = stored.version, stored.metadata
            self._rows = decoded(self._bucket, self._key, stored.path.read_bytes())
        self.states = _states(self._rows)

    def settled(self, digest: str) -> dict[str, int] | None:
        """The number of records by method where all that ``digest`` was made of are settled, else None."""
        if not self._segments and self._metadata.get(_SETTLED) == digest:
            with suppress(msgspec.DecodeError):
                return msgspec.json.decode(self._metadata.get(_RECORDS, ""), type=dict[str, int])
        return None

    def rows(self) -> pa.Table:
        """Those of the ledger and the leftovers together."""
        return fold([self._rows, *self._receipts]) if self._receipts else self._rows

    def calls_so_far(self) -> dict[str, int | None]:
        """Those of ``rows``."""
        return calls_so_far(self.rows())

    async def add(self, entry: LedgerEntry) -> None:
        """A record that had acquired a slot was answered."""
        self._waiting.append(entry)
        if len(self._waiting) >= SEGMENT:
            # The next ``acquire`` and ``save`` raise it.
            with suppress(StoreError):
                await self._store_segment()

    async def _store_segment(self) -> None:
        entries, self._waiting = self._waiting, []
        # Named by time, so that no other run has the same name. Kept before it is stored, as a cancellation may come
        # between the two.
        key = self._segment_key(time.time_ns())
        self._segments.append(key)
        receipts = to_table(entries)
        try:
            await in_thread(self._bucket.write, key, encode_ledger(receipts), ContentType=PARQUET)
        except BaseException as problem:
            self._waiting = entries + self._waiting
            if isinstance(problem, StoreError):
                self._slots.fail(problem)
            raise
        self._receipts.append(receipts)
        self._slots.release(len(entries))

    async def save(self, digest: str = "", records: Mapping[str, int] | None = None) -> None:
        """Put all receipts into the ledger and remove the segments. A ``digest`` says that all ``records`` (counts by
        method) of what it was made of are settled. Raises StoreError where the ledger cannot be written; the receipts
        are in segments then, which the next delivery reads."""
        metadata = {_SETTLED: digest, _RECORDS: msgspec.json.encode(records).decode()} if digest else {}
        waiting = len(self._waiting)
        if waiting or self._receipts or not metadata.items() <= self._metadata.items():
            try:
                # One call, so that a cancellation comes before or after it.
                await in_thread(self._write, metadata)
            except StoreError:
                if self._waiting:
                    await self._store_segment()
                raise
            self._slots.release(waiting)
        await asyncio.gather(*(in_thread(self._bucket.delete, key) for key in self._segments))

    def _write(self, metadata: Mapping[str, str]) -> None:
        receipts = [*self._receipts, to_table(self._waiting)]
        with self._slots.folding:
            rows = fold([self._rows, *receipts])
            body = encode_ledger(rows)
        try:
            self._bucket.write(self._key, body, replaces=self._version, ContentType=PARQUET, Metadata=metadata)
        except StoreConflictError:
            # Another run has written its receipts. What is due by both together is for the next delivery to find out.
            rows = fold_into(self._bucket, self._key, receipts)
        self.states = _states(rows)
        self._receipts, self._waiting, self._metadata = [], [], metadata
