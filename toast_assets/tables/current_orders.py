"""Keeps the newest version of every order over all weeks: one Parquet file per restaurant, and a state beside them.

An order that is tipped, voided or refunded later stands in several weeks' tables; its newest modified time is its
current state. Only weeks whose table changed are read again. Rows are only ever added, or replaced by newer ones, so
weeks can be merged in any order, twice, or by two runs at once, and the result is the same. Everything here can be made
again out of the weeks' tables, and is, where it is damaged.
"""

from __future__ import annotations

import filecmp
import hashlib
import heapq
import logging
import time
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from toast_assets.errors import ExportError
from toast_assets.orders.raw_file import row_groups
from toast_assets.scratch import scratch_folder
from toast_assets.store.bucket import Replacement, StoredObject, Version
from toast_assets.store.order_store import PARQUET, OrderStore
from toast_assets.store.raw_weeks import week_of
from toast_assets.tables.build import build_tables
from toast_assets.tables.files import TableWriter, restaurants_in
from toast_assets.tables.schema import TABLES

ORDERS = TABLES["orders"]
# Each open week holds a row group in memory.
_WEEKS_AT_ONCE = 8
_RESTAURANTS_AT_ONCE = 4
_HEADS_AT_ONCE = 8
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
        """Orders of all restaurants."""
        return sum(file.rows for file in self.restaurants.values())

    @property
    def data_version(self) -> str:
        """A hash of what was merged."""
        return hashlib.sha256(msgspec.json.encode([self.schema, sorted(self.weeks.items())])).hexdigest()


@dataclass(frozen=True)
class CurrentReport:
    """One refresh: which weeks were read, how many orders are ``new`` and how many were ``replaced`` by a newer
    version; ``state`` is the one after it. Of the weeks that are ``left_out`` the table is damaged, and cannot be made
    again."""

    state: CurrentState
    weeks: tuple[str, ...]
    left_out: tuple[str, ...]
    new: int
    replaced: int
    seconds: float


@dataclass(frozen=True)
class _Merged:
    guid: str
    file: CurrentFile
    new: int
    replaced: int


class _DamagedError(Exception):
    """A restaurant's file is gone, or is not what was written: all weeks have to be merged again."""


def refresh_current_orders(store: OrderStore, log: logging.Logger) -> CurrentReport:
    """Merge every week's ``orders`` table that changed since the last refresh; all of them where a file is damaged.

    Raises:
        StoreConflictError: other runs kept writing the same objects.
        StoreError: the bucket is missing or refuses access.
    """
    began = time.monotonic()
    before = _load_state(store)
    try:
        known = _checked(store, before)
        changed, left_out, merged = _merge_changed(store, known, log)
    except _DamagedError:
        log.warning("A file of the current orders is damaged or gone: all weeks are merged again.")
        known = CurrentState(before.schema)
        changed, left_out, merged = _merge_changed(store, known, log)
    files = known.restaurants | {one.guid: one.file for one in merged}
    state = _save_state(store, before, known.weeks | changed, files)
    new, replaced = sum(one.new for one in merged), sum(one.replaced for one in merged)
    log.info("Weeks %s: %d orders are new, %d were replaced.", ", ".join(changed) or "unchanged", new, replaced)
    return CurrentReport(state, tuple(changed), left_out, new, replaced, time.monotonic() - began)


def _schema_version() -> str:
    return hashlib.sha256(ORDERS.schema.serialize()).hexdigest()


def _load_state(store: OrderStore) -> CurrentState:
    found = store.bucket.read(store.layout.current_orders_state())
    return _decoded(found[0] if found else b"")


def _decoded(body: bytes) -> CurrentState:
    """The state; an empty one where it cannot be read, or is of another schema: it can be made again from the weeks'
    tables, so it is no reason to stop."""
    empty = CurrentState(_schema_version())
    try:
        state = msgspec.json.decode(body, type=CurrentState)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return empty
    return state if state.schema == empty.schema else empty


def _checked(store: OrderStore, state: CurrentState) -> CurrentState:
    """The state with what the files really hold: those that another run has written since are looked into.

    Raises:
        _DamagedError: a file is gone, cannot be read, or holds less than it did.
    """

    def check(guid: str, file: CurrentFile) -> CurrentFile:
        key = store.layout.current_orders(guid)
        info = store.bucket.info(key)
        if info is not None and info.version.etag == file.etag:
            return file
        with scratch_folder() as folder:
            path = folder / "current.parquet"
            stored = store.bucket.fetch(key, path)
            rows = _rows(path) if stored else None
            if stored is None or rows is None or rows < file.rows:
                raise _DamagedError
            return CurrentFile(rows, stored.version.etag)

    with ThreadPoolExecutor(_HEADS_AT_ONCE, thread_name_prefix="current") as threads:
        files = threads.map(check, state.restaurants.keys(), state.restaurants.values())
        return msgspec.structs.replace(state, restaurants=dict(zip(state.restaurants, files, strict=True)))


def _rows(path: Path) -> int | None:
    """The orders in a restaurant's file; None where that is damaged, or of an earlier schema."""
    try:
        # All columns, because damage shows nowhere else.
        return sum(group.num_rows for group in row_groups(path)) if _fits(path) else None
    except _DAMAGE:
        return None


def _fits(path: Path) -> bool:
    """Whether a file has the columns of current orders, and each order once.

    Raises:
        pyarrow.ArrowException, OSError: it is damaged.
    """
    if not pq.read_schema(path).equals(ORDERS.schema, check_metadata=True):
        return False
    guids = pq.read_table(path, columns=["order_guid"])["order_guid"]
    return bool(pc.count_distinct(guids).as_py() == len(guids))


def _merge_changed(
    store: OrderStore, state: CurrentState, log: logging.Logger
) -> tuple[dict[str, str], tuple[str, ...], list[_Merged]]:
    """Merge the weeks of which the state does not know the stored table; their tables' hashes, the weeks that had to be
    left out, and the files."""
    tables = _table_versions(store)
    # A table without a hash is none of ours as it stands.
    wanted = [key for key, table in tables.items() if table is None or state.weeks.get(key) != table]
    changed: dict[str, str] = {}
    merged: dict[str, _Merged] = {}
    for start in range(0, len(wanted), _WEEKS_AT_ONCE):
        with scratch_folder() as folder:
            weeks = _Weeks.fetched(store, wanted[start : start + _WEEKS_AT_ONCE], folder, log)
            with closing(_merge_weeks(store, weeks, state)) as files:
                for one in files:
                    before = merged.get(one.guid, _Merged(one.guid, one.file, 0, 0))
                    merged[one.guid] = _Merged(one.guid, one.file, before.new + one.new, before.replaced + one.replaced)
        changed |= weeks.hashes
    return changed, tuple(key for key in wanted if key not in changed), list(merged.values())


def _save_state(
    store: OrderStore, before: CurrentState, weeks: Mapping[str, str], files: Mapping[str, CurrentFile]
) -> CurrentState:
    """Note what was merged. Of what another run has noted since ``before`` was read its note stays, or the larger
    file."""
    saved = before

    def change(stored: StoredObject | None, target: Path) -> Replacement | None:
        nonlocal saved
        del target
        body = stored.path.read_bytes() if stored else b""
        theirs = _decoded(body)
        noted = {key: table for key, table in theirs.weeks.items() if table != before.weeks.get(key)}
        all_weeks, all_files = {**weeks, **noted}, dict(files)
        for guid, file in theirs.restaurants.items():
            mine = files.get(guid)
            if file != before.restaurants.get(guid) and (mine is None or file.rows > mine.rows):
                all_files[guid] = file
        saved = CurrentState(theirs.schema, dict(sorted(all_weeks.items())), dict(sorted(all_files.items())))
        encoded = msgspec.json.format(msgspec.json.encode(saved), indent=1) + b"\n"
        return None if encoded == body else Replacement(encoded, {"ContentType": "application/json"})

    store.bucket.update(store.layout.current_orders_state(), change)
    return saved


def _table_versions(store: OrderStore) -> dict[str, str | None]:
    """The hash of each week's ``orders`` table, oldest week first."""
    keys = store.table_weeks("orders")
    with ThreadPoolExecutor(_HEADS_AT_ONCE, thread_name_prefix="weeks") as threads:
        return dict(zip(keys, threads.map(partial(store.table_version, "orders"), keys), strict=True))


@dataclass(frozen=True)
class _Weeks:
    """Some weeks' ``orders`` tables on the local disk, oldest week first; ``hashes`` are theirs, by partition key."""

    store: OrderStore
    paths: Mapping[str, Path]
    versions: Mapping[str, Version]
    hashes: Mapping[str, str]

    @classmethod
    def fetched(cls, store: OrderStore, keys: Sequence[str], folder: Path, log: logging.Logger) -> _Weeks:
        """The tables into ``folder``. One that is damaged or of an earlier schema is made again; where its raw orders
        are gone, too, it is left out and named."""
        paths, versions, hashes = {}, {}, {}
        for key in keys:
            stored = store.bucket.fetch(store.layout.table("orders", key), folder / key)
            if stored is not None and not _is_intact(stored):
                stored = _made_again(store, key, stored.path, log)
            if stored is not None:
                paths[key], versions[key] = stored.path, stored.version
                hashes[key] = stored.metadata["sha256"]
        return cls(store, paths, versions, hashes)

    def are_current(self) -> bool:
        """Whether these tables are still the stored ones."""
        return all(
            info is not None and info.version == version
            for key, version in self.versions.items()
            for info in [self.store.bucket.info(self.store.layout.table("orders", key))]
        )


def _is_intact(stored: StoredObject) -> bool:
    with stored.path.open("rb") as content:
        if hashlib.file_digest(content, "sha256").hexdigest() != stored.metadata.get("sha256"):
            return False
    return bool(pq.read_schema(stored.path).equals(ORDERS.schema))


def _made_again(store: OrderStore, key: str, path: Path, log: logging.Logger) -> StoredObject | None:
    try:
        build_tables(week_of(key, store), store, log)
    except ExportError as error:
        log.warning("Week %s: its table of orders is damaged and cannot be made again: %s", key, error)
        return None
    return store.bucket.fetch(store.layout.table("orders", key), path)


def _merge_weeks(store: OrderStore, weeks: _Weeks, state: CurrentState) -> Generator[_Merged]:
    """Merge several weeks' tables into the files of the restaurants that are in them."""
    with ThreadPoolExecutor(_RESTAURANTS_AT_ONCE, thread_name_prefix="current") as threads:
        streams = [restaurants_in(path) for path in weeks.paths.values()]
        waiting: deque[Future[_Merged]] = deque()
        for guid, parts in groupby(heapq.merge(*streams, key=itemgetter(0)), key=itemgetter(0)):
            rows = pa.concat_tables([part for _, part in parts])
            waiting.append(threads.submit(_merge_restaurant, store, guid, rows, weeks, guid in state.restaurants))
            if len(waiting) > _RESTAURANTS_AT_ONCE:
                yield waiting.popleft().result()
        for job in waiting:
            yield job.result()


def _merge_restaurant(store: OrderStore, guid: str, rows: pa.Table, weeks: _Weeks, known: bool) -> _Merged:
    """Merge new rows into a restaurant's file. ``known`` says that there is one, so that it must not be gone."""
    incoming = _newest(rows)
    counts: list[_Counts] = []

    def change(stored: StoredObject | None, target: Path) -> Replacement | None:
        merged = _with_stored(stored.path, incoming, target, weeks) if stored else None
        if merged is None and known:
            raise _DamagedError
        counts.append(merged or _merge_files(None, incoming, target, weeks))
        if stored is not None and filecmp.cmp(stored.path, target, shallow=False):
            return None
        return Replacement(target, {"ContentType": PARQUET})

    version = store.bucket.update(store.layout.current_orders(guid), change)
    last = counts[-1]
    return _Merged(guid, CurrentFile(last.rows, version.etag), last.new, last.replaced)


def _with_stored(stored: Path, incoming: pa.Table, target: Path, weeks: _Weeks) -> _Counts | None:
    """``_merge_files`` with a stored file; None where that is damaged, or of an earlier schema."""
    try:
        return _merge_files(stored, incoming, target, weeks) if _fits(stored) else None
    except _DAMAGE:
        return None


def _newest(rows: pa.Table) -> pa.Table:
    """One row per order, the one modified last, sorted by modified time."""
    ordered = _sorted(rows)
    places = pa.table({"order_guid": ordered["order_guid"], "place": pa.array(range(len(ordered)), pa.int64())})
    last = places.group_by("order_guid").aggregate([("place", "max")])["place_max"]
    return _sorted(ordered.take(last))


@dataclass(frozen=True)
class _Counts:
    rows: int
    new: int
    replaced: int


def _merge_files(stored: Path | None, incoming: pa.Table, target: Path, weeks: _Weeks) -> _Counts:
    """Write the newest of both into ``target``, with one row group of ``stored`` in memory at a time."""
    versions = pq.read_table(stored, columns=_VERSION) if stored else incoming.select(_VERSION).slice(0, 0)
    before = versions.rename_columns(["order_guid", "before"])
    met = incoming.select(_VERSION).join(before, "order_guid", join_type="inner")
    newer = met.filter(pc.greater(met["modified_at"], met["before"])).num_rows
    older = pc.less(met["modified_at"], met["before"])
    same = pc.equal(met["modified_at"], met["before"])
    # Toast can change an order without a new modified time: of one time the row of the newer pull wins. The incoming
    # one is of the newer pull as long as no other run has stored newer tables since.
    if pc.any(same).as_py() and not weeks.are_current():
        older = pc.or_(older, same)
    rows = incoming.filter(
        pc.invert(pc.is_in(incoming["order_guid"], met.filter(older)["order_guid"].combine_chunks()))
    )
    replacing = rows["order_guid"].combine_chunks()
    with TableWriter(target, ORDERS) as writer:
        for group in row_groups(stored) if versions.num_rows and stored else ():
            due = pc.less_equal(rows["modified_at"], pc.max(group["modified_at"]))
            kept = group.filter(pc.invert(pc.is_in(group["order_guid"], replacing)))
            _write(writer, _sorted(pa.concat_tables([kept, rows.filter(due)])))
            rows = rows.filter(pc.invert(due))
        _write(writer, rows)
    return _Counts(writer.rows, new=writer.rows - versions.num_rows, replaced=newer)


def _write(writer: TableWriter, rows: pa.Table) -> None:
    for batch in rows.to_batches():
        writer.write(batch)


def _sorted(rows: pa.Table) -> pa.Table:
    return rows.sort_by([("modified_at", "ascending"), ("order_guid", "ascending")])
