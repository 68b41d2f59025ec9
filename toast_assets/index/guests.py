"""The guest index: of every guest of all restaurants the newest known fields, each with the time at which it was seen.

One Parquet file, sorted by customer id. A field that was seen once stays until a newer order says another value, so
weeks can be merged in any order, twice, or by two runs at once. An address counts as one field, so that it is never a
mixture of two.

What a week's orders say is collected in a local database, and merged into one row group after the other: memory does
not grow with the number of guests.
"""

from __future__ import annotations

import errno
import heapq
import logging
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from functools import cache
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from toast_assets.orders.identity import Forgotten, guest_key, normal_email, normal_phone, order_customer
from toast_assets.orders.model import Address, Order
from toast_assets.orders.raw_file import row_groups
from toast_assets.orders.read import RawOrders, read
from toast_assets.orders.times import instant, zone
from toast_assets.store.bucket import Replacement, StoredObject
from toast_assets.store.forgotten import load_forgotten
from toast_assets.store.order_store import PARQUET, OrderStore
from toast_assets.tables.files import fitted
from toast_assets.week import epoch_ms, from_epoch_ms

_ROW_GROUP_ROWS = 10_000
_GUESTS_AT_A_TIME = 1_000
# A lost index does not say how often its rows were revised. Rows of a rebuilt one are newer than those.
_REBUILT_MS = 1_000
# Leaves room for revisions and for every clock before the end of the calendar, 9999-12-31.
_LATEST_MS = 253_402_128_000_000
_Row = dict[str, Any]
"""A row of the index, by name of the column."""


class Guest(NamedTuple):
    """What is known of a guest, by one order or by all; ``time_zone`` is the restaurant's of the newest of these.

    ``revised_ms`` (UTC, milliseconds since 1970) is when that order was modified; of all orders together it grows with
    every change of what is known, and is None where that is the ``customer_id`` alone.
    """

    customer_id: str
    given_name: str | None
    surname: str | None
    email: str | None
    phone: str | None
    loyalty_id: str | None
    address: str | None
    address2: str | None
    city: str | None
    state: str | None
    postal: str | None
    country: str | None
    time_zone: str | None
    revised_ms: int | None


# The columns that are seen together, the parts of a guest, by the name of the column with their time.
_PARTS = {f"{name}_ms": (name,) for name in ("given_name", "surname", "email", "phone", "loyalty_id")} | {
    "address_ms": ("address", "address2", "city", "state", "postal", "country"),
    # The restaurant's of the newest order that says anything.
    "seen_ms": ("time_zone",),
}
_TYPES = dict.fromkeys(Guest._fields[:-1], pa.string()) | dict.fromkeys([*_PARTS, "revised_ms"], pa.int64())
_REQUIRED = ("customer_id", "revised_ms")
GUEST_SCHEMA = pa.schema([pa.field(name, kind, nullable=name not in _REQUIRED) for name, kind in _TYPES.items()])
_EARLIER_SCHEMA = pa.schema([one for one in GUEST_SCHEMA if one.name not in ("loyalty_id", "loyalty_id_ms")])
_NOTHING: _Row = dict.fromkeys(GUEST_SCHEMA.names) | {"revised_ms": 0}


def sightings(order: Order, time_zone: str | None) -> Iterator[Guest]:
    """What one order says of its guests, by check; the delivery address is that of the order's one guest."""
    modified = instant(order.modified_date)
    for check in order.checks or ():
        if modified is None or (guest := check.customer) is None or (key := guest_key(guest)) is None:
            continue
        place = order.delivery_info.place if order.delivery_info and guest is order_customer(order) else Address()
        state = (place.state or "").strip() or place.administrative_area
        address = place.address1, place.address2, place.city, state, place.zip_code, place.country
        loyalty = check.applied_loyalty_info.loyalty_identifier if check.applied_loyalty_info else None
        texts = guest.first_name, guest.last_name, loyalty, *address
        given, surname, *filled = ((text or "").strip() or None for text in texts)
        contact = normal_email(guest.email), normal_phone(guest.phone, guest.phone_country_code)
        yield Guest._make((key, given, surname, *contact, *filled, time_zone, min(epoch_ms(modified), _LATEST_MS)))


def sightings_in(batch: RawOrders) -> Iterator[Guest]:
    """What orders say of guests. One that the feeds reject, because of an amount, say, counts as well."""
    for order in read(batch).orders if zone(batch.timezone) is not None else ():
        if not (order.created_in_test_mode or order.excess_food):
            with suppress(ValueError):
                yield from sightings(order, batch.timezone)


class WeekGuests:
    """The guests of a week's orders, in a database at ``path``. Threads may share it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = Lock()
        self._forgotten = Forgotten(b"", {})
        with self._database() as database:
            database.executescript("""
                CREATE TABLE sightings (restaurant, id, guest);
                CREATE TABLE guests (id PRIMARY KEY, guest) WITHOUT ROWID;
            """)

    @contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        try:
            # A generator that reads may go on in another thread, in one at a time.
            with closing(sqlite3.connect(self._path, check_same_thread=False)) as database, database:
                database.execute("PRAGMA synchronous = OFF")
                yield database
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_FULL:
                # As any other file says it (``machine``).
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path)) from error
            raise

    def add(self, restaurant_guid: str, seen: Iterable[Guest]) -> None:
        """Take in what orders of a restaurant say; of no restaurant (``""``) for orders of other weeks."""
        with self._lock, self._database() as database:
            rows = ((restaurant_guid, one.customer_id, msgspec.json.encode(one)) for one in seen)
            database.executemany("INSERT INTO sightings VALUES (?, ?, ?)", rows)

    def drop(self, restaurant_guid: str) -> None:
        """Remove what orders of a restaurant say."""
        with self._lock, self._database() as database:
            database.execute("DELETE FROM sightings WHERE restaurant = ?", (restaurant_guid,))

    def update_index(
        self, store: OrderStore, add_history: Callable[[], bool], log: logging.Logger, *, save: bool = True
    ) -> None:
        """Merge what was added into the stored index; from then on ``of_restaurant`` knows all fields. Without ``save``
        the bucket stays as it is.

        A lost or damaged index is made of this week and of what ``add_history`` adds: the orders of other weeks. That
        says whether there are any. The index of an earlier release keeps what it has, because these orders can be gone,
        and takes in what they say.

        Raises StoreConflictError where other runs kept writing the index, StoreError where the bucket fails.
        """
        # Once, also where another run writes the index meanwhile.
        add_history = cache(add_history)

        def change(stored: StoredObject | None, target: Path) -> Replacement | None:
            # What was added can be of orders that were stored before a guest was forgotten.
            self._forgotten = load_forgotten(store)
            changed: bool | None = None
            try:
                schema = pq.read_schema(stored.path) if stored else None
                if stored and schema == GUEST_SCHEMA:
                    changed = self.merge(row_groups(stored.path), target)
                elif stored and schema == _EARLIER_SCHEMA:
                    add_history()
                    self.merge((fitted(rows, GUEST_SCHEMA) for rows in row_groups(stored.path)), target)
                    changed = True
            except (pa.ArrowException, OSError) as error:
                # Arrow's own have no number; one with a number is the system's, such as a full disk.
                if isinstance(error, OSError) and error.errno is not None:
                    raise
            if changed is None:
                if stored:
                    log.warning("The guest index is damaged or of other columns: it is made again of all stored weeks.")
                self.merge((), target, _REBUILT_MS if add_history() else 0)
            return Replacement(target, {"ContentType": PARQUET}) if save and changed is not False else None

        store.bucket.update(store.layout.guest_index(), change)

    def of_restaurant(self, restaurant_guid: str) -> Iterator[list[Guest]]:
        """The guests that a restaurant's orders of the week name, each once, by customer id, some at a time."""
        query = "SELECT guest FROM guests WHERE id IN (SELECT id FROM sightings WHERE restaurant = ?) ORDER BY id"
        with self._database() as database:
            found = database.execute(query, (restaurant_guid,))
            while some := found.fetchmany(_GUESTS_AT_A_TIME):
                yield [Guest(*msgspec.json.decode(guest)) for (guest,) in some]

    def merge(self, groups: Iterable[pa.Table], target: Path, newer_ms: int = 0) -> bool:
        """Write the index in ``groups`` and what was added into ``target``; whether that changes it. Guests it does not
        have are ``newer_ms`` newer than their orders."""
        changed = False
        writer = pq.ParquetWriter(target, GUEST_SCHEMA, compression="zstd", write_page_checksum=True)
        with writer, self._database() as database:
            database.execute("DELETE FROM guests")
            for rows, added in _side_by_side(groups, _added(database, self._forgotten)):
                found = pc.is_in(rows["customer_id"], pa.array([row["customer_id"] for row in added], pa.string()))
                before = {row["customer_id"]: row for row in rows.filter(found).to_pylist()}
                after = [_revised(before.get(row["customer_id"], _NOTHING), row, newer_ms) for row in added]
                saved = ((row["customer_id"], msgspec.json.encode([*map(row.get, Guest._fields)])) for row in after)
                database.executemany("INSERT INTO guests VALUES (?, ?)", saved)
                known = pa.Table.from_pylist([row for row in after if row["revised_ms"]], GUEST_SCHEMA)
                merged = pa.concat_tables([rows.filter(pc.invert(found)), known]).sort_by("customer_id")
                changed = changed or not merged.equals(rows)
                if count := merged.num_rows:
                    # A row group grows until it can be cut in two.
                    writer.write_table(merged, count if count < 2 * _ROW_GROUP_ROWS else (count + 1) // 2)
            database.execute("CREATE INDEX IF NOT EXISTS by_restaurant ON sightings (restaurant, id)")
        return changed


def _added(database: sqlite3.Connection, forgotten: Forgotten) -> Iterator[_Row]:
    """What all orders say of each guest, by customer id, but for those from before the guest was forgotten."""
    found = database.execute("SELECT guest FROM sightings ORDER BY id")
    guests = (Guest(*msgspec.json.decode(guest)) for (guest,) in found)
    for customer_id, group in groupby(guests, key=attrgetter("customer_id")):
        row = _NOTHING | {"customer_id": customer_id}
        for seen in group:
            if not forgotten.knows_guest(customer_id, seen.email, seen.phone, from_epoch_ms(seen.revised_ms or 0)):
                # A GUID alone says nothing.
                at_ms = seen.revised_ms if any(seen[1:-2]) else None
                row = _newest(row, seen._asdict() | dict.fromkeys(_PARTS, at_ms))
        yield row


def _newest(one: _Row, other: _Row) -> _Row:
    """Each part of ``one``, or of the ``other`` where that is newer; of one time the greater, whichever comes first."""
    made = dict(one)
    for at, names in _PARTS.items():
        mine, theirs = ((row[at] or 0, [row[name] or "" for name in names]) for row in (one, other))
        if theirs > mine and other[at] and any(theirs[1]):
            made |= {name: other[name] for name in (at, *names)}
    return made


def _revised(before: _Row, added: _Row, newer_ms: int) -> _Row:
    """A guest's row after they were seen. Where it says something else than before, it is revised later than before,
    even by an order older than what was known: Amperity keeps the row that was revised last."""
    after = _newest(before, added)
    newest_ms = max(after[at] or 0 for at in _PARTS)
    is_other = any(after[name] != before[name] for name in Guest._fields[1:-1])
    revised_ms = max(newest_ms and newest_ms + newer_ms, before["revised_ms"] + is_other)
    return after | {"customer_id": added["customer_id"], "revised_ms": revised_ms or None}


def _side_by_side(groups: Iterable[pa.Table], added: Iterator[_Row]) -> Iterator[tuple[pa.Table, list[_Row]]]:
    """The row groups of the index, each with the guests added from its first on; cut where many were added."""

    def first(one: pa.Table | _Row) -> str:
        return str(one["customer_id"] if isinstance(one, dict) else one["customer_id"][0])

    rows, some = GUEST_SCHEMA.empty_table(), list[_Row]()
    for one in heapq.merge(filter(len, groups), added, key=first):
        if isinstance(one, pa.Table) or len(some) == _ROW_GROUP_ROWS:
            within = pc.less(rows["customer_id"], first(one))
            yield rows.filter(within), some
            rows, some = rows.filter(pc.invert(within)), []
        if isinstance(one, pa.Table):
            rows = one
        else:
            some.append(one)
    yield rows, some
