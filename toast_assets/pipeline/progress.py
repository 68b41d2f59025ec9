"""Keeps the manifest in step with a pull while it runs, so that a crash costs at most the restaurants under way."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import msgspec

from toast_assets.errors import StoreConflictError, StoreError
from toast_assets.store.bucket import Version
from toast_assets.store.manifest import Manifest, RestaurantRecord
from toast_assets.store.order_store import OrderStore
from toast_assets.week import Week, iso_ms

# Writing the manifest of a thousand restaurants again and again may take this share of the time, no more.
_SHARE_OF_TIME = 0.2


@dataclass
class PullProgress:
    """The week's manifest during one run: whoever finishes a restaurant waits until that is saved, with all others
    that finished meanwhile.

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
    _worth_saving: bool = field(init=False, default=False)
    _all_done: asyncio.Event = field(init=False, default_factory=asyncio.Event)
    _saving: asyncio.Lock = field(init=False, default_factory=asyncio.Lock)
    _rest_until: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        self._records = _still_wanted(self.before, self.wanted) if self.before else {}
        self._pending = dict.fromkeys(self.asked)
        self._saved = self.before

    def record_of(self, guid: str) -> RestaurantRecord | None:
        """What the manifest said of a restaurant before this run, or says since."""
        return self._records.get(guid)

    async def finished(self, guid: str, record: RestaurantRecord) -> None:
        """A restaurant is done, stored or failed; returns when the bucket knows it.

        Raises:
            StoreError: the bucket fails.
        """
        self._records[guid] = record
        self._pending.pop(guid, None)
        self._worth_saving = self._worth_saving or record.outcome == "complete"
        if not self._pending:
            self._all_done.set()
        if self._worth_saving:
            await self._save()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and self._worth_saving:
            self._all_done.set()
            # The error that ended the run is the one to tell.
            with contextlib.suppress(StoreError):
                await self._save()

    async def finish(self) -> Manifest:
        """Save the final state and return it."""
        self._all_done.set()
        await self._save()
        return self._current()

    async def _save(self) -> None:
        async with self._saving:
            if self._current() == self._saved:
                return
            await self._rest()
            began = time.monotonic()
            while (manifest := self._current()) != self._saved and manifest.stored:
                await self._write(manifest)
            ended = time.monotonic()
            self._rest_until = ended + (ended - began) * (1 / _SHARE_OF_TIME - 1)

    async def _rest(self) -> None:
        """Let others finish, too, before the next save, unless there are none."""
        left = self._rest_until - time.monotonic()
        if left > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._all_done.wait(), left)

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
