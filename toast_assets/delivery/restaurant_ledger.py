"""One restaurant's delivery ledger while its records are sent.

A record's receipt is in the bucket before more than a batch of others is sent: whoever sends acquires a slot, and the
slot is free again once the receipt is stored. A quarter of a batch is stored as a segment beside the ledger; the rest,
and what the segments hold, goes into the ledger when the restaurant's records are answered. A ledger by which nothing
is due says so in its metadata, so that the next delivery reads neither its rows nor the orders.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from functools import partial
from pathlib import Path

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
    """The keys of the segments that are stored, by restaurant.

    Raises:
        StoreError: the bucket is missing or refuses access.
    """
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
        """The receipts of so many records are stored."""
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

    def __init__(
        self, store: OrderStore, week: Week, guid: str, slots: Slots, leftovers: Sequence[str], threads: Executor
    ) -> None:
        self._bucket = store.bucket
        self._key = store.layout.ledger(week, guid)
        self._segment_key = partial(store.layout.ledger_segment, week, guid)
        self._slots = slots
        self._threads = threads
        self._segments = list(leftovers)
        self._version = ABSENT
        self._metadata: Mapping[str, str] = {}
        self._body: bytes | None = None
        self._rows = LEDGER_SCHEMA.empty_table()
        self._receipts: list[pa.Table] = []
        self._waiting: list[LedgerEntry] = []

    def fetch(self, folder: Path) -> None:
        """Read the stored object; ``folder`` is a place for it.

        Raises:
            StoreError: the bucket is missing or refuses access.
        """
        stored = self._bucket.fetch(self._key, folder / "ledger.parquet")
        if stored is not None:
            self._version, self._metadata, self._body = stored.version, stored.metadata, stored.path.read_bytes()

    def settled(self, digest: str) -> dict[str, int] | None:
        """The number of records by method, where nothing is due of what ``digest`` stands for; else None."""
        if self._segments or self._metadata.get(_SETTLED) != digest:
            return None
        with suppress(msgspec.DecodeError):
            return msgspec.json.decode(self._metadata.get(_RECORDS, ""), type=dict[str, int])
        return None

    def state(self) -> DeliveryState:
        """What the ledger and the leftovers say of the restaurant's records.

        Raises:
            StoreError: one of them cannot be read.
        """
        if self._body is not None:
            self._rows = decoded(self._bucket, self._key, self._body)
        self._body = None
        for key in self._segments:
            if (receipts := read_ledger(self._bucket, key)) is not None:
                self._receipts.append(receipts)
        return DeliveryState.of(fold(self._rows, self._receipts) if self._receipts else self._rows)

    async def add(self, entry: LedgerEntry) -> None:
        """A record that had acquired a slot was answered."""
        self._waiting.append(entry)
        if len(self._waiting) >= SEGMENT:
            # Whoever sends next, and ``save``, hear of it.
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
            body = encode_ledger(receipts)
            await in_thread(partial(self._bucket.write, key, body, ContentType=PARQUET), self._threads)
        except BaseException as problem:
            self._waiting = entries + self._waiting
            if isinstance(problem, StoreError):
                self._slots.fail(problem)
            raise
        self._receipts.append(receipts)
        self._slots.release(len(entries))

    async def save(self, digest: str = "", records: Mapping[str, int] | None = None) -> None:
        """Put all receipts into the ledger and remove the segments. With a ``digest`` nothing is due of what it stands
        for, which is so many ``records`` by method.

        Raises:
            StoreError: the ledger cannot be written; the receipts are in segments then, which the next delivery reads.
        """
        metadata = {_SETTLED: digest, _RECORDS: msgspec.json.encode(records).decode()} if digest else {}
        receipts = [*self._receipts, *([to_table(self._waiting)] if self._waiting else [])]
        if receipts or not metadata.items() <= self._metadata.items():
            try:
                await in_thread(partial(self._write, receipts, metadata), self._threads)
            except StoreError:
                if self._waiting:
                    await self._store_segment()
                raise
            self._slots.release(len(self._waiting))
            self._waiting = []
        deletions = (in_thread(partial(self._bucket.delete, key), self._threads) for key in self._segments)
        await asyncio.gather(*deletions)

    def _write(self, receipts: Sequence[pa.Table], metadata: Mapping[str, str]) -> None:
        body = encode_ledger(fold(self._rows, receipts))
        try:
            self._bucket.write(self._key, body, replaces=self._version, ContentType=PARQUET, Metadata=metadata)
        except StoreConflictError:
            # Another run has written its receipts. What is due by both together is for the next delivery to find out.
            fold_into(self._bucket, self._key, receipts)
