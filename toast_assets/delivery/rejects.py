"""The week's rejects: what Amperity refused, with the reason, in one file that people read and replay.

The ledger says what is still refused; the file has the records. Lines of restaurants that a delivery did not look at
are carried over. Lines are spooled to disk, so that memory does not grow with the number of refused records.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Collection, Iterator, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple, Self

import msgspec

from toast_assets.amperity.feeds.files import gzipped
from toast_assets.amperity.records import RecordKey
from toast_assets.delivery.ledger import SETTLED, read_ledger
from toast_assets.errors import StoreError
from toast_assets.scratch import scratch_folder
from toast_assets.store.bucket import Removal, Replacement, StoredObject
from toast_assets.store.order_store import OrderStore
from toast_assets.store.raw_weeks import StoredWeek
from toast_assets.store.s3_errors import readable
from toast_assets.week import Week, iso_ms

NOTIFY = "notify"
FEED_METHODS = "stream_"
"""The beginning of the methods that stream the rows of a feed."""
# The rows of each are in memory as a whole.
_LEDGERS_AT_ONCE = 4


class RejectKey(NamedTuple):
    """Which record of which restaurant was refused by which method, in whatever version and at whatever destination.

    ``record_id`` is the GUID of an order, the key of a feed's row, or None for the restaurant's notice.
    """

    method: str
    restaurant_guid: str
    record_id: str | None

    @classmethod
    def of(cls, key: RecordKey) -> RejectKey:
        """The one of a record."""
        return cls(key.method, key.restaurant_guid, None if key.method == NOTIFY else key.record_id)


class _RowKeys(msgspec.Struct):
    selection_id: str | None = None
    customer_id: str | None = None


class RejectLine(msgspec.Struct, frozen=True):
    """One line of the file. ``status`` is HTTP's, None where the record was not sent; ``record`` is its JSON, null
    where no decoder reads it. ``version`` is as in the ledger; refused at ``updated_at`` (ISO-8601, UTC)."""

    order_guid: str | None
    restaurant_guid: str
    method: str
    status: int | None = None
    reason: str = ""
    record: msgspec.Raw = msgspec.Raw(b"null")
    version: str = ""
    updated_at: str = ""

    @property
    def key(self) -> RejectKey:
        """The record that was refused."""
        record_id = self.order_guid
        if self.method.startswith(FEED_METHODS) and bytes(self.record) != b"null":
            row = msgspec.json.decode(self.record, type=_RowKeys)
            record_id = row.selection_id or row.customer_id or record_id
        return RejectKey(self.method, self.restaurant_guid, record_id)


class _Position(NamedTuple):
    """Where a record's line is in its file, and which version of the record was refused when."""

    number: int
    version: str
    updated_at: str


_Positions = dict[RejectKey, _Position]


class _LedgerRow(NamedTuple):
    updated_at: datetime
    version: str
    state: str


@dataclass
class Rejects:
    """The rejects of one delivery by ``methods``; ``save`` makes them the week's, together with those of other records.

    ``only`` are the records that the delivery is limited to.
    """

    store: OrderStore
    week: Week
    methods: Collection[str]
    only: Set[RejectKey] | None = None
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    _stack: ExitStack = field(default_factory=ExitStack)
    _looked_at: dict[str, str] = field(default_factory=dict)

    def __enter__(self) -> Self:
        self._path = self._stack.enter_context(scratch_folder()) / "new.ndjson.gz"
        self._spooling = self._stack.enter_context(ExitStack())
        self._spool = self._spooling.enter_context(gzipped(self._path))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def looked_at(self, restaurant_guid: str, orders_sha256: str) -> None:
        """All records of a restaurant's orders with this hash had arrived, or were sent; refused ones were added."""
        self._looked_at[restaurant_guid] = orders_sha256

    def add(self, key: RecordKey, status: int | None, reason: str, record: bytes) -> None:
        """A record was refused; ``record`` is its JSON."""
        try:
            if b"\n" in record or b"\r" in record:
                # Whitespace between tokens, as in a body that Toast had indented; a record is one line here.
                record = msgspec.json.format(record, indent=-1)
            line = self._line(key, status, reason, record)
            msgspec.json.decode(line, type=RejectLine)
        except (msgspec.DecodeError, RecursionError):
            # A line that no decoder reads would spoil the file for all the others; the raw orders have the bytes.
            line = self._line(key, status, f"{reason}; its record is not kept here, as no decoder reads it", b"null")
        self._spool.write(line)

    def _line(self, key: RecordKey, status: int | None, reason: str, record: bytes) -> bytes:
        raw, at = msgspec.Raw(record), iso_ms(self.now())
        line = RejectLine(key.order_guid, key.restaurant_guid, key.method, status, reason, raw, key.version, at)
        return msgspec.json.encode(line) + b"\n"

    def save(self) -> None:
        """Bring the stored file up to date; without rejects there is none."""
        self._spooling.close()
        self.store.bucket.update(self.store.layout.rejects(self.week), self._merged)

    def _merged(self, stored: StoredObject | None, target: Path) -> Replacement | Removal | None:
        own, before = _positions(self._path), _Positions()
        if stored is not None:
            try:
                with _reading(self.store, self.store.layout.rejects(self.week)):
                    before = _positions(stored.path)
            except StoreError:
                # All that is refused was sent again, or will be by the next delivery.
                stored = None
        kept = self._kept(before, own)
        if not kept:
            return Removal()
        if kept.keys() == before.keys() and all(kept[key] is position for key, position in before.items()):
            return None
        with gzipped(target) as file:
            for path, positions in ((stored.path if stored else None, before), (self._path, own)):
                wanted = {one.number for key, one in positions.items() if kept.get(key) is one}
                for number, line in enumerate(_lines(path) if path else ()):
                    if number in wanted:
                        file.write(line)
        return Replacement(target, {"ContentType": "application/x-ndjson"})

    def _kept(self, before: _Positions, own: _Positions) -> _Positions:
        """The lines to keep, of those that are stored ``before`` and of this run's ``own``."""
        keys = dict.fromkeys([*before, *own])
        ledger = self._ledger(keys)
        current = self._current() if keys else frozenset()
        kept: _Positions = {}
        for key in keys:
            row, guid, lines = ledger.get(key), key.restaurant_guid, []
            if row is not None and row.state in SETTLED:
                continue
            # An order of which no rows can be made has no receipt: this run's word holds while the orders are the same.
            if key in own and (row is not None or guid in current or guid not in self._looked_at):
                lines.append(own[key])
            is_wanted = key.method in self.methods and (self.only is None or key in self.only)
            is_pending = row is not None and row.state == "pending"
            if key in before and (is_pending or not (is_wanted and guid in current)):
                lines.append(before[key])
            if lines:
                kept[key] = max(lines, key=lambda one: (row is not None and one.version == row.version, one.updated_at))
        return kept

    def _current(self) -> frozenset[str]:
        """The restaurants that this run looked at, and whose stored orders are still the same."""
        stored = StoredWeek(self.week, self.store).restaurants()
        hashes = {guid: record.pull.orders_sha256 for guid, record in stored.items() if record.pull is not None}
        return frozenset(guid for guid, sha256 in self._looked_at.items() if hashes.get(guid) == sha256)

    def _ledger(self, keys: Collection[RejectKey]) -> dict[RejectKey, _LedgerRow]:
        """The newest that the ledgers know of these records, whatever their destination."""

        def read(guid: str) -> dict[RejectKey, _LedgerRow]:
            newest: dict[RejectKey, _LedgerRow] = {}
            try:
                table = read_ledger(self.store.bucket, self.store.layout.ledger(self.week, guid))
            except StoreError:
                # That of one restaurant cannot be read: its lines are carried over.
                self.store.bucket.check()
                return newest
            columns = ["method", "record_id", *_LedgerRow._fields]
            for row in table.select(columns).to_pylist() if table else ():
                key = RejectKey(row["method"], guid, None if row["method"] == NOTIFY else row["record_id"])
                if key in keys:
                    last = _LedgerRow(*(row[name] for name in _LedgerRow._fields))
                    newest[key] = max(newest.get(key, last), last)
            return newest

        known: dict[RejectKey, _LedgerRow] = {}
        with ThreadPoolExecutor(_LEDGERS_AT_ONCE) as threads:
            for newest in threads.map(read, {key.restaurant_guid for key in keys}):
                known |= newest
        return known


def stored_rejects(store: OrderStore, week: Week) -> frozenset[RejectKey]:
    """What is refused so far.

    Raises:
        StoreError: the file cannot be read, or the bucket is missing or refuses access.
    """
    key = store.layout.rejects(week)
    with scratch_folder() as folder:
        stored = store.bucket.fetch(key, folder / "rejects.ndjson.gz")
        with _reading(store, key):
            return frozenset(_positions(stored.path) if stored else ())


def _reading(store: OrderStore, key: str) -> AbstractContextManager[None]:
    hint = "Materialize amperity_delivery for this week: it sends again what was refused, and rewrites the file."
    return readable(store.bucket.uri(key), hint)


def _positions(path: Path) -> _Positions:
    """Where each record's line is; the last one, where there are several."""
    positions: _Positions = {}
    for number, text in enumerate(_lines(path)):
        line = msgspec.json.decode(text, type=RejectLine)
        positions[line.key] = _Position(number, line.version, line.updated_at)
    return positions


def _lines(path: Path) -> Iterator[bytes]:
    with gzip.open(path) as lines:
        yield from lines
