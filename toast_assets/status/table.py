"""The table ``status``: restaurants × weeks, in one file that each run refreshes.

The file's metadata says of which versions of the weeks' objects it was made, so that only weeks that have changed since
are read. A file that is damaged, or of another release, is made again out of all weeks.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import partial
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from toast_assets.errors import StoreError
from toast_assets.scratch import scratch_folder
from toast_assets.settings import CalendarSettings, SensorSettings
from toast_assets.status.rows import NOT_PULLED, UNREADABLE, Pulled, Row, outlook, rows_of
from toast_assets.store.bucket import ABSENT, Replacement, StoredObject, Version
from toast_assets.store.deliveries import decode_delivered
from toast_assets.store.layout import week_in
from toast_assets.store.order_store import PARQUET, OrderStore
from toast_assets.tables.schema import STATUS
from toast_assets.week import KEY_FORMAT, Week, WeekCalendar

_SOURCES = b"toast_assets.sources"
_AT_ONCE = 8
_BY_CLOCK = ("second_look", "second_look_at", "next")
_KEPT = [name for name in STATUS.schema.names if name not in _BY_CLOCK]
_FACTS = pa.schema([STATUS.schema.field(name) for name in _KEPT])


class Source(msgspec.Struct, frozen=True, array_like=True):
    """The versions of a week's manifest and of the summary of its delivery, and whether raw orders are stored."""

    manifest: Version
    delivered: Version = ABSENT
    raw: bool = False


@dataclass(frozen=True)
class StatusReport:
    """The ``table``, sorted by restaurant and week, and the ``weeks`` that were read for it."""

    table: pa.Table
    weeks: tuple[str, ...]


@dataclass(frozen=True)
class Status:
    """Makes the table. ``settings`` say where weeks begin and which is the first one, ``sensor`` what the weekly sensor
    does; ``now`` is aware."""

    store: OrderStore
    settings: CalendarSettings
    sensor: SensorSettings
    now: datetime
    calendar: WeekCalendar = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "calendar", self.settings.calendar())

    def current(self) -> StatusReport:
        """The table as it would be now; writes nothing. Raises StoreError where the bucket fails."""
        with scratch_folder() as folder:
            stored = self.store.bucket.fetch(self.store.layout.whole_table(STATUS.name), folder / "status.parquet")
            return self._made(stored)[0]

    def refresh(self) -> StatusReport:
        """Bring the stored table up to date. Raises StoreError where the bucket fails."""
        reports = []

        def change(stored: StoredObject | None, target: Path) -> Replacement | None:
            report, sources = self._made(stored)
            reports.append(report)
            if not (sources or stored):
                return None
            notes = {**STATUS.schema.metadata, _SOURCES: msgspec.json.encode(sources)}
            pq.write_table(report.table.replace_schema_metadata(notes), target, compression="zstd")
            return Replacement(target, {"ContentType": PARQUET})

        self.store.bucket.update(self.store.layout.whole_table(STATUS.name), change)
        return reports[-1]

    def _made(self, stored: StoredObject | None) -> tuple[StatusReport, Mapping[str, Source]]:
        sources = self._sources()
        known, former = _kept(stored.path) if stored else ({}, _FACTS.empty_table())
        unchanged = [key for key, source in sources.items() if known.get(key) == source]
        changed = sorted(sources.keys() - set(unchanged))
        days = pa.array([date.fromisoformat(key) for key in unchanged], pa.date32())
        of_pulled = pc.not_equal(former["state"], NOT_PULLED)
        parts = [former.filter(pc.and_(of_pulled, pc.is_in(former["week"], days)))]
        unreadable: dict[str, str] = {}
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="status") as threads:
            for rows in threads.map(partial(self._read, sources, unreadable), changed):
                parts.append(pa.Table.from_pylist(rows, _FACTS))
        facts = pa.concat_tables(parts)
        gaps = pa.Table.from_pylist(list(self._gaps(facts, sources.keys(), unreadable)), _FACTS)
        rows = pa.concat_tables([facts, gaps]).sort_by([("restaurant_guid", "ascending"), ("week", "ascending")])
        # What cannot be read is tried again by the next run.
        lasting = {key: source for key, source in sources.items() if key not in unreadable}
        return StatusReport(self._with_outlook(rows, max(sources, default="")), tuple(changed)), lasting

    def _sources(self) -> dict[str, Source]:
        """What is stored of the weeks, by partition key: three lists of objects, and no object is read."""
        bucket, layout = self.store.bucket, self.store.layout
        delivered = {week_in(key, layout.status, ".json"): version for key, version in bucket.listed(layout.status)}
        raw = {week_in(key, f"{layout.prefix}raw/", "/") for key in bucket.folders(f"{layout.prefix}raw/")}
        manifests = ((week_in(key, layout.manifests, ".json"), at) for key, at in bucket.listed(layout.manifests))
        return {
            key: Source(version, delivered.get(key, ABSENT), key in raw)
            for key, version in manifests
            if key is not None and self.calendar.is_week(key)
        }

    def _read(self, sources: Mapping[str, Source], unreadable: dict[str, str], key: str) -> list[Row]:
        """The rows of one week. A manifest that cannot be read is added to ``unreadable``, with the reason."""
        week, bucket, layout, problem = self.calendar.week(key), self.store.bucket, self.store.layout, ""
        found = bucket.read(layout.manifest(week))
        summary = bucket.read(layout.delivered(key)) if sources[key].delivered else None
        delivered = None
        try:
            delivered = decode_delivered(self.store, key, summary[0]) if summary else None
        except StoreError as error:
            problem = str(error)
        try:
            manifest = self.store.read_manifest_as(Pulled, week, found[0]) if found else None
        except StoreError as error:
            unreadable[key] = str(error)
            return []
        return list(rows_of(week, manifest, delivered, raw=sources[key].raw, problem=problem)) if manifest else []

    def _gaps(self, facts: pa.Table, pulled: Collection[str], unreadable: Mapping[str, str]) -> Iterator[Row]:
        """Rows of what was never pulled, from the first week on: TOAST_START_DATE, else the first that is stored. A
        restaurant is missed between the first and the last week that it is in; before them only if that is the first
        week of all, after them only if it is the last one."""
        days, guids, names = (facts[name].to_pylist() for name in ("week", "restaurant_guid", "restaurant_name"))
        there = set(zip(days, guids, strict=True))
        newest = self.calendar.last_closed(self.now)
        if not there or newest is None:
            return
        first, last = min(days), max(days)
        spans: dict[str, tuple[date, date, str | None]] = {}
        for day, guid, name in sorted(zip(days, guids, names, strict=True), key=lambda row: row[0]):
            since, _, known = spans.get(guid, (day, day, None))
            spans[guid] = since, day, name or known
        day, end = self.settings.first or first, max(last, date.fromisoformat(newest.key))
        while day <= end:
            key = f"{day:{KEY_FORMAT}}"
            reason = "The week was pulled without it." if key in pulled else "The week was not pulled."
            state, reason = (UNREADABLE, unreadable[key]) if key in unreadable else (NOT_PULLED, reason)
            for guid, (since, until, name) in spans.items():
                missed = (since <= day or since == first) and (day <= until or until == last)
                if missed and (day, guid) not in there:
                    row: Row = {"week": day, "restaurant_guid": guid, "restaurant_name": name}
                    yield row | {"state": state, "reason": reason}
            day += timedelta(days=7)

    def _with_outlook(self, rows: pa.Table, newest: str) -> pa.Table:
        """The rows with the columns that follow from the clock; ``newest`` is the newest week that is stored."""
        weeks: dict[date, tuple[Week, bool]] = {}
        for day in rows["week"].unique().to_pylist():
            week = self.calendar.week(f"{day:{KEY_FORMAT}}")
            weeks[day] = week, week.key > newest
        columns = (rows[name].to_pylist() for name in ("state", "delivery", "pulled_at", "week"))
        found = [
            outlook((state, delivery, at), weeks[day][0], self.now, self.sensor, is_new=weeks[day][1])
            for state, delivery, at, day in zip(*columns, strict=True)
        ]
        for number, name in enumerate(_BY_CLOCK):
            column = STATUS.schema.field(name)
            rows = rows.append_column(column, pa.array([one[number] for one in found], column.type))
        return rows.select(STATUS.schema.names)


def _kept(path: Path) -> tuple[Mapping[str, Source], pa.Table]:
    """What a stored table was made of, and its rows; nothing where it is damaged, or of another release."""
    with suppress(pa.ArrowException, OSError, msgspec.DecodeError, KeyError):
        # Without pyarrow's datasets, which take half a second to load.
        table = pq.ParquetFile(path).read()
        if table.schema.equals(STATUS.schema):
            sources = msgspec.json.decode(table.schema.metadata[_SOURCES], type=dict[str, Source])
            return sources, table.select(_KEPT).replace_schema_metadata()
    return {}, _FACTS.empty_table()
