"""The week's rejects: what Amperity refused, with the reason, in one file that people read and replay.

The file holds every record that is refused as things stand: a delivery takes out what it decided anew and puts in what
it saw refused. It is spooled to disk, so that a delivery of which everything is refused takes little more memory than
a good one.
"""

from __future__ import annotations

import gzip
import tempfile
from collections.abc import Collection, Iterator, Set
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NamedTuple, Self, cast

import msgspec
from isal import igzip

from toast_assets.amperity.records import RecordKey
from toast_assets.errors import StoreError
from toast_assets.store.order_store import OrderStore
from toast_assets.week import Week

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
    would have been, sent; None where that could not be told from what must not be."""

    order_guid: str | None
    restaurant_guid: str
    method: str
    status: int | None
    reason: str
    record: msgspec.Raw


class _RowKeys(msgspec.Struct):
    selection_id: str | None = None
    customer_id: str | None = None


class _Which(msgspec.Struct):
    order_guid: str | None
    restaurant_guid: str
    method: str
    record: msgspec.Raw

    @property
    def key(self) -> RejectKey:
        record_id = self.order_guid
        if self.method.startswith(FEED_METHODS) and bytes(self.record) != b"null":
            row = msgspec.json.decode(self.record, type=_RowKeys)
            record_id = row.selection_id or row.customer_id or record_id
        return RejectKey(self.method, self.restaurant_guid, record_id)


class Rejects:
    """One delivery's rejects; ``save`` makes them the week's, together with those it did not get to."""

    def __init__(self, store: OrderStore, week: Week) -> None:
        self._store = store
        self._key = store.layout.rejects(week)
        self._folder = tempfile.TemporaryDirectory(prefix="toast-assets-")
        self._before = Path(self._folder.name) / "before.ndjson.gz"
        self._new = Path(self._folder.name) / "new.ndjson"
        self._file = self._new.open("wb")
        self._undecided: set[RejectKey] = set()
        self._changed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._folder.cleanup()

    def load(self) -> frozenset[RejectKey]:
        """What is refused so far.

        Raises:
            StoreError: the file cannot be read.
        """
        if self._store.bucket.download(self._key, self._before) is not None:
            self._undecided = {key for key, _ in self._lines_before()}
        return frozenset(self._undecided)

    def add(self, key: RecordKey, status: int | None, reason: str, record: bytes) -> None:
        """A record was refused; ``record`` is its JSON."""
        self.remove(key)
        if b"\n" in record or b"\r" in record:
            # Whitespace between tokens, as in a body that Toast had indented; a record is one line here.
            record = msgspec.json.format(record, indent=-1)
        line = RejectLine(key.order_guid, key.restaurant_guid, key.method, status, reason, msgspec.Raw(record))
        self._file.write(msgspec.json.encode(line) + b"\n")
        self._changed = True

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
        """Store the file instead of the one that was loaded; without rejects there is none."""
        self._file.close()
        if not self._changed:
            return
        target = self._before.with_name("rejects.ndjson.gz")
        if self._write(target):
            self._store.bucket.write(self._key, target, ContentType="application/x-ndjson")
        else:
            self._store.bucket.delete(self._key)

    def _write(self, target: Path) -> bool:
        """Whether there was anything to write."""
        some = False
        with (
            target.open("wb") as plain,
            cast(BinaryIO, igzip.IGzipFile("", "wb", _COMPRESSION, plain, mtime=0)) as file,  # type: ignore[no-untyped-call]
            self._new.open("rb") as new,
        ):
            kept = (line for key, line in self._lines_before() if key in self._undecided)
            for line in chain(kept, new):
                file.write(line)
                some = True
        return some

    def _lines_before(self) -> Iterator[tuple[RejectKey, bytes]]:
        if not self._before.exists():
            return
        try:
            with gzip.open(self._before) as file:
                for line in file:
                    yield msgspec.json.decode(line, type=_Which).key, line
        except (OSError, EOFError, msgspec.DecodeError) as error:
            raise StoreError(
                f"The rejects {self._store.bucket.uri(self._key)} cannot be read ({type(error).__name__}).",
                hint="Remove the object; the ledger knows what was refused, and the next delivery writes it anew.",
            ) from error
