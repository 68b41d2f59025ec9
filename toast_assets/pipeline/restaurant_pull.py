"""Pulls one restaurant's week, proves it whole, and merges it into what is stored."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

import msgspec

from toast_assets.errors import StoreConflictError, ToastError, ToastLoginError
from toast_assets.orders.files import (
    Merged,
    RawFileWriter,
    UnreadableFileError,
    check_raw,
    content_of,
    holds_duplicates,
    merge,
    read_note,
)
from toast_assets.orders.raw import RawOrder, parse_time_ms
from toast_assets.privacy.scrub import Scrubber
from toast_assets.store.manifest import (
    PullEvidence,
    PullRecord,
    RestaurantRecord,
    SliceRecord,
    decode_evidence,
    encode_evidence,
)
from toast_assets.store.order_store import OrderStore
from toast_assets.toast.client import CallStats, ToastClient
from toast_assets.toast.density import Density
from toast_assets.toast.page import OrdersPage, Window
from toast_assets.toast.restaurants import Restaurant
from toast_assets.toast.windows import ProvedWindow, read_week
from toast_assets.week import Week, from_epoch_ms, iso_ms

# Two runs of one week at once are rare; losing the race this often means something else is wrong.
_MOST_CONFLICTS = 5

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class PulledRestaurant:
    """What one run did for one restaurant: counts of orders and calls, bytes from Toast, seconds.

    ``orders`` are stored afterwards, ``new`` and ``changed`` were brought by this run. ``failure`` is the reason why
    nothing was stored, or None.
    """

    guid: str
    calls: CallStats
    seconds: float
    name: str | None = None
    orders: int = 0
    new: int = 0
    changed: int = 0
    failure: str | None = None


@dataclass(frozen=True)
class RestaurantPull:
    """One restaurant in one run.

    ``before`` is its record in the manifest, ``earlier`` are windows with their counts that an earlier pull needed,
    moved into this week, ``details`` what Toast tells of it, if that was asked already. ``window_read`` hears of every
    window. ``scrubber`` takes forgotten guests out, None where nobody is forgotten. ``writers`` write raw
    files and store them; None stands for asyncio's own threads.
    """

    week: Week
    guid: str
    toast: ToastClient
    store: OrderStore
    now: Callable[[], datetime]
    before: RestaurantRecord | None = None
    earlier: Sequence[tuple[Window, int]] = ()
    details: Restaurant | None = None
    window_read: Callable[[str, ProvedWindow], None] = lambda _guid, _proved: None
    scrubber: Scrubber | None = None
    writers: Executor | None = None

    async def run(self) -> tuple[RestaurantRecord, PulledRestaurant]:
        """The restaurant's new record, and what this run did. A restaurant that fails is a result, not an error.

        Raises:
            ToastLoginError: no restaurant can be asked any more.
            StoreError: the bucket fails.
        """
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="toast-assets-") as folder:
            try:
                evidence, pulled = await self._read(Path(folder) / "pulled.parquet")
                # Before the orders are stored: between the raw file and the manifest lies as little as possible.
                known = await self._described()
                merged = await self._by_writer(partial(self._merge_and_store, Path(folder), pulled, evidence))
            except ToastLoginError:
                raise
            except (ToastError, UnreadableFileError) as error:
                return self._failed(str(error)), self._result(began, failure=str(error))
        record = msgspec.structs.replace(known, pull=self._completed(evidence, merged))
        return record, self._result(
            began, name=record.name, orders=merged.orders, new=merged.new, changed=merged.changed
        )

    async def resumed(self) -> RestaurantRecord | None:
        """The record of what a run stored that died before it could note it; None where there is no such thing."""
        with tempfile.TemporaryDirectory(prefix="toast-assets-") as folder:
            pull = await asyncio.to_thread(self._stored_pull, Path(folder) / "stored.parquet")
        return msgspec.structs.replace(await self._described(), pull=pull) if pull else None

    def _stored_pull(self, path: Path) -> PullRecord | None:
        if self.store.download_raw(self.week, self.guid, path).etag is None:
            return None
        try:
            check_raw(path)
        except UnreadableFileError:
            return None
        evidence = decode_evidence(read_note(path) or b"")
        before = self.before.pull if self.before else None
        if evidence is None or (before is not None and evidence.finished_at <= before.finished_at):
            return None
        content = content_of(path, self.guid, since_ms=parse_time_ms(before.finished_at) if before else 0)
        new = content.orders - (before.orders if before else 0)
        return PullRecord.of(
            evidence,
            orders=content.orders,
            size=content.bytes,
            orders_sha256=content.sha256,
            new=new,
            changed=content.recent - new if before else 0,
        )

    async def _read(self, path: Path) -> tuple[PullEvidence, Merged]:
        async def fetch(window: Window, *, page: int = 1, token: str | None = None) -> OrdersPage:
            return await self.toast.orders_page(self.guid, window, page=page, token=token)

        started_at = iso_ms(self.now())
        week = Window(self.week.start_ms, self.week.end_ms)
        slices = []
        with RawFileWriter(path, self.guid) as writer:
            async for proved in read_week(fetch, week, Density(week, self.earlier)):
                await self._write(writer, proved.orders)
                slices.append(_slice_record(proved))
                self.window_read(self.guid, proved)
            evidence = self._evidence(started_at, slices)
            await self._by_writer(writer.flush)
            writer.note(encode_evidence(evidence))
        return evidence, Merged(writer.orders, writer.bytes, writer.sha256, new=writer.orders, changed=0)

    async def _write(self, writer: RawFileWriter, orders: Sequence[RawOrder]) -> None:
        """Leave what takes time to a thread, and nothing else: orders that fit would wait for row groups of others."""
        if self.scrubber is None and writer.has_room_for(orders):
            writer.write(orders)
            return
        scrubbed = map(self.scrubber.raw, orders) if self.scrubber else orders
        await self._by_writer(partial(writer.write, scrubbed))

    async def _by_writer(self, write: Callable[[], _Result]) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self.writers, write)

    def _evidence(self, started_at: str, slices: Sequence[SliceRecord]) -> PullEvidence:
        calls = self.toast.stats[self.guid]
        return PullEvidence(
            requests=calls.requests,
            retries=calls.retries,
            throttled=calls.throttled,
            started_at=started_at,
            finished_at=iso_ms(self.now()),
            slices=tuple(slices),
        )

    def _merge_and_store(self, folder: Path, content: Merged, evidence: PullEvidence) -> Merged:
        """Store what was ``pulled``, whose ``content`` is known, together with what is stored already."""
        stored, pulled, target = folder / "stored.parquet", folder / "pulled.parquet", folder / "merged.parquet"
        plain = not holds_duplicates(pulled)
        note = encode_evidence(evidence)
        for last_try in [False] * _MOST_CONFLICTS + [True]:
            version = self.store.download_raw(self.week, self.guid, stored)
            if version.etag:
                self._check_stored(stored)
            alone = plain and not version.etag
            merged = content if alone else merge(stored if version.etag else None, pulled, target, self.guid, note)
            if version.etag and not merged.differs:
                return merged
            try:
                self.store.save_raw(self.week, self.guid, pulled if alone else target, version)
            except StoreConflictError:
                if last_try:
                    raise
            else:
                return merged
        raise AssertionError("the last try returns or raises")  # pragma: no cover

    def _check_stored(self, path: Path) -> None:
        try:
            check_raw(path)
        except UnreadableFileError as error:
            where = self.store.bucket.uri(self.store.layout.raw(self.week, self.guid))
            raise UnreadableFileError(
                f"The stored raw file {where} cannot be read: {error}. Restore an earlier version of it, or remove it,"
                " and materialize the week again."
            ) from error

    def _completed(self, evidence: PullEvidence, merged: Merged) -> PullRecord:
        before = self.before.pull if self.before else None
        if before is not None and not merged.differs and before.orders_sha256 == merged.sha256:
            # The evidence of the pull that brought the orders stays; a second look that finds nothing changes nothing.
            return before
        return PullRecord.of(
            evidence,
            orders=merged.orders,
            size=merged.bytes,
            orders_sha256=merged.sha256,
            new=merged.new,
            changed=merged.changed,
        )

    def _failed(self, reason: str) -> RestaurantRecord:
        known = self.before or RestaurantRecord(outcome="failed")
        return msgspec.structs.replace(known, outcome="failed", failure=reason)

    async def _described(self) -> RestaurantRecord:
        """A complete record without its pull: with name and time zone, which are for display and local times, so that
        a refusal here fails nothing."""
        known = self.before or RestaurantRecord(outcome="complete")
        details = self.details
        if details is None and known.time_zone is None:
            try:
                details = await self.toast.restaurant(self.guid)
            except ToastError:
                details = None
        if details is not None and details.time_zone is not None:
            known = msgspec.structs.replace(
                known,
                name=details.name,
                time_zone=details.time_zone,
                closeout_hour=details.closeout_hour,
                currency=details.currency,
            )
        return msgspec.structs.replace(known, outcome="complete", pull=None, failure=None)

    def _result(self, began: float, **values: object) -> PulledRestaurant:
        calls = self.toast.stats[self.guid]
        return PulledRestaurant(guid=self.guid, calls=calls, seconds=time.monotonic() - began, **values)  # type: ignore[arg-type]


def _slice_record(proved: ProvedWindow) -> SliceRecord:
    return SliceRecord(
        start=iso_ms(from_epoch_ms(proved.window.start)),
        end=iso_ms(from_epoch_ms(proved.window.end)),
        orders=len(proved.orders),
        requests=proved.requests,
        evidence=proved.evidence.value,
    )
