"""Delivers a week to Amperity: each record once in each of its versions, with a receipt for every one.

What the ledger says has arrived is not sent again; what changed, was refused or was never answered is.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime

from toast_assets.amperity.client import AmperityClient, DeliveryStats, Receipt
from toast_assets.amperity.ledger import Known, LedgerEntry
from toast_assets.errors import AmperityError, ExportError, UnrepresentableError
from toast_assets.pipeline.export import stored_pulls
from toast_assets.pipeline.outgoing import MethodCounts, Outgoing, Source, sources
from toast_assets.pipeline.receipts import Receipts
from toast_assets.pipeline.rejects import Rejects
from toast_assets.settings import AmperitySettings
from toast_assets.store.manifest import PullRecord
from toast_assets.store.order_store import OrderStore
from toast_assets.week import Week, epoch_ms

_RESTAURANTS_AT_ONCE = 4
# So many records in a row without any answer mean that Amperity is down, not that single records fail.
_MOST_FAILURES_IN_A_ROW = 25


@dataclass(frozen=True)
class DeliveryReport:
    """One run's delivery of a week, counts by method; in a dry run nothing was sent."""

    week: Week
    methods: dict[str, MethodCounts]
    calls: DeliveryStats
    dry_run: bool
    seconds: float
    reject_reasons: dict[str, int] = field(default_factory=dict)

    @property
    def accepted(self) -> int:
        """Records that Amperity accepted in this run."""
        return sum(counts.accepted for counts in self.methods.values())

    @property
    def would_send(self) -> int:
        """Records that a dry run would have sent."""
        return sum(counts.would_send for counts in self.methods.values())


@dataclass
class WeekDelivery:
    """One run's delivery of a week.

    ``dry_run`` does all but send and write. ``replay`` sends nothing but what was refused before.
    """

    week: Week
    amperity: AmperityClient
    store: OrderStore
    dry_run: bool = False
    replay: bool = False
    log: logging.Logger = field(default_factory=lambda: logging.getLogger(__name__))
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    _methods: dict[str, MethodCounts] = field(init=False, default_factory=dict)
    _reasons: Counter[str] = field(init=False, default_factory=Counter)
    _failures_in_a_row: int = field(init=False, default=0)

    @property
    def _settings(self) -> AmperitySettings:
        return self.amperity.settings

    async def run(self) -> DeliveryReport:
        """Deliver, keep the receipts, report.

        Raises:
            ExportError: the week was not pulled, or its export is missing or older than the raw orders.
            AmperityRefusedError: Amperity takes no records at all; a setting is wrong. What arrived before is noted.
            AmperityError: Amperity gives no answers at all.
            StoreError: the bucket is missing or refuses access.
        """
        began = time.monotonic()
        await asyncio.to_thread(self.store.bucket.check)
        pulls = await asyncio.to_thread(stored_pulls, self.week, self.store)
        for guid, pull in pulls.items():
            await asyncio.to_thread(self._check_export, guid, pull)
        with Rejects(self.store, self.week) as rejects:
            refused = await asyncio.to_thread(rejects.load)
            due = sources(self.week, self.store, self._settings, refused if self.replay else None)
            self._methods = {source.method: MethodCounts() for source in due}
            try:
                async with Receipts(self.store, self.week, read_only=self.dry_run) as receipts:
                    await self._deliver_all(pulls, due, receipts, rejects)
            finally:
                if not self.dry_run:
                    await asyncio.to_thread(rejects.save)
        seconds = time.monotonic() - began
        return DeliveryReport(self.week, self._methods, self.amperity.stats, self.dry_run, seconds, dict(self._reasons))

    async def _deliver_all(
        self, pulls: Mapping[str, PullRecord], due: list[Source], receipts: Receipts, rejects: Rejects
    ) -> None:
        places = asyncio.Semaphore(_RESTAURANTS_AT_ONCE)

        async def deliver(guid: str, pull: PullRecord) -> None:
            async with places:
                await self._deliver_restaurant(guid, pull, due, receipts, rejects)

        try:
            async with asyncio.TaskGroup() as group:
                for guid, pull in pulls.items():
                    group.create_task(deliver(guid, pull))
        except BaseExceptionGroup as errors:
            # The first reason is the one to act on; what was cancelled because of it adds nothing.
            raise errors.exceptions[0] from None

    async def _deliver_restaurant(
        self, guid: str, pull: PullRecord, due: list[Source], receipts: Receipts, rejects: Rejects
    ) -> None:
        ledger = await asyncio.to_thread(receipts.load, guid)
        known = Known.of(ledger.table)
        try:
            async with asyncio.TaskGroup() as group:
                for source in due:
                    counts = self._methods[source.method]
                    async with aclosing(source.due(guid, pull, known, counts)) as records:
                        async for outgoing in records:
                            if self.dry_run:
                                counts.would_send += outgoing.newer_week is None
                                continue
                            await receipts.place()
                            group.create_task(self._settle(outgoing, known, receipts, rejects))
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        await receipts.close_restaurant(guid, ledger)
        self.log.info("Restaurant %s: %s.", guid, self._summary())

    async def _settle(self, outgoing: Outgoing, known: Known, receipts: Receipts, rejects: Rejects) -> None:
        """Decide one record, by sending it unless a newer version has arrived, and note what became of it."""
        key, counts = outgoing.key, self._methods[outgoing.key.method]
        before = known.attempts.get(key.request_id, 0)
        if outgoing.newer_week is not None:
            counts.superseded += 1
            rejects.remove(key)
            reason = f"a newer version has arrived with week {outgoing.newer_week}"
            receipts.add(LedgerEntry(key, "superseded", before, None, reason, self._now_ms()))
            return
        body: bytes | None = None
        try:
            body = outgoing.body()
            receipt = await self._sent(outgoing, body)
        except UnrepresentableError as error:
            receipt = Receipt("rejected", None, 0, error.message)
        except AmperityError:
            # Records on their way are still answered, and their receipts kept, before the group cancels all others.
            await self.amperity.settle()
            raise
        attempts = before + receipt.attempts
        entry = LedgerEntry(key, receipt.state, attempts, receipt.status, receipt.reason, self._now_ms())
        receipts.add(entry)
        if receipt.state == "pending":
            counts.pending += 1
            await self._unanswered(receipt)
            return
        self._failures_in_a_row = 0
        if receipt.state == "accepted":
            counts.accepted += 1
            rejects.remove(key)
            return
        counts.rejected += 1
        reason = receipt.reason or ""
        self._reasons[reason] += 1
        told = f"{reason}: {receipt.explanation}" if receipt.explanation else reason
        rejects.add(key, receipt.status, told, body if body is not None else b"null")

    async def _sent(self, outgoing: Outgoing, body: bytes) -> Receipt:
        key = outgoing.key
        if key.method == "notify":
            return await self.amperity.send_notice(key.request_id, body)
        if len(body) > self._settings.max_record_bytes:
            limit = f"{self._settings.max_record_bytes} (AMPERITY_MAX_RECORD_BYTES)"
            return Receipt("rejected", None, 0, f"the record is larger than the limit of {limit} bytes")
        return await self.amperity.send_record(key.destination, key.request_id, body)

    async def _unanswered(self, receipt: Receipt) -> None:
        """Stop where Amperity is down: all other records would only wait as long in vain."""
        self._failures_in_a_row += 1
        if self._failures_in_a_row < _MOST_FAILURES_IN_A_ROW:
            return
        await self.amperity.settle()
        raise AmperityError(
            f"Amperity gave no answer to {self._failures_in_a_row} records in a row ({receipt.reason})",
            hint="What arrived is noted. Materialize amperity_delivery again later; only the rest is sent.",
        )

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
                hint="The records are in the week's rejects; mend the cause, then toast-assets replay-rejects, or"
                " materialize amperity_delivery again.",
            )
