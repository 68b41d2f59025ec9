"""What was delivered of a restaurant's orders before, with whichever week: the order index, which every delivery keeps
true.

Lost months of it are rebuilt from the raw orders and the ledgers of the weeks that were delivered.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from threading import Lock
from typing import TypeVar

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from toast_assets.amperity.feeds.build import FEEDS, feed_batches
from toast_assets.amperity.feeds.transactions import TRANSACTIONS
from toast_assets.amperity.records import FEED_METHODS, STREAM
from toast_assets.delivery.ledger import ARRIVED, LEDGER_SCHEMA, read_ledger, stored_ledgers
from toast_assets.errors import StoreConflictError
from toast_assets.index.orders import (
    UNKNOWN_MONTH,
    FedVersion,
    OrderEntry,
    OrderIndex,
    SentVersion,
    StoredVersion,
    change_state,
    creation_month,
    store_month,
)
from toast_assets.orders.raw import RawOrder
from toast_assets.orders.raw_file import read_raw
from toast_assets.orders.read import RawOrders
from toast_assets.scratch import scratch_folder
from toast_assets.store.manifest import RestaurantRecord
from toast_assets.store.order_store import OrderStore
from toast_assets.store.raw_weeks import RawFile, one_restaurant, reading_raw, week_of
from toast_assets.week import Week, epoch_ms

# Two runs that deliver weeks of one restaurant at once are rare.
_MOST_ATTEMPTS = 6
_ORDERS_AT_ONCE = 250
_Made = TypeVar("_Made")
_key = attrgetter("key")


@dataclass
class DeliveredWeeks:
    """The weeks that were delivered of each restaurant, by ledgers and feed files; they are listed once, when they are
    first asked for. Threads may share it. With ``read_only`` nothing is stored."""

    store: OrderStore
    log: logging.Logger
    read_only: bool = False
    _lock: Lock = field(default_factory=Lock)
    _weeks: Mapping[str, set[Week]] | None = None

    def of(self, restaurant_guid: str) -> list[Week]:
        """Those of a restaurant, oldest first."""
        return sorted(self._listed().get(restaurant_guid, ()), key=_key)

    def all(self) -> list[Week]:
        """Those of all restaurants together, oldest first."""
        return sorted({week for some in self._listed().values() for week in some}, key=_key)

    def _listed(self) -> Mapping[str, set[Week]]:
        with self._lock:
            self._weeks = self._list() if self._weeks is None else self._weeks
            return self._weeks

    def _list(self) -> Mapping[str, set[Week]]:
        layout, found = self.store.layout, defaultdict[str, set[Week]](set)
        ledgers = [*stored_ledgers(layout.all_deliveries, self.store)]
        files = [
            layout.feed_in(key, TRANSACTIONS.name) for key in self.store.bucket.keys(layout.feeds(TRANSACTIONS.name))
        ]
        weeks = self._pulled() if ledgers or files else []
        by_key, by_end = {week.key: week for week in weeks}, {week.end: week for week in weeks}
        for key, guid, _ in ledgers:
            if key in by_key:
                found[guid].add(by_key[key])
        for end, guid in filter(None, files):
            if end in by_end:
                found[guid].add(by_end[end])
        return found

    def _pulled(self) -> list[Week]:
        weeks: list[Week] = []
        problems: dict[str, str] = {}
        for key in self.store.pulled_weeks():
            with one_restaurant(key, problems, self.store):
                weeks.append(week_of(key, self.store))
        for key, problem in problems.items():
            self.log.warning("The indexes are rebuilt without week %s: %s", key, problem)
        return weeks


@dataclass
class History:
    """What is known of the orders in ``file``, with all that this week holds of them: ``entries`` by GUID.

    Raises ExportError where the raw file cannot be read, StoreError where the bucket fails.
    """

    file: RawFile
    delivered: DeliveredWeeks
    _index: OrderIndex = field(init=False)
    _months: dict[str, str] = field(init=False, default_factory=dict)
    _held: dict[str, StoredVersion] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        week, guid = self.file.week, self.file.guid
        with reading_raw(week, guid, self.file.store):
            for order in read_raw(self.file.path):
                self._months[order.guid] = creation_month(order.body)
                self._held[order.guid] = StoredVersion(week.key, order.version, order.modified_ms)
        self._load()

    @property
    def entries(self) -> Mapping[str, OrderEntry]:
        return self._index.entries

    def put_fed(self, fed: Mapping[str, FedVersion]) -> None:
        """Note what is in the feeds, by order; ``update`` stores it."""
        for guid, version in fed.items():
            self._index.put(msgspec.structs.replace(self.entries[guid], fed=version))

    def put_sent(self, destination: str, modified_ms: Mapping[str, int]) -> None:
        """Note which orders, modified then, have arrived at a destination with this week; ``update`` stores it."""
        for guid, at in modified_ms.items():
            self._index.put(self.entries[guid].with_sent(SentVersion(destination, self.file.week.key, at)))

    def update(self, change: Callable[[], _Made]) -> _Made:
        """What ``change`` makes. It reads ``entries`` and puts what it finds, which is stored then. Where another run
        has changed the index, it is called once more with what is stored by then. Raises StoreConflictError where other
        runs kept changing it."""
        for _ in range(_MOST_ATTEMPTS):
            made = change()
            with suppress(StoreConflictError):
                self._index.save()
                return made
            self._load()
        where = self.file.store.bucket.uri(self.file.store.layout.order_index_folder(self.file.guid))
        raise StoreConflictError(f"{where} was written by other runs again and again.")

    def _load(self) -> None:
        store, guid = self.file.store, self.file.guid
        self._index = OrderIndex(store, guid, self._months)
        if lost := self._index.load(lambda: not self._delivered_before()):
            rebuilding = _Rebuilding(store, guid, lost, self.delivered.log)
            rebuilding.read(self._delivered_before())
            if self.delivered.read_only:
                self._index.entries |= {
                    one: rebuilding.entries[one] for one in self._months.keys() & rebuilding.entries
                }
                return
            rebuilding.save()
            self._index.load(lambda: False)
        for one, version in self._held.items():
            self._index.put(self.entries[one].with_stored(version))

    def _delivered_before(self) -> list[Week]:
        return [week for week in self.delivered.of(self.file.guid) if week.key != self.file.week.key]


@dataclass
class _Rebuilding:
    """Makes lost ``months`` of a restaurant's index again."""

    store: OrderStore
    guid: str
    months: Sequence[str]
    log: logging.Logger
    entries: dict[str, OrderEntry] = field(default_factory=dict)
    by_month: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    expired: list[str] = field(default_factory=list)

    @property
    def first(self) -> str:
        """The first of the months; empty where any may come before."""
        return "" if UNKNOWN_MONTH in self.months else min(self.months)

    def read(self, delivered: Iterable[Week]) -> None:
        """Read what the ``delivered`` weeks, oldest first, say of the orders of these months."""
        for week in delivered:
            # No order is modified before it was created.
            if f"{week.end:%Y-%m}" < self.first:
                continue
            problems: dict[str, str] = {}
            with one_restaurant(self.guid, problems, self.store):
                self._read(week)
            for guid, problem in problems.items():
                self.log.warning("The order index of %s is rebuilt without week %s: %s", guid, week.key, problem)
        if self.expired:
            text = "The order index of %s is rebuilt without weeks whose raw orders are not stored any more: %s."
            self.log.warning(text, self.guid, ", ".join(self.expired))

    def save(self) -> None:
        """Store the months."""
        change_state(self.store, self.guid, months=self.months, expired=self.expired, since=self.first)
        for month in self.months:
            store_month(self.store, self.guid, month, (self.entries[guid] for guid in self.by_month[month]))

    def _read(self, week: Week) -> None:
        manifest, _ = self.store.load_manifest(week)
        record = manifest.restaurants.get(self.guid) if manifest else None
        with scratch_folder() as folder:
            path = folder / "raw.parquet"
            if record is None or not self.store.bucket.fetch(self.store.layout.raw(week, self.guid), path):
                self.expired.append(week.key)
                return
            with reading_raw(week, self.guid, self.store):
                orders = [*self._orders(path)]
        for order in orders:
            entry = self.entries.setdefault(order.guid, OrderEntry(order.guid))
            self.entries[order.guid] = entry.with_stored(StoredVersion(week.key, order.version, order.modified_ms))
        ledger = (
            read_ledger(self.store.bucket, self.store.layout.ledger(week, self.guid)) or LEDGER_SCHEMA.empty_table()
        )
        self._sent(week, ledger)
        methods = {FEED_METHODS + feed for feed in FEEDS}
        feed = self.store.layout.feed(week, self.guid, TRANSACTIONS.name)
        if methods & set(ledger["method"].to_pylist()) or self.store.bucket.info(feed):
            self._fed(week, record, orders)

    def _orders(self, path: Path) -> Iterator[RawOrder]:
        for order in read_raw(path):
            month = creation_month(order.body)
            if month in self.months:
                if order.guid not in self.entries:
                    self.by_month[month].append(order.guid)
                yield order

    def _sent(self, week: Week, ledger: pa.Table) -> None:
        is_order = pc.and_(pc.equal(ledger["method"], STREAM), pc.is_in(ledger["state"], pa.array(ARRIVED)))
        rows = ledger.filter(is_order).select(["record_id", "destination", "modified_at"]).to_pylist()
        for row in rows:
            if (entry := self.entries.get(row["record_id"])) is not None:
                sent = SentVersion(row["destination"], week.key, epoch_ms(row["modified_at"]))
                self.entries[entry.order_guid] = entry.with_sent(sent)

    def _fed(self, week: Week, record: RestaurantRecord, orders: list[RawOrder]) -> None:
        chunks = (orders[start : start + _ORDERS_AT_ONCE] for start in range(0, len(orders), _ORDERS_AT_ONCE))
        bodies = ([order.body for order in some] for some in chunks)
        batches = (RawOrders(self.guid, some, record.time_zone, record.currency) for some in bodies)
        for batch in feed_batches(batches, "", week.key, self.entries):
            for guid, fed in batch.fed.items():
                self.entries[guid] = msgspec.structs.replace(self.entries[guid], fed=fed)
