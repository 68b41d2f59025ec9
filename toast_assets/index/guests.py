"""The guest index: of every guest of all restaurants the newest known fields, each with the time at which it was seen.

One Parquet file, sorted by customer id. A field that was seen once stays until a newer order says another value, so
weeks can be merged in any order, twice, or by two runs at once. An address counts as one field, so that it is never a
mixture of two.

A week's sightings are collected in a local database, and merged row group by row group: memory does not grow with the
number of guests.
"""

from __future__ import annotations

import errno
import logging
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from itertools import chain, groupby, islice
from operator import itemgetter
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from toast_assets.orders.identity import (
    Forgotten,
    guest_key,
    key_trait,
    normal_email,
    normal_phone,
    order_customer,
    traits,
)
from toast_assets.orders.model import Address, Order
from toast_assets.orders.raw_file import row_groups
from toast_assets.orders.read import RawOrders, read
from toast_assets.orders.times import instant, zone
from toast_assets.store.bucket import Replacement, StoredObject
from toast_assets.store.forgotten import load_forgotten
from toast_assets.store.order_store import PARQUET, OrderStore
from toast_assets.week import epoch_ms, from_epoch_ms, iso_ms

# Columns that are seen together, by the name of the column with their time.
_PARTS = {
    **{f"{name}_ms": (name,) for name in ("given_name", "surname", "email", "phone")},
    "address_ms": ("address", "address2", "city", "state", "postal", "country"),
    # The restaurant's of the newest order that says anything.
    "seen_ms": ("time_zone",),
}
_VALUES = tuple(chain.from_iterable(_PARTS.values()))
GUEST_SCHEMA = pa.schema(
    [
        pa.field("customer_id", pa.string(), nullable=False),
        *(pa.field(name, pa.string()) for name in _VALUES),
        *(pa.field(name, pa.int64()) for name in _PARTS),
        pa.field("revised_ms", pa.int64(), nullable=False),
    ]
)
_ROW_GROUP_ROWS = 10_000
_GUESTS_AT_A_TIME = 1_000
# A lost index does not say how often its rows were revised. Rows of a rebuilt one are newer than those.
_REBUILT_MS = 1_000
# Leaves room for revisions and for every clock before the end of the calendar, 9999-12-31.
_LATEST_MS = 253_402_128_000_000
_COLUMNS = ", ".join(("customer_id", *_VALUES, "revised_ms"))
_CREATE = f"""
    CREATE TABLE sightings (restaurant, {_COLUMNS});
    CREATE TABLE guests ({_COLUMNS.replace(",", " PRIMARY KEY,", 1)}) WITHOUT ROWID;
"""
_BY_RESTAURANT = "CREATE INDEX IF NOT EXISTS by_restaurant ON sightings (restaurant, customer_id)"
_ADD_SIGHTING = "INSERT INTO sightings VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_ADD_GUEST = "INSERT INTO guests VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_OF_RESTAURANT = """
    SELECT * FROM (SELECT DISTINCT customer_id FROM sightings WHERE restaurant = ?)
    LEFT JOIN guests USING (customer_id) ORDER BY customer_id
"""
_Parts = tuple[tuple[int, tuple[str, ...]], ...]
"""Each part's time and values; ``""`` is null, and the time of a part that is not known is 0."""
_UNKNOWN: _Parts = tuple((0, ("",) * len(columns)) for columns in _PARTS.values())


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
    address: str | None
    address2: str | None
    city: str | None
    state: str | None
    postal: str | None
    country: str | None
    time_zone: str | None
    revised_ms: int | None


def sightings(order: Order, time_zone: str | None) -> Iterator[Guest]:
    """What one order says of its guests, one for each check that names one. The delivery address is the order's one
    guest's."""
    modified = instant(order.modified_date)
    for check in order.checks or ():
        guest = check.customer
        if modified is None or guest is None or (key := guest_key(guest)) is None:
            continue
        is_main = order.delivery_info is not None and guest is order_customer(order)
        address = order.delivery_info.place if order.delivery_info and is_main else Address()
        yield Guest(
            customer_id=key,
            given_name=_filled(guest.first_name),
            surname=_filled(guest.last_name),
            email=normal_email(guest.email),
            phone=normal_phone(guest.phone, guest.phone_country_code),
            address=_filled(address.address1),
            address2=_filled(address.address2),
            city=_filled(address.city),
            state=_filled(address.state) or _filled(address.administrative_area),
            postal=_filled(address.zip_code),
            country=_filled(address.country),
            time_zone=time_zone,
            revised_ms=min(epoch_ms(modified), _LATEST_MS),
        )


def sightings_in(batch: RawOrders) -> Iterator[Guest]:
    """What orders say of guests, a fifth of the work of making rows. An order that the feeds reject, because of an
    amount, say, counts as well."""
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
            database.executescript(_CREATE)

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
            rows = ((restaurant_guid, *one) for one in seen)
            database.executemany(_ADD_SIGHTING, rows)

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
        says whether there are any.

        Raises:
            StoreConflictError: other runs kept writing the index.
            StoreError: the bucket is missing or refuses access.
        """
        has_history: bool | None = None

        def change(stored: StoredObject | None, target: Path) -> Replacement | None:
            nonlocal has_history
            # What was added can be of orders that were stored before a guest was forgotten.
            self._forgotten = load_forgotten(store)
            changed = self._merge_stored(stored.path, target, log) if stored else None
            if changed is None:
                has_history = add_history() if has_history is None else has_history
                self.merge((), target, _REBUILT_MS if has_history else 0)
            return Replacement(target, {"ContentType": PARQUET}) if save and changed is not False else None

        store.bucket.update(store.layout.guest_index(), change)

    def of_restaurant(self, restaurant_guid: str) -> Iterator[list[Guest]]:
        """The guests that a restaurant's orders of the week name, each once, by customer id, some at a time."""
        with self._database() as database:
            rows = database.execute(_OF_RESTAURANT, (restaurant_guid,))
            while some := rows.fetchmany(_GUESTS_AT_A_TIME):
                yield list(map(Guest._make, some))

    def _merge_stored(self, stored: Path, target: Path, log: logging.Logger) -> bool | None:
        """Whether the index has changed; None where it cannot be read."""
        try:
            if pq.read_schema(stored).equals(GUEST_SCHEMA):
                return self.merge(row_groups(stored), target)
            problem = "has other columns"
        except (pa.ArrowException, OSError) as error:
            # Arrow's own have no number; one with a number is the system's, such as a full disk.
            if isinstance(error, OSError) and error.errno is not None:
                raise
            problem = f"is damaged ({type(error).__name__})"
        log.warning("The guest index %s, so it is made again of all stored weeks.", problem)
        return None

    def merge(self, groups: Iterable[pa.Table], target: Path, newer_ms: int = 0) -> bool:
        """Write the index in ``groups`` and what was added into ``target``; whether that changes it. Guests it does not
        have are ``newer_ms`` newer than their orders."""
        changed = False

        def merged(database: sqlite3.Connection) -> Iterator[pa.Table]:
            nonlocal changed
            for rows, some in _side_by_side(groups, _seen(database, self._forgotten)):
                found = pc.is_in(rows["customer_id"], pa.array([one.customer_id for one in some], pa.string()))
                before = {row["customer_id"]: row for row in rows.filter(found).to_pylist()}
                revised = (_revised(before.get(one.customer_id), one, newer_ms) for one in some)
                after = {row["customer_id"]: row for row in revised if row["revised_ms"]}
                due = (after[one.customer_id] for one in some if one.in_week and one.customer_id in after)
                values = ([row[name] for name in Guest._fields] for row in due)
                database.executemany(_ADD_GUEST, values)
                changed = changed or before != after
                parts = [rows.filter(pc.invert(found)), pa.Table.from_pylist(list(after.values()), GUEST_SCHEMA)]
                yield pa.concat_tables(parts).sort_by("customer_id") if after else rows

        with (
            self._database() as database,
            pq.ParquetWriter(target, GUEST_SCHEMA, compression="zstd", write_page_checksum=True) as writer,
        ):
            database.execute("DELETE FROM guests")
            for group in _regrouped(merged(database)):
                writer.write_table(group)
            database.execute(_BY_RESTAURANT)
        return changed


class _Seen(NamedTuple):
    """All sightings of a guest in one; ``in_week`` if one of them is of the week."""

    customer_id: str
    parts: _Parts
    in_week: bool


def _seen(database: sqlite3.Connection, forgotten: Forgotten) -> Iterator[_Seen]:
    rows = database.execute("SELECT * FROM sightings ORDER BY customer_id")
    for customer_id, group in groupby(rows, key=itemgetter(1)):
        parts, in_week = _UNKNOWN, False
        for restaurant, *values in group:
            guest = Guest._make(values)
            if not (forgotten.since and _is_forgotten(guest, forgotten)):
                parts = _newest(parts, _parts_seen(guest))
            in_week = in_week or bool(restaurant)
        yield _Seen(customer_id, parts, in_week)


def _is_forgotten(guest: Guest, forgotten: Forgotten) -> bool:
    seen = iso_ms(from_epoch_ms(guest.revised_ms or 0))
    found = (key_trait(guest.customer_id), *traits(None, guest.email, guest.phone))
    return any(forgotten.knows(trait, seen) for trait in found)


def _parts_seen(guest: Guest) -> _Parts:
    at_ms = guest.revised_ms if any(guest[1:-2]) else 0
    return _parts(guest._asdict() | dict.fromkeys(_PARTS, at_ms))


def _parts(row: dict[str, Any]) -> _Parts:
    values = ((row[name], tuple(row[column] or "" for column in columns)) for name, columns in _PARTS.items())
    return tuple((at_ms if at_ms and any(texts) else 0, texts) for at_ms, texts in values)


def _newest(one: _Parts, other: _Parts) -> _Parts:
    """The newer of each part; of two of one time the greater, whichever comes first."""
    return tuple(map(max, one, other))


def _revised(row: dict[str, Any] | None, seen: _Seen, newer_ms: int) -> dict[str, Any]:
    """A guest's row after they were seen. Where it says something else than before, it is revised later than before,
    even by an order older than what was known: Amperity keeps the row that was revised last."""
    after = seen.parts
    revised_ms = max(at_ms for at_ms, _ in after)
    if row:
        before = _parts(row)
        after = _newest(before, seen.parts)
        changed = [texts for _, texts in before] != [texts for _, texts in after]
        revised_ms = max(revised_ms, row["revised_ms"] + changed)
    elif revised_ms:
        revised_ms += newer_ms
    made: dict[str, Any] = {"customer_id": seen.customer_id, "revised_ms": revised_ms}
    for (name, columns), (at_ms, texts) in zip(_PARTS.items(), after, strict=True):
        made |= dict(zip(columns, (text or None for text in texts), strict=True))
        made[name] = at_ms or None
    return made


def _side_by_side(groups: Iterable[pa.Table], seen: Iterator[_Seen]) -> Iterator[tuple[pa.Table, Sequence[_Seen]]]:
    """The row groups of the index, each with the guests who belong between its rows; both are sorted, and cut where
    there are many of them."""
    ahead = next(seen, None)
    for group in groups:
        rows = group
        last = group["customer_id"][-1].as_py() if group.num_rows else ""
        while rows.num_rows:
            some: list[_Seen] = []
            while ahead is not None and ahead.customer_id <= last and len(some) < _ROW_GROUP_ROWS:
                some.append(ahead)
                ahead = next(seen, None)
            is_all = len(some) < _ROW_GROUP_ROWS
            within = pc.less_equal(rows["customer_id"], last if is_all else some[-1].customer_id)
            yield rows.filter(within), some
            rows = rows.filter(pc.invert(within))
    while ahead is not None:
        yield GUEST_SCHEMA.empty_table(), [ahead, *islice(seen, _ROW_GROUP_ROWS - 1)]
        ahead = next(seen, None)


def _regrouped(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The same rows in row groups of one size."""
    pending = GUEST_SCHEMA.empty_table()
    for table in tables:
        pending = pa.concat_tables([pending, table])
        while pending.num_rows >= _ROW_GROUP_ROWS:
            yield pending.slice(0, _ROW_GROUP_ROWS)
            pending = pending.slice(_ROW_GROUP_ROWS)
    if pending.num_rows:
        yield pending


def _filled(value: str | None) -> str | None:
    return (value.strip() or None) if value else None
