"""Everything that is stored of one order, over all weeks: where it was seen, what was made and sent of it, and what a
delivery would do with it now. Reads only.

What cannot be read is a problem of its week and stops nothing else; a StoreError is raised where the bucket fails.
"""

from __future__ import annotations

import gzip
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from itertools import pairwise
from typing import Literal

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from toast_assets.amperity.feeds.build import FEEDS
from toast_assets.amperity.feeds.customers import CUSTOMERS
from toast_assets.amperity.records import FEED_METHODS, NOTIFY
from toast_assets.amperity.settings import AmperitySettings
from toast_assets.delivery.history import DeliveredWeeks, History
from toast_assets.delivery.ledger import LEDGER_SCHEMA, RestaurantLedger, Slots, fold, read_ledger, stored_ledgers
from toast_assets.delivery.outgoing import DueRecord, MethodCounts, Outgoing, RestaurantRecords
from toast_assets.delivery.rejects import RejectLine
from toast_assets.index.orders import IndexState, OrderEntry, StoredVersion, decode_month, read_state
from toast_assets.lookup.answers import (
    Arrival,
    CensusVerdict,
    DueNow,
    GuestRow,
    GuestTrace,
    KnownRow,
    LedgerRow,
    MadeObject,
    Outlook,
    ReadWindow,
    Refusal,
    Trace,
    TracedOrder,
    TracedVersion,
    UnknownOrder,
)
from toast_assets.lookup.changes import changes
from toast_assets.lookup.search import Search
from toast_assets.markdown import plain
from toast_assets.orders.raw import RawOrder
from toast_assets.orders.raw_file import RawFileWriter
from toast_assets.orders.scanner import decoder
from toast_assets.scratch import scratch_folder
from toast_assets.store.client import CALLS_AT_ONCE
from toast_assets.store.manifest import CENSUS, PullRecord, RestaurantRecord
from toast_assets.store.order_store import OrderStore
from toast_assets.store.raw_weeks import RawFile
from toast_assets.store.s3_errors import readable
from toast_assets.tables.names import StoredNames
from toast_assets.toast.windows import Evidence
from toast_assets.week import Week, from_epoch_ms, iso_ms

_LOG = logging.getLogger(__name__)
_UNKNOWN = datetime.min.replace(tzinfo=UTC)
_CUSTOMERS = FEED_METHODS + CUSTOMERS.name
_NOTHING = LEDGER_SCHEMA.empty_table()
_NOT_IN_MANIFEST = "the manifest does not have these orders yet: materialize raw_toast_orders for this week again"
_EXPORT_FIRST = "the export is {}: materialize toast_orders_s3_export for this week"


@dataclass
class Tracer:
    """Answers questions in the bounds of ``search``. Without Amperity's ``settings`` nothing is said of what would be
    sent, and ``not_set`` says why."""

    store: OrderStore
    search: Search
    settings: AmperitySettings | None
    not_set: str | None = None

    def order(self, guid: str) -> Trace:
        """What is known of the order with a GUID, which compares without case, at each restaurant that has one."""
        return self._traced(guid, [guid])

    def number(self, number: str, day: date) -> Trace:
        """What is known of the orders with a display number on a business day, of one restaurant."""
        return self._traced(f"{number} of {day}", sorted(self.search.numbered(number, day)))

    def _traced(self, asked: str, guids: Sequence[str]) -> Trace:
        orders: list[TracedOrder] = []
        with scratch_folder() as folder:
            names = StoredNames(self.store, folder, _LOG)
            for guid in guids:
                found = self.search.holding(guid)
                traced = (_Order(self, names, one, guid, weeks).traced() for one, weeks in sorted(found.items()))
                held = [one for one in traced if one is not None]
                orders += held or self._unknown(guid)
        return Trace(asked=asked, orders=tuple(orders), problems=self.search.found_problems, not_set=self.not_set)

    def _unknown(self, guid: str) -> Iterator[TracedOrder]:
        """The order at the restaurants whose census listed it, and could not fetch it."""
        found = defaultdict[str, list[UnknownOrder]](list)
        names: dict[str, str | None] = {}
        with ThreadPoolExecutor(CALLS_AT_ONCE, thread_name_prefix="trace") as threads:
            weeks = self.search.weeks
            for key, manifest in zip(weeks, threads.map(self.search.manifest, weeks), strict=True):
                for one, record in (manifest[1].restaurants if manifest else {}).items():
                    looks = record.census.unknown.get(guid.lower()) if record.census else None
                    if looks is not None and self.search.is_wanted(one):
                        found[one].append(UnknownOrder(key, looks))
                        names[one] = plain(record.name) if record.name else None
        for one, unknown in sorted(found.items()):
            yield TracedOrder(order_guid=guid, restaurant_guid=one, restaurant_name=names[one], unknown=tuple(unknown))

    def guest(self, key: str) -> GuestTrace:
        """What was sent of the guest with a key in the feed ``customers``, which compares without case."""
        ledgers = defaultdict[tuple[str, str], list[str]](list)
        for week, restaurant, ledger in stored_ledgers(self.store.layout.all_deliveries, self.store):
            if self.search.week in (None, week) and self.search.is_wanted(restaurant):
                ledgers[week, restaurant].append(ledger)
        weeks = sorted({week for week, _ in ledgers})

        def is_theirs(rows: pa.Table) -> pa.Array:
            is_guest = pc.equal(pc.utf8_lower(rows["record_id"]), key.lower())
            return pc.and_(pc.equal(rows["method"], _CUSTOMERS), is_guest)

        with ThreadPoolExecutor(CALLS_AT_ONCE, thread_name_prefix="trace") as threads:
            receipts = threads.map(
                lambda place: self.receipts(place[0], ledgers[place], is_theirs) or _NOTHING, ledgers
            )
            refusals = threads.map(lambda week: self.refusals(Week(week, _UNKNOWN, _UNKNOWN)), weeks)
            rows = [
                GuestRow(week, restaurant, receipt=receipt)
                for (week, restaurant), found in zip(ledgers, receipts, strict=True)
                for receipt in _ledger_rows(found)
            ]
            for week, lines in zip(weeks, refusals, strict=True):
                for line in lines:
                    is_guest = line.method == _CUSTOMERS and (line.key.record_id or "").lower() == key.lower()
                    if is_guest and self.search.is_wanted(line.restaurant_guid):
                        rows.append(GuestRow(week, line.restaurant_guid, reject=_refusal(line)))
        rows.sort(key=lambda row: (row.week, row.restaurant_guid, row.receipt is None))
        return GuestTrace(asked=key, rows=tuple(rows), problems=self.search.found_problems)

    def receipts(self, key: str, ledgers: Iterable[str], is_wanted: Callable[[pa.Table], pa.Array]) -> pa.Table | None:
        """The newest receipts in a week's ledger, and in what lies open beside it; None where one of them cannot be
        read."""
        tables = (read_ledger(self.store.bucket, ledger) for ledger in ledgers)
        wanted = (table.filter(is_wanted(table)) for table in tables if table is not None)
        return self.search.tried(key, lambda: fold(wanted))

    def refusals(self, week: Week) -> list[RejectLine]:
        """The week's rejects."""
        bucket, key = self.store.bucket, self.store.layout.rejects(week)
        hint, found = "Materialize amperity_delivery for this week: it makes it again.", list[RejectLine]()
        with self.search.noting(week.key), scratch_folder() as folder:
            if bucket.fetch(key, folder / "rejects.ndjson.gz"):
                with readable(bucket.uri(key), hint), gzip.open(folder / "rejects.ndjson.gz") as lines:
                    found = list(map(decoder(RejectLine).decode, lines))
        return found


@dataclass
class _Order:
    """One order (``guid``) at one restaurant, which the ``weeks`` probably hold."""

    tracer: Tracer
    names: StoredNames
    restaurant: str
    guid: str
    weeks: set[str]
    called: dict[str, str] = field(default_factory=dict)
    entry: OrderEntry | None = None

    def __post_init__(self) -> None:
        self.store, self.search, self.settings = self.tracer.store, self.tracer.search, self.tracer.settings

    def traced(self) -> TracedOrder | None:
        """All of it; None where no week holds the order after all."""
        weeks = sorted(self.weeks)
        with ThreadPoolExecutor(CALLS_AT_ONCE, thread_name_prefix="trace") as threads:
            files = threads.map(lambda key: self.search.rows(key, self.restaurant, self.guid), weeks)
            rows = dict(zip(weeks, files, strict=True))
            stored = [(key, row) for key, some in rows.items() for row in some or ()]
            if stored:
                self.guid = stored[-1][1].guid
            versions = list(threads.map(self._version, *zip(*stored, strict=True))) if stored else []
        gone = [key for key, some in rows.items() if some is None]
        if self.entry is None or gone:
            state = read_state(self.store, self.restaurant) or IndexState()
            self.entry = self.entry or self._indexed(state.months)
            self._note_missing(set(gone) - set(state.expired))
            versions += [version for key in gone if (version := self._from_index(key)) is not None]
        if not versions:
            return None
        bodies = {key: row.body for key, row in stored}
        by_time = sorted(versions, key=lambda one: (one.modified_at, one.week))
        for number, (before, after) in enumerate(pairwise(by_time), 1):
            if before.week in bodies and after.week in bodies:
                changed = changes(bodies[before.week], bodies[after.week])
                by_time[number] = msgspec.structs.replace(after, changed=None if changed is None else tuple(changed))
        return TracedOrder(
            order_guid=self.guid,
            restaurant_guid=self.restaurant,
            restaurant_name=self.called[max(self.called)] if self.called else None,
            versions=tuple(by_time),
            feed_rows=tuple(self._feed_rows()),
            arrived=tuple(
                Arrival(one.destination, one.week, _iso(one.modified_ms))
                for one in (self.entry.sent if self.entry else ())
            ),
        )

    def _version(self, key: str, row: RawOrder) -> TracedVersion:
        found = self.search.manifest(key)
        version = TracedVersion(
            week=key,
            version=row.version,
            modified_at=_iso(row.modified_ms),
            business_date=f"{row.business_date}" if row.business_date else None,
            deleted=row.deleted,
            voided=row.voided,
            pulled_at=_iso(row.pulled_ms),
        )
        if found is None:
            return version
        week, manifest = found
        record = manifest.restaurants.get(self.restaurant)
        if record is None or record.pull is None:
            return msgspec.structs.replace(version, blocked=_NOT_IN_MANIFEST)
        self._note_name(key, record)
        census, window = _seen(row, record, record.pull)
        export = self._made(self.store.layout.export(week, self.restaurant), "sha256", record.pull)
        ledger = self.search.tried(key, lambda: self._ledger(week))
        of_files = self.tracer.receipts(key, [self.store.layout.workflow_ledger(week)], lambda rows: [True] * len(rows))
        refused = [line for line in self.tracer.refusals(week) if self._is_its_own(line)]
        outlook, blocked = None, None if export.state == "current" else _EXPORT_FIRST.format(export.state)
        receipts = _NOTHING
        if ledger is not None:
            receipts = ledger.rows()
            receipts = receipts.filter(self._are_its_own(receipts))
            outlook, blocked = self._outlook(week, record, record.pull, row, ledger, blocked)
        return msgspec.structs.replace(
            version,
            window=window,
            census=census,
            export=export,
            feed_files=tuple(self._feed_files(week, record.pull)),
            receipts=(*_ledger_rows(receipts), *_ledger_rows(of_files or _NOTHING)),
            rejects=tuple(map(_refusal, refused)),
            outlook=outlook,
            blocked=blocked,
        )

    def _note_name(self, key: str, record: RestaurantRecord) -> None:
        if record.name:
            self.called[key] = plain(record.name)

    def _is_its_own(self, line: RejectLine) -> bool:
        if line.restaurant_guid != self.restaurant:
            return False
        return line.method == NOTIFY or (line.order_guid or "").lower() == self.guid.lower()

    def _ledger(self, week: Week) -> RestaurantLedger:
        segments = stored_ledgers(self.store.layout.ledger_segments(week), self.store)
        leftovers = [segment for _, owner, segment in segments if owner == self.restaurant]
        ledger = RestaurantLedger(self.store, week, self.restaurant, Slots(), leftovers)
        with scratch_folder() as folder:
            ledger.fetch(folder)
        return ledger

    def _are_its_own(self, rows: pa.Table) -> pa.Array:
        is_its_own = pc.equal(pc.utf8_lower(rows["order_guid"]), self.guid.lower())
        return pc.or_(pc.equal(rows["method"], NOTIFY), pc.fill_null(is_its_own, fill_value=False))

    def _made(self, key: str, entry: str, pull: PullRecord, feed: str | None = None) -> MadeObject:
        info = self.store.bucket.info(key)
        if info is None:
            return MadeObject(key, "missing", feed)
        return MadeObject(key, "current" if info.metadata.get(entry) == pull.orders_sha256 else "outdated", feed)

    def _feed_files(self, week: Week, pull: PullRecord) -> Iterator[MadeObject]:
        is_wanted = self.settings is not None and "s3_pull" in self.settings.methods
        for feed in FEEDS:
            made = self._made(self.store.layout.feed(week, self.restaurant, feed), "orders", pull, feed)
            if is_wanted or made.state != "missing":
                yield made

    def _outlook(
        self,
        week: Week,
        record: RestaurantRecord,
        pull: PullRecord,
        row: RawOrder,
        ledger: RestaurantLedger,
        blocked: str | None,
    ) -> tuple[tuple[Outlook, ...] | None, str | None]:
        """What the next delivery of the week would do with the order, by its own code, on a file with this order alone;
        or why it would do nothing."""
        found: tuple[Outlook, ...] | None = None
        with self.search.noting(week.key), scratch_folder() as folder:
            path = folder / "raw.parquet"
            with RawFileWriter(path, self.restaurant) as writer:
                writer.write([row])
            raw = RawFile(week, self.restaurant, record, pull, path, self.store)
            delivered = DeliveredWeeks(self.store, _LOG, read_only=True)
            history = History(raw, delivered)
            self.entry = history.entries[row.guid]
            if self.settings is not None and not blocked:
                outgoing = Outgoing(self.settings, delivered, self.names)
                counts = defaultdict[str, MethodCounts](MethodCounts)
                records = RestaurantRecords(outgoing, raw, ledger.calls_so_far(), counts)
                records.history = history
                due = defaultdict[str, list[DueNow]](list)
                for some in records.batches():
                    for one in some:
                        due[one.key.method].append(_due(one, self.settings))
                if ledger.settled(outgoing.digest(record)) is not None:
                    # The delivery does not even look.
                    due.clear()
                found = tuple(
                    Outlook(
                        method, counts[method].records, counts[method].records - len(due[method]), tuple(due[method])
                    )
                    for method in outgoing.methods
                    # Guests belong to several orders: ask for them by key.
                    if method != _CUSTOMERS or due[method]
                )
        return found, blocked

    def _feed_rows(self) -> Iterator[KnownRow]:
        fed = self.entry.fed if self.entry else None
        for row in fed.rows if fed else ():
            yield KnownRow(row.feed, f"{self.guid}|{plain(row.key)}", row.current)

    def _note_missing(self, weeks: set[str]) -> None:
        """Raw files that retention has not removed are missing, unless it is known already that they are damaged."""
        for key in weeks - {problem.week for problem in self.search.problems}:
            where = self.store.bucket.uri(self.store.layout.raw(Week(key, _UNKNOWN, _UNKNOWN), self.restaurant))
            self.search.note(key, f"The raw orders {where} are missing.")

    def _indexed(self, months: Iterable[str]) -> OrderEntry | None:
        """What the order index knows of the order, whatever its month."""
        keys = [self.store.layout.order_index(self.restaurant, month) for month in months]
        with ThreadPoolExecutor(CALLS_AT_ONCE, thread_name_prefix="trace") as threads:
            for found in threads.map(self.store.bucket.read, keys):
                for entry in (decode_month(found[0]) or ()) if found else ():
                    if entry.order_guid.lower() == self.guid.lower():
                        self.guid = entry.order_guid
                        return entry
        return None

    def _from_index(self, key: str) -> TracedVersion | None:
        """The version of a week whose raw orders are gone, or cannot be read, by the order index."""
        held: StoredVersion | None = next(
            (one for one in (self.entry.stored if self.entry else ()) if one.week == key), None
        )
        if held is None:
            return None
        if (found := self.search.manifest(key)) and (record := found[1].restaurants.get(self.restaurant)):
            self._note_name(key, record)
        return TracedVersion(week=key, version=held.version, modified_at=_iso(held.modified_ms), from_index=True)


def _seen(row: RawOrder, record: RestaurantRecord, pull: PullRecord) -> tuple[CensusVerdict, ReadWindow | None]:
    """What the census said of an order, and the window that it belongs to."""
    at, census = _iso(row.modified_ms), record.census
    earlier = _iso(row.pulled_ms) < pull.started_at
    found_in = census.found.get(row.guid) if census else None
    held = [one for one in pull.windows if one.start <= at < one.end]
    if not held:
        outside = [one for one in pull.windows if one.evidence == Evidence.OUTSIDE_WINDOW]
        held = outside if len(outside) == 1 else []
    if found_in is not None:
        by_guid = [one for one in pull.slices if one.evidence == CENSUS and f"[{one.start}, {one.end})" == found_in]
        held = [one for one in by_guid if one.start <= at < one.end] or held
    window = held[0] if held else None
    verdict = CensusVerdict("held" if census and not census.failure else "not_taken")
    if found_in is not None:
        verdict = CensusVerdict("found", window=found_in)
    return verdict, ReadWindow(**msgspec.structs.asdict(window), earlier_pull=earlier) if window else None


def _due(record: DueRecord, settings: AmperitySettings) -> DueNow:
    receipt, _ = record.unsent(settings)
    key = record.key
    if receipt is None:
        return DueNow(key.record_id, "would_send", key.request_id)
    outcome: Literal["superseded", "rejected"] = "superseded" if receipt.state == "superseded" else "rejected"
    return DueNow(key.record_id, outcome, key.request_id, plain(receipt.reason or ""))


def _ledger_rows(table: pa.Table) -> list[LedgerRow]:
    rows = table.to_pylist()
    texts = (
        {"updated_at": iso_ms(row["updated_at"]), "reason": row["reason"] and plain(row["reason"])} for row in rows
    )
    return [msgspec.convert(row | shown, LedgerRow) for row, shown in zip(rows, texts, strict=True)]


def _refusal(line: RejectLine) -> Refusal:
    # Behind the colon are Amperity's own words, which may quote the record.
    reason = line.reason if line.status is None else line.reason.partition(": ")[0]
    return Refusal(line.method, line.key.record_id, line.status, plain(reason), line.updated_at)


def _iso(milliseconds: int) -> str:
    return iso_ms(from_epoch_ms(milliseconds))
