"""The week's rejects: what Amperity refused, with the reason, in one file that people read and replay.

A delivery that had an answer to all records of a restaurant replaces the restaurant's lines; any other adds to them.
Lines are spooled to disk, so that memory does not grow with the size of refused records.
"""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Set
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import msgspec

from toast_assets.amperity.records import FEED_METHODS, NOTIFY, RecordKey
from toast_assets.delivery.feed_files import gzipped
from toast_assets.errors import StoreError
from toast_assets.scratch import scratch_folder
from toast_assets.store.bucket import Removal, Replacement, StoredObject
from toast_assets.store.order_store import OrderStore
from toast_assets.store.raw_weeks import StoredWeek
from toast_assets.store.s3_errors import readable
from toast_assets.week import Week, iso_ms


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
    order_item_id: str | None = None
    transaction_item_id: str | None = None
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
            record_id = row.order_item_id or row.transaction_item_id or row.customer_id or record_id
        return RejectKey(self.method, self.restaurant_guid, record_id)


# By record: when its line was written, and the line's file and number.
_Positions = dict[RejectKey, tuple[str, Path, int]]


@dataclass
class Rejects:
    """The rejects of one delivery by ``methods``, spooled in a new file at ``path``; ``save`` makes them the week's,
    together with those of other records. ``only`` are the records that the delivery is limited to.

    ``answered``: the restaurants of which all records had arrived or were answered, with the hash of their orders.
    Known once saved: how many are ``left`` in the file by restaurant and method, and the hashes of the stored orders
    by restaurant (``pulls``).
    """

    store: OrderStore
    week: Week
    methods: Collection[str]
    only: Set[RejectKey] | None
    path: Path
    answered: dict[str, str] = field(default_factory=dict)
    left: Counter[tuple[str, str]] = field(init=False, default_factory=Counter)
    pulls: Mapping[str, str] = field(init=False, default_factory=dict)

    def add(self, key: RecordKey, status: int | None, reason: str, record: bytes) -> None:
        """A record was refused; ``record`` is its JSON."""
        try:
            # In one line, also where Toast had indented it.
            raw = msgspec.Raw(msgspec.json.format(record, indent=-1))
            msgspec.json.decode(b"[%b]" % raw, type=list[msgspec.Raw])
        except (msgspec.DecodeError, RecursionError):
            # A line that no decoder reads would spoil the file for all the others; the raw orders have the bytes.
            raw, reason = msgspec.Raw(b"null"), f"{reason}; its record is not kept here, as no decoder reads it"
        at = iso_ms(datetime.now(UTC))
        line = RejectLine(key.order_guid, key.restaurant_guid, key.method, status, reason, raw, key.version, at)
        with gzip.open(self.path, "ab", compresslevel=1) as spool:
            spool.write(msgspec.json.encode(line) + b"\n")

    def save(self) -> None:
        """Bring the stored file up to date; without rejects there is none."""
        self.store.bucket.update(self.store.layout.rejects(self.week), self._merged)

    def _merged(self, stored: StoredObject | None, target: Path) -> Replacement | Removal | None:
        before: _Positions = {}
        # All that is in a file that cannot be read was sent again, or will be by the next delivery.
        with suppress(StoreError), _reading(self.store, self.week):
            before = _positions(stored.path) if stored else {}
        restaurants = StoredWeek(self.week, self.store).restaurants()
        self.pulls = {
            guid: record.pull.orders_sha256 for guid, record in restaurants.items() if record.pull is not None
        }
        # Of orders that a pull has replaced meanwhile another delivery knows more.
        whole = {guid for guid, orders_sha256 in self.answered.items() if self.pulls.get(guid) == orders_sha256}
        outdated = self.answered.keys() - whole

        def is_over(key: RejectKey) -> bool:
            is_wanted = key.method in self.methods and (self.only is None or key in self.only)
            return is_wanted and key.restaurant_guid in whole

        kept = {key: line for key, line in before.items() if not is_over(key)}
        for key, line in (_positions(self.path) if self.path.exists() else {}).items():
            if key.restaurant_guid not in outdated and (key not in kept or kept[key][0] <= line[0]):
                kept[key] = line
        self.left = Counter((key.restaurant_guid, key.method) for key in kept)
        if not kept:
            return Removal()
        if kept == before:
            return None
        wanted = {(path, number) for _, path, number in kept.values()}
        with gzipped(target) as file:
            for path in sorted({path for path, _ in wanted}):
                file.writelines(text for number, text in enumerate(_lines(path)) if (path, number) in wanted)
        return Replacement(target, {"ContentType": "application/x-ndjson"})


def stored_rejects(store: OrderStore, week: Week) -> frozenset[RejectKey]:
    """What is refused so far. Raises StoreError where the file cannot be read, or the bucket is missing or refuses
    access."""
    with scratch_folder() as folder:
        stored = store.bucket.fetch(store.layout.rejects(week), folder / "rejects.ndjson.gz")
        with _reading(store, week):
            return frozenset(_positions(stored.path) if stored else ())


def _reading(store: OrderStore, week: Week) -> AbstractContextManager[None]:
    hint = "Materialize amperity_delivery for this week: it sends again what was refused, and rewrites the file."
    return readable(store.bucket.uri(store.layout.rejects(week)), hint)


def _positions(path: Path) -> _Positions:
    """Where each record's line is; the last one, where there are several."""
    lines = (msgspec.json.decode(text, type=RejectLine) for text in _lines(path))
    return {line.key: (line.updated_at, path, number) for number, line in enumerate(lines)}


def _lines(path: Path) -> Iterator[bytes]:
    with gzip.open(path) as lines:
        yield from lines
