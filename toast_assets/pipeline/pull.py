"""Pulls a closed week of all restaurants from Toast into the order store.

A restaurant's week is stored whole or not at all, and merged with what is stored already. What was finished is noted
in the manifest, so that the run after a crash asks only for the rest. One restaurant that fails stops no other.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from toast_assets.errors import ToastIncompleteError
from toast_assets.orders.raw import parse_time_ms
from toast_assets.pipeline.progress import PullProgress
from toast_assets.pipeline.restaurant_pull import PulledRestaurant, RestaurantPull
from toast_assets.store.manifest import Manifest, SliceRecord
from toast_assets.store.order_store import OrderStore
from toast_assets.toast.client import ToastClient
from toast_assets.toast.page import Window
from toast_assets.week import Week, iso_ms

_WEEK_MS = 7 * 24 * 3_600_000


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
    manifest tells how busy the restaurants are.
    """

    week: Week
    toast: ToastClient
    store: OrderStore
    previous: Week | None = None
    refresh: bool | None = None
    log: logging.Logger = field(default_factory=lambda: logging.getLogger(__name__))
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    async def run(self) -> PullReport:
        """Pull, store and report.

        Raises:
            StoreError: the bucket is missing or refuses access; where it does so at once, nothing was pulled.
            ToastLoginError: Toast refuses the credentials, or a login failed half-way; what was finished is stored.
            ToastIncompleteError: not one restaurant could be pulled; nothing was written.
        """
        began = time.monotonic()
        await asyncio.to_thread(self.store.bucket.check)
        manifest, version = await asyncio.to_thread(self.store.load_manifest, self.week)
        await self.toast.login()
        wanted = await self._wanted()
        asked = self._asked(manifest, wanted)
        earlier = await asyncio.to_thread(self._earlier_windows, manifest)
        self._announce(asked, earlier)
        progress = PullProgress(self.store, self.week, manifest, version, asked, wanted)
        pulled = await self._pull_all(asked, progress, earlier)
        if pulled and asked == wanted and all(result.failure for result in pulled):
            raise _nothing_pulled(self.week, pulled)
        final = await progress.finish()
        return PullReport(self.week, final, pulled, self.toast.logins, time.monotonic() - began)

    async def _wanted(self) -> tuple[str, ...]:
        if not self.toast.settings.discovers:
            return self.toast.settings.restaurant_guids
        return tuple(await self.toast.restaurant_guids())

    def _asked(self, manifest: Manifest | None, wanted: tuple[str, ...]) -> tuple[str, ...]:
        if manifest is None or self.refresh is True:
            return wanted
        missing = manifest.missing(wanted)
        return wanted if self.refresh is None and not missing else missing

    def _earlier_windows(self, manifest: Manifest | None) -> dict[str, list[tuple[Window, int]]]:
        """Windows and counts of this week's or the previous week's last pull, moved into this week."""
        known = dict(manifest.stored) if manifest else {}
        shift = dict.fromkeys(known, 0)
        if self.previous is not None:
            before, _ = self.store.load_manifest(self.previous)
            for guid, pull in (before.stored if before else {}).items():
                if guid not in known:
                    known[guid], shift[guid] = pull, _WEEK_MS
        return {guid: [_moved(entry, shift[guid]) for entry in pull.slices] for guid, pull in known.items()}

    def _announce(self, asked: Sequence[str], earlier: dict[str, list[tuple[Window, int]]]) -> None:
        self.log.info(
            "Week %s (%s to %s): asking Toast for %d restaurants.",
            *(self.week.key, iso_ms(self.week.start), iso_ms(self.week.end), len(asked)),
        )
        requests = [len(earlier[guid]) for guid in asked if guid in earlier]
        if requests:
            spacing = self.toast.spacing_seconds
            at_once = self.toast.settings.concurrent_restaurants
            seconds = max(max(requests) * spacing, sum(requests) * spacing / at_once)
            self.log.info(
                "By the last pull about %d requests for %d of them, %.0f s at %.1f s between two for one restaurant.",
                *(sum(requests), len(requests), seconds, spacing),
            )

    async def _pull_all(
        self, asked: Sequence[str], progress: PullProgress, earlier: dict[str, list[tuple[Window, int]]]
    ) -> list[PulledRestaurant]:
        places = asyncio.Semaphore(self.toast.settings.concurrent_restaurants)
        results: dict[str, PulledRestaurant] = {}

        async def pull(guid: str) -> None:
            async with places:
                before = progress.record_of(guid)
                one = RestaurantPull(self.week, guid, self.toast, self.store, self.now, before, earlier.get(guid, ()))
                record, results[guid] = await one.run()
                progress.finished(guid, record)
                self._log_result(results[guid], len(results), len(asked))

        try:
            async with progress, asyncio.TaskGroup() as group:
                for guid in asked:
                    group.create_task(pull(guid))
        except BaseExceptionGroup as errors:
            # The first reason is the one to act on; what was cancelled because of it adds nothing.
            raise errors.exceptions[0] from None
        return [results[guid] for guid in asked]

    def _log_result(self, result: PulledRestaurant, done: int, of: int) -> None:
        if result.failure:
            self.log.error("Restaurant %s failed (%d of %d): %s", result.guid, done, of, result.failure)
            return
        self.log.info(
            "Restaurant %s (%d of %d): %d orders, %d new, %d changed; %d requests, %d retries, %.1f s.",
            *(result.name or result.guid, done, of, result.orders, result.new, result.changed),
            *(result.calls.requests, result.calls.retries, result.seconds),
        )


def _moved(entry: SliceRecord, shift: int) -> tuple[Window, int]:
    return Window(parse_time_ms(entry.start) + shift, parse_time_ms(entry.end) + shift), entry.orders


def _nothing_pulled(week: Week, pulled: Sequence[PulledRestaurant]) -> ToastIncompleteError:
    reasons = "".join(f"\n  - {result.guid}: {result.failure}" for result in pulled)
    return ToastIncompleteError(
        f"Week {week.key}: none of {len(pulled)} restaurants could be pulled, and nothing was written.{reasons}\n",
        hint="Mend the reasons and materialize the week again.",
    )
