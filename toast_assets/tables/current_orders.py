"""Keeps the newest version of every order over all weeks: one Parquet file per restaurant and month of the order's
creation, and a state beside them.

A refresh reads the weeks whose table changed, and the months that their orders belong to. Toast never changes when an
order was created; only where a version does not say it, the restaurant's other months are searched for the order. Rows
are only added, or replaced by newer ones, so weeks can be merged in any order, twice, or by two runs at once. What is
damaged is made again out of the weeks' tables.
"""

from __future__ import annotations

import filecmp
import hashlib
import heapq
import logging
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import groupby, islice
from operator import itemgetter
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from toast_assets.errors import ExportError
from toast_assets.orders.raw_file import row_groups
from toast_assets.scratch import scratch_folder
from toast_assets.store.bucket import Replacement, StoredObject, Version
from toast_assets.store.client import CALLS_AT_ONCE
from toast_assets.store.layout import month_in, restaurant_in, week_in
from toast_assets.store.order_store import CURRENT_ORDERS, PARQUET, OrderStore
from toast_assets.store.raw_weeks import week_of
from toast_assets.tables.build import build_tables
from toast_assets.tables.current_files import (
    CURRENT,
    DAMAGE,
    FLAG,
    ORDERS,
    Merged,
    fits,
    merge_files,
    months_of,
    newest,
)
from toast_assets.tables.current_state import CurrentFiles, CurrentState, MergedWeek, decoded, save_state
from toast_assets.tables.files import Unreadable, restaurants_in, sha256_of, unreadable_in

# Each open week, and each restaurant, holds a row group in memory.
_WEEKS_AT_ONCE = 8
_RESTAURANTS_AT_ONCE = 4


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
    """A file of a restaurant, which it names, is missing, or is not what was written."""


def refresh_current_orders(store: OrderStore, log: logging.Logger) -> CurrentReport:
    """Merge every week's ``orders`` table that changed since the last refresh; of a restaurant with a damaged file all
    of them.

    Raises:
        StoreConflictError: other runs kept writing the same objects.
        StoreError: the bucket is missing or refuses access.
    """
    began = time.monotonic()
    found = store.bucket.read(store.layout.current_orders_state())
    before = decoded(found[0] if found else b"")
    report, again = None, set[str]()
    while report is None:
        refresh = _Refresh(store, log, before, again)
        try:
            report = refresh.run()
        except _DamagedError as damaged:
            again.add(str(damaged))
    report.state = save_state(store, before, report.state)
    for key in refresh.former:
        store.bucket.delete(key)
    report.seconds = time.monotonic() - began
    weeks = ", ".join(report.weeks) or "unchanged"
    log.info("Weeks %s: %d orders are new, %d were replaced.", weeks, report.new, report.replaced)
    return report


@dataclass
class _Refresh:
    """One refresh. ``again`` are restaurants that are made again out of all weeks, ``doubled`` those of them with an
    order in two files.

    ``files`` are the versions of the stored files by restaurant and month, ``former`` the files of earlier releases;
    of ``foreign`` restaurants another run wrote files meanwhile. ``weeks`` are the tables on the local disk that are
    merged now, by partition key, oldest first; ``unreadable`` are the newest versions of orders that cannot be read,
    and ``marked`` the orders that these weeks gave another one.
    """

    store: OrderStore
    log: logging.Logger
    before: CurrentState
    again: set[str]
    files: dict[str, dict[str, Version]] = field(default_factory=lambda: defaultdict(dict))
    doubled: set[str] = field(default_factory=set)
    former: list[str] = field(default_factory=list)
    foreign: set[str] = field(default_factory=set)
    changed: set[str] = field(default_factory=set)
    weeks: dict[str, StoredObject] = field(default_factory=dict)
    unreadable: Unreadable = field(default_factory=dict)
    marked: dict[str, set[str]] = field(default_factory=dict)
    state: CurrentState = field(init=False)

    def run(self) -> CurrentReport:
        bucket, layout, known = self.store.bucket, self.store.layout, self.before.weeks
        self.state = CurrentState(self.before.schema, dict(known), self._checked_files())
        report = CurrentReport(self.state)
        # After the files, so that a file that nobody writes meanwhile holds nothing of a newer table.
        folder = layout.table_folder("orders")
        tables = {week_in(key, folder, "/orders.parquet"): etag for key, etag in bucket.listed(folder)}
        self.changed = {key for key, etag in tables.items() if key and (key not in known or known[key].etag != etag)}
        self.unreadable = _unreadable(known)
        wanted = sorted(filter(None, tables)) if self.again else sorted(self.changed)
        for start in range(0, len(wanted), _WEEKS_AT_ONCE):
            some = wanted[start : start + _WEEKS_AT_ONCE]
            with scratch_folder() as scratch:
                self.weeks = {key: table for key in some if (table := self._fetched(key, scratch / key)) is not None}
                self._mark()
                for guid, files, new, replaced in self._merged():
                    self.state.restaurants[guid] = files
                    report.new += new
                    report.replaced += replaced
            report.weeks += tuple(self.weeks)
            report.left_out += tuple(key for key in some if key not in self.weeks)
        return report

    def _checked_files(self) -> dict[str, CurrentFiles]:
        folder = self.store.layout.table_folder(CURRENT_ORDERS)
        for key, version in self.store.bucket.listed(folder):
            if found := month_in(key, folder):
                self.files[found[0]][found[1]] = version
            elif restaurant_in(key, folder, ".parquet"):
                self.former.append(key)
        guids = sorted({*self.files, *self.before.restaurants})
        with ThreadPoolExecutor(CALLS_AT_ONCE, thread_name_prefix="current") as threads:
            checked = dict(zip(guids, threads.map(self._checked, guids), strict=True))
        if self.again:
            text = "Files of %d restaurants are damaged, missing or of another schema: all weeks are merged again."
            self.log.warning(text, len(self.again))
        return checked

    def _checked(self, guid: str) -> CurrentFiles:
        """What a restaurant's files hold; where they are not those that the state knows, they are read."""
        known, files = self.before.restaurants.get(guid, CurrentFiles()), self.files[guid]
        if known.etags == _hash(files) and guid not in self.again:
            return known
        undated, orders = [], list[str]()
        for month in sorted(files):
            try:
                rows = [group.select(["order_guid", "created_at"]) for group in self._groups(guid, month)]
            except _DamagedError:
                self.again.add(guid)
                del files[month]
                continue
            orders += [order for some in rows for order in some["order_guid"].to_pylist()]
            undated += [month] if any(some["created_at"].null_count for some in rows) else []
        if len({*orders}) < len(orders):
            self.doubled.add(guid)
        if len(orders) < known.rows or guid in self.doubled:
            self.again.add(guid)
        return CurrentFiles(len(orders), _hash(files), tuple(undated))

    def _groups(self, guid: str, month: str) -> Iterator[pa.Table]:
        """The row groups of a file, with all columns, because damage shows nowhere else; or a _DamagedError."""
        with scratch_folder() as folder, suppress(*DAMAGE):
            stored = self.store.bucket.fetch(self.store.layout.current_orders(guid, month), folder / "stored")
            if stored is not None and fits(stored.path, month):
                yield from row_groups(stored.path)
                return
        raise _DamagedError(guid)

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

    def _mark(self) -> None:
        """Record the weeks, and which orders they give another newest version that cannot be read."""
        before = self.unreadable
        for key, table in self.weeks.items():
            self.state.weeks[key] = MergedWeek(table.version, unreadable_in(table.path))
        now = self.unreadable = _unreadable(self.state.weeks)
        changes = {guid: before.get(guid, {}).items() ^ now.get(guid, {}).items() for guid in before | now}
        self.marked = {guid: {order for order, _ in some} for guid, some in changes.items() if some}

    def _merged(self) -> Iterator[tuple[str, CurrentFiles, int, int]]:
        nothing = ORDERS.schema.empty_table()
        sources = [
            *map(self._rows, self.weeks),
            ((guid, nothing) for guid in sorted(self.marked) if guid in self.files),
        ]
        by_restaurant = groupby(heapq.merge(*sources, key=itemgetter(0)), key=itemgetter(0))
        found = ((guid, pa.concat_tables([part for _, part in parts])) for guid, parts in by_restaurant)
        with ThreadPoolExecutor(_RESTAURANTS_AT_ONCE, thread_name_prefix="current") as threads:
            while some := list(islice(found, _RESTAURANTS_AT_ONCE)):
                yield from threads.map(self._merge_restaurant, some)

    def _rows(self, week_key: str) -> Iterator[tuple[str, pa.Table]]:
        for guid, rows in restaurants_in(self.weeks[week_key].path):
            if week_key in self.changed or guid in self.again:
                yield guid, rows

    def _merge_restaurant(self, restaurant: tuple[str, pa.Table]) -> tuple[str, CurrentFiles, int, int]:
        """Merge new rows into a restaurant's files. The restaurant, its files, and how many orders are new or replace
        an older version."""
        guid, incoming = restaurant
        known, files = self.state.restaurants.get(guid, CurrentFiles()), self.files[guid]
        marked = self.marked.get(guid, set())
        wanted = pa.array(marked.union(incoming["order_guid"].to_pylist()), pa.string())
        # Where these orders can be, apart from the months of their new rows.
        anywhere = marked or guid in self.doubled or incoming["created_at"].null_count
        found = {month: self._find(guid, month, wanted) for month in (sorted(files) if anywhere else known.undated)}
        rows = self._flagged(guid, newest(pa.concat_tables([*found.values(), incoming])))
        homes = months_of(rows)
        months = dict.fromkeys(sorted(homes.unique().to_pylist()))
        # Files that orders only leave come last, so that an order is always in one.
        months |= dict.fromkeys(month for month, there in found.items() if there)
        new, replaced, undated = 0, 0, set(known.undated)
        for month in months:
            here = pc.equal(homes, month)
            if month in found:
                here = pc.or_(here, pc.is_in(rows["order_guid"], found[month]["order_guid"].combine_chunks()))
            merged = self._merge_month(guid, month, rows.filter(here))
            new, replaced = new + merged.new, replaced + merged.replaced
            undated = undated - {month} | ({month} if merged.undated else set())
        etags = "" if guid in self.foreign else _hash(files)
        return guid, CurrentFiles(known.rows + new, etags, tuple(sorted(undated))), new, replaced

    def _find(self, guid: str, month: str, orders: pa.Array) -> pa.Table:
        """The rows of these ``orders`` in a file."""
        groups = (group.select(ORDERS.schema.names) for group in self._groups(guid, month))
        parts = [group.filter(pc.is_in(group["order_guid"], orders)) for group in groups]
        return pa.concat_tables([ORDERS.schema.empty_table(), *parts])

    def _flagged(self, guid: str, rows: pa.Table) -> pa.Table:
        unreadable = self.unreadable.get(guid, {})
        times = pa.array(map(unreadable.get, rows["order_guid"].to_pylist()), pa.int64())
        # Toast can change an order without a new modified time.
        flags = pc.greater_equal(times, rows["modified_at"].cast(pa.int64())).fill_null(False)
        return rows.append_column(CURRENT.schema.field(FLAG.name), flags)

    def _merge_month(self, guid: str, month: str, rows: pa.Table) -> Merged:
        """Merge rows into a file; one that is known must be there."""
        files = self.files[guid]
        merges: list[Merged] = []

        def change(stored: StoredObject | None, target: Path) -> Replacement | None:
            merged = None
            if stored is not None and fits(stored.path, month):
                if stored.version != files.get(month):
                    self.foreign.add(guid)
                # Toast can change an order without a new modified time: of one time the row of the newer pull wins. The
                # new one is of the newer pull as long as no other run has stored newer tables since.
                wins = guid not in self.foreign or self._are_current()
                with suppress(*DAMAGE):
                    merged = merge_files(stored.path, rows, month, target, same_time_wins=wins)
            if merged is None and month in files:
                raise _DamagedError(guid)
            merges.append(merged or merge_files(None, rows, month, target, same_time_wins=True))
            if stored is not None and filecmp.cmp(stored.path, target, shallow=False):
                return None
            return Replacement(target, {"ContentType": PARQUET})

        key = self.store.layout.current_orders(guid, month)
        files[month] = self.store.bucket.update(key, change, exists=month in files)
        return merges[-1]

    def _are_current(self) -> bool:
        infos = {key: self.store.bucket.info(self.store.layout.table("orders", key)) for key in self.weeks}
        return all(info is not None and info.version == self.weeks[key].version for key, info in infos.items())


def _hash(files: Mapping[str, Version]) -> str:
    return hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest()[:16]


def _unreadable(weeks: Mapping[str, MergedWeek]) -> Unreadable:
    """The newest version of each order that cannot be read, over all weeks."""
    newest_of: Unreadable = defaultdict(dict)
    for week in weeks.values():
        for guid, orders in week.unreadable.items():
            newest_of[guid] |= {order: max(ms, newest_of[guid].get(order, ms)) for order, ms in orders.items()}
    return dict(newest_of)
