"""One restaurant's delivery ledger while its records are sent.

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
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from threading import Lock

import msgspec
import pyarrow as pa

from toast_assets.delivery.ledger import (
    LEDGER_SCHEMA,
    DeliveryState,
    LedgerEntry,
    decoded,
    encode_ledger,
    fold,
    fold_into,
    read_ledger,
    to_table,
)
from toast_assets.errors import StoreConflictError, StoreError
from toast_assets.store.bucket import ABSENT
from toast_assets.store.order_store import PARQUET, OrderStore
from toast_assets.threads import in_thread
from toast_assets.week import Week

BATCH = 500
"""The most records whose receipts a crash can cost, so the most that are sent twice after one."""
READERS = 4
"""How many restaurants at most may acquire slots at one time."""
# So all readers together never hold a whole batch of receipts that wait to be stored: some slot always comes free.
SEGMENT = BATCH // READERS

_SETTLED, _RECORDS = "settled", "records"
# Whatever else lies in the folder of segments (a marker, a note) is none of ours.
_SEGMENT_NAME = re.compile(r"restaurant=([A-Za-z0-9_-]+)\.[0-9]+\.parquet")


def stored_segments(week: Week, store: OrderStore) -> dict[str, list[str]]:
    """The keys of the segments that are stored, by restaurant."""
    segments: dict[str, list[str]] = defaultdict(list)
    folder = store.layout.ledger_segments(week)
    for key in store.bucket.keys(folder):
        if found := _SEGMENT_NAME.fullmatch(key.removeprefix(folder)):
            segments[found[1]].append(key)
    return segments


class Slots:
    """The right to send: as many records as a batch may be without a stored receipt."""

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(BATCH)
        self._problem: StoreError | None = None
        self.folding = Lock()
        """Folding takes many times a ledger's memory, and restaurants of one size come to it at the same time."""

    async def acquire(self) -> None:
        """Wait until one more record may be sent.

        Raises:
            StoreError: receipts cannot be stored any more.
        """
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

    def fetch(self, folder: Path) -> None:
        """Read what is stored, the ledger by way of ``folder``."""
        # The ledger last: what a delivery that is still alive has removed by then is in it.
        receipts = (read_ledger(self._bucket, key) for key in self._segments)
        self._receipts = [table for table in receipts if table is not None]
        stored = self._bucket.fetch(self._key, folder / "ledger.parquet")
        if stored is not None:
            self._version, self._metadata = stored.version, stored.metadata
            self._rows = decoded(self._bucket, self._key, stored.path.read_bytes())

    def settled(self, digest: str) -> dict[str, int] | None:
        """The number of records by method where all that ``digest`` was made of are settled, else None."""
        if self._segments or self._metadata.get(_SETTLED) != digest:
            return None
        with suppress(msgspec.DecodeError):
            return msgspec.json.decode(self._metadata.get(_RECORDS, ""), type=dict[str, int])
        return None

    def state(self) -> DeliveryState:
        """What the ledger and the leftovers say of the restaurant's records."""
        return DeliveryState.of(fold(self._rows, self._receipts) if self._receipts else self._rows)

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
        method) of what it was made of are settled.

        Raises:
            StoreError: the ledger cannot be written; the receipts are in segments then, which the next delivery reads.
        """
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
            body = encode_ledger(fold(self._rows, receipts))
        try:
            self._bucket.write(self._key, body, replaces=self._version, ContentType=PARQUET, Metadata=metadata)
        except StoreConflictError:
            # Another run has written its receipts. What is due by both together is for the next delivery to find out.
            fold_into(self._bucket, self._key, receipts)
        self._receipts, self._waiting, self._metadata = [], [], metadata
