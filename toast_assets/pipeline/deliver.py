"""Delivers a week to Amperity: each order once in each of its versions, with a receipt for every record.

What the ledger says has arrived is not sent again; what changed, was refused or was never answered is.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

from toast_assets.amperity.client import AmperityClient, DeliveryStats, Receipt
from toast_assets.amperity.ledger import LedgerEntry, State, settled_request_ids
from toast_assets.amperity.records import RecordKey, notice_body, order_version, stream_body
from toast_assets.errors import AmperityError, AmperityTransientError, ExportError
from toast_assets.orders.files import read_raw
from toast_assets.orders.raw import RawOrder
from toast_assets.pipeline.export import stored_pulls
from toast_assets.pipeline.receipts import Receipts
from toast_assets.pipeline.rejects import Rejects
from toast_assets.settings import AmperitySettings
from toast_assets.store.manifest import PullRecord
from toast_assets.store.order_store import OrderStore
from toast_assets.week import Week, epoch_ms, iso_ms

_RESTAURANTS_AT_ONCE = 4
_READ_AT_ONCE = 200
# So many records in a row without any answer mean that Amperity is down, not that single records fail.
_MOST_FAILURES_IN_A_ROW = 25


@dataclass
class MethodCounts:
    """What became of the records of one method: ``unchanged`` had arrived before and were not sent."""

    records: int = 0
    unchanged: int = 0
    accepted: int = 0
    rejected: int = 0
    pending: int = 0


@dataclass(frozen=True)
class DeliveryReport:
    """One run's delivery of a week, counts by method; in a dry run nothing was sent and ``would_send`` says how many
    would have been."""

    week: Week
    methods: dict[str, MethodCounts]
    calls: DeliveryStats
    dry_run: bool
    would_send: int
    seconds: float
    reject_reasons: dict[str, int] = field(default_factory=dict)

    @property
    def accepted(self) -> int:
        """Records that Amperity accepted in this run."""
        return sum(counts.accepted for counts in self.methods.values())


@dataclass(frozen=True)
class _Outgoing:
    key: RecordKey
    body: bytes


@dataclass
class WeekDelivery:
    """One run's delivery of a week.

    ``dry_run`` does all but send and write. ``max_reject_share`` of a method's records may be refused before the
    delivery counts as failed.
    """

    week: Week
    amperity: AmperityClient
    store: OrderStore
    dry_run: bool = False
    log: logging.Logger = field(default_factory=lambda: logging.getLogger(__name__))
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    _methods: dict[str, MethodCounts] = field(init=False, default_factory=dict)
    _reasons: Counter[str] = field(init=False, default_factory=Counter)
    _failures_in_a_row: int = field(init=False, default=0)
    _would_send: int = field(init=False, default=0)

    @property
    def _settings(self) -> AmperitySettings:
        return self.amperity.settings

    async def run(self) -> DeliveryReport:
        """Deliver, keep the receipts, report.

        Raises:
            ExportError: the week was not pulled, or its export is missing or older than the raw orders.
            AmperityRefusedError: Amperity takes no records at all; a setting is wrong. What arrived before is noted.
            AmperityError: records are left without an answer, or too many were refused; all others were delivered.
            StoreError: the bucket is missing or refuses access.
        """
        began = time.monotonic()
        await asyncio.to_thread(self.store.bucket.check)
        pulls = await asyncio.to_thread(stored_pulls, self.week, self.store)
        for guid, pull in pulls.items():
            await asyncio.to_thread(self._check_export, guid, pull)
        self._methods = {method: MethodCounts() for method in self._settings.methods}
        with Rejects() as rejects:
            try:
                async with Receipts(self.store, self.week, read_only=self.dry_run) as receipts:
                    await self._deliver_all(pulls, receipts, rejects)
            except BaseExceptionGroup as errors:
                # The first reason is the one to act on; what was cancelled because of it adds nothing.
                raise errors.exceptions[0] from None
            if not self.dry_run:
                await asyncio.to_thread(rejects.save, self.store, self.week)
        return DeliveryReport(
            self.week,
            self._methods,
            self.amperity.stats,
            self.dry_run,
            self._would_send,
            time.monotonic() - began,
            dict(self._reasons),
        )

    async def _deliver_all(self, pulls: Mapping[str, PullRecord], receipts: Receipts, rejects: Rejects) -> None:
        places = asyncio.Semaphore(_RESTAURANTS_AT_ONCE)

        async def deliver(guid: str, pull: PullRecord) -> None:
            async with places:
                await self._deliver_restaurant(guid, pull, receipts, rejects)

        async with asyncio.TaskGroup() as group:
            for guid, pull in pulls.items():
                group.create_task(deliver(guid, pull))

    async def _deliver_restaurant(self, guid: str, pull: PullRecord, receipts: Receipts, rejects: Rejects) -> None:
        ledger = await asyncio.to_thread(receipts.load, guid)
        settled = settled_request_ids(ledger) if ledger is not None else set()
        try:
            async with asyncio.TaskGroup() as group:
                async for outgoing in self._outgoing(guid, pull, settled):
                    await receipts.place()
                    group.create_task(self._send(outgoing, receipts, rejects))
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        await receipts.close_restaurant(guid, ledger)
        self.log.info("Restaurant %s: %s.", guid, self._summary())

    async def _outgoing(self, guid: str, pull: PullRecord, settled: set[str]) -> AsyncIterator[_Outgoing]:
        """The records that Amperity does not have yet."""
        if "stream" in self._settings.methods:
            async for orders in self._stored_orders(guid):
                for order in orders:
                    key = RecordKey("stream", self._settings.stream_id or "", guid, order.guid, order_version(order))
                    if self._is_due(key, settled):
                        yield _Outgoing(key, stream_body(order, guid, self._settings.redaction))
        if "notify" in self._settings.methods:
            export = self.store.layout.export(self.week, guid)
            key = RecordKey("notify", self._settings.api_url or "", guid, export, pull.orders_sha256)
            if self._is_due(key, settled):
                yield _Outgoing(key, self._notice(export, pull))

    def _is_due(self, key: RecordKey, settled: set[str]) -> bool:
        counts = self._methods[key.method]
        counts.records += 1
        if key.request_id in settled:
            counts.unchanged += 1
            return False
        self._would_send += 1
        return not self.dry_run

    def _notice(self, export: str, pull: PullRecord) -> bytes:
        return notice_body(
            self.store.bucket.uri(export),
            tenant_id=self._settings.tenant_id,
            orders=pull.orders,
            fetch_date=pull.finished_at,
            start_date=iso_ms(self.week.start),
            end_date=iso_ms(self.week.end),
        )

    async def _stored_orders(self, guid: str) -> AsyncIterator[list[RawOrder]]:
        with TemporaryDirectory(prefix="toast-assets-") as folder:
            path = Path(folder) / "raw.parquet"
            await asyncio.to_thread(self.store.download_raw, self.week, guid, path)
            orders = read_raw(path)
            while batch := await asyncio.to_thread(lambda: list(islice(orders, _READ_AT_ONCE))):
                yield batch

    async def _send(self, outgoing: _Outgoing, receipts: Receipts, rejects: Rejects) -> None:
        """Send one record and note its receipt; a record without an answer stays pending."""
        key, counts = outgoing.key, self._methods[outgoing.key.method]
        try:
            receipt = await self._receipt(outgoing)
        except AmperityTransientError as error:
            counts.pending += 1
            self._failures_in_a_row += 1
            if self._failures_in_a_row >= _MOST_FAILURES_IN_A_ROW:
                raise
            receipts.add(LedgerEntry(key, "pending", 0, None, error.message, self._now_ms()))
            return
        self._failures_in_a_row = 0
        state: State = "accepted" if receipt.accepted else "rejected"
        if receipt.accepted:
            counts.accepted += 1
        else:
            counts.rejected += 1
            self._reasons[receipt.reason or ""] += 1
            rejects.add(key, receipt.status, receipt.reason or "", outgoing.body)
        receipts.add(LedgerEntry(key, state, receipt.attempts, receipt.status, receipt.reason, self._now_ms()))

    async def _receipt(self, outgoing: _Outgoing) -> Receipt:
        key, body = outgoing.key, outgoing.body
        if key.method == "notify":
            return await self.amperity.send_notice(key.request_id, body)
        if len(body) > self._settings.max_record_bytes:
            limit = f"{self._settings.max_record_bytes} (AMPERITY_MAX_RECORD_BYTES)"
            return Receipt(False, None, 0, f"the record has {len(body)} bytes, the limit is {limit}")
        return await self.amperity.send_record(key.destination, key.request_id, body)

    def _check_export(self, guid: str, pull: PullRecord) -> None:
        """What is delivered has to be what was exported."""
        export = self.store.layout.export(self.week, guid)
        info = self.store.bucket.info(export)
        if info is None or info.metadata.get("sha256") != pull.orders_sha256:
            state = "is missing" if info is None else "is older than the raw orders"
            raise ExportError(
                f"The export {self.store.bucket.uri(export)} {state}.",
                hint="Materialize toast_orders_s3_export for this week first.",
            )

    def _summary(self) -> str:
        return "; ".join(
            f"{method}: {counts.accepted} accepted, {counts.unchanged} had arrived before,"
            f" {counts.rejected} rejected, {counts.pending} pending so far"
            for method, counts in self._methods.items()
        )

    def _now_ms(self) -> int:
        return epoch_ms(self.now())


def check_delivery(report: DeliveryReport, max_reject_share: float) -> None:
    """Fail a delivery of which too much did not arrive.

    Raises:
        AmperityError: records are left without an answer, or more than ``max_reject_share`` of them were refused.
    """
    for method, counts in report.methods.items():
        if counts.pending:
            raise AmperityError(
                f"{counts.pending} of {counts.records} {method} records had no answer from Amperity and stay pending.",
                hint="Materialize amperity_delivery for this week again; only these are sent.",
            )
        if counts.rejected > max_reject_share * counts.records:
            reasons = ", ".join(f"{count} × {reason}" for reason, count in report.reject_reasons.items())
            raise AmperityError(
                f"Amperity refused {counts.rejected} of {counts.records} {method} records ({reasons}).",
                hint="The records are in the week's rejects; mend the cause and materialize amperity_delivery again.",
            )
