"""Delivers a week to Amperity: each record once in each of its versions, with a receipt for every one.

What the ledger says has arrived is not sent again; what changed, was refused or was never answered is.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from toast_assets.amperity.client import AmperityClient, Receipt
from toast_assets.amperity.records import RecordKey, place_of
from toast_assets.concurrency import in_thread, task_group
from toast_assets.delivery.ledger import (
    READERS,
    DeliveryState,
    LedgerEntry,
    RestaurantLedger,
    Slots,
    State,
    stored_segments,
)
from toast_assets.delivery.outgoing import (
    InvalidRecord,
    MethodCounts,
    Outgoing,
    PendingRecord,
    RestaurantRecords,
    later_ledgers,
)
from toast_assets.delivery.rejects import NOTIFY, Rejects, stored_rejects
from toast_assets.errors import AmperityError, ExportError, StoreError, ToastAssetsError, UnrepresentableError
from toast_assets.export.read import export_problem
from toast_assets.http.service import CallStats
from toast_assets.scratch import scratch_folder
from toast_assets.store.client import CALLS_AT_ONCE
from toast_assets.store.manifest import PullRecord, RestaurantRecord
from toast_assets.store.order_store import OrderStore
from toast_assets.store.raw_weeks import RawFile, StoredWeek
from toast_assets.week import Week, epoch_ms

# This many records in a row without an answer mean that Amperity is down, not that single records fail.
_MOST_FAILURES_IN_A_ROW = 25
_MOST_NAMED = 20


@dataclass
class DeliveryReport:
    """One run's delivery of a week, counts by method: ``problems`` of restaurants that are not delivered whole, and why
    the last pending record had no answer (``last_failure``)."""

    week: Week
    methods: dict[str, MethodCounts]
    calls: CallStats
    dry_run: bool
    seconds: float = 0.0
    reject_reasons: Counter[str] = field(default_factory=Counter)
    last_failure: str = ""
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
    """One run's delivery of a week: ``dry_run`` does all but send and write, ``replay`` sends only what was refused. A
    restaurant whose export, raw orders or ledger are missing, damaged or outdated stops no other."""

    week: Week
    amperity: AmperityClient
    store: OrderStore
    dry_run: bool = False
    replay: bool = False
    log: logging.Logger = field(default_factory=lambda: logging.getLogger(__name__))
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    async def run(self) -> DeliveryReport:
        """Deliver, keep the receipts, report, also of what could not be delivered (``check_delivery``).

        Raises:
            ExportError: the week was not pulled.
            AmperityRefusedError: Amperity takes no records; a setting is wrong. Receipts of earlier records are kept.
            AmperityError: Amperity gives no answers.
            StoreError: the bucket is missing or refuses access.
        """
        began = time.monotonic()
        self.amperity.resume()
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(CALLS_AT_ONCE))
        run = await in_thread(self._prepared)
        with run.rejects:
            try:
                await run.deliver_all()
            finally:
                if not self.dry_run:
                    await in_thread(run.rejects.save)
        run.report.problems = dict(sorted(run.report.problems.items()))
        run.report.seconds = time.monotonic() - began
        return run.report

    def _prepared(self) -> _Run:
        self.store.bucket.check()
        restaurants = StoredWeek(self.week, self.store).restaurants()
        only = stored_rejects(self.store, self.week) if self.replay else None
        if only is not None:
            refused = {key.restaurant_guid for key in only}
            restaurants = {guid: record for guid, record in restaurants.items() if guid in refused}
        outgoing = Outgoing(self.week, self.store, self.amperity.settings, later_ledgers(self.week, self.store), only)
        methods = {method: MethodCounts() for method in outgoing.methods}
        report = DeliveryReport(self.week, methods, self.amperity.stats, self.dry_run)
        rejects = Rejects(self.store, self.week, outgoing.methods, only, self.now)
        return _Run(self, restaurants, outgoing, stored_segments(self.week, self.store), rejects, report)


@dataclass
class _Run:
    """A delivery under way, of ``restaurants``; ``leftovers`` are segments that one that died left behind."""

    delivery: WeekDelivery
    restaurants: Mapping[str, RestaurantRecord]
    outgoing: Outgoing
    leftovers: Mapping[str, list[str]]
    rejects: Rejects
    report: DeliveryReport
    slots: Slots = field(default_factory=Slots)
    readers: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(READERS))
    orders_done: int = 0
    failures_in_a_row: int = 0

    async def deliver_all(self) -> None:
        at_once, delivery = asyncio.Semaphore(CALLS_AT_ONCE), self.delivery

        async def deliver(guid: str, record: RestaurantRecord) -> None:
            async with at_once:
                try:
                    leftovers = self.leftovers.get(guid, ())
                    ledger = RestaurantLedger(delivery.store, delivery.week, guid, self.slots, leftovers)
                    await _Restaurant(self, guid, record, ledger).deliver()
                except (ExportError, StoreError) as problem:
                    if isinstance(problem, StoreError):
                        # Where the bucket as a whole is out of reach, no other restaurant needs to be tried.
                        await in_thread(delivery.store.bucket.check)
                    self.report.problems[guid] = problem
                    delivery.log.error("%s is not delivered whole: %s", record.name or guid, problem)  # noqa: TRY400

        async with task_group() as group:
            for guid, record in self.restaurants.items():
                group.create_task(deliver(guid, record))

    def answered(self, receipt: Receipt) -> None:
        """Stop the delivery where Amperity is down: many records in a row had no answer."""
        if receipt.state != "pending":
            self.failures_in_a_row = 0
            return
        self.failures_in_a_row += 1
        self.report.last_failure = receipt.reason or ""
        if self.failures_in_a_row >= _MOST_FAILURES_IN_A_ROW:
            raise AmperityError(
                f"Amperity gave no good answer to {_MOST_FAILURES_IN_A_ROW} records in a row, last: {receipt.reason}",
                hint="The receipts are kept. Materialize amperity_delivery again later; only the rest is sent.",
            )


@dataclass
class _Restaurant:
    """The delivery of one restaurant's week."""

    run: _Run
    guid: str
    record: RestaurantRecord
    ledger: RestaurantLedger
    counts: defaultdict[str, MethodCounts] = field(default_factory=lambda: defaultdict(MethodCounts))
    state: DeliveryState = field(default_factory=DeliveryState)

    @property
    def delivery(self) -> WeekDelivery:
        return self.run.delivery

    async def deliver(self) -> None:
        """Send what is due and keep the receipts."""
        digest = self.run.outgoing.digest(self.record)
        try:
            with scratch_folder() as folder:
                await in_thread(self.ledger.fetch, folder)
                settled = None if self.delivery.replay else self.ledger.settled(digest)
                pull = await in_thread(self._exported, None if settled is not None else folder / "export.json.gz")
                if settled is not None:
                    self.counts |= {name: MethodCounts(count, unchanged=count) for name, count in settled.items()}
                else:
                    week, store, path = self.delivery.week, self.delivery.store, folder / "raw.parquet"
                    raw = RawFile(week, self.guid, self.record, pull, path, store)
                    await self._deliver_due(raw, digest)
        finally:
            for method, counts in self.counts.items():
                self.run.report.methods[method].add(counts)
        self.run.rejects.looked_at(self.guid, pull.orders_sha256)
        self._log_progress(pull)

    def _exported(self, path: Path | None) -> PullRecord:
        """What is stored and was exported. Where something may be sent, the export is read as well, at ``path``."""
        store, pull, problem, when = self.delivery.store, self.record.pull, "", "first"
        key = store.layout.export(self.delivery.week, self.guid)
        export = store.bucket.fetch(key, path) if path else store.bucket.info(key)
        if export is None:
            problem = "is missing"
        elif pull is None or export.metadata.get("sha256") != pull.orders_sha256:
            problem = "is older than the raw orders"
        elif path:
            problem = export_problem(path, self.delivery.week, self.guid, pull)[0] or ""
            when = "again"
            path.unlink()
        if pull is None or problem:
            raise ExportError(
                f"The export {store.bucket.uri(key)} {problem}.",
                hint=f"Materialize toast_orders_s3_export for this week {when}.",
            )
        return pull

    async def _deliver_due(self, raw: RawFile, digest: str) -> None:
        self.state = await in_thread(self.ledger.state)
        try:
            await self._send_due(raw)
            is_settled = not self.delivery.replay and all(counts.is_settled for counts in self.counts.values())
            await self._save(digest if is_settled else "")
        except BaseException:
            # What ended the delivery is the reason to act on; all that was answered is kept.
            with suppress(StoreError):
                await self._save("")
            raise

    async def _save(self, digest: str) -> None:
        if not self.delivery.dry_run:
            await self.ledger.save(digest, {method: counts.records for method, counts in self.counts.items()})

    async def _send_due(self, raw: RawFile) -> None:
        problem = None
        records = RestaurantRecords(self.run.outgoing, raw, self.state, self.counts)
        await in_thread(records.fetch)
        async with task_group() as group, self.run.readers:
            try:
                with closing(records.batches()) as batches:
                    while (some := await in_thread(next, batches, None)) is not None:
                        for record in some:
                            await self._send(record, group)
            except (ExportError, StoreError) as error:
                # What was sent already is answered before the group ends.
                problem = error
            except Exception:
                await self.delivery.amperity.settle()
                raise
        if problem is not None:
            raise problem

    async def _send(self, record: PendingRecord | InvalidRecord, group: asyncio.TaskGroup) -> None:
        if isinstance(record, InvalidRecord):
            self._refuse(record.key, Receipt("rejected", None, 0, record.reason), None)
        elif self.delivery.dry_run:
            await self._settle(record)
        else:
            await self.run.slots.acquire()
            group.create_task(self._settled(record))

    async def _settled(self, record: PendingRecord) -> None:
        """Settle one record. Whatever ends the delivery here, records that were sent are still answered and their
        receipts kept, before the group cancels all others."""
        try:
            await self._settle(record)
        except Exception:
            await self.delivery.amperity.settle()
            raise

    async def _settle(self, record: PendingRecord) -> None:
        key, counts = record.key, self.counts[record.key.method]
        if record.newer_week is not None:
            counts.superseded += 1
            reason = f"a newer version has arrived with week {record.newer_week}"
            await self._keep(key, "superseded", 0, None, reason)
            return
        most, body, problem = self.delivery.amperity.settings.max_record_bytes, None, None
        try:
            body = record.body()
        except UnrepresentableError as error:
            problem = error.message
        if body is not None and key.method != NOTIFY and len(body) > most:
            problem = f"the record is larger than the limit of {most} bytes (AMPERITY_MAX_RECORD_BYTES)"
        if body is None or problem is not None:
            receipt = Receipt("rejected", None, 0, problem)
        elif self.delivery.dry_run:
            counts.would_send += 1
            return
        elif key.method == NOTIFY:
            receipt = await self.delivery.amperity.send_notice(key.request_id, body)
        else:
            receipt = await self.delivery.amperity.send_record(place_of(key.destination), key.request_id, body)
        if receipt.state == "accepted":
            counts.accepted += 1
        elif receipt.state == "pending":
            counts.pending += 1
        else:
            self._refuse(key, receipt, body)
        await self._keep(key, receipt.state, receipt.attempts, receipt.status, receipt.reason)
        self.run.answered(receipt)

    async def _keep(self, key: RecordKey, state: State, attempts: int, status: int | None, reason: str | None) -> None:
        if not self.delivery.dry_run:
            attempts += self.state.attempts.get(key.request_id, 0)
            await self.ledger.add(LedgerEntry(key, state, attempts, status, reason, epoch_ms(self.delivery.now())))

    def _refuse(self, key: RecordKey, receipt: Receipt, body: bytes | None) -> None:
        reason = receipt.reason or ""
        self.counts[key.method].rejected += 1
        self.run.report.reject_reasons[reason] += 1
        explained = f"{reason}: {receipt.explanation}" if receipt.explanation else reason
        self.run.rejects.add(key, receipt.status, explained, body if body is not None else b"null")

    def _log_progress(self, pull: PullRecord) -> None:
        self.run.orders_done += pull.orders
        counts = self.counts.values()
        others = {"rejected": sum(one.rejected for one in counts), "pending": sum(one.pending for one in counts)}
        self.delivery.log.info(
            "%s: %d records sent%s (%d of %d orders in total).",
            self.record.name or self.guid,
            sum(one.accepted for one in counts),
            "".join(f", {count} {name}" for name, count in others.items() if count),
            self.run.orders_done,
            sum(record.pull.orders for record in self.run.restaurants.values() if record.pull),
        )


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
