"""Keeps the newest version of every order over all weeks: one Parquet file per restaurant, and a state beside them.

An order that is tipped, voided or refunded later stands in several weeks' tables; its newest modified time is its
current state. Only weeks whose table changed are read again. Rows are only ever added, or replaced by newer ones, so
weeks can be merged in any order, twice, or by two runs at once, and the result is the same.
"""

from __future__ import annotations

import hashlib
import heapq
import logging
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TypeVar

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from toast_assets.errors import StoreConflictError
from toast_assets.orders.row_groups import row_groups
from toast_assets.pipeline.table_files import TableWriter, restaurants_in
from toast_assets.store.bucket import ABSENT, Version
from toast_assets.store.order_store import PARQUET, OrderStore
from toast_assets.tables.schema import TABLES

ORDERS = TABLES["orders"]
# Each open week holds a row group in memory.
_WEEKS_AT_ONCE = 8
_RESTAURANTS_AT_ONCE = 4
_HEADS_AT_ONCE = 8
_MOST_CONFLICTS = 5
_VERSION = ["order_guid", "modified_at"]
_Result = TypeVar("_Result")


class CurrentState(msgspec.Struct, frozen=True):
    """Which weeks the files hold (partition key: hash of the week's table), by which schema, and rows by restaurant."""

    schema: str
    weeks: dict[str, str] = {}
    restaurants: dict[str, int] = {}

    @property
    def orders(self) -> int:
        """Orders of all restaurants."""
        return sum(self.restaurants.values())

    @property
    def data_version(self) -> str:
        """A hash of what was merged."""
        return hashlib.sha256(msgspec.json.encode([self.schema, sorted(self.weeks.items())])).hexdigest()


@dataclass(frozen=True)
class CurrentReport:
    """One refresh: which weeks were read, how many orders are ``new`` and how many were ``replaced`` by a newer
    version; ``state`` is the one after it."""

    state: CurrentState
    weeks: tuple[str, ...]
    new: int
    replaced: int
    seconds: float


@dataclass(frozen=True)
class _Merged:
    guid: str
    rows: int
    new: int
    replaced: int


def refresh_current_orders(store: OrderStore, log: logging.Logger) -> CurrentReport:
    """Merge every week's ``orders`` table that changed since the last refresh.

    Raises:
        StoreConflictError: other runs kept writing the same objects.
        StoreError: the bucket is missing or refuses access.
    """
    began = time.monotonic()
    state, version = _load_state(store)
    tables = _table_versions(store)
    changed = tuple(key for key, table in tables.items() if state.weeks.get(key) != table)
    merged: list[_Merged] = []
    for start in range(0, len(changed), _WEEKS_AT_ONCE):
        merged += _merge_weeks(store, changed[start : start + _WEEKS_AT_ONCE])
    if changed:
        weeks = {key: tables[key] or "" for key in changed}
        state = _save_state(store, state, version, weeks, {one.guid: one.rows for one in merged})
    new, replaced = sum(one.new for one in merged), sum(one.replaced for one in merged)
    log.info("Weeks %s: %d orders are new, %d were replaced.", ", ".join(changed) or "unchanged", new, replaced)
    return CurrentReport(state, changed, new, replaced, time.monotonic() - began)


def _schema_version() -> str:
    return hashlib.sha256(ORDERS.schema.serialize()).hexdigest()


def _load_state(store: OrderStore) -> tuple[CurrentState, Version]:
    """The state and its version; an empty one where there is none, or where it is of another schema."""
    found = store.bucket.read(store.layout.current_orders_state())
    empty = CurrentState(_schema_version())
    if found is None:
        return empty, ABSENT
    body, version = found
    try:
        state = msgspec.json.decode(body, type=CurrentState)
    except msgspec.DecodeError:
        # It can be made again from the weeks' tables, so it is no reason to stop.
        return empty, version
    return (state if state.schema == empty.schema else empty), version


def _save_state(
    store: OrderStore, state: CurrentState, version: Version, weeks: dict[str, str], rows: dict[str, int]
) -> CurrentState:
    """Add what was merged; what another run added meanwhile stays."""
    key = store.layout.current_orders_state()

    def save() -> CurrentState:
        nonlocal state, version
        all_weeks, all_rows = sorted((state.weeks | weeks).items()), sorted((state.restaurants | rows).items())
        added = CurrentState(state.schema, dict(all_weeks), dict(all_rows))
        body = msgspec.json.format(msgspec.json.encode(added), indent=1) + b"\n"
        try:
            store.bucket.write(key, body, replaces=version, ContentType="application/json")
        except StoreConflictError:
            state, version = _load_state(store)
            raise
        return added

    return _until_no_conflict(save)


def _until_no_conflict(attempt: Callable[[], _Result]) -> _Result:
    for _ in range(_MOST_CONFLICTS):
        try:
            return attempt()
        except StoreConflictError:
            continue
    return attempt()


def _table_versions(store: OrderStore) -> dict[str, str | None]:
    """The hash of each week's ``orders`` table, oldest week first."""
    keys = store.table_weeks("orders")
    with ThreadPoolExecutor(_HEADS_AT_ONCE, thread_name_prefix="weeks") as threads:
        return dict(zip(keys, threads.map(partial(store.table_version, "orders"), keys), strict=True))


def _merge_weeks(store: OrderStore, weeks: Sequence[str]) -> Iterator[_Merged]:
    """Merge several weeks' tables into the files of the restaurants that are in them."""
    with (
        tempfile.TemporaryDirectory(prefix="toast-assets-") as folder,
        ThreadPoolExecutor(_RESTAURANTS_AT_ONCE, thread_name_prefix="current") as threads,
    ):
        paths = [Path(folder) / week for week in weeks]
        found = [store.bucket.download(store.layout.table("orders", path.name), path) for path in paths]
        streams = [restaurants_in(path) for path, version in zip(paths, found, strict=True) if version]
        waiting: deque[Future[_Merged]] = deque()
        for guid, parts in groupby(heapq.merge(*streams, key=itemgetter(0)), key=itemgetter(0)):
            rows = pa.concat_tables([part for _, part in parts])
            waiting.append(threads.submit(_merge_restaurant, store, guid, rows))
            if len(waiting) > _RESTAURANTS_AT_ONCE:
                yield waiting.popleft().result()
        for job in waiting:
            yield job.result()


def _merge_restaurant(store: OrderStore, guid: str, rows: pa.Table) -> _Merged:
    incoming = _newest(rows)
    key = store.layout.current_orders(guid)
    with tempfile.TemporaryDirectory(prefix="toast-assets-") as name:
        stored, target = Path(name) / "stored.parquet", Path(name) / "merged.parquet"

        def merge() -> _Merged:
            version = store.bucket.download(key, stored) or ABSENT
            # Files of an earlier schema are made anew: the state is of that schema too, so every week comes again.
            usable = version.etag is not None and pq.read_schema(stored).equals(ORDERS.schema, check_metadata=True)
            merged = _merge_files(guid, stored if usable else None, incoming, target)
            if not usable or _sha256(stored) != _sha256(target):
                store.bucket.write(key, target, replaces=version, ContentType=PARQUET)
            return merged

        return _until_no_conflict(merge)


def _newest(rows: pa.Table) -> pa.Table:
    """One row per order, the one modified last, sorted by modified time."""
    ordered = _sorted(rows)
    places = pa.table({"order_guid": ordered["order_guid"], "place": pa.array(range(len(ordered)), pa.int64())})
    last = places.group_by("order_guid").aggregate([("place", "max")])["place_max"]
    return _sorted(ordered.take(last))


def _merge_files(guid: str, stored: Path | None, incoming: pa.Table, target: Path) -> _Merged:
    """Write the newest of both into ``target``, with one row group of ``stored`` in memory at a time."""
    versions = pq.read_table(stored, columns=_VERSION) if stored else incoming.select(_VERSION).slice(0, 0)
    before = versions.rename_columns(["order_guid", "before"])
    met = incoming.select(_VERSION).join(before, "order_guid", join_type="inner")
    # Of one modified time the incoming row wins: Toast can change an order without a new modified time.
    older = met.filter(pc.less(met["modified_at"], met["before"]))["order_guid"]
    newer = met.filter(pc.greater(met["modified_at"], met["before"])).num_rows
    rows = incoming.filter(pc.invert(pc.is_in(incoming["order_guid"], older.combine_chunks())))
    replacing = rows["order_guid"].combine_chunks()
    with TableWriter(target, ORDERS) as writer:
        for group in row_groups(stored) if stored else ():
            due = pc.less_equal(rows["modified_at"], pc.max(group["modified_at"]))
            kept = group.filter(pc.invert(pc.is_in(group["order_guid"], replacing)))
            _write(writer, _sorted(pa.concat_tables([kept, rows.filter(due)])))
            rows = rows.filter(pc.invert(due))
        _write(writer, rows)
    return _Merged(guid, writer.rows, new=writer.rows - versions.num_rows, replaced=newer)


def _write(writer: TableWriter, rows: pa.Table) -> None:
    for batch in rows.to_batches():
        writer.write(batch)


def _sorted(rows: pa.Table) -> pa.Table:
    return rows.sort_by([("modified_at", "ascending"), ("order_guid", "ascending")])


def _sha256(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
