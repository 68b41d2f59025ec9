"""What of a restaurant's week Amperity does not have yet, by all delivery methods, in one pass over its raw orders.

``stream`` sends each order as one record; feeds with a stream of their own send each row as one, made by the same rules
as the files of ``amperity_feeds``; ``notify`` sends one notice per export.

An order that was edited after its week belongs to two weeks, once in each version. Where the earlier week is delivered
after the later one, its outdated version is not sent: the order index says so.

Raises ExportError where raw orders are missing or damaged, StoreError where the bucket fails.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property, partial
from importlib.metadata import version

import msgspec

from toast_assets.amperity.client import Receipt
from toast_assets.amperity.feeds.build import FeedBatch, feed_batches
from toast_assets.amperity.feeds.customers import CUSTOMERS, customer_row
from toast_assets.amperity.feeds.order_items import ORDER_ITEMS
from toast_assets.amperity.feeds.schema import LAST_UPDATED, Feed, Row, encode
from toast_assets.amperity.feeds.transactions import TRANSACTIONS
from toast_assets.amperity.records import (
    FEED_METHODS,
    NOTIFY,
    STREAM,
    RecordKey,
    destination,
    notice_body,
    notice_destination,
    order_version,
    stream_body,
)
from toast_assets.amperity.redaction import Redaction
from toast_assets.amperity.settings import AmperitySettings
from toast_assets.delivery.history import DeliveredWeeks, History
from toast_assets.delivery.rejects import RejectKey
from toast_assets.errors import UnrepresentableError
from toast_assets.index.guests import Guest
from toast_assets.orders.raw_file import read_groups
from toast_assets.store.manifest import PullRecord, RestaurantRecord
from toast_assets.store.order_store import OrderStore
from toast_assets.store.raw_weeks import RawFile, fetch_raw, reading_raw
from toast_assets.tables.names import StoredNames
from toast_assets.week import Week, epoch_ms

STREAM_CUSTOMERS = FEED_METHODS + CUSTOMERS.name
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

    def unsent(self, settings: AmperitySettings) -> tuple[Receipt | None, bytes]:
        """The receipt of a record that is not sent, None of one that has to be; and its JSON."""
        if self.receipt is not None:
            return self.receipt, b"null"
        try:
            body = self.body()
        except UnrepresentableError as error:
            return Receipt("rejected", None, 0, error.message), b"null"
        most = settings.max_record_bytes
        if self.key.method == NOTIFY or len(body) <= most:
            return None, body
        reason = f"the record is larger than the limit of {most} bytes (AMPERITY_MAX_RECORD_BYTES)"
        return Receipt("rejected", None, 0, reason), body


def notice_key(week: Week, guid: str, pull: PullRecord, store: OrderStore, settings: AmperitySettings) -> RecordKey:
    """The key of the notice of a restaurant's export."""
    url = notice_destination(settings.tenant_id, settings.api_url or "")
    return RecordKey(NOTIFY, url, guid, store.layout.export(week, guid), pull.orders_sha256)


def feed_streams(settings: AmperitySettings) -> list[tuple[Feed, str]]:
    """The feeds whose rows are streamed, each with its stream."""
    streams = (
        (ORDER_ITEMS, settings.order_items_stream_id),
        (TRANSACTIONS, settings.transactions_stream_id),
        (CUSTOMERS, settings.customers_stream_id),
    )
    return [(feed, stream_id) for feed, stream_id in streams if stream_id]


def streams(settings: AmperitySettings) -> dict[str, str]:
    """The stream of each method that streams records, as their destination."""
    ids = {STREAM: settings.stream_id or ""} | {FEED_METHODS + feed.name: one for feed, one in feed_streams(settings)}
    return {method: destination(settings.tenant_id, stream_id) for method, stream_id in ids.items()}


def _row_body(row: Row, redaction: Redaction) -> bytes:
    return encode(redaction.apply_to_row(row))


@dataclass(frozen=True)
class Outgoing:
    """The records of a week, by the methods that are set (``s3_pull`` sends nothing itself); with ``only`` those that
    were refused before."""

    settings: AmperitySettings
    delivered: DeliveredWeeks
    names: StoredNames
    only: Set[RejectKey] | None = None

    @cached_property
    def methods(self) -> tuple[str, ...]:
        """The methods by which records are sent, each streamed feed as one of its own."""
        sent = {STREAM: streams(self.settings), NOTIFY: [NOTIFY]}
        return tuple(name for method in self.settings.methods for name in sent.get(method, ()))

    @cached_property
    def destinations(self) -> dict[str, str]:
        """Where the records of each method go."""
        settings = self.settings
        known = streams(settings) | {NOTIFY: notice_destination(settings.tenant_id, settings.api_url or "")}
        return {method: known[method] for method in self.methods}

    @cached_property
    def recipe(self) -> str:
        """Changes with whatever decides which records can be sent, how, and where to."""
        return hashlib.sha256(msgspec.json.encode((*self._shape, self.settings.max_record_bytes))).hexdigest()

    def digest(self, record: RestaurantRecord) -> str:
        """Changes with a restaurant's orders, and with whatever decides what is sent of them, and where to."""
        orders = (record.pull and record.pull.orders_sha256, record.time_zone, record.currency)
        return hashlib.sha256(msgspec.json.encode((*self._shape, orders))).hexdigest()

    @property
    def _shape(self) -> tuple[object, ...]:
        settings = self.settings
        where = (self.methods, settings.tenant_id, settings.api_url, settings.stream_id)
        of_feeds = [stream_id for _, stream_id in feed_streams(settings)]
        # Another release may make other rows of the same orders.
        shaped_by = (settings.purchase_brand, settings.redaction.digest, version("toast-assets"))
        return where, of_feeds, shaped_by


@dataclass
class RestaurantRecords:
    """The records of one restaurant, in one pass over its raw orders; ``counts`` by method is filled on the way."""

    outgoing: Outgoing
    raw: RawFile
    calls_so_far: Mapping[str, int | None]
    counts: Mapping[str, MethodCounts]
    guests: Iterable[Sequence[Guest]] = ()
    """Those of the restaurant's orders, where their rows are streamed."""
    found: list[DueRecord] = field(default_factory=list)
    any_guest_is_wanted: bool = False
    """Once an order was refused as a whole, nothing says which of the guests are its own."""
    history: History = field(init=False)
    _arrived: dict[str, int] = field(default_factory=dict)
    """When the orders that have arrived were modified."""

    def fetch(self) -> None:
        """Fetch the raw orders, where a method needs them, and look up what was delivered of them before."""
        outgoing, raw = self.outgoing, self.raw
        if STREAM not in outgoing.methods:
            return
        fetch_raw(raw.week, raw.guid, raw.path, raw.store)
        self.history = History(raw, outgoing.delivered)
        streamed = {feed.name for feed, _ in feed_streams(outgoing.settings)}
        if streamed - {CUSTOMERS.name} and not outgoing.delivered.read_only:
            # Before any row is sent, so that a later version can take it back.
            self.history.update(self._note_rows)

    def _note_rows(self) -> None:
        for batch in self._feed_batches(self.raw.bodies(_ORDERS_AT_ONCE)):
            self.history.put_fed(batch.fed)

    def _feed_batches(self, chunks: Iterable[Sequence[bytes]]) -> Iterator[FeedBatch]:
        names = self.outgoing.names.of(self.raw.guid)
        orders = (self.raw.batch(bodies, names) for bodies in chunks)
        brand, week = self.outgoing.settings.purchase_brand, self.raw.week.key
        return feed_batches(orders, brand, week, self.history.entries)

    def arrived(self, key: RecordKey) -> None:
        """A record was accepted."""
        if key.method == STREAM:
            self._arrived[key.record_id] = key.modified_ms or 0

    def note_arrived(self) -> None:
        """Say in the order index which orders have arrived."""
        settings = self.outgoing.settings
        if STREAM in self.outgoing.methods:
            to = destination(settings.tenant_id, settings.stream_id or "")
            self.history.update(lambda: self.history.put_sent(to, self._arrived))

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
        feeds = feed_streams(settings)
        with reading_raw(self.raw.week, self.raw.guid, self.raw.store):
            chunks = self._add_orders()
            for batch in self._feed_batches(chunks) if feeds else (FeedBatch() for _ in chunks):
                for feed, stream_id in feeds:
                    self._add_rows(feed, destination(settings.tenant_id, stream_id), batch)
                yield self.found
                self.found = []
            for some in self.guests:
                rows = FeedBatch({CUSTOMERS.name: list(map(customer_row, some))})
                self._add_rows(CUSTOMERS, destination(settings.tenant_id, settings.customers_stream_id or ""), rows)
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
                    self.any_guest_is_wanted |= RejectKey(STREAM_CUSTOMERS, guid, order.guid) in only
                yield [order.body for order in some]

    def _add_rows(self, feed: Feed, to: str, batch: FeedBatch) -> None:
        """Add a feed's rows that are due, and the orders of which no rows can be made."""
        method, guid = FEED_METHODS + feed.name, self.raw.guid
        redaction = self.outgoing.settings.redaction
        for rejection in batch.rejections:
            key = RecordKey(method, to, guid, rejection.order_guid or "", "", rejection.order_guid)
            if self._is_wanted(key):
                self.counts[method].records += 1
                receipt = Receipt("rejected", None, 0, f"{rejection.reason}: {rejection.detail}")
                self.found.append(DueRecord(key, receipt=receipt))
        for row in batch.rows.get(feed.name, ()):
            unnamed = redaction.apply_to_row(feed.without_names(row))
            record_id, order_guid = getattr(unnamed, feed.key), getattr(unnamed, "order_id", None)
            modified_ms = epoch_ms(datetime.fromisoformat(getattr(unnamed, LAST_UPDATED)).replace(tzinfo=UTC))
            # Another name is no other version: whole weeks would be sent again.
            of_row = hashlib.sha256(encode(unnamed)).hexdigest()
            key = RecordKey(method, to, guid, record_id, of_row, order_guid, None, modified_ms)
            self._add(key, partial(_row_body, row, redaction))

    def _add(self, key: RecordKey, body: Callable[[], bytes]) -> None:
        """Count a record that is wanted, and add it unless it has arrived."""
        if not self._is_wanted(key):
            return
        counts, is_settled = self.counts[key.method], self.calls_so_far.get(key.request_id, 0) is None
        counts.records += 1
        counts.unchanged += is_settled
        if is_settled:
            self.arrived(key)
        else:
            week = self._newer_in(key)
            reason = f"a newer version has arrived with week {week}"
            self.found.append(DueRecord(key, body, Receipt("superseded", None, 0, reason) if week else None))

    def _newer_in(self, key: RecordKey) -> str | None:
        """The week with which a newer version of a whole order has arrived."""
        entry = self.history.entries.get(key.record_id) if key.method == STREAM else None
        for one in entry.sent if entry else ():
            if one.destination == key.destination and one.modified_ms > (key.modified_ms or 0):
                return one.week
        return None

    def _is_wanted(self, key: RecordKey) -> bool:
        """Whether the record was refused before, or the order that it belongs to, where the delivery is limited to
        such."""
        only = self.outgoing.only
        if only is None or RejectKey.of(key) in only:
            return True
        if key.order_guid is None:
            return self.any_guest_is_wanted
        return RejectKey(key.method, key.restaurant_guid, key.order_guid) in only
