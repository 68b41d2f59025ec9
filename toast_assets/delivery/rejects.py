"""The week's rejects: what Amperity refused, with the reason, in one file that people read and replay.

The file holds every record that is refused as things stand: a delivery takes out what it decided anew and puts in what
it saw refused. Where other runs wrote the file meanwhile, the ledger says which record is still refused, and the newest
line of it stays. It is spooled to disk, so that a delivery of which everything is refused takes little more memory than
a good one.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Set
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import BinaryIO, NamedTuple, Self, cast

import msgspec
from isal import igzip

from toast_assets.amperity.records import RecordKey
from toast_assets.delivery.ledger import SETTLED
from toast_assets.delivery.ledger_files import read_ledger
from toast_assets.errors import StoreError
from toast_assets.scratch import scratch_folder
from toast_assets.store.bucket import Removal, Replacement, StoredObject
from toast_assets.store.order_store import OrderStore
from toast_assets.store.raw_weeks import StoredWeek
from toast_assets.store.s3_errors import readable
from toast_assets.week import Week, iso_ms

_COMPRESSION = 2
NOTIFY = "notify"
FEED_METHODS = "stream_"
"""The beginning of the methods that stream the rows of a feed."""


class RejectKey(NamedTuple):
    """Which record of which restaurant was refused by which method.

    ``record_id`` is the GUID of an order, the key of a feed's row, or None for the restaurant's notice.
    """

    method: str
    restaurant_guid: str
    record_id: str | None

    @classmethod
    def of(cls, key: RecordKey) -> RejectKey:
        """The same for all versions and destinations of a record."""
        return cls(key.method, key.restaurant_guid, None if key.method == NOTIFY else key.record_id)


class RejectLine(msgspec.Struct, frozen=True):
    """One line of the file. ``status`` is HTTP's, None where the record was not even sent; ``record`` is what was, or
    would have been, sent; None where that could not be told from what must not be. ``version`` is the record's, as in
    the ledger; ``updated_at`` is when it was refused (ISO-8601, UTC)."""

    order_guid: str | None
    restaurant_guid: str
    method: str
    status: int | None
    reason: str
    record: msgspec.Raw
    version: str
    updated_at: str


class _RowKeys(msgspec.Struct):
    selection_id: str | None = None
    customer_id: str | None = None


class _Which(msgspec.Struct):
    order_guid: str | None
    restaurant_guid: str
    method: str
    record: msgspec.Raw
    version: str = ""
    updated_at: str = ""

    @property
    def key(self) -> RejectKey:
        record_id = self.order_guid
        if self.method.startswith(FEED_METHODS) and bytes(self.record) != b"null":
            row = msgspec.json.decode(self.record, type=_RowKeys)
            record_id = row.selection_id or row.customer_id or record_id
        return RejectKey(self.method, self.restaurant_guid, record_id)


class _Line(NamedTuple):
    """Where a record's line is in its file, and which version of the record was refused when."""

    number: int
    version: str
    updated_at: str


class _LedgerRow(NamedTuple):
    updated_at: datetime
    version: str
    state: str


class Rejects:
    """One delivery's rejects; ``save`` makes them the week's, together with those it did not get to."""

    def __init__(self, store: OrderStore, week: Week, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._store = store
        self._week = week
        self._key = store.layout.rejects(week)
        self._now = now
        self._stack = ExitStack()
        # Whoever is cancelled leaves a thread behind that reads or writes below the folder.
        self._in_use = Lock()
        self._before: frozenset[RejectKey] = frozenset()
        self._undecided: set[RejectKey] = set()
        self._looked_at: dict[str, str] = {}
        self._changed = False

    def __enter__(self) -> Self:
        self._folder = self._stack.enter_context(scratch_folder())
        self._file = self._stack.enter_context((self._folder / "new.ndjson").open("wb"))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._in_use:
            self._stack.close()

    def load(self, *, rebuild: bool = False) -> frozenset[RejectKey]:
        """What is refused so far. With ``rebuild`` a file that cannot be read counts as none, as a delivery sends again
        all that was refused.

        Raises:
            StoreError: the file cannot be read.
        """
        with self._in_use:
            stored = self._store.bucket.fetch(self._key, self._folder / "before.ndjson.gz")
            try:
                self._before = frozenset(self._index(_gunzipped(stored.path)) if stored else ())
            except StoreError:
                if not rebuild:
                    raise
                self._changed = True
        self._undecided = set(self._before)
        return self._before

    def looking_at(self, restaurant_guid: str, orders_sha256: str) -> None:
        """From here on a restaurant's records are decided, as they are made of orders with this hash."""
        self._looked_at[restaurant_guid] = orders_sha256

    def add(self, key: RecordKey, status: int | None, reason: str, record: bytes) -> None:
        """A record was refused; ``record`` is its JSON."""
        self.remove(key)
        try:
            if b"\n" in record or b"\r" in record:
                # Whitespace between tokens, as in a body that Toast had indented; a record is one line here.
                record = msgspec.json.format(record, indent=-1)
            line = self._line(key, status, reason, record)
            msgspec.json.decode(line, type=_Which)
        except (msgspec.DecodeError, RecursionError):
            # A line that no decoder reads would spoil the file for all the others; the raw orders have the bytes.
            line = self._line(key, status, f"{reason}; its record is not kept here, as no decoder reads it", b"null")
        self._file.write(line)
        self._changed = True

    def _line(self, key: RecordKey, status: int | None, reason: str, record: bytes) -> bytes:
        raw, at = msgspec.Raw(record), iso_ms(self._now())
        line = RejectLine(key.order_guid, key.restaurant_guid, key.method, status, reason, raw, key.version, at)
        return msgspec.json.encode(line) + b"\n"

    def remove(self, key: RecordKey) -> None:
        """A record was decided: whatever was said of it before no longer holds."""
        which = RejectKey.of(key)
        if which in self._undecided:
            self._undecided.remove(which)
            self._changed = True

    def forget(self, restaurant_guid: str, methods: Collection[str], still_open: Set[RejectKey]) -> None:
        """All of a restaurant's records were looked at: what was refused before and was not met again, nor is among the
        ``still_open`` ones, has arrived since or is no more."""
        for key in [one for one in self._undecided if one.restaurant_guid == restaurant_guid]:
            if key.method in methods and key not in still_open:
                self._undecided.remove(key)
                self._changed = True

    def save(self) -> None:
        """Bring the stored file up to date; without rejects there is none."""
        with self._in_use:
            self._file.close()
            if self._changed:
                self._store.bucket.update(self._key, self._merged)

    def _merged(self, stored: StoredObject | None, target: Path) -> Replacement | Removal:
        """The file with what this run decided, where nothing newer is known."""
        new = self._folder / "new.ndjson"
        before: dict[RejectKey, _Line] = {}
        if stored is not None:
            try:
                before = self._index(_gunzipped(stored.path))
            except StoreError:
                stored = None
        mine = self._index(_lines(new))
        kept = self._kept(before, mine)
        if not kept:
            return Removal()
        with (
            target.open("wb") as plain,
            cast(BinaryIO, igzip.IGzipFile("", "wb", _COMPRESSION, plain, mtime=0)) as file,  # type: ignore[no-untyped-call]
        ):
            for lines, index in ((_gunzipped(stored.path) if stored else (), before), (_lines(new), mine)):
                wanted = {line.number for key, line in index.items() if kept.get(key) is line}
                for number, text in enumerate(lines):
                    if number in wanted:
                        file.write(text)
        return Replacement(target, {"ContentType": "application/x-ndjson"})

    def _kept(self, before: Mapping[RejectKey, _Line], mine: Mapping[RejectKey, _Line]) -> dict[RejectKey, _Line]:
        """The lines to keep, of those that are stored and of this run's own."""
        keys = [*before, *(key for key in mine if key not in before)]
        ledger = self._ledger({key.restaurant_guid for key in keys})
        current = self._current()
        decided = self._before - self._undecided - mine.keys()
        kept = {}
        for key in keys:
            row, stored, own = ledger.get(key), before.get(key), mine.get(key)
            if row is not None and row.state in SETTLED:
                continue
            if own is not None and row is None and key.restaurant_guid not in current:
                # Judged by orders that are outdated, and no receipt says that it was refused.
                own = None
            if own is None and key in decided and key.restaurant_guid in current:
                continue
            lines = [line for line in (stored, own) if line is not None]
            if lines:
                kept[key] = max(
                    lines, key=lambda line: (row is not None and line.version == row.version, line.updated_at)
                )
        return kept

    def _ledger(self, restaurants: Iterable[str]) -> dict[RejectKey, _LedgerRow]:
        """The newest that the ledgers know of each record, whatever its destination."""
        newest: dict[RejectKey, _LedgerRow] = {}
        for guid in restaurants:
            table = read_ledger(self._store.bucket, self._store.layout.ledger(self._week, guid))
            for row in table.to_pylist() if table is not None else ():
                key = RejectKey(row["method"], guid, None if row["method"] == NOTIFY else row["record_id"])
                found = _LedgerRow(row["updated_at"], row["version"], row["state"])
                newest[key] = max(newest.get(key, found), found)
        return newest

    def _current(self) -> frozenset[str]:
        """The restaurants whose stored orders are still those that this run looked at."""
        stored = StoredWeek(self._week, self._store).restaurants()
        hashes = {guid: record.pull.orders_sha256 for guid, record in stored.items() if record.pull is not None}
        return frozenset(guid for guid, known in self._looked_at.items() if hashes.get(guid) == known)

    def _index(self, lines: Iterable[bytes]) -> dict[RejectKey, _Line]:
        """Where each record's line is; the last one, where there are several.

        Raises:
            StoreError: a line cannot be read.
        """
        index: dict[RejectKey, _Line] = {}
        hint = "Materialize amperity_delivery for this week: it sends again what was refused, and writes the file anew."
        with readable(self._store.bucket.uri(self._key), hint):
            for number, text in enumerate(lines):
                which = msgspec.json.decode(text, type=_Which)
                index[which.key] = _Line(number, which.version, which.updated_at)
        return index


def _gunzipped(path: Path) -> Iterator[bytes]:
    with gzip.open(path) as lines:
        yield from lines


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as lines:
        yield from lines
