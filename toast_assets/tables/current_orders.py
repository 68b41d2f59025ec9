"""Keeps the newest version of every order over all weeks: one Parquet file per restaurant, and a state beside them.

Only weeks whose table changed are read again. Rows are only added, or replaced by newer ones, so weeks can be merged in
any order, twice, or by two runs at once. What is damaged is made again out of the weeks' tables.
"""

from __future__ import annotations

import filecmp
import hashlib
import heapq
import logging
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import groupby, islice
from operator import itemgetter
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from toast_assets.errors import ExportError
from toast_assets.orders.raw_file import row_groups
from toast_assets.scratch import scratch_folder
from toast_assets.store.bucket import Replacement, StoredObject
from toast_assets.store.client import CALLS_AT_ONCE
from toast_assets.store.order_store import PARQUET, OrderStore
from toast_assets.store.raw_weeks import week_of
from toast_assets.tables.build import build_tables
from toast_assets.tables.files import TableWriter, restaurants_in, sha256_of
from toast_assets.tables.schema import TABLES

ORDERS = TABLES["orders"]
# Each open week, and each restaurant, holds a row group in memory.
_WEEKS_AT_ONCE = 8
_RESTAURANTS_AT_ONCE = 4
_VERSION = ["order_guid", "modified_at"]
# What Arrow raises for a file that is damaged.
_DAMAGE = (pa.ArrowException, OSError)


class CurrentFile(msgspec.Struct, frozen=True):
    """A restaurant's file: its rows, and S3's ETag of it."""

    rows: int
    etag: str | None


class CurrentState(msgspec.Struct, frozen=True):
    """Which weeks the files hold (partition key: hash of the week's table), by which schema, and the files by
    restaurant."""

    schema: str
    weeks: dict[str, str] = {}
    restaurants: dict[str, CurrentFile] = {}

    @property
    def orders(self) -> int:
        return sum(file.rows for file in self.restaurants.values())

    @property
    def data_version(self) -> str:
        """A hash of what was merged."""
        return hashlib.sha256(msgspec.json.encode([self.schema, sorted(self.weeks.items())])).hexdigest()


@dataclass
class CurrentReport:
    """One refresh: the ``weeks`` that were read, those ``left_out`` because their table is damaged and cannot be made
    again, the orders that are ``new`` or ``replaced`` by a newer version, and the ``state`` after it."""

    state: CurrentState
    weeks: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    new: int = 0
    replaced: int = 0
    seconds: float = 0


class _DamagedError(Exception):
    """A restaurant's file is missing, or is not what was written: all weeks have to be merged again."""


def refresh_current_orders(store: OrderStore, log: logging.Logger) -> CurrentReport:
    """Merge every week's ``orders`` table that changed since the last refresh; all of them where a file is damaged.

    Raises:
        StoreConflictError: other runs kept writing the same objects.
        StoreError: the bucket is missing or refuses access.
    """
    began = time.monotonic()
    found = store.bucket.read(store.layout.current_orders_state())
    before = _decoded(found[0] if found else b"")
    try:
        report = _Refresh(store, _checked(store, before), log).run()
    except _DamagedError:
        log.warning("A file of the current orders is damaged or missing: all weeks are merged again.")
        report = _Refresh(store, CurrentState(before.schema), log).run()
    report.state = _save_state(store, before, report.state)
    report.seconds = time.monotonic() - began
    weeks = ", ".join(report.weeks) or "unchanged"
    log.info("Weeks %s: %d orders are new, %d were replaced.", weeks, report.new, report.replaced)
    return report


def _decoded(body: bytes) -> CurrentState:
    """The state; an empty one where it cannot be read, or is of another schema: then all weeks are merged again."""
    empty = CurrentState(hashlib.sha256(ORDERS.schema.serialize()).hexdigest())
    try:
        state = msgspec.json.decode(body, type=CurrentState)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return empty
    return state if state.schema == empty.schema else empty


def _checked(store: OrderStore, state: CurrentState) -> CurrentState:
    """The state with what the files hold: those that another run has written since are read."""

    def check(guid: str, file: CurrentFile) -> CurrentFile:
        key = store.layout.current_orders(guid)
        info = store.bucket.info(key)
        if info is not None and info.version == file.etag:
            return file
        with scratch_folder() as folder:
            stored = store.bucket.fetch(key, folder / "current.parquet")
            with suppress(*_DAMAGE):
                if stored and _fits(stored.path):
                    # All columns are read, because damage shows nowhere else.
                    rows = sum(group.num_rows for group in row_groups(stored.path))
                    if rows >= file.rows:
                        return CurrentFile(rows, stored.version)
        raise _DamagedError

    with ThreadPoolExecutor(CALLS_AT_ONCE, thread_name_prefix="current") as threads:
        files = threads.map(check, state.restaurants.keys(), state.restaurants.values())
        return msgspec.structs.replace(state, restaurants=dict(zip(state.restaurants, files, strict=True)))


def _fits(path: Path) -> bool:
    """Whether a file has the columns of current orders, and each order once; raises ``_DAMAGE``."""
    if not pq.read_schema(path).equals(ORDERS.schema, check_metadata=True):
        return False
    guids = pq.read_table(path, columns=["order_guid"])["order_guid"]
    return bool(pc.count_distinct(guids).as_py() == len(guids))


def _save_state(store: OrderStore, before: CurrentState, merged: CurrentState) -> CurrentState:
    """Record what was merged. What another run has recorded since ``before`` was read stays: of weeks its hash, of
    restaurants the larger file."""
    saved = before

    def change(stored: StoredObject | None, _: Path) -> Replacement | None:
        nonlocal saved
        body = stored.path.read_bytes() if stored else b""
        theirs = _decoded(body)
        weeks = merged.weeks | {key: table for key, table in theirs.weeks.items() if table != before.weeks.get(key)}
        files = dict(merged.restaurants)
        for guid, file in theirs.restaurants.items():
            if file != before.restaurants.get(guid) and (guid not in files or file.rows > files[guid].rows):
                files[guid] = file
        saved = CurrentState(theirs.schema, dict(sorted(weeks.items())), dict(sorted(files.items())))
        encoded = msgspec.json.format(msgspec.json.encode(saved), indent=1) + b"\n"
        return None if encoded == body else Replacement(encoded, {"ContentType": "application/json"})

    store.bucket.update(store.layout.current_orders_state(), change)
    return saved


@dataclass
class _Refresh:
    """``weeks`` are the ``orders`` tables on the local disk that are merged now, by partition key, oldest first."""

    store: OrderStore
    known: CurrentState
    log: logging.Logger
    weeks: dict[str, StoredObject] = field(default_factory=dict)

    def run(self) -> CurrentReport:
        state = CurrentState(self.known.schema, dict(self.known.weeks), dict(self.known.restaurants))
        report = CurrentReport(state)
        keys = self.store.table_weeks("orders")
        with ThreadPoolExecutor(CALLS_AT_ONCE, thread_name_prefix="weeks") as threads:
            objects = (self.store.layout.table("orders", key) for key in keys)
            hashes = zip(keys, threads.map(self.store.sha256, objects), strict=True)
        # A table without a hash was not written by this package.
        wanted = [key for key, sha256 in hashes if sha256 is None or self.known.weeks.get(key) != sha256]
        for start in range(0, len(wanted), _WEEKS_AT_ONCE):
            some = wanted[start : start + _WEEKS_AT_ONCE]
            with scratch_folder() as folder:
                self.weeks = {key: table for key in some if (table := self._fetched(key, folder / key)) is not None}
                for guid, file, new, replaced in self._merged():
                    state.restaurants[guid] = file
                    report.new += new
                    report.replaced += replaced
            state.weeks.update((key, table.metadata["sha256"]) for key, table in self.weeks.items())
            report.weeks += tuple(self.weeks)
            report.left_out += tuple(key for key in some if key not in self.weeks)
        return report

    def _fetched(self, week_key: str, path: Path) -> StoredObject | None:
        """A week's table, made again where damaged or of an earlier schema; None where its raw orders are gone."""
        key = self.store.layout.table("orders", week_key)
        stored = self.store.bucket.fetch(key, path)
        if stored is None:
            return None
        if sha256_of(path) == stored.metadata.get("sha256") and pq.read_schema(path).equals(ORDERS.schema):
            return stored
        try:
            build_tables(week_of(week_key, self.store), self.store, self.log)
        except ExportError as error:
            self.log.warning("Week %s: its table of orders is damaged and cannot be made again: %s", week_key, error)
            return None
        return self.store.bucket.fetch(key, path)

    def _merged(self) -> Iterator[tuple[str, CurrentFile, int, int]]:
        rows_by_week = [restaurants_in(table.path) for table in self.weeks.values()]
        by_restaurant = groupby(heapq.merge(*rows_by_week, key=itemgetter(0)), key=itemgetter(0))
        found = ((guid, _newest(pa.concat_tables([part for _, part in parts]))) for guid, parts in by_restaurant)
        with ThreadPoolExecutor(_RESTAURANTS_AT_ONCE, thread_name_prefix="current") as threads:
            while some := list(islice(found, _RESTAURANTS_AT_ONCE)):
                yield from threads.map(self._merge_restaurant, some)

    def _merge_restaurant(self, restaurant: tuple[str, pa.Table]) -> tuple[str, CurrentFile, int, int]:
        """Merge new rows into a restaurant's file; one that is known must be there. The restaurant, its file, and how
        many orders are new or replace an older version."""
        guid, incoming = restaurant
        counts: list[tuple[int, int, int]] = []

        def change(stored: StoredObject | None, target: Path) -> Replacement | None:
            merged = None
            if stored is not None:
                with suppress(*_DAMAGE):
                    merged = self._merge_files(stored.path, incoming, target) if _fits(stored.path) else None
            if merged is None and guid in self.known.restaurants:
                raise _DamagedError
            counts.append(merged or self._merge_files(None, incoming, target))
            if stored is not None and filecmp.cmp(stored.path, target, shallow=False):
                return None
            return Replacement(target, {"ContentType": PARQUET})

        version = self.store.bucket.update(self.store.layout.current_orders(guid), change)
        written, new, replaced = counts[-1]
        return guid, CurrentFile(written, version), new, replaced

    def _merge_files(self, stored: Path | None, incoming: pa.Table, target: Path) -> tuple[int, int, int]:
        """Write the newest of both into ``target``, with one row group of ``stored`` in memory at a time; its rows, and
        how many orders are new or replace an older version."""
        versions = pq.read_table(stored, columns=_VERSION) if stored else incoming.select(_VERSION).slice(0, 0)
        before = versions.rename_columns(["order_guid", "before"])
        met = incoming.select(_VERSION).join(before, "order_guid", join_type="inner")
        newer = met.filter(pc.greater(met["modified_at"], met["before"])).num_rows
        older = pc.less(met["modified_at"], met["before"])
        same = pc.equal(met["modified_at"], met["before"])
        # Toast can change an order without a new modified time: of one time the row of the newer pull wins. The
        # incoming one is of the newer pull as long as no other run has stored newer tables since.
        if pc.any(same).as_py() and not self._are_current():
            older = pc.or_(older, same)
        outdated = met.filter(older)["order_guid"].combine_chunks()
        rows = incoming.filter(pc.invert(pc.is_in(incoming["order_guid"], outdated)))
        replacing = rows["order_guid"].combine_chunks()
        with TableWriter(target, ORDERS) as writer:
            for group in row_groups(stored) if versions.num_rows and stored else ():
                due = pc.less_equal(rows["modified_at"], pc.max(group["modified_at"]))
                kept = group.filter(pc.invert(pc.is_in(group["order_guid"], replacing)))
                writer.write(_sorted(pa.concat_tables([kept, rows.filter(due)])))
                rows = rows.filter(pc.invert(due))
            writer.write(rows)
        return writer.rows, writer.rows - versions.num_rows, newer

    def _are_current(self) -> bool:
        infos = {key: self.store.bucket.info(self.store.layout.table("orders", key)) for key in self.weeks}
        return all(info is not None and info.version == self.weeks[key].version for key, info in infos.items())


def _newest(rows: pa.Table) -> pa.Table:
    """One row per order, the one modified last, sorted by modified time."""
    ordered = _sorted(rows)
    places = pa.table({"order_guid": ordered["order_guid"], "place": pa.array(range(len(ordered)), pa.int64())})
    last = places.group_by("order_guid").aggregate([("place", "max")])["place_max"]
    return _sorted(ordered.take(last))


def _sorted(rows: pa.Table) -> pa.Table:
    return rows.sort_by([("modified_at", "ascending"), ("order_guid", "ascending")])
