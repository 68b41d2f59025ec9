"""Keeps the delivery ledger in the bucket while records are sent.

A record's receipt is in the bucket before more than a batch of others is on the way: whoever sends takes a place, and
the place is free again once the receipt is stored. Writing goes on beside the sending.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import pyarrow as pa
import pyarrow.compute as pc

from toast_assets.amperity.ledger import LedgerEntry, decode_ledger, encode_ledger, fold, to_table
from toast_assets.store.order_store import OrderStore
from toast_assets.week import Week

# The most records whose receipts a crash can cost, so the most that are sent twice after one.
BATCH = 500
# Segments are not written for every handful of receipts, nor held back for long.
_SEGMENT = BATCH // 4
_SEGMENT_SECONDS = 0.25


@dataclass
class Receipts:
    """The ledger of one week during one delivery; ``read_only`` for a dry run."""

    store: OrderStore
    week: Week
    read_only: bool = False
    _places: asyncio.Semaphore = field(init=False, default_factory=lambda: asyncio.Semaphore(BATCH))
    _waiting: list[LedgerEntry] = field(init=False, default_factory=list)
    _enough: asyncio.Event = field(init=False, default_factory=asyncio.Event)
    _written: dict[str, list[pa.Table]] = field(init=False, default_factory=lambda: defaultdict(list))
    _segments: int = field(init=False, default=0)
    _writing: asyncio.Lock = field(init=False, default_factory=asyncio.Lock)
    _writer: asyncio.Task[None] = field(init=False)
    _broken: BaseException | None = field(init=False, default=None)

    async def __aenter__(self) -> Self:
        if not self.read_only:
            await asyncio.to_thread(self._recover)
        self._writer = asyncio.create_task(self._keep_writing())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.cancel()
        await asyncio.gather(self._writer, return_exceptions=True)
        await self._write_waiting()
        if error is None and not self.read_only:
            await asyncio.to_thread(self._remove_segments)

    def load(self, restaurant_guid: str) -> pa.Table | None:
        """The restaurant's ledger of this week as it was stored, or None."""
        found = self.store.bucket.read(self.store.layout.ledger(self.week, restaurant_guid))
        return decode_ledger(found[0]) if found else None

    async def place(self) -> None:
        """Wait until one more record may be sent.

        Raises:
            StoreError: receipts cannot be stored any more.
        """
        await self._places.acquire()
        if self._broken is not None:
            # Whoever waits behind this one has to hear of it, too.
            self._places.release()
            raise self._broken

    def add(self, entry: LedgerEntry) -> None:
        """A record was answered."""
        self._waiting.append(entry)
        if len(self._waiting) >= _SEGMENT:
            self._enough.set()

    async def close_restaurant(self, restaurant_guid: str, ledger: pa.Table | None) -> None:
        """All of a restaurant's records were answered: fold the receipts into its ledger."""
        await self._write_waiting()
        if receipts := self._written.pop(restaurant_guid, None):
            folded = await asyncio.to_thread(fold, ledger, receipts)
            await asyncio.to_thread(self._save, restaurant_guid, folded)

    async def _keep_writing(self) -> None:
        try:
            while True:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._enough.wait(), _SEGMENT_SECONDS)
                # A segment under way is finished even if the delivery ends meanwhile.
                await asyncio.shield(self._write_waiting())
        except Exception as error:  # noqa: BLE001 - handed on to whoever sends next
            self._broken = error
            self._places.release()

    async def _write_waiting(self) -> None:
        async with self._writing:
            entries, self._waiting = self._waiting, []
            self._enough.clear()
            if not entries:
                return
            table = to_table(entries)
            self._segments += 1
            key = self.store.layout.ledger_segment(self.week, self._segments)
            await asyncio.to_thread(self.store.bucket.write, key, encode_ledger(table))
            for guid, rows in _by_restaurant(table).items():
                self._written[guid].append(rows)
            for _ in entries:
                self._places.release()

    def _save(self, restaurant_guid: str, table: pa.Table) -> None:
        key = self.store.layout.ledger(self.week, restaurant_guid)
        self.store.bucket.write(key, encode_ledger(table), ContentType="application/vnd.apache.parquet")

    def _recover(self) -> None:
        """Fold what a delivery that died left behind."""
        rows: dict[str, list[pa.Table]] = defaultdict(list)
        for key in self.store.bucket.keys(self.store.layout.ledger_segments(self.week)):
            found = self.store.bucket.read(key)
            for guid, table in _by_restaurant(decode_ledger(found[0])).items() if found else ():
                rows[guid].append(table)
        for guid, tables in rows.items():
            self._save(guid, fold(self.load(guid), tables))
        self._remove_segments()

    def _remove_segments(self) -> None:
        for key in list(self.store.bucket.keys(self.store.layout.ledger_segments(self.week))):
            self.store.bucket.delete(key)


def _by_restaurant(table: pa.Table) -> dict[str, pa.Table]:
    column = table["restaurant_guid"]
    return {guid: table.filter(pc.equal(column, guid)) for guid in column.unique().to_pylist()}
