"""The order index: in which versions each order of a restaurant is stored, and what Amperity was sent of it.

A restaurant has one Parquet file per month of its orders' creation, which Toast never changes. So a week reads and
writes a few small files, however long the history is. ``months.json`` beside them says which months there are. The
index can be rebuilt from raw orders and ledgers (``delivery.history``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from toast_assets.orders.scanner import decode, decoder
from toast_assets.orders.times import instant
from toast_assets.store.bucket import ABSENT, Replacement, StoredObject, Version
from toast_assets.store.order_store import PARQUET, OrderStore

UNKNOWN_MONTH = "unknown"
_TEXT, _MS = pa.string(), pa.int64()
_STORED = pa.struct({"week": _TEXT, "version": _TEXT, "modified_ms": _MS})
_SENT = pa.struct({"destination": _TEXT, "week": _TEXT, "modified_ms": _MS})
_FED_ROW = pa.struct({"feed": _TEXT, "key": _TEXT, "product_id": _TEXT, "current": pa.bool_()})
_FED = pa.struct({"week": _TEXT, "modified_ms": _MS, "customer": _TEXT, "rows": pa.list_(_FED_ROW)})
INDEX_SCHEMA = pa.schema(
    [
        pa.field("order_guid", _TEXT, nullable=False),
        pa.field("stored", pa.list_(_STORED)),
        pa.field("sent", pa.list_(_SENT)),
        pa.field("fed", _FED),
    ]
)


class StoredVersion(msgspec.Struct, frozen=True):
    """A week that holds the order, in which ``version`` (as in the raw file), last modified then (milliseconds since
    1970, UTC)."""

    week: str
    version: str
    modified_ms: int


class SentVersion(msgspec.Struct, frozen=True):
    """The newest version of the whole order that has arrived at a destination, and with which week."""

    destination: str
    week: str
    modified_ms: int


class FedRow(msgspec.Struct, frozen=True):
    """A row of a feed, by its ``key`` within the order. It is ``current`` if the newest version in the feeds has it."""

    feed: str
    key: str
    product_id: str
    current: bool


class FedVersion(msgspec.Struct, frozen=True):
    """The newest version of the order in the feeds: the week that brought it, its customer's key, and all rows that any
    version ever had there."""

    week: str
    modified_ms: int
    customer: str | None
    rows: tuple[FedRow, ...] = ()


class OrderEntry(msgspec.Struct, frozen=True):
    """What is known of one order: the weeks that hold it, oldest first, what arrived where, what is in the feeds."""

    order_guid: str
    stored: tuple[StoredVersion, ...] = ()
    sent: tuple[SentVersion, ...] = ()
    fed: FedVersion | None = None

    def with_stored(self, version: StoredVersion) -> OrderEntry:
        """The same, held by one more week, or by that week in another version."""
        others = (one for one in self.stored if one.week != version.week)
        return msgspec.structs.replace(self, stored=tuple(sorted((*others, version), key=lambda one: one.week)))

    def with_sent(self, version: SentVersion) -> OrderEntry:
        """The same after a version has arrived; an older one than is known changes nothing."""
        known = {one.destination: one for one in self.sent}
        before = known.get(version.destination, version)
        known[version.destination] = max(before, version, key=lambda one: (one.modified_ms, one.week))
        return msgspec.structs.replace(self, sent=tuple(known[name] for name in sorted(known)))


class IndexState(msgspec.Struct, frozen=True):
    """The content of ``months.json``: the ``months`` that have a file. Months before ``since`` can be without a file
    although orders of them were delivered. Of ``expired`` weeks retention has removed the raw orders; what the index
    knows of them stays."""

    since: str = ""
    months: tuple[str, ...] = ()
    expired: tuple[str, ...] = ()

    def is_new(self, month: str) -> bool:
        """Whether no order of that month was ever indexed, so that there is nothing to be rebuilt."""
        return month not in self.months and (not self.since or UNKNOWN_MONTH != month >= self.since)


class _Created(msgspec.Struct):
    createdDate: Any = None
    openedDate: Any = None


def creation_month(body: bytes) -> str:
    """The UTC month in which an order was created, else opened: ``2025-09``, or ``unknown``."""
    try:
        order = decode(body, _Created)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return UNKNOWN_MONTH
    for text in (order.createdDate, order.openedDate):
        try:
            if isinstance(text, str) and (moment := instant(text)) is not None:
                return f"{moment:%Y-%m}"
        except ValueError:
            continue
    return UNKNOWN_MONTH


@dataclass
class _MonthFile:
    """A month's file: its version in the bucket, and the rows of other orders than those that were asked for."""

    version: Version
    others: pa.Table


@dataclass
class OrderIndex:
    """The entries of some of a restaurant's orders, by GUID (``entries``); ``months`` says where each is."""

    store: OrderStore
    restaurant_guid: str
    months: Mapping[str, str]
    entries: dict[str, OrderEntry] = field(init=False, default_factory=dict)
    _files: dict[str, _MonthFile] = field(init=False, default_factory=dict)
    _changed: set[str] = field(init=False, default_factory=set)
    _state: IndexState | None = field(init=False, default=None)

    def load(self, is_first: Callable[[], bool]) -> list[str]:
        """Read the entries; an order that is not known yet gets an empty one. Returns the months whose file is lost:
        missing, or damaged.

        ``is_first`` says whether nothing was ever delivered of the restaurant; called only where there is no index.
        """
        guids = pa.array(sorted(self.months), pa.string())
        known: list[dict[str, Any]] = []
        lost: list[str] = []
        state: IndexState | None = None
        for month in sorted(set(self.months.values())):
            found = self.store.bucket.read(self._key(month))
            rows = _decoded(found[0]) if found else INDEX_SCHEMA.empty_table()
            if found is None and state is None:
                state = self._state = read_state(self.store, self.restaurant_guid)
                state = IndexState() if state is None and is_first() else state
            if rows is None or (found is None and (state is None or not state.is_new(month))):
                lost.append(month)
                continue
            wanted = pc.is_in(rows["order_guid"], guids)
            known += rows.filter(wanted).to_pylist()
            self._files[month] = _MonthFile(found[1] if found else ABSENT, rows.filter(pc.invert(wanted)))
        self.entries = {guid: OrderEntry(guid) for guid in self.months}
        self.entries |= {entry.order_guid: entry for entry in _entries(known)}
        return lost

    def put(self, entry: OrderEntry) -> None:
        """Replace the entry of an order."""
        if self.entries[entry.order_guid] != entry:
            self.entries[entry.order_guid] = entry
            self._changed.add(self.months[entry.order_guid])

    def save(self) -> None:
        """Store what was changed.

        Raises:
            StoreConflictError: another run has changed a file; load again.
            StoreError: the bucket is missing or refuses access.
        """
        if added := [month for month in self._changed if self._files[month].version == ABSENT]:
            # Before the files: a month that is listed and missing is rebuilt, one that is not listed is new.
            change_state(self.store, self.restaurant_guid, months=added, exists=self._state is not None)
        for month in sorted(self._changed):
            file = self._files[month]
            entries = (self.entries[guid] for guid, of in self.months.items() if of == month)
            body = encode_month(entries, file.others)
            file.version = self.store.bucket.write(self._key(month), body, replaces=file.version, ContentType=PARQUET)
            self._changed.discard(month)

    def _key(self, month: str) -> str:
        return self.store.layout.order_index(self.restaurant_guid, month)


def indexed_orders(store: OrderStore, restaurant_guid: str, month: str) -> dict[str, int]:
    """When the newest stored version of each order of a month was modified (milliseconds since 1970, UTC); empty where
    the month has no file, or a damaged one."""
    found = store.bucket.read(store.layout.order_index(restaurant_guid, month))
    entries = (decode_month(found[0]) or []) if found else []
    return {one.order_guid: max(version.modified_ms for version in one.stored) for one in entries if one.stored}


def store_month(store: OrderStore, restaurant_guid: str, month: str, entries: Iterable[OrderEntry]) -> None:
    """Store a month that was lost, with these entries; a StoreConflictError where another run does, too."""
    key = store.layout.order_index(restaurant_guid, month)
    info = store.bucket.info(key)
    replaces = info.version if info else ABSENT
    store.bucket.write(key, encode_month(entries), replaces=replaces, ContentType=PARQUET)


def read_state(store: OrderStore, restaurant_guid: str) -> IndexState | None:
    """What ``months.json`` says; None where there is none, or it is damaged."""
    found = store.bucket.read(store.layout.order_index_state(restaurant_guid))
    return _state(found[0]) if found else None


def change_state(
    store: OrderStore,
    restaurant_guid: str,
    *,
    months: Iterable[str] = (),
    expired: Iterable[str] = (),
    since: str = "",
    exists: bool = True,
) -> None:
    """Record ``months`` that have a file from now on, and weeks that have ``expired``; a first state is complete from
    the month ``since`` on. Without ``exists`` there probably is no state yet."""

    def change(stored: StoredObject | None, _target: Path) -> Replacement | None:
        known = _state(stored.path.read_bytes()) if stored else None
        before = known or IndexState(since)
        after = IndexState(
            before.since, tuple(sorted({*before.months, *months})), tuple(sorted({*before.expired, *expired}))
        )
        body = msgspec.json.format(msgspec.json.encode(after), indent=1) + b"\n"
        return None if after == known else Replacement(body, {"ContentType": "application/json"})

    store.bucket.update(store.layout.order_index_state(restaurant_guid), change, exists=exists)


def _state(body: bytes) -> IndexState | None:
    try:
        return decoder(IndexState).decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def decode_month(body: bytes) -> list[OrderEntry] | None:
    """The entries in a month's file; None where it is damaged."""
    rows = _decoded(body)
    return None if rows is None else _entries(rows.to_pylist())


def _entries(rows: list[dict[str, Any]]) -> list[OrderEntry]:
    # Describes the types where no other thread does.
    decoder(list[OrderEntry])
    return msgspec.convert(rows, list[OrderEntry])


def encode_month(entries: Iterable[OrderEntry], others: pa.Table | None = None) -> bytes:
    """A month's file of ``entries`` and the rows of ``others``; the same entries give the same bytes."""
    rows = pa.Table.from_pylist(msgspec.to_builtins([*entries]), INDEX_SCHEMA)
    rows = rows if others is None else pa.concat_tables([others, rows])
    buffer = pa.BufferOutputStream()
    pq.write_table(rows.sort_by("order_guid"), buffer, compression="zstd", write_page_checksum=True)
    return bytes(buffer.getvalue())


def _decoded(body: bytes) -> pa.Table | None:
    """The rows of a month's file; None where it is damaged, or of another schema."""
    try:
        with pq.ParquetFile(pa.BufferReader(body), page_checksum_verification=True) as file:
            rows = file.read(use_threads=False)
    except (pa.ArrowException, OSError):
        return None
    # Parquet has names of its own for what is in lists; with ours the same entries give the same bytes.
    return rows.cast(INDEX_SCHEMA) if rows.schema.equals(INDEX_SCHEMA) else None
