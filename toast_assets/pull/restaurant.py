"""Pulls one restaurant's week, proves it whole, and merges it into what is stored."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from toast_assets.concurrency import in_thread, task_group
from toast_assets.errors import DamagedObjectError, ToastError, ToastLoginError, WeekError
from toast_assets.http.service import CallStats
from toast_assets.index.weeks import WeekOrders
from toast_assets.orders.raw import RawOrder
from toast_assets.orders.raw_file import (
    Content,
    RawFileWriter,
    UnreadableFileError,
    content_of,
    merge,
    read_pull_evidence,
    read_raw,
    repeats,
)
from toast_assets.orders.scrub import Scrubber
from toast_assets.orders.times import parse_time_ms
from toast_assets.orders.unreadable import add_unreadable, merge_lines
from toast_assets.pull.census import Census, PulledWeeks
from toast_assets.scratch import scratch_folder
from toast_assets.store.bucket import Replacement, StoredObject
from toast_assets.store.manifest import (
    CENSUS,
    SECOND_LOOK,
    PullEvidence,
    PullRecord,
    RestaurantRecord,
    SliceRecord,
    decode_evidence,
)
from toast_assets.store.order_store import PARQUET, OrderStore
from toast_assets.tables.names import ReadConfiguration
from toast_assets.toast.client import ToastClient
from toast_assets.toast.configuration import read_names
from toast_assets.toast.density import Density
from toast_assets.toast.page import OrdersPage, Window
from toast_assets.toast.restaurants import Restaurant
from toast_assets.toast.windows import ProvedWindow, read_week
from toast_assets.week import Week, from_epoch_ms, iso_ms


@dataclass(frozen=True)
class PulledRestaurant:
    """What one run did for one restaurant: ``orders`` are stored afterwards, ``new`` and ``changed`` were brought by
    this run; ``failure`` is the reason why nothing was stored, or None."""

    guid: str
    calls: CallStats
    seconds: float
    name: str | None = None
    orders: int = 0
    new: int = 0
    changed: int = 0
    failure: str | None = None


@dataclass(frozen=True, kw_only=True)
class RestaurantPull:
    """One restaurant in one run: its record in the manifest ``before``, the windows of an ``earlier`` pull with their
    counts, moved into this week, and Toast's ``details``, if that was asked. ``is_stored``: had a raw file before.
    ``scrubber`` takes forgotten guests out, ``window_read`` is called with every window, ``configuration`` gets what is
    read of it, ``week_orders`` which orders are stored."""

    week: Week
    toast: ToastClient
    store: OrderStore
    now: Callable[[], datetime]
    scrubber: Scrubber
    window_read: Callable[[str, ProvedWindow], None]
    configuration: ReadConfiguration
    week_orders: WeekOrders
    guid: str
    before: RestaurantRecord | None
    earlier: Sequence[tuple[Window, int]]
    pulled_weeks: PulledWeeks
    details: Restaurant | None
    is_stored: bool

    async def pull(self) -> tuple[RestaurantRecord, PulledRestaurant]:
        """The restaurant's new record, and what this run did. A restaurant that fails is a result, not an error.

        Raises:
            ToastLoginError: no restaurant can be asked any more.
            StoreError: the bucket fails.
        """
        began = time.monotonic()
        with scratch_folder() as folder:
            try:
                pulled = folder / "pulled.parquet"
                async with task_group() as group:
                    described = group.create_task(self._described())
                    evidence, content = await self._read(folder, pulled)
                    # Before the orders are stored: between the raw file and the manifest lies as little as possible.
                    known = await described
                evidence, content, known = await self._witnessed(folder, pulled, evidence, content, known)
                merged = await in_thread(self._merge_and_store, pulled, content, evidence)
            except ToastLoginError:
                raise
            except (ToastError, DamagedObjectError) as error:
                record, reason = self.before or RestaurantRecord(outcome="failed"), str(error)
                record = msgspec.structs.replace(record, outcome="failed", failure=reason)
                return record, PulledRestaurant(self.guid, self._calls, time.monotonic() - began, failure=reason)
        pull, before = _record(evidence, merged), self.before.pull if self.before else None
        if before is not None and not (merged.new or merged.changed):
            held = (before.orders_sha256, before.unreadable)
            # The evidence of the pull that brought the orders stays; a second look that finds nothing changes nothing.
            pull = before if held == (pull.orders_sha256, pull.unreadable) else pull
        seconds, counts = time.monotonic() - began, (merged.orders, merged.new, merged.changed)
        result = PulledRestaurant(self.guid, self._calls, seconds, known.name, *counts)
        return msgspec.structs.replace(known, pull=pull, second_look_at=self._second_look(evidence)), result

    async def resumed(self) -> RestaurantRecord | None:
        """The record of what a run stored that was killed before it wrote the manifest; None where there is nothing, or
        where the pull will say what is damaged."""
        with scratch_folder() as folder, suppress(DamagedObjectError):
            path = folder / "stored.parquet"
            if stored := await in_thread(self._stored_pull, path):
                known = await self._described()
                evidence, content, known = await self._witnessed(folder, path, *stored, known)
                await in_thread(self.week_orders.add, self.guid, path)
                if content is not stored[1]:
                    merged = await in_thread(self._merge_and_store, path, content, evidence)
                    content = replace(
                        merged, new=stored[1].new + merged.new, changed=stored[1].changed + merged.changed
                    )
                pull = _record(evidence, content)
                return msgspec.structs.replace(known, pull=pull, second_look_at=self._second_look(evidence))
        return None

    def _second_look(self, evidence: PullEvidence) -> str | None:
        """``RestaurantRecord.second_look_at`` after a pull."""
        before, due = self.before or RestaurantRecord(outcome="complete"), iso_ms(self.week.end + SECOND_LOOK)
        is_one = before.pull is not None and before.pull.finished_at < due <= evidence.started_at
        return before.second_look_at or (evidence.finished_at if is_one else None)

    @property
    def _calls(self) -> CallStats:
        return self.toast.stats[self.guid]

    def _stored_pull(self, path: Path) -> tuple[PullEvidence, Content] | None:
        if not self.store.bucket.fetch(self.store.layout.raw(self.week, self.guid), path):
            return None
        before = self.before.pull if self.before else None
        try:
            evidence = decode_evidence(read_pull_evidence(path) or b"")
            content = content_of(path, since_ms=parse_time_ms(before.finished_at) if before else 0)
        except UnreadableFileError:
            # The pull will say which file it is.
            return None
        if evidence is None or (before is not None and content.sha256 == before.orders_sha256):
            return None
        new = max(0, content.orders - before.orders) if before else content.orders
        changed = max(0, content.recent - new) if before else 0
        return evidence, replace(content, new=new, changed=changed)

    async def _read(self, folder: Path, path: Path) -> tuple[PullEvidence, Content]:
        """Read the week into the raw file at ``path``; how it was read, and what the file holds."""
        unreadable = folder / "unreadable.ndjson.gz"

        async def fetch(window: Window, *, page: int = 1, token: str | None = None) -> OrdersPage:
            found = await self.toast.orders_page(self.guid, window, page=page, token=token)
            # Whatever becomes of the reply: what was on it once is kept.
            where = (self.guid, _iso(window.start), _iso(window.end))
            add_unreadable(unreadable, found.unreadable, where, self.scrubber.holds)
            return found

        started_at = iso_ms(self.now())
        week = Window(self.week.start_ms, self.week.end_ms)
        slices = []
        outside: dict[str, RawOrder] = {}
        with RawFileWriter(path, self.guid) as writer:
            async for proved in read_week(fetch, week, Density(week, self.earlier)):
                await in_thread(writer.write, map(self.scrubber.raw, proved.orders))
                outside |= {order.guid: order for order in proved.outside}
                start, end, count = proved.window.start, proved.window.end, len(proved.orders) + len(proved.outside)
                slices.append(SliceRecord(_iso(start), _iso(end), count, proved.requests, proved.evidence.value))
                self.window_read(self.guid, proved)
            check_closed(self.week, self.toast)
            count = await in_thread(self._store_unreadable, unreadable)
            calls = {name: getattr(self._calls, name) for name in ("requests", "retries", "throttled")}
            evidence = PullEvidence(
                **calls,
                started_at=started_at,
                finished_at=iso_ms(self.now()),
                slices=tuple(slices),
                unreadable=count,
            )
            await in_thread(writer.flush)
            writer.pull_evidence = msgspec.json.encode(evidence)
        content = Content(writer.orders, writer.bytes, writer.sha256, new=writer.orders)
        is_repeated = await in_thread(repeats, path)
        if outside or is_repeated:
            content = await in_thread(self._united, folder, path, outside, writer.pull_evidence)
        return evidence, content

    async def _witnessed(
        self, folder: Path, path: Path, evidence: PullEvidence, content: Content, known: RestaurantRecord
    ) -> tuple[PullEvidence, Content, RestaurantRecord]:
        """Take the census, and add what it finds to the raw file at ``path``: the evidence, the file's content and the
        record after it."""
        if self.toast.settings.census == "off":
            taken = known.census if known.census and not known.census.failure else None
            return evidence, content, msgspec.structs.replace(known, census=taken)
        census = Census(
            week=self.week,
            guid=self.guid,
            toast=self.toast,
            store=self.store,
            pulled=self.pulled_weeks,
            now=self.now(),
            log=self.pulled_weeks.log,
            record=known,
            held=lambda: read_raw(path),
            is_stored=self.is_stored,
        )
        result = await census.take()
        windows = {order.guid: _window_of(order.modified_ms, evidence) for order in result.found}
        earlier = self.before.pull.slices if self.before and self.before.pull else ()
        slices = [*evidence.slices, *(one for one in earlier if one.evidence == CENSUS and one not in evidence.slices)]
        slices += [SliceRecord(*window, count, count, CENSUS) for window, count in Counter(windows.values()).items()]
        evidence = msgspec.structs.replace(evidence, slices=tuple(slices))
        if result.unreadable:
            where = (self.guid, iso_ms(self.week.start), iso_ms(self.week.end))
            add_unreadable(folder / "fetched.ndjson.gz", result.unreadable, where, self.scrubber.holds)
            count = await in_thread(self._store_unreadable, folder / "fetched.ndjson.gz")
            evidence = msgspec.structs.replace(evidence, unreadable=count)
        if result.found:
            found = {order.guid: order for order in result.found}
            content = await in_thread(self._united, folder, path, found, msgspec.json.encode(evidence))
        before = known.census.found if known.census else {}
        found_in = before | {guid: f"[{start}, {end})" for guid, (start, end) in windows.items()}
        return (
            evidence,
            content,
            msgspec.structs.replace(known, census=msgspec.structs.replace(result.record, found=found_in)),
        )

    def _united(self, folder: Path, path: Path, outside: Mapping[str, RawOrder], note: bytes) -> Content:
        # The file is sorted by time, and these belong elsewhere in it.
        with RawFileWriter(folder / "outside.parquet", self.guid) as writer:
            by_time = sorted(outside.values(), key=lambda order: order.sort_key)
            writer.write(map(self.scrubber.raw, by_time))
        both = folder / "both.parquet"
        merged = merge(folder / "outside.parquet", path, both, self.guid, note)
        both.replace(path)
        return replace(merged, new=merged.orders, changed=0)

    def _store_unreadable(self, found: Path) -> int:
        """Keep the orders that cannot be read beside those of earlier pulls; how many there are now."""
        before = self.before.pull.unreadable if self.before and self.before.pull else 0
        if not found.exists():
            return before
        key = self.store.layout.unreadable(self.week, self.guid)
        count = 0

        def change(stored: StoredObject | None, target: Path) -> Replacement | None:
            nonlocal count
            with self._reading(key):
                count, new = merge_lines(stored.path if stored else None, found, target)
            return Replacement(target, {"ContentType": "application/x-ndjson"}) if new else None

        self.store.bucket.update(key, change)
        return count

    def _merge_and_store(self, pulled: Path, content: Content, evidence: PullEvidence) -> Content:
        """Store what was ``pulled``, whose ``content`` is known, together with what is stored already."""
        key, merged = self.store.layout.raw(self.week, self.guid), content

        def change(stored: StoredObject | None, target: Path) -> Replacement | None:
            nonlocal merged
            merged = content
            if stored is None:
                target = pulled
            else:
                with self._reading(key):
                    merged = merge(stored.path, pulled, target, self.guid, msgspec.json.encode(evidence))
            self.week_orders.add(self.guid, target)
            if stored is not None and not (merged.new or merged.changed):
                return None
            # The hash tells without reading the file which record of the manifest belongs to it.
            return Replacement(target, {"ContentType": PARQUET, "Metadata": {"sha256": merged.sha256}})

        self.store.bucket.update(key, change, exists=self.is_stored)
        return merged

    @contextmanager
    def _reading(self, key: str) -> Iterator[None]:
        try:
            yield
        except UnreadableFileError as error:
            raise DamagedObjectError(
                f"{self.store.bucket.uri(key)} cannot be read: {error}.",
                hint="Restore an earlier version of the object, or remove it, then materialize raw_toast_orders again.",
            ) from error

    async def _described(self) -> RestaurantRecord:
        """A complete record without its pull. Names and time zone are for display and local times, so a refusal here
        fails nothing. What was read once for this week is not asked for again."""
        known, details = self.before or RestaurantRecord(outcome="complete"), self.details
        if details is None and known.time_zone is None:
            with suppress(ToastError):
                details = await self.toast.restaurant(self.guid)
        if details is not None and details.time_zone is not None:
            described = {name: getattr(details, name) for name in ("time_zone", "closeout_hour")}
            known = msgspec.structs.replace(known, name=details.full_name, currency=details.currency_code, **described)
        if details is not None and details.full_name and (self.before is None or self.before.name is None):
            self.configuration.add_restaurant(details, self.now())
        if self.toast.settings.names == "off":
            known = msgspec.structs.replace(known, names_failure=None)
        elif known.names_read_at is None:
            known = msgspec.structs.replace(known, **await self._named())
        return msgspec.structs.replace(known, outcome="complete", pull=None, failure=None)

    async def _named(self) -> dict[str, str | None]:
        """Read the names; what the record says of that. A reason is the same for all restaurants, and in every run."""
        (entities, problem), at = await read_names(self.toast, self.guid), self.now()
        if entities:
            await in_thread(self.configuration.add_names, self.guid, entities, at)
        if problem is None:
            return {"names_read_at": iso_ms(at), "names_failure": None}
        return {"names_failure": problem.reason}


def check_closed(week: Week, toast: ToastClient) -> None:
    """Make sure that the week has closed by Toast's clock, too: this machine's may be ahead by days.

    Raises:
        WeekError: it has not, so it must not be stored yet.
    """
    date = toast.server_time
    if date is not None and date < week.end:
        raise WeekError(
            f"Week {week.key} has not closed yet by Toast's clock: it ends at {week.end:%Y-%m-%d %H:%M} UTC, and"
            f" Toast's reply is of {date:%Y-%m-%d %H:%M} UTC.",
            hint="Set the clock of this machine (NTP), then materialize the week again when it has closed.",
            code="MACHINE-CLOCK",
        )


def _record(evidence: PullEvidence, found: Content) -> PullRecord:
    counts: dict[str, Any] = {"orders": found.orders, "new": found.new, "changed": found.changed}
    counts |= msgspec.structs.asdict(evidence)
    return PullRecord(bytes=found.bytes, orders_sha256=found.sha256, **counts)


def _window_of(modified_ms: int, evidence: PullEvidence) -> tuple[str, str]:
    """The window of ``ordersBulk`` that should have returned an order; its millisecond if that is another week's."""
    at = (_iso(modified_ms), _iso(modified_ms + 1))
    return next(((one.start, one.end) for one in evidence.windows if one.start <= at[0] < one.end), at)


def _iso(milliseconds: int) -> str:
    return iso_ms(from_epoch_ms(milliseconds))
