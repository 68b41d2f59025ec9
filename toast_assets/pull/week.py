"""Pulls a closed week of all restaurants from Toast into the order store.

A restaurant's week is stored whole or not at all, and merged with what is stored already. The manifest is written when
the pull ends. Each raw file carries the evidence of its pull, so the run after a crash asks only for the rest. One
restaurant that fails stops no other.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from logging import Logger, getLogger
from pathlib import Path

import msgspec

from toast_assets.concurrency import in_thread, task_group
from toast_assets.errors import StoreError, ToastIncompleteError, quoted
from toast_assets.index.weeks import WeekOrders
from toast_assets.markdown import first_of
from toast_assets.orders.scrub import Scrubber
from toast_assets.orders.times import parse_time_ms
from toast_assets.pull.census import PulledWeeks
from toast_assets.pull.estimate import ASSUMED, Measure, in_words, measures_for, pull_seconds
from toast_assets.pull.restaurant import PulledRestaurant, RestaurantPull, check_closed
from toast_assets.scratch import scratch_folder
from toast_assets.store.bucket import Replacement, StoredObject
from toast_assets.store.forgotten import load_forgotten
from toast_assets.store.manifest import Manifest, PullRecord, RestaurantRecord, json_for_people, to_ask
from toast_assets.store.order_store import OrderStore
from toast_assets.tables.names import ReadConfiguration
from toast_assets.toast.client import ToastClient
from toast_assets.toast.discovery import discover_restaurants
from toast_assets.toast.page import Window
from toast_assets.toast.restaurants import Restaurant
from toast_assets.toast.windows import ProvedWindow
from toast_assets.week import Week, WeekCalendar, iso_ms

# Most of an S3 call is waiting, and asyncio's own pool has hardly more threads than the machine has processors.
_THREADS = 32
_WEEK_MS = 7 * 24 * 3_600_000
_EVERY_SECONDS = 10.0


@dataclass(frozen=True)
class PullReport:
    """What one run did (``restaurants``: those it asked for), and the week's manifest after it."""

    week: Week
    manifest: Manifest
    restaurants: Sequence[PulledRestaurant]
    logins: int
    configuration_requests: int
    census_requests: int
    seconds: float


@dataclass
class WeekPull:
    """One run's pull of a closed week.

    ``refresh`` true asks Toast for every restaurant, false only for those that an earlier run did not finish; None
    does the latter after a run that was incomplete, the former otherwise. ``previous`` is the week before, whose
    manifest tells how busy the restaurants are; ``calendar`` tells which weeks have closed.
    """

    week: Week
    toast: ToastClient
    store: OrderStore
    previous: Week | None = None
    refresh: bool | None = None
    log: Logger = field(default_factory=lambda: getLogger(__name__))
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    calendar: WeekCalendar = field(default_factory=WeekCalendar)
    _archived: list[Restaurant] = field(init=False, default_factory=list)
    _week_orders: WeekOrders = field(init=False)

    def __post_init__(self) -> None:
        self._week_orders = WeekOrders(self.store, self.week)

    async def run(self) -> PullReport:
        """Pull, store and report.

        Raises:
            StoreError: the bucket is missing or refuses access; where it does so at once, nothing was pulled.
            WeekError: by Toast's clock the week has not closed yet; nothing was written.
            ToastLoginError: Toast refuses the credentials, or a login failed half-way; what was finished is stored.
            ToastIncompleteError: not one restaurant could be pulled; nothing was written.
        """
        with scratch_folder() as folder:
            return await self._run(ReadConfiguration(folder))

    async def _run(self, configuration: ReadConfiguration) -> PullReport:
        began = time.monotonic()
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(_THREADS))
        await asyncio.to_thread(self.store.bucket.check)
        stored, _ = await asyncio.to_thread(self.store.load_manifest, self.week)
        manifest = stored or Manifest(partition=self.week.key, start_date="", end_date="", outcome="incomplete")
        known, this = manifest.restaurants, manifest.stored
        before = await asyncio.to_thread(self._previous_pulls)
        scrubber = Scrubber(await asyncio.to_thread(load_forgotten, self.store))
        await self.toast.login()
        check_closed(self.week, self.toast)
        # A run that was killed may have stored restaurants that no manifest mentions.
        raw_files = await asyncio.to_thread(self.store.raw_restaurants, self.week)
        details = await self._wanted([*before, *known, *sorted(raw_files)], before)
        wanted = tuple(details)
        missing = manifest.missing(wanted)
        if self.refresh is False or (self.refresh is None and missing):
            missing += await self._differing(this, sorted((raw_files & this.keys() & {*wanted}) - {*missing}))
        asked = to_ask(wanted, missing, self.refresh)
        resumable = frozenset() if self.refresh else raw_files & {*missing}
        measures = {guid: Measure.of(pull) for guid, pull in {**before, **this}.items()}
        self.announce(asked, measures)

        progress = PullProgress(self.week, len(asked), self.log)
        records: dict[str, RestaurantRecord] = {}
        results: dict[str, PulledRestaurant] = {}
        pulled_weeks = PulledWeeks(self.store, self.calendar, self.week, self.now(), self.log)
        slots = asyncio.Semaphore(self.toast.settings.concurrent_restaurants)

        async def pull(guid: str) -> None:
            one = RestaurantPull(
                week=self.week,
                toast=self.toast,
                store=self.store,
                now=self.now,
                scrubber=scrubber,
                window_read=progress.window_read,
                configuration=configuration,
                week_orders=self._week_orders,
                guid=guid,
                before=known.get(guid),
                earlier=_earlier_windows(this.get(guid), before.get(guid)),
                pulled_weeks=pulled_weeks,
                details=details[guid],
                is_stored=guid in raw_files,
            )
            async with slots:
                record = await one.resumed() if guid in resumable else None
                if record is None:
                    record, results[guid] = await one.pull()
            records[guid] = record
            progress.finished(guid, record, results.get(guid))

        def save() -> Manifest:
            # Names first: what the manifest calls read is not asked for again.
            self._save_configuration(configuration, records)
            # What the manifest says is stored can be found.
            self._week_orders.save(this.keys())
            return save_manifest(self.store, self.week, known, asked, wanted, records)

        try:
            async with task_group() as group:
                for guid in asked:
                    group.create_task(pull(guid))
        except BaseException:
            if any(record.outcome == "complete" for record in records.values()):
                # The error that ended the run is the one to report; the raw files have the evidence, too.
                with suppress(StoreError):
                    await in_thread(save)
            raise
        pulled = [results[guid] for guid in asked if guid in results]
        if pulled and len(pulled) == len(wanted) and all(result.failure for result in pulled):
            raise _none_pulled(self.week, pulled)
        final = await asyncio.to_thread(save)
        for_names, for_census = (
            sum(calls.requests for calls in stats.values())
            for stats in (self.toast.configuration_stats, self.toast.census_stats)
        )
        return PullReport(self.week, final, pulled, self.toast.logins, for_names, for_census, time.monotonic() - began)

    def _save_configuration(self, configuration: ReadConfiguration, records: dict[str, RestaurantRecord]) -> None:
        """Save what was read of names and restaurants; where that fails, the ``records`` say so."""
        for one in self._archived if configuration.restaurants else ():
            configuration.add_restaurant(one, self.now())
        try:
            configuration.save(self.store)
        except StoreError as error:
            unsaved = {"names_read_at": None, "names_failure": str(error)}
            for guid in configuration.restaurants & records.keys():
                records[guid] = msgspec.structs.replace(records[guid], **unsaved)
        for failure, count in Counter(record.names_failure for record in records.values()).items():
            if failure is not None:
                self.log.warning("The names of %d restaurants were not read: %s", count, failure)

    def announce(self, asked: Sequence[str], earlier: Mapping[str, Measure]) -> None:
        """Log what the pull of the restaurants ``asked`` is about to do, and how long it may take."""
        self.log.info(
            "Week %s (%s to %s): asking Toast for %d restaurants.",
            *(self.week.key, iso_ms(self.week.start), iso_ms(self.week.end), len(asked)),
        )
        spacing = self.toast.spacing_seconds
        requests = [measure.requests for measure in measures_for(asked, earlier).values()]
        seconds = in_words(pull_seconds(requests, self.toast.settings, spacing))
        if measured := sum(guid in earlier for guid in asked):
            self.log.info(
                "About %.0f requests in %s, by the last pull of %d restaurants; %.1f s between two requests for one.",
                *(sum(requests), seconds, measured, spacing),
            )
        elif asked:
            self.log.info(
                "First pull of these restaurants; about %s if each has %.0f orders (%.1f s between two requests for one"
                " restaurant, %d restaurants at once).",
                *(seconds, ASSUMED.orders, spacing, self.toast.settings.concurrent_restaurants),
            )

    async def _differing(self, pulls: Mapping[str, PullRecord], guids: Sequence[str]) -> tuple[str, ...]:
        """The restaurants with another raw file than the manifest describes: a run was killed between the two."""
        keys = (self.store.layout.raw(self.week, guid) for guid in guids)
        hashes = await asyncio.gather(*(asyncio.to_thread(self.store.sha256, key) for key in keys))
        found = zip(guids, hashes, strict=True)
        return tuple(guid for guid, sha256 in found if sha256 not in (None, pulls[guid].orders_sha256))

    async def _wanted(self, known: Sequence[str], before: Mapping[str, PullRecord]) -> Mapping[str, Restaurant | None]:
        """The restaurants to pull, with their details where Toast lists them: each once, compared without case, in the
        spelling in which it is ``known``, else in the first one. ``before`` are those of last week."""
        settings, found = self.toast.settings, dict[str, Restaurant | None]()
        if settings.discovers:
            discovered = await discover_restaurants(self.toast, self.log)
            self._archived = [one for one in discovered if one.archived]
            found |= {one.guid: one for one in discovered if not one.archived}
        else:
            found |= dict.fromkeys(settings.restaurant_guids)
            if doubled := settings.doubled_restaurants:
                self.log.warning(
                    "TOAST_RESTAURANT_GUID lists more than once, and is read once: %s", ", ".join(first_of(doubled))
                )
        spelled = {guid.lower(): guid for guid in (*known, *reversed([guid for guid in found if guid in known]))}
        wanted: dict[str, Restaurant | None] = {}
        for guid, details in found.items():
            name = spelled.setdefault(guid.lower(), guid)
            if name != guid:
                self.log.warning("Restaurant %s is stored as %s and keeps that spelling.", guid, name)
            wanted.setdefault(name, details)
        vanished = sorted(before.keys() - wanted.keys()) if settings.discovers else []
        if vanished:
            self.log.warning(
                "Toast no longer lists %d restaurants of the week before, so they are left out: %s",
                *(len(vanished), ", ".join(first_of(vanished, 20))),
            )
        return wanted

    def _previous_pulls(self) -> Mapping[str, PullRecord]:
        """What is stored of the week before, for window sizes only: it may be missing or damaged."""
        if self.previous is None:
            return {}
        try:
            manifest, _ = self.store.load_manifest(self.previous)
        except StoreError as error:
            self.log.warning("Last week's manifest cannot be read; window sizes start from defaults: %s", error)
            return {}
        return manifest.stored if manifest else {}


def _none_pulled(week: Week, pulled: Sequence[PulledRestaurant]) -> ToastIncompleteError:
    failures, code = quoted(f"{result.guid}: {result.failure}" for result in pulled)
    reasons = "".join(f"\n  - {failure}" for failure in failures)
    text = f"Week {week.key}: none of {len(pulled)} restaurants could be pulled, and nothing was written.{reasons}\n"
    return ToastIncompleteError(text, hint="Fix the causes above, then materialize the week again.", code=code)


def _earlier_windows(this: PullRecord | None, before: PullRecord | None) -> list[tuple[Window, int]]:
    """Windows and counts of this week's last pull, or else of the week before, moved into this week."""
    pull, shift = this or before, 0 if this else _WEEK_MS
    return [
        (Window(parse_time_ms(entry.start) + shift, parse_time_ms(entry.end) + shift), entry.orders)
        for entry in (pull.windows if pull else ())
    ]


class PullProgress:
    """The progress of one run's pull of ``restaurants`` (a count)."""

    def __init__(self, week: Week, restaurants: int, log: Logger) -> None:
        self.week = week
        self.restaurants = restaurants
        self.log = log
        self._reached: dict[str, int] = {}
        self._windows = self._orders = self._done = 0
        self._last = time.monotonic()

    def window_read(self, guid: str, proved: ProvedWindow) -> None:
        """A restaurant's next window was read whole."""
        self._reached[guid] = proved.window.end
        self._windows += 1
        self._orders += len(proved.orders)
        if time.monotonic() - self._last < _EVERY_SECONDS:
            return
        self._last = time.monotonic()
        length = self.week.end_ms - self.week.start_ms
        shares = [f"{guid} {(end - self.week.start_ms) / length:.0%}" for guid, end in self._reached.items()]
        self.log.info(
            "Week %s: %d of %d restaurants done; %d orders in %d windows read; in progress: %s.",
            *(self.week.key, self._done, self.restaurants, self._orders, self._windows),
            ", ".join(first_of(shares)),
        )

    def finished(self, guid: str, record: RestaurantRecord, result: PulledRestaurant | None) -> None:
        """A restaurant is done, stored or failed; without a ``result`` an earlier run had stored it."""
        self._reached.pop(guid, None)
        self._done += 1
        name, done = record.name or guid, f"{self._done} of {self.restaurants}"
        if record.failure:
            self.log.error("%s failed (%s restaurants): %s", guid, done, record.failure)
        elif result is None:
            self.log.info("%s: stored by a run that was killed, not pulled again (%s restaurants).", name, done)
        else:
            self.log.info(
                "%s: %d orders (%d new, %d changed), %d requests, %d retries, %.1f s (%s restaurants).",
                *(name, result.orders, result.new, result.changed),
                *(result.calls.requests, result.calls.retries, result.seconds, done),
            )


def save_manifest(
    store: OrderStore,
    week: Week,
    before: Mapping[str, RestaurantRecord],
    asked: Sequence[str],
    wanted: Sequence[str],
    finished: Mapping[str, RestaurantRecord],
) -> Manifest:
    """Store the manifest after one run, beside what other runs stored meanwhile, and return it; an unchanged week keeps
    its own, one without stored restaurants has none. The run knew the records ``before``, ``asked`` for some of the
    ``wanted`` restaurants, and has the records of those ``finished``, stored or failed.

    Raises:
        StoreError: the bucket fails, or the stored manifest cannot be read.
    """

    def merged(theirs: Manifest | None) -> Manifest:
        known = theirs.restaurants if theirs else {}
        # A failure of a restaurant that is no longer wanted keeps no week incomplete.
        records = {
            guid: record if guid in wanted else msgspec.structs.replace(record, outcome="complete", failure=None)
            for guid, record in known.items()
            if guid in wanted or record.pull is not None
        }
        # What another run has finished since this one began.
        others = {guid: record for guid, record in known.items() if record != before.get(guid)}
        records |= {guid: newest(guid, ours, others.get(guid)) for guid, ours in finished.items()}
        unfinished = [guid for guid in asked if guid not in others or others[guid].outcome != "complete"]
        unfinished += [guid for guid in (theirs.pending if theirs else ()) if guid in wanted]
        pending = tuple(dict.fromkeys(guid for guid in unfinished if guid not in finished))
        failed = any(record.outcome == "failed" for record in records.values())
        return Manifest(
            partition=week.key,
            start_date=iso_ms(week.start),
            end_date=iso_ms(week.end),
            outcome="incomplete" if pending or failed else "complete",
            pending=pending,
            restaurants=dict(sorted(records.items())),
        )

    def newest(guid: str, ours: RestaurantRecord, theirs: RestaurantRecord | None) -> RestaurantRecord:
        """The record of the raw file that is stored now, else the later one."""
        if theirs is None or theirs == ours:
            return ours
        stored = store.sha256(store.layout.raw(week, guid))

        def rank(record: RestaurantRecord) -> tuple[bool, bool, str]:
            pull = record.pull
            is_stored = pull is not None and pull.orders_sha256 == stored
            return is_stored, record.outcome == "complete", pull.finished_at if pull else ""

        return max((ours, theirs), key=rank)

    saved = merged(None)

    def change(stored: StoredObject | None, _target: Path) -> Replacement | None:
        nonlocal saved
        theirs = store.read_manifest(week, stored.path.read_bytes()) if stored else None
        saved = merged(theirs)
        if saved == theirs or not saved.stored:
            return None
        return Replacement(json_for_people(saved), {"ContentType": "application/json"})

    store.bucket.update(store.layout.manifest(week), change)
    return saved
