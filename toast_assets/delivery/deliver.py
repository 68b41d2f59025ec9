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
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from toast_assets.amperity.client import AmperityClient, Receipt
from toast_assets.amperity.records import NOTIFY, RecordKey
from toast_assets.concurrency import in_thread, task_group
from toast_assets.delivery.guests import StreamedGuests
from toast_assets.delivery.history import DeliveredWeeks
from toast_assets.delivery.ledger import ARRIVED, READERS, LedgerEntry, RestaurantLedger, Slots, stored_ledgers
from toast_assets.delivery.open_rejects import OpenWeeks, Try, note_rejects
from toast_assets.delivery.outgoing import (
    STREAM_CUSTOMERS,
    DueRecord,
    MethodCounts,
    Outgoing,
    RestaurantRecords,
    streams,
)
from toast_assets.delivery.preview import preview
from toast_assets.delivery.rejects import Rejects, stored_rejects
from toast_assets.delivery.streams import HOW_TO_CHECK, note_streams
from toast_assets.errors import (
    AmperityError,
    AmperityTransientError,
    ExportError,
    StoreError,
    ToastAssetsError,
    quoted,
)
from toast_assets.export.read import export_problem
from toast_assets.http.service import CallStats
from toast_assets.markdown import first_of
from toast_assets.scratch import scratch_folder
from toast_assets.store.client import CALLS_AT_ONCE
from toast_assets.store.deliveries import MethodSummary, RestaurantDelivery, note_delivered
from toast_assets.store.manifest import PullRecord, RestaurantRecord
from toast_assets.store.order_store import OrderStore
from toast_assets.store.raw_weeks import RawFile, StoredWeek
from toast_assets.tables.names import StoredNames
from toast_assets.week import Week, epoch_ms, iso_ms

# This many records in a row without an answer mean that Amperity is down, not that single records fail.
_MOST_FAILURES_IN_A_ROW = 25
_MOST_NAMED = 20


@dataclass
class DeliveryReport:
    """One run's delivery of a week, counts by method: ``problems`` of restaurants that are not delivered whole, and why
    the last pending record had no answer (``last_failure``). ``new_streams`` (tenant and stream) had never accepted a
    record before. ``first_record`` is the first that a dry run would have sent, as JSON without guests' data."""

    week: Week
    methods: dict[str, MethodCounts]
    calls: CallStats
    dry_run: bool
    seconds: float = 0.0
    reject_reasons: Counter[str] = field(default_factory=Counter)
    last_failure: str = ""
    problems: dict[str, ToastAssetsError] = field(default_factory=dict)
    new_streams: list[str] = field(default_factory=list)
    first_record: str | None = None

    @property
    def records(self) -> int:
        """All records of the week, whatever became of them."""
        return sum(counts.records for counts in self.methods.values())

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
    # All below is made by ``run``.
    report: DeliveryReport = field(init=False)
    outgoing: Outgoing = field(init=False)
    rejects: Rejects = field(init=False)
    slots: Slots = field(init=False, default_factory=Slots)
    at_once: asyncio.Semaphore = field(init=False, default_factory=lambda: asyncio.Semaphore(CALLS_AT_ONCE))
    readers: asyncio.Semaphore = field(init=False, default_factory=lambda: asyncio.Semaphore(READERS))
    guests: StreamedGuests = field(init=False)
    orders: int = field(init=False, default=0)
    orders_done: int = field(init=False, default=0)
    failures_in_a_row: int = field(init=False, default=0)
    open_rejects: OpenWeeks = field(init=False, default_factory=dict)
    _first: tuple[tuple[int, str], str, bytes] | None = field(init=False, default=None)

    async def run(self) -> DeliveryReport:
        """Deliver, keep the receipts, report, also of what could not be delivered (``check_delivery``).

        Raises:
            ExportError: the week was not pulled.
            AmperityRefusedError: Amperity takes no records; a setting is wrong. Receipts of earlier records are kept.
            AmperityError: Amperity gives no answers.
            StoreError: the bucket is missing or refuses access.
        """
        began, cause = time.monotonic(), None
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(CALLS_AT_ONCE))
        with scratch_folder() as folder:
            restaurants = await in_thread(self._prepare, folder)
            try:
                async with task_group() as group:
                    for restaurant in restaurants:
                        group.create_task(self._deliver(restaurant))
            except BaseException as error:
                cause = error
                raise
            finally:
                if not self.dry_run:
                    await in_thread(self._keep, restaurants, cause)
        if self._first is not None:
            _, method, body = self._first
            self.report.first_record = preview(method, body, self.amperity.settings.redaction)
        # Retries of other weeks' rejects go through the same client.
        self.report.calls = replace(self.amperity.stats)
        self.report.problems = dict(sorted(self.report.problems.items()))
        self.report.seconds = time.monotonic() - began
        return self.report

    def _prepare(self, folder: Path) -> list[_Restaurant]:
        self.store.bucket.check()
        records = StoredWeek(self.week, self.store).restaurants()
        only = stored_rejects(self.store, self.week) if self.replay else None
        delivered = DeliveredWeeks(self.store, self.log, self.dry_run)
        names = StoredNames(self.store, folder, self.log)
        self.outgoing = Outgoing(self.amperity.settings, delivered, names, only)
        methods = {method: MethodCounts() for method in self.outgoing.methods}
        self.report = DeliveryReport(self.week, methods, self.amperity.stats, self.dry_run)
        self.rejects = Rejects(self.store, self.week, self.outgoing.methods, only, folder / "rejects.ndjson.gz")
        self.guests = StreamedGuests(self.week, records, folder / "guests.sqlite", self.outgoing.delivered)
        segments = list(stored_ledgers(self.store.layout.ledger_segments(self.week), self.store))
        wanted = records.keys() if only is None else {reject.restaurant_guid for reject in only}
        restaurants = []
        for guid, record in records.items():
            if record.pull is not None and guid in wanted:
                leftovers = [key for _, owner, key in segments if owner == guid]
                ledger = RestaurantLedger(self.store, self.week, guid, self.slots, leftovers)
                restaurants.append(_Restaurant(self, guid, record, record.pull, ledger))
        self.orders = sum(restaurant.pull.orders for restaurant in restaurants)
        return restaurants

    @property
    def as_try(self) -> Try:
        """This delivery as a try of rejects."""
        return Try(self.week.key, self.outgoing.methods, self.outgoing.recipe, self.now())

    def _keep(self, restaurants: list[_Restaurant], cause: BaseException | None) -> None:
        """Store what is known at the end of the delivery, which ``cause`` ended, if any did."""
        self.rejects.save()
        self._note_streams()
        left = Counter(method for _, method in self.rejects.left.elements())
        self.open_rejects = note_rejects(self.store, self.week.key, left, None if cause else self.as_try)
        # Of orders that a pull has replaced meanwhile another delivery knows more.
        known = [one for one in restaurants if self.rejects.pulls.get(one.guid) == one.pull.orders_sha256]
        summaries = {one.guid: summary for one in known if (summary := one.summary(cause)) is not None}
        if summaries:
            note_delivered(self.store, self.week.key, summaries, is_first=not self.replay)

    def _note_streams(self) -> None:
        methods = self.report.methods
        accepting = {
            to
            for method, to in streams(self.amperity.settings).items()
            if method in methods and methods[method].accepted
        }
        self.report.new_streams = note_streams(accepting, self.week, self.store) if accepting else []
        for to in self.report.new_streams:
            self.log.warning("First records for stream %s. %s", to, HOW_TO_CHECK)

    async def _deliver(self, restaurant: _Restaurant) -> None:
        async with self.at_once:
            try:
                await restaurant.deliver()
                restaurant.is_whole = True
            except (ExportError, StoreError) as problem:
                # Where the bucket as a whole is out of reach, no other restaurant needs to be tried.
                await in_thread(self.store.bucket.check)
                self.report.problems[restaurant.guid] = problem
                self.log.error("%s is not delivered whole: %s", restaurant.name, problem)  # noqa: TRY400
            finally:
                restaurant.ended_at = iso_ms(self.now())

    def would_send(self, key: RecordKey, body: bytes) -> None:
        """A dry run shows the first record of the first method and restaurant."""
        rank = self.outgoing.methods.index(key.method), key.restaurant_guid
        if self._first is None or rank < self._first[0]:
            self._first = rank, key.method, body

    def answered(self, receipt: Receipt) -> None:
        """Stop the delivery where Amperity is down: many records in a row had no answer."""
        if receipt.state == "pending":
            self.failures_in_a_row += 1
            self.report.last_failure = receipt.reason or ""
        elif receipt.attempts:
            self.failures_in_a_row = 0
        if self.failures_in_a_row >= _MOST_FAILURES_IN_A_ROW:
            raise AmperityError(
                f"Amperity gave no good answer to {_MOST_FAILURES_IN_A_ROW} records in a row, last: {receipt.reason}",
                hint="The receipts are kept. Materialize amperity_delivery again later; only the rest is sent.",
                code=AmperityTransientError.code,
            )


@dataclass
class _Restaurant:
    """The delivery of one restaurant's week."""

    run: WeekDelivery
    guid: str
    record: RestaurantRecord
    pull: PullRecord
    ledger: RestaurantLedger
    counts: defaultdict[str, MethodCounts] = field(default_factory=lambda: defaultdict(MethodCounts))
    calls_so_far: Mapping[str, int | None] = field(default_factory=dict)
    is_whole: bool = False
    ended_at: str = ""

    def __post_init__(self) -> None:
        self.name = self.record.name or self.guid

    async def deliver(self) -> None:
        """Send what is due and keep the receipts."""
        run, digest = self.run, self.run.outgoing.digest(self.record)
        try:
            with scratch_folder() as folder:
                await in_thread(self.ledger.fetch, folder)
                settled = None if run.replay else self.ledger.settled(digest)
                await in_thread(self._check_export, None if settled is not None else folder / "export.json.gz")
                if settled is not None:
                    self.counts |= {name: MethodCounts(count, unchanged=count) for name, count in settled.items()}
                else:
                    raw = RawFile(run.week, self.guid, self.record, self.pull, folder / "raw.parquet", run.store)
                    await self._deliver_due(raw, digest)
        finally:
            for method, counts in self.counts.items():
                run.report.methods[method].add(counts)
        run.orders_done += self.pull.orders
        sums = [sum(vars(one)[name] for one in self.counts.values()) for name in ("accepted", "rejected", "pending")]
        if not sums[-1]:
            run.rejects.answered[self.guid] = self.pull.orders_sha256
        if run.dry_run:
            due, records = (sum(vars(one)[name] for one in self.counts.values()) for name in ("would_send", "records"))
            text = "Dry run: %s: %d of %d records would be sent (%d of %d orders in total)."
            run.log.info(text, self.name, due, records, run.orders_done, run.orders)
            return
        text = "%s: %d records sent, %d rejected, %d pending (%d of %d orders in total)."
        run.log.info(text, self.name, *sums, run.orders_done, run.orders)

    def summary(self, cause: BaseException | None) -> RestaurantDelivery | None:
        """What Amperity has of the restaurant's week, by the ledger and the rejects; None where this run does not know.
        ``cause`` is what ended the run, if anything did."""
        run, known = self.run, self.ledger.states is not None
        states, own = self.ledger.states or Counter(), run.report.problems.get(self.guid)
        if not (self.ended_at and (known or own)):
            return None
        methods, problem = {}, None if self.is_whole else own or cause
        for method, to in run.outgoing.destinations.items() if known else ():
            arrived = sum(states[method, to, state] for state in ARRIVED)
            superseded, pending = states[method, to, "superseded"], states[method, to, "pending"]
            rejected = run.rejects.left[self.guid, method]
            methods[method] = MethodSummary(
                records=arrived + superseded + rejected + pending,
                arrived=arrived,
                superseded=superseded,
                rejected=rejected,
                pending=pending,
            )
        # What is no error of this package's may quote anything.
        text = str(problem) if isinstance(problem, ToastAssetsError) else type(problem).__name__ if problem else None
        return RestaurantDelivery(
            orders_sha256=self.pull.orders_sha256, updated_at=self.ended_at, methods=methods, problem=text
        )

    def _check_export(self, path: Path | None) -> None:
        """Raise an ExportError unless what is stored was exported. With ``path`` the export is read as well, there."""
        bucket, problem = self.run.store.bucket, None
        key = self.run.store.layout.export(self.run.week, self.guid)
        export = bucket.fetch(key, path) if path else bucket.info(key)
        if export is None:
            problem = "is missing"
        elif export.metadata.get("sha256") != self.pull.orders_sha256:
            problem = "is older than the raw orders"
        elif path:
            problem, _ = export_problem(path, self.run.week, self.guid, self.pull)
            path.unlink()
        if problem:
            hint = "Materialize toast_orders_s3_export for this week."
            raise ExportError(f"The export {bucket.uri(key)} {problem}.", hint=hint)

    async def _deliver_due(self, raw: RawFile, digest: str) -> None:
        self.calls_so_far = await in_thread(self.ledger.calls_so_far)
        records = RestaurantRecords(self.run.outgoing, raw, self.calls_so_far, self.counts)
        try:
            await self._send_due(records)
            if not self.run.dry_run:
                # Before the ledger says that nothing is due: until then, the next delivery notes the same.
                await in_thread(records.note_arrived)
        except BaseException:
            # What ended the delivery is the reason to act on; all that was answered is kept.
            with suppress(StoreError):
                await self._save("")
            raise
        unsettled = sum(one.records - one.unchanged - one.superseded - one.accepted for one in self.counts.values())
        await self._save("" if unsettled or self.run.replay else digest)

    async def _save(self, digest: str) -> None:
        if not self.run.dry_run:
            await self.ledger.save(digest, {method: counts.records for method, counts in self.counts.items()})

    async def _send_due(self, records: RestaurantRecords) -> None:
        run, problem = self.run, None
        if STREAM_CUSTOMERS in run.outgoing.methods:
            records.guests = await in_thread(run.guests.of_restaurant, self.guid)
        await in_thread(records.fetch)
        async with task_group() as group, run.readers:
            try:
                with closing(records.batches()) as batches:
                    while (some := await in_thread(next, batches, None)) is not None:
                        for record in some:
                            # Where no rows can be made, a row in the ledger would stay once they can.
                            if run.dry_run or (record.receipt is not None and record.receipt.state == "rejected"):
                                receipt, body = record.unsent(run.amperity.settings)
                                self._count(record.key, receipt, body)
                                if receipt is None:
                                    run.would_send(record.key, body)
                            else:
                                await run.slots.acquire()
                                group.create_task(self._settle(record, records))
            except (ExportError, StoreError) as error:
                # What was sent already is answered before the group ends.
                problem = error
            except Exception:
                await run.amperity.settle()
                raise
        if problem is not None:
            raise problem

    async def _settle(self, record: DueRecord, records: RestaurantRecords) -> None:
        """Send a record and keep its receipt. Whatever ends the delivery here, records that were sent are still
        answered and their receipts kept, before the group cancels all others."""
        key, amperity = record.key, self.run.amperity
        try:
            receipt, body = record.unsent(amperity.settings)
            if receipt is None and key.method == NOTIFY:
                receipt = await amperity.send_notice(key.request_id, body)
            elif receipt is None:
                receipt = await amperity.send_record(key.destination.rpartition("/")[2], key.request_id, body)
            self._count(key, receipt, body)
            attempts = receipt.attempts + (self.calls_so_far.get(key.request_id) or 0)
            at = epoch_ms(datetime.now(UTC))
            await self.ledger.add(LedgerEntry(key, receipt.state, attempts, receipt.status, receipt.reason, at))
            if receipt.state in ARRIVED:
                records.arrived(key)
            self.run.answered(receipt)
        except Exception:
            await amperity.settle()
            raise

    def _count(self, key: RecordKey, receipt: Receipt | None, body: bytes) -> None:
        """Count what became of a record; without a receipt it would be sent."""
        self.counts[key.method].add(MethodCounts(**{receipt.state if receipt else "would_send": 1}))
        if receipt is not None and receipt.state == "rejected":
            reason = receipt.reason or ""
            self.run.report.reject_reasons[reason] += 1
            explained = f"{reason}: {receipt.explanation}" if receipt.explanation else reason
            self.run.rejects.add(key, receipt.status, explained, body)


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
                code="AMPERITY-PENDING",
            )
        if counts.rejected > max_reject_share * counts.records:
            reasons = ", ".join(f"{count} × {reason}" for reason, count in report.reject_reasons.items())
            raise AmperityError(
                f"Amperity refused {counts.rejected} of {counts.records} {method} records ({reasons}).",
                hint="The records are in the week's rejects; fix the cause: they are sent again by the next deliveries,"
                " or at once by toast-assets replay-rejects.",
                code="AMPERITY-REJECTS",
            )


def not_delivered(report: DeliveryReport) -> ToastAssetsError | None:
    """One error for all restaurants that could not be delivered whole; None where there are none."""
    problems = list(report.problems.items())
    if len(problems) < 2:
        return problems[0][1] if problems else None
    named, code = quoted(f"{guid}: {problem}" for guid, problem in problems)
    reasons = "".join(f"\n  - {problem}" for problem in first_of(named, _MOST_NAMED))
    return ExportError(
        f"Week {report.week.key}: {len(problems)} restaurants are not delivered whole.{reasons}\n",
        hint="The other restaurants are delivered. Fix the causes above, then materialize amperity_delivery again.",
        code=code,
    )
