"""Keeps the manifest in step with a pull while it runs, so that a crash costs at most the restaurants under way."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import msgspec

from toast_assets.errors import StoreConflictError
from toast_assets.store.bucket import Version
from toast_assets.store.manifest import Manifest, RestaurantRecord
from toast_assets.store.order_store import OrderStore
from toast_assets.week import Week, iso_ms

# Writing the manifest of a thousand restaurants again and again may take this share of the time, no more.
_SHARE_OF_TIME = 0.05


@dataclass
class PullProgress:
    """The week's manifest during one run: records come in as restaurants finish, a background task saves them.

    Nothing is saved before the first restaurant is stored, so a run in which all fail leaves no trace. An unchanged
    week ends with the very manifest that it began with.
    """

    store: OrderStore
    week: Week
    before: Manifest | None
    version: Version
    asked: Sequence[str]
    wanted: Sequence[str]
    _records: dict[str, RestaurantRecord] = field(init=False)
    _pending: dict[str, None] = field(init=False)
    _saved: Manifest | None = field(init=False)
    _changed: asyncio.Event = field(init=False, default_factory=asyncio.Event)
    _saving: asyncio.Lock = field(init=False, default_factory=asyncio.Lock)
    _saver: asyncio.Task[None] = field(init=False)

    def __post_init__(self) -> None:
        self._records = _still_wanted(self.before, self.wanted) if self.before else {}
        self._pending = dict.fromkeys(self.asked)
        self._saved = self.before

    def record_of(self, guid: str) -> RestaurantRecord | None:
        """What the manifest said of a restaurant before this run, or says since."""
        return self._records.get(guid)

    def finished(self, guid: str, record: RestaurantRecord) -> None:
        """A restaurant is done, stored or failed."""
        self._records[guid] = record
        self._pending.pop(guid, None)
        self._changed.set()

    async def __aenter__(self) -> Self:
        self._saver = asyncio.create_task(self._keep_saving())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._saver.cancel()
        await asyncio.gather(self._saver, return_exceptions=True)
        if error is not None:
            await self._save()

    async def finish(self) -> Manifest:
        """Save the final state and return it."""
        await self._save()
        return self._current()

    async def _keep_saving(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            began = time.monotonic()
            # A write under way ends even if the run does; what it brings has to be known to the next one.
            await asyncio.shield(self._save())
            await asyncio.sleep((time.monotonic() - began) / _SHARE_OF_TIME)

    async def _save(self) -> None:
        async with self._saving:
            while (manifest := self._current()) != self._saved and manifest.stored:
                await self._write(manifest)

    async def _write(self, manifest: Manifest) -> None:
        try:
            self.version = await asyncio.to_thread(self.store.save_manifest, self.week, manifest, self.version)
        except StoreConflictError:
            # Another run of the same week: its records stand where this run has none of its own.
            theirs, self.version = await asyncio.to_thread(self.store.load_manifest, self.week)
            own = {guid: self._records[guid] for guid in self.asked if guid not in self._pending}
            self._records = {**(theirs.restaurants if theirs else {}), **own}
            self._saved = theirs
        else:
            self._saved = manifest

    def _current(self) -> Manifest:
        failed = any(record.outcome == "failed" for record in self._records.values())
        return Manifest(
            partition=self.week.key,
            start_date=iso_ms(self.week.start),
            end_date=iso_ms(self.week.end),
            outcome="incomplete" if self._pending or failed else "complete",
            pending=tuple(self._pending),
            restaurants=dict(sorted(self._records.items())),
        )


def _still_wanted(manifest: Manifest, wanted: Sequence[str]) -> dict[str, RestaurantRecord]:
    """The records to go on with: a failure of a restaurant that is no longer asked for keeps no week incomplete."""
    return {
        guid: record if guid in wanted else msgspec.structs.replace(record, outcome="complete", failure=None)
        for guid, record in manifest.restaurants.items()
        if guid in wanted or record.pull is not None
    }
