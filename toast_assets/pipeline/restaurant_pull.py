"""Pulls one restaurant's week, proves it whole, and merges it into what is stored."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from toast_assets.errors import StoreConflictError, ToastError, ToastLoginError
from toast_assets.orders.files import Merged, RawFileWriter, holds_duplicates, merge
from toast_assets.store.manifest import PullRecord, RestaurantRecord, SliceRecord
from toast_assets.store.order_store import OrderStore
from toast_assets.toast.client import CallStats, ToastClient
from toast_assets.toast.density import Density
from toast_assets.toast.page import OrdersPage, Window
from toast_assets.toast.windows import ProvedWindow, read_week
from toast_assets.week import Week, from_epoch_ms, iso_ms

# Two runs of one week at once are rare; losing the race this often means something else is wrong.
_MOST_CONFLICTS = 5


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
    """One restaurant in one run. ``before`` is its record in the manifest, ``earlier`` are windows with their counts
    that an earlier pull needed, moved into this week."""

    week: Week
    guid: str
    toast: ToastClient
    store: OrderStore
    now: Callable[[], datetime]
    before: RestaurantRecord | None = None
    earlier: Sequence[tuple[Window, int]] = ()

    async def run(self) -> tuple[RestaurantRecord, PulledRestaurant]:
        """The restaurant's new record, and what this run did. A restaurant that fails is a result, not an error.

        Raises:
            ToastLoginError: no restaurant can be asked any more.
            StoreError: the bucket fails.
        """
        began = time.monotonic()
        started_at = iso_ms(self.now())
        with tempfile.TemporaryDirectory(prefix="toast-assets-") as folder:
            try:
                slices, pulled = await self._read(Path(folder) / "pulled.parquet")
            except ToastLoginError:
                raise
            except ToastError as error:
                return self._failed(str(error)), self._result(began, failure=str(error))
            merged = await asyncio.to_thread(self._merge_and_store, Path(folder), pulled)
        record = await self._described(self._completed(started_at, slices, merged))
        return record, self._result(
            began, name=record.name, orders=merged.orders, new=merged.new, changed=merged.changed
        )

    async def _read(self, path: Path) -> tuple[list[SliceRecord], Merged]:
        async def fetch(window: Window, *, page: int = 1, token: str | None = None) -> OrdersPage:
            return await self.toast.orders_page(self.guid, window, page=page, token=token)

        week = Window(self.week.start_ms, self.week.end_ms)
        slices = []
        with RawFileWriter(path, self.guid) as writer:
            async for proved in read_week(fetch, week, Density(week, self.earlier)):
                await asyncio.to_thread(writer.write, proved.orders)
                slices.append(_slice_record(proved))
        return slices, Merged(writer.orders, writer.bytes, writer.sha256, new=writer.orders, changed=0)

    def _merge_and_store(self, folder: Path, content: Merged) -> Merged:
        """Store what was ``pulled``, whose ``content`` is known, together with what is stored already."""
        stored, pulled, target = folder / "stored.parquet", folder / "pulled.parquet", folder / "merged.parquet"
        plain = not holds_duplicates(pulled)
        for last_try in [False] * _MOST_CONFLICTS + [True]:
            version = self.store.download_raw(self.week, self.guid, stored)
            alone = plain and not version.etag
            merged = content if alone else merge(stored if version.etag else None, pulled, target, self.guid)
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

    def _completed(self, started_at: str, slices: Sequence[SliceRecord], merged: Merged) -> RestaurantRecord:
        before = self.before.pull if self.before else None
        if before is not None and not merged.differs and before.orders_sha256 == merged.sha256:
            # The evidence of the pull that brought the orders stays; a second look that finds nothing changes nothing.
            return self._record(before)
        calls = self.toast.stats[self.guid]
        return self._record(
            PullRecord(
                orders=merged.orders,
                bytes=merged.bytes,
                orders_sha256=merged.sha256,
                new=merged.new,
                changed=merged.changed,
                requests=calls.requests,
                retries=calls.retries,
                throttled=calls.throttled,
                started_at=started_at,
                finished_at=iso_ms(self.now()),
                slices=tuple(slices),
            )
        )

    def _record(self, pull: PullRecord | None, failure: str | None = None) -> RestaurantRecord:
        known = self.before or RestaurantRecord(outcome="complete")
        return RestaurantRecord(
            outcome="failed" if failure else "complete",
            name=known.name,
            time_zone=known.time_zone,
            closeout_hour=known.closeout_hour,
            currency=known.currency,
            pull=pull,
            failure=failure,
        )

    def _failed(self, reason: str) -> RestaurantRecord:
        return self._record(self.before.pull if self.before else None, reason)

    async def _described(self, record: RestaurantRecord) -> RestaurantRecord:
        """With name and time zone; these are for display and local times, so a refusal here fails nothing."""
        if record.time_zone is not None:
            return record
        try:
            restaurant = await self.toast.restaurant(self.guid)
        except ToastLoginError:
            raise
        except ToastError:
            return record
        return RestaurantRecord(
            outcome=record.outcome,
            name=restaurant.name,
            time_zone=restaurant.time_zone,
            closeout_hour=restaurant.closeout_hour,
            currency=restaurant.currency,
            pull=record.pull,
            failure=record.failure,
        )

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
