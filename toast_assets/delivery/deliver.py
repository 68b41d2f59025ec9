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

from toast_assets.amperity.client import AmperityClient, Receipt
from toast_assets.amperity.records import RecordKey, place_of
from toast_assets.amperity.settings import AmperitySettings
from toast_assets.delivery.ledger import Known, LedgerEntry
from toast_assets.delivery.outgoing import MethodCounts, Outgoing, Refused, Source
from toast_assets.delivery.outgoing_rows import sources
from toast_assets.delivery.receipts import Receipts
from toast_assets.delivery.rejects import NOTIFY, RejectKey, Rejects
from toast_assets.errors import AmperityError, ExportError, StoreError, ToastAssetsError, UnrepresentableError
from toast_assets.export.read import export_problem
from toast_assets.http.service import CallStats
from toast_assets.store.manifest import RestaurantRecord
from toast_assets.store.order_store import OrderStore
from toast_assets.store.raw_weeks import stored_restaurants
from toast_assets.week import Week, epoch_ms

_RESTAURANTS_AT_ONCE = 4
# So many records in a row without any answer mean that Amperity is down, not that single records fail.
_MOST_FAILURES_IN_A_ROW = 25
_MOST_NAMED = 20


@dataclass(frozen=True)
class DeliveryReport:
    """One run's delivery of a week, counts by method; in a dry run nothing was sent.

    ``problems`` says of which restaurants not everything could be delivered, and why.
    """

    week: Week
    methods: dict[str, MethodCounts]
    calls: CallStats
    dry_run: bool
    seconds: float
    reject_reasons: dict[str, int] = field(default_factory=dict)
    last_failure: str = ""
    """Why the last record that stayed pending had no answer."""
    problems: dict[str, ToastAssetsError] = field(default_factory=dict)

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

    ``dry_run`` does all but send and write. ``replay`` sends nothing but what was refused before. A restaurant whose
    export, raw orders or ledger are missing, damaged or outdated keeps no other one from being delivered.
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
    _last_failure: str = field(init=False, default="")
    _unanswered_keys: set[RejectKey] = field(init=False, default_factory=set)
    _problems: dict[str, ToastAssetsError] = field(init=False, default_factory=dict)

    @property
    def _settings(self) -> AmperitySettings:
        return self.amperity.settings

    async def run(self) -> DeliveryReport:
        """Deliver, keep the receipts, report, also of what could not be delivered (``check_delivery``).

        Raises:
            ExportError: the week was not pulled.
            AmperityRefusedError: Amperity takes no records at all; a setting is wrong. What arrived before is noted.
            AmperityError: Amperity gives no answers at all.
            StoreError: the bucket is missing or refuses access.
        """
        began = time.monotonic()
        await asyncio.to_thread(self.store.bucket.check)
        restaurants = await asyncio.to_thread(stored_restaurants, self.week, self.store)
        with Rejects(self.store, self.week, self.now) as rejects:
            refused = await asyncio.to_thread(rejects.load, rebuild=not self.replay)
            due = sources(self.week, self.store, self._settings, refused if self.replay else None)
            self._methods = {source.method: MethodCounts() for source in due}
            try:
                async with Receipts(self.store, self.week, read_only=self.dry_run) as receipts:
                    await self._deliver_all(restaurants, due, receipts, rejects)
            finally:
                if not self.dry_run:
                    await asyncio.to_thread(rejects.save)
        seconds = time.monotonic() - began
        return DeliveryReport(
            self.week,
            self._methods,
            self.amperity.stats,
            self.dry_run,
            seconds,
            dict(self._reasons),
            last_failure=self._last_failure,
            problems=dict(sorted(self._problems.items())),
        )

    async def _deliver_all(
        self, restaurants: Mapping[str, RestaurantRecord], due: list[Source], receipts: Receipts, rejects: Rejects
    ) -> None:
        places = asyncio.Semaphore(_RESTAURANTS_AT_ONCE)

        async def deliver(guid: str, record: RestaurantRecord) -> None:
            async with places:
                try:
                    await self._deliver_restaurant(guid, record, due, receipts, rejects)
                except (ExportError, StoreError) as problem:
                    if isinstance(problem, StoreError):
                        # Where the bucket as a whole is out of reach, no other restaurant needs to be tried.
                        await asyncio.to_thread(self.store.bucket.check)
                    self._problems[guid] = problem
                    self.log.error("Restaurant %s is not delivered whole: %s", record.name or guid, problem)  # noqa: TRY400

        try:
            async with asyncio.TaskGroup() as group:
                for guid, record in restaurants.items():
                    group.create_task(deliver(guid, record))
        except BaseExceptionGroup as errors:
            # The first reason is the one to act on; what was cancelled because of it adds nothing.
            raise errors.exceptions[0] from None

    async def _deliver_restaurant(
        self, guid: str, record: RestaurantRecord, due: list[Source], receipts: Receipts, rejects: Rejects
    ) -> None:
        await asyncio.to_thread(self._check_export, guid, record)
        rejects.looking_at(guid, record.pull.orders_sha256 if record.pull else "")
        known = Known.of(await asyncio.to_thread(receipts.load, guid))
        problem: ToastAssetsError | None = None
        try:
            async with asyncio.TaskGroup() as group:
                try:
                    for source in due:
                        counts = self._methods[source.method]
                        async with aclosing(source.due(guid, record, known, counts)) as records:
                            async for one in records:
                                if isinstance(one, Refused):
                                    self._refuse(one.key, Receipt("rejected", None, 0, one.reason), None, rejects)
                                elif self.dry_run:
                                    self._rehearse(one, rejects)
                                else:
                                    await receipts.place()
                                    group.create_task(self._settled(one, known, receipts, rejects))
                except (ExportError, StoreError) as error:
                    # What is on its way already is answered before the group ends.
                    problem = error
                except Exception:
                    await self.amperity.settle()
                    raise
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        await receipts.close_restaurant(guid)
        if problem is not None:
            raise problem
        rejects.forget(guid, self._methods.keys(), self._unanswered_keys)
        self.log.info("Restaurant %s is delivered; so far of all restaurants: %s.", guid, self._summary())

    async def _settled(self, outgoing: Outgoing, known: Known, receipts: Receipts, rejects: Rejects) -> None:
        """Decide one record. Whatever ends the delivery here, records on their way are still answered and their
        receipts kept, before the group cancels all others."""
        try:
            await self._settle(outgoing, known, receipts, rejects)
        except Exception:
            await self.amperity.settle()
            raise

    def _rehearse(self, outgoing: Outgoing, rejects: Rejects) -> None:
        """Do all but send."""
        counts = self._methods[outgoing.key.method]
        if outgoing.newer_week is not None:
            counts.superseded += 1
            return
        body, problem = self._rendered(outgoing)
        if problem is None:
            counts.would_send += 1
        else:
            self._refuse(outgoing.key, Receipt("rejected", None, 0, problem), body, rejects)

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
        body, problem = self._rendered(outgoing)
        if body is None or problem is not None:
            receipt = Receipt("rejected", None, 0, problem)
        else:
            receipt = await self._sent(key, body)
        attempts = before + receipt.attempts
        receipts.add(LedgerEntry(key, receipt.state, attempts, receipt.status, receipt.reason, self._now_ms()))
        if receipt.state == "pending":
            counts.pending += 1
            self._unanswered_keys.add(RejectKey.of(key))
            await self._unanswered(receipt)
            return
        self._failures_in_a_row = 0
        if receipt.state == "rejected":
            self._refuse(key, receipt, body, rejects)
            return
        counts.accepted += 1
        rejects.remove(key)

    def _refuse(self, key: RecordKey, receipt: Receipt, body: bytes | None, rejects: Rejects) -> None:
        """Count a refused record and keep it with its reason."""
        reason = receipt.reason or ""
        self._methods[key.method].rejected += 1
        self._reasons[reason] += 1
        told = f"{reason}: {receipt.explanation}" if receipt.explanation else reason
        rejects.add(key, receipt.status, told, body if body is not None else b"null")

    def _rendered(self, outgoing: Outgoing) -> tuple[bytes | None, str | None]:
        """The record's JSON, and why it cannot be sent, if that is so."""
        try:
            body = outgoing.body()
        except UnrepresentableError as error:
            return None, error.message
        most = self._settings.max_record_bytes
        if outgoing.key.method != NOTIFY and len(body) > most:
            return body, f"the record is larger than the limit of {most} bytes (AMPERITY_MAX_RECORD_BYTES)"
        return body, None

    async def _sent(self, key: RecordKey, body: bytes) -> Receipt:
        if key.method == NOTIFY:
            return await self.amperity.send_notice(key.request_id, body)
        return await self.amperity.send_record(place_of(key.destination), key.request_id, body)

    async def _unanswered(self, receipt: Receipt) -> None:
        """Stop where Amperity is down: all other records would only wait as long in vain."""
        self._failures_in_a_row += 1
        self._last_failure = receipt.reason or ""
        if self._failures_in_a_row < _MOST_FAILURES_IN_A_ROW:
            return
        raise AmperityError(
            f"Amperity gave no good answer to {_MOST_FAILURES_IN_A_ROW} records in a row, last: {receipt.reason}",
            hint="What arrived is noted. Materialize amperity_delivery again later; only the rest is sent.",
        )

    def _check_export(self, guid: str, record: RestaurantRecord) -> None:
        """What is delivered has to be what was exported."""
        export = self.store.layout.export(self.week, guid)
        info = self.store.bucket.info(export)
        if info is None or record.pull is None or info.metadata.get("sha256") != record.pull.orders_sha256:
            state = "is missing" if info is None else "is older than the raw orders"
            raise ExportError(
                f"The export {self.store.bucket.uri(export)} {state}.",
                hint="Materialize toast_orders_s3_export for this week first.",
            )
        problem, _ = export_problem(self.week, self.store, guid, record.pull)
        if problem:
            raise ExportError(
                f"The export {self.store.bucket.uri(export)} {problem}.",
                hint="Materialize toast_orders_s3_export for this week again.",
            )

    def _summary(self) -> str:
        return "; ".join(
            f"{method}: {counts.accepted} accepted, {counts.unchanged} had arrived before,"
            f" {counts.rejected} rejected, {counts.pending} pending"
            for method, counts in self._methods.items()
        )

    def _now_ms(self) -> int:
        return epoch_ms(self.now())


def check_delivery(report: DeliveryReport, max_reject_share: float) -> None:
    """Fail a delivery of which too much did not arrive; a dry run fails only where something could not be read.

    Raises:
        ExportError: exports, raw orders or ledgers of restaurants are missing, damaged or outdated; all others were
            delivered.
        StoreError: the same, where only one restaurant's object cannot be read.
        AmperityError: records are left without an answer, or more than ``max_reject_share`` of them were refused.
    """
    if problem := not_delivered(report):
        raise problem
    if report.dry_run:
        return
    for method, counts in report.methods.items():
        if counts.pending:
            raise AmperityError(
                f"{counts.pending} of {counts.records} {method} records had no answer from Amperity and stay pending,"
                f" last: {report.last_failure}",
                hint="Materialize amperity_delivery for this week again; only these are sent.",
            )
        if counts.rejected > max_reject_share * counts.records:
            reasons = ", ".join(f"{count} × {reason}" for reason, count in report.reject_reasons.items())
            raise AmperityError(
                f"Amperity refused {counts.rejected} of {counts.records} {method} records ({reasons}).",
                hint="The records are in the week's rejects; fix the cause, then run toast-assets replay-rejects, or"
                " materialize amperity_delivery again.",
            )


def not_delivered(report: DeliveryReport) -> ToastAssetsError | None:
    """One error for all restaurants that could not be delivered whole; None where there are none."""
    problems = list(report.problems.items())
    if len(problems) < 2:
        return problems[0][1] if problems else None
    reasons = "".join(f"\n  - {guid}: {problem}" for guid, problem in problems[:_MOST_NAMED])
    more = f"\n  - and {len(problems) - _MOST_NAMED} more" if len(problems) > _MOST_NAMED else ""
    return ExportError(
        f"Week {report.week.key}: {len(problems)} restaurants are not delivered whole.{reasons}{more}\n",
        hint="The other restaurants are delivered. Fix the causes above, then materialize amperity_delivery again.",
    )
