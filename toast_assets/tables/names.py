"""The tables ``names`` and ``restaurants``, over all weeks: what pulls have read of Toast's configuration.

A pull merges what it read into what is known, so a name that Toast no longer returns stays. Other tables, feeds and
checks look names up here.
"""

from __future__ import annotations

import filecmp
import hashlib
import heapq
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from threading import Lock
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from toast_assets.errors import StoreError
from toast_assets.orders.names import NO_NAMES, Name, Names
from toast_assets.orders.times import business_day
from toast_assets.scratch import scratch_folder
from toast_assets.store.bucket import Replacement, StoredObject
from toast_assets.store.order_store import NAMES_TABLE, PARQUET, OrderStore
from toast_assets.store.s3_errors import readable
from toast_assets.tables.columns import Table
from toast_assets.tables.files import TableWriter, restaurants_in
from toast_assets.tables.schema import NAMES, RESTAURANTS
from toast_assets.toast.configuration import Entity
from toast_assets.toast.restaurants import Restaurant

_HINT = "Restore an earlier version of it. Or remove it: the next pull reads the names that Toast has today."
_NAMING = ["kind", "guid", "name", "behavior"]


class ReadConfiguration:
    """What one run has read of restaurants' configuration; names are kept in files in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._names: dict[str, Path] = {}
        self._restaurants: dict[str, pa.Table] = {}

    @property
    def restaurants(self) -> set[str]:
        """The restaurants of which something was read."""
        return {*self._names, *self._restaurants}

    def add_names(self, restaurant_guid: str, entities: Iterable[Entity], at: datetime) -> None:
        """Take in the names of a restaurant, read ``at`` (aware)."""
        rows = (one._asdict() | {"restaurant_guid": restaurant_guid} for one in entities)
        self._names[restaurant_guid] = self._folder / f"{restaurant_guid}.parquet"
        pq.write_table(_rows(NAMES, rows, at), self._names[restaurant_guid])

    def add_restaurant(self, one: Restaurant, at: datetime) -> None:
        """Take in a restaurant's description, read ``at`` (aware)."""
        row: dict[str, Any] = {"restaurant_guid": one.guid, "restaurant_name": one.name, "currency": one.currency_code}
        row |= {name: getattr(one, name) for name in ("location_name", "location_code", "time_zone", "closeout_hour")}
        row |= {"archived": bool(one.archived), "first_business_date": None}
        with suppress(ValueError, OverflowError):
            row["first_business_date"] = business_day(one.first_business_date)
        self._restaurants[one.guid] = _rows(RESTAURANTS, [row], at)

    def save(self, store: OrderStore) -> None:
        """Merge all of it into the stored tables. Raises StoreError where the bucket fails, or a stored table is
        damaged."""
        if self._names:
            _merge(store, NAMES, lambda: ((guid, pq.read_table(path)) for guid, path in sorted(self._names.items())))
        if self._restaurants:
            _merge(store, RESTAURANTS, lambda: iter(sorted(self._restaurants.items())))


class StoredNames:
    """The stored names of all restaurants, in a file in ``folder`` that is fetched when they are first asked for.
    Threads may share it.

    They are for display: a file that cannot be read is reported once, and then nothing has a name. ``failure`` says
    why.
    """

    def __init__(self, store: OrderStore, folder: Path, log: logging.Logger) -> None:
        self._store = store
        self._path = folder / "names.parquet"
        self._log = log
        self._lock = Lock()
        self._is_fetched = False
        self.failure: str | None = None

    def of(self, restaurant_guid: str) -> Names:
        """The names of one restaurant."""
        key = self._store.layout.whole_table(NAMES_TABLE)
        with self._lock:
            if not self._is_fetched:
                self._store.bucket.fetch(key, self._path)
                self._is_fetched = True
            if not self._path.exists():
                return NO_NAMES
            try:
                with readable(self._store.bucket.uri(key), _HINT):
                    of_restaurant = [("restaurant_guid", "==", restaurant_guid)]
                    found = pq.read_table(self._path, columns=_NAMING, filters=of_restaurant).to_pydict().values()
                    rows = zip(*found, strict=True)
                    return Names({(kind, guid.lower()): Name(*called) for kind, guid, *called in rows})
            except StoreError as error:
                self.failure = str(error)
                self._log.warning("Names are left out: %s", error)
                self._path.unlink()
                return NO_NAMES


def names_version(store: OrderStore, table: Table = NAMES) -> str:
    """A hash of what ``names`` or ``restaurants`` says, without the times at which it was read; empty where there is no
    such table."""
    info = store.bucket.info(store.layout.whole_table(table.name))
    return info.metadata.get("version", "") if info else ""


def stored_rows(store: OrderStore, table: Table) -> pa.Table:
    """All rows of ``names`` or ``restaurants``, none where there is no file. Raises StoreError where the file cannot be
    read."""
    key = store.layout.whole_table(table.name)
    with scratch_folder() as folder, readable(store.bucket.uri(key), _HINT):
        found = store.bucket.fetch(key, folder / "table.parquet")
        return pq.read_table(found.path) if found else table.schema.empty_table()


def _rows(table: Table, rows: Iterable[dict[str, Any]], at: datetime) -> pa.Table:
    return pa.Table.from_pylist([row | {"first_seen": at, "last_seen": at} for row in rows], table.schema)


def _merge(store: OrderStore, table: Table, read: Callable[[], Iterator[tuple[str, pa.Table]]]) -> None:
    """Merge the rows that were ``read``, by restaurant, into the stored ``table``, with one restaurant in memory at a
    time."""
    key = store.layout.whole_table(table.name)

    def change(stored: StoredObject | None, target: Path) -> Replacement | None:
        digest = hashlib.sha256()
        with readable(store.bucket.uri(key), _HINT), TableWriter(target, table) as writer:
            known = restaurants_in(stored.path) if stored else iter(())
            parts = heapq.merge(known, read(), key=itemgetter(0))
            for _, of_restaurant in groupby(parts, key=itemgetter(0)):
                rows = _united(table, [row for _, part in of_restaurant for row in part.to_pylist()])
                writer.write(pa.Table.from_pylist(rows, table.schema))
                digest.update(str([[row[name] for name in timeless] for row in rows]).encode())
        if stored and filecmp.cmp(stored.path, target, shallow=False):
            return None
        return Replacement(target, {"ContentType": PARQUET, "Metadata": {"version": digest.hexdigest()}})

    timeless = [name for name in table.schema.names if not name.endswith("_seen")]
    store.bucket.update(key, change)


def _united(table: Table, rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row for each key, which compares without case: what was read last, and what only earlier readings have."""
    found: dict[tuple[str, ...], dict[str, Any]] = {}
    for row in rows:
        key = tuple(row[name].lower() for name in table.key)
        earlier, later = sorted((found.get(key, row), row), key=itemgetter("last_seen"))
        said = {name: value for name, value in later.items() if value is not None}
        spelling = {name: found.get(key, row)[name] for name in table.key}
        found[key] = earlier | said | spelling | {"first_seen": min(earlier["first_seen"], later["first_seen"])}
    return [found[key] for key in sorted(found)]
