"""Keeps the newest version of every order over all weeks: one Parquet file per restaurant and month of the order's
creation, and a state beside them.

A refresh reads the weeks whose table changed, and the months that their orders belong to. Toast never changes when an
order was created; only where a version does not say it, the restaurant's other months are searched for the order.

The state, written last, says which files a refresh left. A restaurant with other files (damaged, removed, written by a
run that died) is merged again out of all weeks, into what can still be read. Where another run wrote an object
meanwhile, a refresh begins again. So weeks can be merged in any order, twice, or by two runs at once.
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
from dataclasses import dataclass, field
from itertools import groupby, islice
from operator import itemgetter
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from toast_assets.errors import ExportError, StoreConflictError
from toast_assets.scratch import scratch_folder
from toast_assets.store.bucket import ABSENT, StoredObject, Version
from toast_assets.store.layout import month_in, restaurant_in, week_in
from toast_assets.store.order_store import CURRENT_ORDERS, PARQUET, OrderStore
from toast_assets.store.raw_weeks import week_of
from toast_assets.tables.build import build_tables
from toast_assets.tables.current_files import CURRENT, ORDERS, fits, flagged, months_of, newest, rows_of, write_merged
from toast_assets.tables.files import Unreadable, fit_file, restaurants_in, sha256_of, unreadable_in

# Each open week, and each restaurant, holds a row group in memory.
_WEEKS_AT_ONCE = 8
_RESTAURANTS_AT_ONCE = 4
# Two runs at once are rare; one that loses this often has another problem.
_MOST_ATTEMPTS = 6
_VERSION = ["order_guid", "modified_at"]


class MergedWeek(msgspec.Struct, frozen=True, omit_defaults=True):
    """A week's table: S3's ETag, and its orders that cannot be read."""

    etag: Version
    unreadable: Unreadable = {}


class CurrentFiles(msgspec.Struct, frozen=True, omit_defaults=True):
    """A restaurant's files: their rows, a hash of their months and S3's ETags, and the months that have orders without
    a time of creation."""

    rows: int = 0
    etags: str = ""
    undated: tuple[str, ...] = ()


class CurrentState(msgspec.Struct, frozen=True):
    """Which weeks the files hold, by partition key and by which schema, and the files by restaurant."""

    schema: str
    weeks: dict[str, MergedWeek] = {}
    restaurants: dict[str, CurrentFiles] = {}

    @property
    def orders(self) -> int:
        return sum(files.rows for files in self.restaurants.values())

    @property
    def data_version(self) -> str:
        """A hash of what was merged."""
        weeks = sorted((key, week.etag) for key, week in self.weeks.items())
        return hashlib.sha256(msgspec.json.encode([self.schema, weeks])).hexdigest()


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


def refresh_current_orders(store: OrderStore, log: logging.Logger, *, salt: bytes = b"") -> CurrentReport:
    """Merge every week's ``orders`` table that changed since the last refresh; all of them into the files of a
    restaurant that are not those of the last refresh. A week's tables that have to be made again are made with
    ``salt``.

    Raises:
        StoreConflictError: other runs kept writing the same objects.
        StoreError: the bucket is missing or refuses access.
    """
    began = time.monotonic()
    report, attempts = None, 0
    while report is None:
        attempts += 1
        try:
            report = _Refresh(store, log, salt).run()
        except StoreConflictError:
            if attempts == _MOST_ATTEMPTS:
                raise
    report.seconds = time.monotonic() - began
    weeks = ", ".join(report.weeks) or "unchanged"
    log.info("Weeks %s: %d orders are new, %d were replaced.", weeks, report.new, report.replaced)
    return report


@dataclass
class _Refresh:
    """One attempt; StoreConflictError where another run wrote meanwhile.

    ``files`` are the versions of the stored files by restaurant and month, ``again`` the restaurants whose files are
    not those of the state. ``changed`` are weeks with a new table, ``weeks`` the tables on the local disk that are
    merged now, by partition key, oldest first. ``unreadable`` are the newest versions of orders that cannot be read,
    and ``marked`` the orders that these weeks gave another one.
    """

    store: OrderStore
    log: logging.Logger
    salt: bytes
    state: CurrentState = field(init=False)
    files: dict[str, dict[str, Version]] = field(default_factory=dict)
    again: set[str] = field(default_factory=set)
    changed: set[str] = field(default_factory=set)
    weeks: dict[str, StoredObject] = field(default_factory=dict)
    unreadable: Unreadable = field(default_factory=dict)
    marked: dict[str, set[str]] = field(default_factory=dict)

    def run(self) -> CurrentReport:
        bucket, layout = self.store.bucket, self.store.layout
        body, version = bucket.read(layout.current_orders_state()) or (b"", ABSENT)
        self.state = _decoded(body)
        former = self._list_files()
        if self.again:
            self.log.warning("%d restaurants have damaged or unknown files: all weeks are merged.", len(self.again))
        folder, known = layout.table_folder("orders"), self.state.weeks
        found = ((week_in(key, folder, "/orders.parquet"), etag) for key, etag in bucket.listed(folder))
        tables = {key: etag for key, etag in found if key is not None}
        self.changed = {key for key, etag in tables.items() if key not in known or known[key].etag != etag}
        report = CurrentReport(self.state)
        wanted = sorted(tables if self.again else self.changed)
        # Without any week, too, unknown files are looked at.
        for start in range(0, max(len(wanted), 1), _WEEKS_AT_ONCE):
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
        encoded = msgspec.json.format(msgspec.json.encode(self.state, order="deterministic"), indent=1) + b"\n"
        if encoded != body:
            bucket.write(layout.current_orders_state(), encoded, replaces=version, ContentType="application/json")
        for key in former:
            bucket.delete(key)
        return report

    def _list_files(self) -> list[str]:
        """The keys of files that earlier releases wrote."""
        folder, former = self.store.layout.table_folder(CURRENT_ORDERS), list[str]()
        for key, version in self.store.bucket.listed(folder):
            if found := month_in(key, folder):
                self.files.setdefault(found[0], {})[found[1]] = version
            elif restaurant_in(key, folder, ".parquet") or key == f"{folder}state.json":
                former.append(key)
        self.again = {guid for guid in {*self.files, *self.state.restaurants} if not self._is_known(guid)}
        return former

    def _is_known(self, guid: str) -> bool:
        known = self.state.restaurants.get(guid)
        return known is not None and known.etags == _hash(self.files.get(guid, {}))

    def _fetched(self, week_key: str, path: Path) -> StoredObject | None:
        """A week's table, made again where damaged or of an earlier schema. Where its raw orders are gone, columns that
        an earlier schema did not have are null; None where the table is damaged."""
        key = self.store.layout.table("orders", week_key)
        stored = self.store.bucket.fetch(key, path)
        if stored is None:
            return None
        is_whole = sha256_of(path) == stored.metadata.get("sha256")
        if is_whole and pq.read_schema(path).equals(ORDERS.schema):
            return stored
        try:
            build_tables(week_of(week_key, self.store), self.store, self.log, salt=self.salt)
        except ExportError as error:
            if is_whole and fit_file(path, ORDERS):
                return stored
            self.log.warning("Week %s: its table of orders is damaged and cannot be made again: %s", week_key, error)
            return None
        return self.store.bucket.fetch(key, path)

    def _mark(self) -> None:
        """Record the weeks, and which orders they give another newest version that cannot be read."""
        before = _unreadable(self.state.weeks)
        for key, table in self.weeks.items():
            self.state.weeks[key] = MergedWeek(table.version, unreadable_in(table.path))
        now = self.unreadable = _unreadable(self.state.weeks)
        changes = {guid: before.get(guid, {}).items() ^ now.get(guid, {}).items() for guid in before | now}
        self.marked = {guid: {order for order, _ in some} for guid, some in changes.items() if some}

    def _merged(self) -> Iterator[tuple[str, CurrentFiles, int, int]]:
        nothing = ORDERS.schema.empty_table()
        without_rows = sorted(self.again | (self.marked.keys() & self.files.keys()))
        sources = [*map(self._rows, self.weeks), ((guid, nothing) for guid in without_rows)]
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
        versions, known = self.files.setdefault(guid, {}), self.state.restaurants.get(guid, CurrentFiles())
        is_known, marked = self._is_known(guid), self.marked.get(guid, set())
        replacing = pa.array(sorted(marked.union(incoming["order_guid"].to_pylist())), pa.string())
        months = {*known.undated, *months_of(incoming).to_pylist()} & versions.keys()
        if not is_known or marked or incoming["created_at"].null_count:
            months = {*versions}
        with scratch_folder() as folder:
            paths = {month: self._fetched_file(guid, month, folder / month) for month in sorted(months)}
            if not is_known:
                paths = {month: path for month, path in paths.items() if fits(path, month)}
                known = CurrentFiles(sum(pq.read_metadata(path).num_rows for path in paths.values()))
            before = rows_of(replacing, paths.values())
            # Toast can change an order without a new modified time: of one time the row of the newer pull wins.
            rows = flagged(newest(pa.concat_tables([before, incoming])), self.unreadable.get(guid, {}))
            homes = months_of(rows)
            # Files that orders only leave come last, so that an order is always in one.
            written = dict.fromkeys([*sorted(homes.unique().to_pylist()), *paths])
            undated = {*known.undated} - written.keys()
            for month in written:
                stored, target = paths.get(month), folder / f"{month}.merged"
                if write_merged(target, stored, replacing, rows.filter(pc.equal(homes, month))):
                    undated.add(month)
                if stored is None or not filecmp.cmp(stored, target, shallow=False):
                    key, replaces = self.store.layout.current_orders(guid, month), versions.get(month, ABSENT)
                    versions[month] = self.store.bucket.write(key, target, replaces=replaces, ContentType=PARQUET)
        # A damaged file stays where no week has orders of its month, and is unknown to the next refresh, too.
        etags = _hash(versions) if months <= written.keys() else ""
        new = len(rows) - len(before)
        both = pa.concat_tables([before.select(_VERSION), rows.select(_VERSION)])
        replaced = len(both.group_by(_VERSION).aggregate([])) - len(rows)
        return guid, CurrentFiles(known.rows + new, etags, tuple(sorted(undated))), new, replaced

    def _fetched_file(self, guid: str, month: str, path: Path) -> Path:
        key = self.store.layout.current_orders(guid, month)
        stored = self.store.bucket.fetch(key, path)
        if stored is None or stored.version != self.files[guid][month]:
            raise StoreConflictError(f"{self.store.bucket.uri(key)} was written by somebody else in the meantime.")
        return path


def _decoded(body: bytes) -> CurrentState:
    """The state; an empty one where it cannot be read, or is of another schema: then all weeks are merged again."""
    empty = CurrentState(hashlib.sha256(CURRENT.schema.serialize()).hexdigest())
    try:
        state = msgspec.json.decode(body, type=CurrentState)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return empty
    return state if state.schema == empty.schema else empty


def _hash(files: Mapping[str, Version]) -> str:
    return hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest()[:16]


def _unreadable(weeks: Mapping[str, MergedWeek]) -> Unreadable:
    """The newest version of each order that cannot be read, over all weeks."""
    newest_of: Unreadable = defaultdict(dict)
    for week in weeks.values():
        for guid, orders in week.unreadable.items():
            newest_of[guid] |= {order: max(ms, newest_of[guid].get(order, ms)) for order, ms in orders.items()}
    return dict(newest_of)
