"""What of a restaurant's week Amperity does not have yet, by all delivery methods, in one pass over its raw orders.

``stream`` sends each order as one record; feeds with a stream of their own send each row as one, made by the same rules
as the files of ``amperity_feeds``; ``notify`` sends one notice per export.

An order that was edited after its week belongs to two weeks, once in each version. Where the earlier week is delivered
after the later one, its outdated version is not sent.

Raises ExportError where raw orders are missing or damaged, StoreError where the bucket fails or the ledger of a later
week cannot be read.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial
from importlib.metadata import version

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from toast_assets.amperity.client import Receipt
from toast_assets.amperity.feeds.build import FeedBatch, feed_batches
from toast_assets.amperity.feeds.customers import CUSTOMERS
from toast_assets.amperity.feeds.order_items import ORDER_ITEMS
from toast_assets.amperity.feeds.schema import LAST_UPDATED, Feed, encode
from toast_assets.amperity.records import (
    RecordKey,
    destination,
    notice_body,
    notice_destination,
    order_version,
    stream_body,
)
from toast_assets.amperity.settings import AmperitySettings
from toast_assets.delivery.ledger import ARRIVED, read_ledger, stored_ledgers
from toast_assets.delivery.rejects import FEED_METHODS, NOTIFY, RejectKey
from toast_assets.orders.raw_file import read_groups, row_groups
from toast_assets.orders.read import RawOrders
from toast_assets.store.manifest import PullRecord, RestaurantRecord
from toast_assets.store.order_store import OrderStore
from toast_assets.store.raw_weeks import RawFile, fetch_raw, reading_raw
from toast_assets.week import Week, epoch_ms

STREAM = "stream"
_CUSTOMERS = FEED_METHODS + CUSTOMERS.name
_ORDERS_AT_ONCE = 200


@dataclass
class MethodCounts:
    """What became of the records of one method. Not sent: ``unchanged`` ones, which had arrived before, and
    ``superseded`` ones, of which a newer version had arrived with a later week."""

    records: int = 0
    unchanged: int = 0
    superseded: int = 0
    accepted: int = 0
    rejected: int = 0
    pending: int = 0
    would_send: int = 0

    def add(self, other: MethodCounts) -> None:
        """Count those of another restaurant, too."""
        for name, count in vars(other).items():
            setattr(self, name, getattr(self, name) + count)


@dataclass(frozen=True)
class DueRecord:
    """One record that is due; ``body`` renders its JSON. One with a ``receipt`` is not sent: superseded, as a newer
    version has arrived, or rejected, as no rows can be made of the order."""

    key: RecordKey
    body: Callable[[], bytes] = lambda: b"null"
    receipt: Receipt | None = None


def later_ledgers(week: Week, store: OrderStore) -> dict[str, list[tuple[str, str]]]:
    """The stored ledgers of the weeks after ``week``: their weeks and keys, by restaurant. Costs nothing while no later
    week has ended, as in the weekly run."""
    ledgers: dict[str, list[tuple[str, str]]] = defaultdict(list)
    if week.end + timedelta(days=7) <= datetime.now(UTC):
        # One listing of all weeks: a listing of each would take longer for all but the largest brands.
        for week_key, guid, key in stored_ledgers(store.layout.all_deliveries, store):
            if week_key > week.key:
                ledgers[guid].append((week_key, key))
    return ledgers


def notice_key(week: Week, guid: str, pull: PullRecord, store: OrderStore, settings: AmperitySettings) -> RecordKey:
    """The key of the notice of a restaurant's export."""
    url = notice_destination(settings.tenant_id, settings.api_url or "")
    return RecordKey(NOTIFY, url, guid, store.layout.export(week, guid), pull.orders_sha256)


def feed_streams(settings: AmperitySettings) -> list[tuple[Feed, str]]:
    """The feeds whose rows are streamed, each with its stream."""
    streams = ((ORDER_ITEMS, settings.order_items_stream_id), (CUSTOMERS, settings.customers_stream_id))
    return [(feed, stream_id) for feed, stream_id in streams if stream_id]


@dataclass(frozen=True)
class Outgoing:
    """The records of a week, by the methods that are set (``s3_pull`` sends nothing itself). ``later`` are the
    ``later_ledgers``; ``only`` limits the records to what was refused before."""

    settings: AmperitySettings
    later: Mapping[str, Sequence[tuple[str, str]]]
    only: Set[RejectKey] | None = None

    @cached_property
    def methods(self) -> tuple[str, ...]:
        """The methods by which records are sent, each streamed feed as one of its own."""
        streams = [STREAM, *(FEED_METHODS + feed.name for feed, _ in feed_streams(self.settings))]
        sent = {STREAM: streams, NOTIFY: [NOTIFY]}
        return tuple(name for method in self.settings.methods for name in sent.get(method, ()))

    def digest(self, record: RestaurantRecord) -> str:
        """Changes with a restaurant's orders, and with whatever decides what is sent of them, and where to."""
        settings = self.settings
        where = (self.methods, settings.tenant_id, settings.api_url, settings.stream_id)
        streams = [stream_id for _, stream_id in feed_streams(settings)]
        # Another release may make other rows of the same orders.
        shaped_by = (settings.purchase_brand, settings.redaction.digest, version("toast-assets"))
        orders = (record.pull and record.pull.orders_sha256, record.time_zone, record.currency)
        return hashlib.sha256(msgspec.json.encode((where, streams, shaped_by, orders))).hexdigest()


@dataclass
class RestaurantRecords:
    """The records of one restaurant, in one pass over its raw orders; ``counts`` by method is filled on the way."""

    outgoing: Outgoing
    raw: RawFile
    calls_so_far: Mapping[str, int | None]
    counts: Mapping[str, MethodCounts]
    newer: dict[tuple[str, str, str], tuple[int, str]] = field(default_factory=dict)
    """The newest version that has arrived with a later week: its modified time in milliseconds, and the week, by
    method, destination and record id."""
    found: list[DueRecord] = field(default_factory=list)
    any_guest_is_wanted: bool = False
    """Once an order was refused as a whole, nothing says which of the guests are its own."""

    def fetch(self) -> None:
        """Fetch the raw orders, where a method needs them, and what later weeks have brought of them."""
        outgoing, raw = self.outgoing, self.raw
        if STREAM not in outgoing.methods:
            return
        fetch_raw(raw.week, raw.guid, raw.path, raw.store)
        if raw.guid not in outgoing.later:
            return
        with reading_raw(raw.week, raw.guid, raw.store):
            guids = [guid for rows in row_groups(raw.path, ["order_guid"]) for guid in rows["order_guid"].to_pylist()]
        orders = pa.array(guids, pa.string())
        for week_key, key in outgoing.later[raw.guid]:
            ledger = read_ledger(raw.store.bucket, key)
            if ledger is None:
                continue
            # Guests belong to no single order. Few orders are edited weeks later, so this is small.
            chosen = pc.or_kleene(pc.is_null(ledger["order_guid"]), pc.is_in(ledger["order_guid"], orders))
            rows = ledger.filter(pc.and_(pc.is_in(ledger["state"], pa.array(ARRIVED)), chosen))
            columns = (rows[name].to_pylist() for name in ("method", "destination", "record_id", "modified_at"))
            for method, to, record_id, modified_at in zip(*columns, strict=True):
                found = epoch_ms(modified_at) if modified_at else 0, week_key
                self.newer[method, to, record_id] = max(self.newer.get((method, to, record_id), found), found)

    def batches(self) -> Generator[list[DueRecord]]:
        """What is due, some at a time; all records are counted."""
        settings, methods = self.outgoing.settings, self.outgoing.methods
        if NOTIFY in methods:
            week, pull, store = self.raw.week, self.raw.pull, self.raw.store
            key = notice_key(week, self.raw.guid, pull, store, settings)
            self._add(key, partial(notice_body, store.bucket.uri(key.record_id), settings.tenant_id, week, pull))
            yield self.found
            self.found = []
        if STREAM not in methods:
            return
        guid, record, feeds = self.raw.guid, self.raw.record, feed_streams(settings)
        with reading_raw(self.raw.week, guid, self.raw.store):
            chunks = self._add_orders()
            orders = (RawOrders(guid, bodies, record.time_zone, record.currency) for bodies in chunks)
            for batch in feed_batches(orders, settings.purchase_brand) if feeds else (FeedBatch() for _ in chunks):
                for feed, stream_id in feeds:
                    self._add_rows(feed, destination(settings.tenant_id, stream_id), batch)
                yield self.found
                self.found = []

    def _add_orders(self) -> Iterator[list[bytes]]:
        """Add the orders that are due; the JSON of all orders, some at a time."""
        guid, settings, only = self.raw.guid, self.outgoing.settings, self.outgoing.only or frozenset()
        redaction = settings.redaction
        to = destination(settings.tenant_id, settings.stream_id or "")
        for orders in read_groups(self.raw.path):
            for start in range(0, len(orders), _ORDERS_AT_ONCE):
                some = orders[start : start + _ORDERS_AT_ONCE]
                for order in some:
                    of_record = order_version(order.version, redaction)
                    key = RecordKey(
                        STREAM, to, guid, order.guid, of_record, order.guid, order.version, order.modified_ms
                    )
                    self._add(key, partial(stream_body, order.body, guid, redaction))
                    self.any_guest_is_wanted |= RejectKey(_CUSTOMERS, guid, order.guid) in only
                yield [order.body for order in some]

    def _add_rows(self, feed: Feed, to: str, batch: FeedBatch) -> None:
        """Add a feed's rows that are due, and the orders of which no rows can be made."""
        method, guid = FEED_METHODS + feed.name, self.raw.guid
        for rejection in batch.rejections:
            key = RecordKey(method, to, guid, rejection.order_guid or "", "", rejection.order_guid)
            if self._is_wanted(key):
                self.counts[method].records += 1
                receipt = Receipt("rejected", None, 0, f"{rejection.reason}: {rejection.detail}")
                self.found.append(DueRecord(key, receipt=receipt))
        for row in map(self.outgoing.settings.redaction.apply_to_row, batch.rows.get(feed.name, ())):
            record_id, order_guid = getattr(row, feed.key), getattr(row, "order_id", None)
            modified_ms = epoch_ms(datetime.fromisoformat(getattr(row, LAST_UPDATED)).replace(tzinfo=UTC))
            of_row = hashlib.sha256(encode(row)).hexdigest()
            key = RecordKey(method, to, guid, record_id, of_row, order_guid, None, modified_ms)
            self._add(key, partial(encode, row))

    def _add(self, key: RecordKey, body: Callable[[], bytes]) -> None:
        """Count a record that is wanted, and add it unless it has arrived."""
        if not self._is_wanted(key):
            return
        counts, is_settled = self.counts[key.method], self.calls_so_far.get(key.request_id, 0) is None
        counts.records += 1
        counts.unchanged += is_settled
        if not is_settled:
            modified_ms, week_key = self.newer.get((key.method, key.destination, key.record_id), (0, ""))
            receipt = None
            if modified_ms > (key.modified_ms or 0):
                receipt = Receipt("superseded", None, 0, f"a newer version has arrived with week {week_key}")
            self.found.append(DueRecord(key, body, receipt))

    def _is_wanted(self, key: RecordKey) -> bool:
        """Whether the record was refused before, or the order that it belongs to, where the delivery is limited to
        such."""
        only = self.outgoing.only
        if only is None or RejectKey.of(key) in only:
            return True
        if key.order_guid is None:
            return self.any_guest_is_wanted
        return RejectKey(key.method, key.restaurant_guid, key.order_guid) in only
