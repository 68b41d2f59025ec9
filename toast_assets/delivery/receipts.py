"""Keeps the delivery ledger in the bucket while records are sent.

A record's receipt is in the bucket before more than a batch of others is on the way: whoever sends takes a place, and
the place is free again once the receipt is stored. Writing goes on beside the sending, in segments; when all of a
restaurant's records were answered, they are folded into its ledger and taken away.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import pyarrow as pa
import pyarrow.compute as pc

from toast_assets.delivery.ledger import LedgerEntry, encode_ledger, fold, to_table
from toast_assets.delivery.ledger_files import decoded, fold_into, read_ledger
from toast_assets.errors import StoreConflictError, StoreError
from toast_assets.store.bucket import Version
from toast_assets.store.order_store import PARQUET, OrderStore
from toast_assets.week import Week

# The most records whose receipts a crash can cost, so the most that are sent twice after one.
BATCH = 500
# Segments are not written for every handful of receipts, nor held back for long.
_SEGMENT = BATCH // 4
_SEGMENT_SECONDS = 0.25
# Whatever else lies in the folder of segments (a marker, a note) is none of ours.
_SEGMENT_NAME = re.compile(r"[0-9]+\.parquet")


@dataclass
class _Segment:
    """A stored segment, and the restaurants whose rows of it are in no ledger yet."""

    version: Version
    restaurants: set[str]


@dataclass
class Receipts:
    """The ledger of one week during one delivery; ``read_only`` for a dry run.

    What a delivery that died left behind is folded in first. A delivery that stops leaves nothing open behind.
    """

    store: OrderStore
    week: Week
    read_only: bool = False
    _places: asyncio.Semaphore = field(init=False, default_factory=lambda: asyncio.Semaphore(BATCH))
    _waiting: list[LedgerEntry] = field(init=False, default_factory=list)
    _enough: asyncio.Event = field(init=False, default_factory=asyncio.Event)
    _written: dict[str, list[pa.Table]] = field(init=False, default_factory=lambda: defaultdict(list))
    _segments: dict[str, _Segment] = field(init=False, default_factory=dict)
    _writing: asyncio.Lock = field(init=False, default_factory=asyncio.Lock)
    _folding: asyncio.Lock = field(init=False, default_factory=asyncio.Lock)
    _writer: asyncio.Task[None] = field(init=False)
    _ending: bool = field(init=False, default=False)
    _broken: Exception | None = field(init=False, default=None)

    async def __aenter__(self) -> Self:
        if not self.read_only:
            await asyncio.to_thread(self._recover)
        self._writer = asyncio.create_task(self._keep_writing())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending = True
        self._enough.set()
        await self._writer
        try:
            await self._write_waiting()
            if error is None or isinstance(error, Exception):
                for guid in list(self._written):
                    await self._fold(guid)
        except StoreError:
            # What is on its way is the reason to act on; the segments are folded by the next delivery.
            if error is None:
                raise

    def load(self, restaurant_guid: str) -> pa.Table | None:
        """The restaurant's ledger of this week, None where there is none.

        Raises:
            StoreError: it cannot be read.
        """
        stored = read_ledger(self.store.bucket, self.store.layout.ledger(self.week, restaurant_guid))
        if not self.read_only:
            return stored
        # A dry run folds nothing, but has to know what a delivery that died left behind.
        left = [rows[restaurant_guid] for _, _, rows in self._left_behind() if restaurant_guid in rows]
        return fold(stored, left) if left else stored

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
        """A record that had taken a place was answered."""
        self._waiting.append(entry)
        if len(self._waiting) >= _SEGMENT:
            self._enough.set()

    async def close_restaurant(self, restaurant_guid: str) -> None:
        """All of a restaurant's records were answered: fold the receipts into its ledger."""
        await self._write_waiting()
        await self._fold(restaurant_guid)

    async def _keep_writing(self) -> None:
        try:
            while not self._ending:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._enough.wait(), _SEGMENT_SECONDS)
                await self._write_waiting()
        except Exception as error:  # noqa: BLE001 - handed on to whoever sends next
            self._broken = error
            self._places.release()

    async def _write_waiting(self) -> None:
        async with self._writing:
            entries, self._waiting = self._waiting, []
            self._enough.clear()
            if not entries:
                return
            # Numbered by time, so that those of a later run are later, whoever reads them.
            key = self.store.layout.ledger_segment(self.week, time.time_ns())
            try:
                version, rows = await asyncio.to_thread(self._save_segment, key, entries)
            except BaseException:
                self._waiting = entries + self._waiting
                raise
            self._segments[key] = _Segment(version, set(rows))
            for guid, table in rows.items():
                self._written[guid].append(table)
            for _ in entries:
                self._places.release()

    def _save_segment(self, key: str, entries: Sequence[LedgerEntry]) -> tuple[Version, dict[str, pa.Table]]:
        table = to_table(entries)
        return self.store.bucket.write(key, encode_ledger(table), ContentType=PARQUET), _by_restaurant(table)

    async def _fold(self, guid: str) -> None:
        """Fold what was written of a restaurant, and take away the segments of which nothing is left to fold."""
        receipts = self._written.pop(guid, None)
        if receipts is None:
            return
        try:
            # Folding takes many times a ledger's memory, and restaurants of one size come to it at the same time.
            async with self._folding:
                await asyncio.to_thread(self._save, guid, receipts)
        except BaseException:
            self._written[guid] = receipts + self._written.pop(guid, [])
            raise
        for segment in self._segments.values():
            segment.restaurants.discard(guid)
        folded = {key: segment.version for key, segment in self._segments.items() if not segment.restaurants}
        for key in folded:
            del self._segments[key]
        await asyncio.to_thread(self._delete, folded)

    def _save(self, guid: str, receipts: Sequence[pa.Table]) -> None:
        fold_into(self.store.bucket, self.store.layout.ledger(self.week, guid), receipts)

    def _left_behind(self) -> Iterable[tuple[str, Version, dict[str, pa.Table]]]:
        """The segments of a delivery that died, oldest first, with their rows by restaurant."""
        folder = self.store.layout.ledger_segments(self.week)
        for key in list(self.store.bucket.keys(folder)):
            found = self.store.bucket.read(key) if _SEGMENT_NAME.fullmatch(key.removeprefix(folder)) else None
            if found is not None:
                yield key, found[1], _by_restaurant(decoded(self.store.bucket, key, found[0]))

    def _recover(self) -> None:
        """Fold what a delivery that died left behind. The receipts of one that is still alive may be among it: it folds
        them once more, which changes nothing."""
        receipts: dict[str, list[pa.Table]] = defaultdict(list)
        left = list(self._left_behind())
        for _, _, rows in left:
            for guid, table in rows.items():
                receipts[guid].append(table)
        unread = {guid for guid, tables in receipts.items() if not self._recovered(guid, tables)}
        self._delete({key: version for key, version, rows in left if unread.isdisjoint(rows)})

    def _recovered(self, guid: str, receipts: Sequence[pa.Table]) -> bool:
        """Whether a restaurant's ledger could be read. One that cannot be is named when it is the restaurant's turn."""
        try:
            self._save(guid, receipts)
        except StoreConflictError:
            raise
        except StoreError:
            self.store.bucket.check()
            return False
        return True

    def _delete(self, segments: Mapping[str, Version]) -> None:
        """Take away what was folded. A segment that somebody has rewritten since is folded by the next delivery."""
        for key, version in segments.items():
            self.store.bucket.delete(key, version)


def _by_restaurant(table: pa.Table) -> dict[str, pa.Table]:
    column = table["restaurant_guid"]
    return {guid: table.filter(pc.equal(column, guid)) for guid in column.unique().to_pylist()}
