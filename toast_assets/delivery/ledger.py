"""The delivery ledger: for each record and method whether Amperity has it, in which version, and the receipt.

A restaurant's week has one Parquet file with one row per record, method and destination; ``restaurant_ledger`` writes
it. The workflow of ``s3_pull`` has one of the same form.

What reads a stored ledger raises StoreError where it cannot be read, or the bucket is missing or refuses access.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from toast_assets.amperity.records import RecordKey
from toast_assets.store.bucket import Bucket, Replacement, StoredObject
from toast_assets.store.order_store import PARQUET
from toast_assets.store.s3_errors import readable

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
        {
            "restaurant_guid": entry.key.restaurant_guid,
            "record_id": entry.key.record_id,
            "order_guid": entry.key.order_guid,
            "method": entry.key.method,
            "destination": entry.key.destination,
            "version": entry.key.version,
            "order_version": entry.key.order_version,
            "modified_at": entry.key.modified_ms,
            "state": entry.state,
            "request_id": entry.key.request_id,
            "attempts": entry.attempts,
            "status": entry.status,
            "reason": entry.reason,
            "updated_at": entry.updated_ms,
        }
        for entry in entries
    ]
    return pa.Table.from_pylist(rows, LEDGER_SCHEMA)


def fold(older: pa.Table | None, newer: Iterable[pa.Table]) -> pa.Table:
    """One row per record and method, sorted by record: the one of its newest version, whatever the order of the tables.

    That is the version modified last, because Amperity keeps it, whichever arrived last. Of versions of one modified
    time it is the one that was noted last. A version that has arrived stays so, whatever was noted of it later.
    """
    tables = [table for table in (older, *newer) if table is not None]
    rows = pa.concat_tables(tables) if tables else LEDGER_SCHEMA.empty_table()
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


@dataclass(frozen=True)
class DeliveryState:
    """What a ledger says of a restaurant's records, by their request ids, which stand for method, destination, record
    and version together: those that are ``settled``, and how many calls the others took so far."""

    settled: frozenset[str] = frozenset()
    attempts: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, table: pa.Table) -> DeliveryState:
        """What ``table`` says."""
        settled = pc.is_in(table["state"], pa.array(SETTLED))
        others = table.filter(pc.invert(settled))
        attempts = zip(others["request_id"].to_pylist(), others["attempts"].to_pylist(), strict=True)
        return cls(frozenset(table.filter(settled)["request_id"].to_pylist()), dict(attempts))


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


def fold_into(bucket: Bucket, key: str, receipts: Sequence[pa.Table]) -> None:
    """Fold ``receipts`` into the ledger that is stored under ``key`` by now.

    Raises:
        StoreConflictError: other runs kept writing it.
    """

    def change(stored: StoredObject | None, _target: Path) -> Replacement:
        known = decoded(bucket, key, stored.path.read_bytes()) if stored else None
        return Replacement(encode_ledger(fold(known, receipts)), {"ContentType": PARQUET})

    bucket.update(key, change)
