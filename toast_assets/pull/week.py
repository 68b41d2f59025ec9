"""Pulls a closed week of all restaurants from Toast into the order store.

A restaurant's week is stored whole or not at all, and merged with what is stored already. What was finished is noted
in the manifest when the pull ends, and in the raw files, so that the run after a crash asks only for the rest. One
restaurant that fails stops no other.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pyarrow as pa

from toast_assets.errors import StoreError, ToastIncompleteError, WeekError
from toast_assets.orders.scrub import Scrubber
from toast_assets.orders.times import parse_time_ms
from toast_assets.pull.estimate import Measure, PullPace
from toast_assets.pull.manifest import WeekManifest
from toast_assets.pull.progress import PullWatch, announce
from toast_assets.pull.restaurant import PulledRestaurant, RestaurantPull
from toast_assets.store.forgotten import load_forgotten
from toast_assets.store.manifest import Manifest, PullRecord, RestaurantRecord, SliceRecord, to_ask
from toast_assets.store.order_store import OrderStore
from toast_assets.threads import in_thread
from toast_assets.toast.client import ToastClient
from toast_assets.toast.discovery import discover_restaurants
from toast_assets.toast.page import Window
from toast_assets.toast.restaurants import Restaurant
from toast_assets.week import Week

# Each holds a row group several times over while it writes one, and keeps some of that memory; more would only cost
# memory, as the disk is one.
_WRITERS = 2
# Python's own is ten times as much, in seconds.
_TURN_SECONDS = 0.0005
_WEEK_MS = 7 * 24 * 3_600_000

EarlierWindows = Mapping[str, Sequence[tuple[Window, int]]]


@dataclass(frozen=True)
class PullReport:
    """What one run did (``restaurants``: those it asked for), and the week's manifest after it."""

    week: Week
    manifest: Manifest
    restaurants: Sequence[PulledRestaurant]
    logins: int
    seconds: float


@dataclass
class WeekPull:
    """One run's pull of a closed week.

    ``refresh`` true asks Toast for every restaurant, false only for those that an earlier run did not finish; None
    does the latter after a run that was incomplete, the former otherwise. ``previous`` is the week before, whose
    manifest tells how busy the restaurants are. ``clock`` gives monotonic seconds.
    """

    week: Week
    toast: ToastClient
    store: OrderStore
    previous: Week | None = None
    refresh: bool | None = None
    log: logging.Logger = field(default_factory=lambda: logging.getLogger(__name__))
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    clock: Callable[[], float] = time.monotonic
    _details: dict[str, Restaurant] = field(init=False, default_factory=dict)
    _scrubber: Scrubber | None = field(init=False, default=None)

    async def run(self) -> PullReport:
        """Pull, store and report.

        Raises:
            StoreError: the bucket is missing or refuses access; where it does so at once, nothing was pulled.
            WeekError: by Toast's clock the week has not closed yet; nothing was written.
            ToastLoginError: Toast refuses the credentials, or a login failed half-way; what was finished is stored.
            ToastIncompleteError: not one restaurant could be pulled; nothing was written.
        """
        began = time.monotonic()
        await asyncio.to_thread(self.store.bucket.check)
        manifest, _ = await asyncio.to_thread(self.store.load_manifest, self.week)
        before = await asyncio.to_thread(self._previous_pulls)
        forgotten = await asyncio.to_thread(load_forgotten, self.store)
        self._scrubber = Scrubber(forgotten) if forgotten else None
        await self.toast.login()
        self._check_closed()
        # A run that died may have stored restaurants that no manifest mentions.
        stored = await asyncio.to_thread(self.store.raw_restaurants, self.week)
        wanted = await self._wanted(before, [*(manifest.restaurants if manifest else ()), *sorted(stored)])
        missing = manifest.missing(wanted) if manifest else wanted
        if manifest is not None and (self.refresh is False or (self.refresh is None and missing)):
            missing += await self._differing(manifest, [guid for guid in wanted if guid in stored - {*missing}])
        asked = to_ask(wanted, missing, self.refresh)
        this = manifest.stored if manifest else {}
        earlier = _earlier_windows(this, before)
        measures = {guid: Measure.of(pull) for guid, pull in {**before, **this}.items()}
        announce(self.week, asked, measures, PullPace.of(self.toast.settings, self.toast.spacing_seconds), self.log)
        notes = WeekManifest(self.store, self.week, manifest, asked, wanted)
        resumable = frozenset() if self.refresh else stored.intersection(missing)
        pulled = await self._pull_all(asked, resumable, notes, earlier)
        if pulled and len(pulled) == len(wanted) and all(result.failure for result in pulled):
            raise _nothing_pulled(self.week, pulled)
        final = await asyncio.to_thread(notes.save)
        return PullReport(self.week, final, pulled, self.toast.logins, time.monotonic() - began)

    def _check_closed(self) -> None:
        """Make sure that the week has closed by Toast's clock, too: this machine's may be ahead by days."""
        date = self.toast.server_time
        if date is not None and date < self.week.end:
            raise WeekError(
                f"Week {self.week.key} has not closed yet by Toast's clock: it ends at"
                f" {self.week.end:%Y-%m-%d %H:%M} UTC, and Toast's reply is of {date:%Y-%m-%d %H:%M} UTC.",
                hint="Set the clock of this machine (NTP), then materialize the week again when it has closed.",
            )

    async def _differing(self, manifest: Manifest, guids: Sequence[str]) -> tuple[str, ...]:
        """The restaurants with another raw file than the manifest describes: a run ended or was stopped in between."""
        hashes = await asyncio.gather(*(asyncio.to_thread(self.store.raw_sha256, self.week, guid) for guid in guids))
        pulls = manifest.stored
        return tuple(
            guid
            for guid, sha256 in zip(guids, hashes, strict=True)
            if sha256 is not None and guid in pulls and sha256 != pulls[guid].orders_sha256
        )

    async def _wanted(self, before: Mapping[str, PullRecord], stored: Iterable[str]) -> tuple[str, ...]:
        """The restaurants to pull, each in the spelling in which it is ``stored`` or was the week ``before``."""
        known = [*before, *stored]
        if not self.toast.settings.discovers:
            if doubled := self.toast.settings.doubled_restaurants:
                self.log.warning("TOAST_RESTAURANT_GUID lists more than once, and is read once: %s", ", ".join(doubled))
            return tuple(self._one_spelling(self.toast.settings.restaurant_guids, known).values())
        found = {one.guid: one for one in await discover_restaurants(self.toast, self.log)}
        spelled = self._one_spelling(found, known)
        self._details = {spelled[guid.lower()]: details for guid, details in found.items()}
        vanished = sorted(before.keys() - self._details.keys())
        if vanished:
            self.log.warning(
                "%d restaurants of the week before are not listed any more and are left out: %s",
                *(len(vanished), ", ".join(vanished[:20])),
            )
        return tuple(self._details)

    def _one_spelling(self, guids: Iterable[str], stored: Iterable[str]) -> dict[str, str]:
        """Each restaurant once, compared without case: in the spelling that is ``stored``, else in the first one of
        ``guids``."""
        known = dict.fromkeys(stored)
        spelled = {guid.lower(): guid for guid in known}
        wanted: dict[str, str] = {}
        for guid in guids:
            if guid.lower() in wanted:
                self.log.warning("Restaurant %s is listed in several spellings. It counts once.", guid)
                continue
            wanted[guid.lower()] = guid if guid in known else spelled.get(guid.lower(), guid)
            if wanted[guid.lower()] != guid:
                self.log.warning("Restaurant %s is stored as %s. It stays so.", guid, wanted[guid.lower()])
        return wanted

    def _previous_pulls(self) -> Mapping[str, PullRecord]:
        """What is stored of the week before. It only helps to guess, so it may be missing or broken."""
        if self.previous is None:
            return {}
        try:
            manifest, _ = self.store.load_manifest(self.previous)
        except StoreError as error:
            self.log.warning("The week before gives no hint how busy the restaurants are: %s", error)
            return {}
        return manifest.stored if manifest else {}

    async def _pull_all(
        self, asked: Sequence[str], resumable: frozenset[str], notes: WeekManifest, earlier: EarlierWindows
    ) -> list[PulledRestaurant]:
        places = asyncio.Semaphore(self.toast.settings.concurrent_restaurants)
        watch = PullWatch(self.week, len(asked), self.log, self.clock)
        results: dict[str, PulledRestaurant] = {}

        async def pull(guid: str) -> None:
            before, details = notes.record_of(guid), self._details.get(guid)
            one = RestaurantPull(
                *(self.week, guid, self.toast, self.store, self.now, before, earlier.get(guid, ()), details),
                window_read=watch.window_read,
                scrubber=self._scrubber,
                writers=writers,
                may_store=self._check_closed,
            )
            async with places:
                record = await one.resumed() if guid in resumable else None
                if record is None:
                    record, results[guid] = await one.run()
            done = watch.finished(guid)
            notes.finished(guid, record)
            self._log_result(guid, record, results.get(guid), done)

        try:
            with _short_turns(), ThreadPoolExecutor(_WRITERS, thread_name_prefix="raw") as writers:
                async with asyncio.TaskGroup() as group:
                    for guid in asked:
                        group.create_task(pull(guid))
        except (Exception, asyncio.CancelledError, BaseExceptionGroup) as error:
            if notes.is_worth_saving:
                # What ended the run is what it tells of; what was finished is noted in the raw files, too.
                with suppress(StoreError):
                    await in_thread(notes.save)
            if isinstance(error, BaseExceptionGroup):
                # The first reason is the one to act on; what was cancelled because of it adds nothing.
                raise error.exceptions[0] from None
            raise
        # What the writers freed would be kept for a second or two, just when the orders are read back.
        pa.default_memory_pool().release_unused()
        return [results[guid] for guid in asked if guid in results]

    def _log_result(self, guid: str, record: RestaurantRecord, result: PulledRestaurant | None, done: str) -> None:
        if record.failure:
            self.log.error("Restaurant %s failed (%s): %s", guid, done, record.failure)
        elif result is None:
            self.log.info("Restaurant %s (%s): stored by a run that was cut off; not asked again.", guid, done)
        else:
            self.log.info(
                "Restaurant %s (%s): %d orders, %d new, %d changed; %d requests, %d retries, %.1f s.",
                *(record.name or guid, done, result.orders, result.new, result.changed),
                *(result.calls.requests, result.calls.retries, result.seconds),
            )


@contextmanager
def _short_turns() -> Iterator[None]:
    """No thread of this process keeps the interpreter for long while another one waits for it.

    The event loop reads pages and lets go of the interpreter for moments only, too short for a writer to get hold of
    it; with Python's own interval the writers would run when no page is left to be read, and hardly before.
    """
    before = sys.getswitchinterval()
    sys.setswitchinterval(_TURN_SECONDS)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def _earlier_windows(this: Mapping[str, PullRecord], before: Mapping[str, PullRecord]) -> EarlierWindows:
    """Windows and counts of this week's last pull, or else of the week before, moved into this week."""
    shifted = {guid: (pull, _WEEK_MS) for guid, pull in before.items()} | {
        guid: (pull, 0) for guid, pull in this.items()
    }
    return {guid: [_moved(entry, shift) for entry in pull.slices] for guid, (pull, shift) in shifted.items()}


def _moved(entry: SliceRecord, shift: int) -> tuple[Window, int]:
    return Window(parse_time_ms(entry.start) + shift, parse_time_ms(entry.end) + shift), entry.orders


def _nothing_pulled(week: Week, pulled: Sequence[PulledRestaurant]) -> ToastIncompleteError:
    reasons = "".join(f"\n  - {result.guid}: {result.failure}" for result in pulled)
    return ToastIncompleteError(
        f"Week {week.key}: none of {len(pulled)} restaurants could be pulled, and nothing was written.{reasons}\n",
        hint="Fix the causes above, then materialize the week again.",
    )
