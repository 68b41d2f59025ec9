"""Stored weeks: the manifest's records, and the raw files that they describe.

What is made of raw orders follows the manifest of that moment, not of the run's beginning: a run that was paused makes
the newest content. Everything raises StoreError where the bucket fails, or a manifest cannot be read.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import TypeVar

import pyarrow as pa

from toast_assets.errors import DamagedObjectError, ExportError, StoreError, quoted
from toast_assets.markdown import first_of
from toast_assets.orders.names import NO_NAMES, Names
from toast_assets.orders.raw_file import UnreadableFileError, check_raw, orders_sha256, read_groups
from toast_assets.orders.read import RawOrders
from toast_assets.scratch import scratch_folder
from toast_assets.store.bucket import ABSENT
from toast_assets.store.manifest import Manifest, PullRecord, RestaurantRecord
from toast_assets.store.order_store import OrderStore
from toast_assets.week import KEY_FORMAT, Week, WeekCalendar

_PULL_FIRST = "Materialize raw_toast_orders for this week first."
_MOST_NAMED = 20
# Files that are fetched ahead, so that reading one hides the wait for the next; each is removed once it was read.
_AHEAD = 2
# Conversion works by column: fewer would cost time, more would cost memory. Of ordinary orders a row group has less.
_ORDERS_AT_ONCE = 1_000
_Made = TypeVar("_Made")


class StoredWeek:
    """The records of the restaurants of which a week is stored. Threads may share it."""

    def __init__(self, week: Week, store: OrderStore) -> None:
        self.week = week
        self.store = store
        self._lock = Lock()
        self._version = ABSENT
        self._records: dict[str, RestaurantRecord] = {}

    def restaurants(self) -> dict[str, RestaurantRecord]:
        """The records by restaurant, as they are now; an ExportError where the week was never pulled. The manifest is
        read only where it has changed."""
        with self._lock:
            if self._version != ABSENT:
                info = self.store.bucket.info(self.store.layout.manifest(self.week))
                if info is not None and info.version == self._version:
                    return self._records
            manifest, self._version = self.store.load_manifest(self.week)
            if manifest is None or not manifest.stored:
                raise ExportError(
                    f"Week {self.week.key} was not pulled yet: there is no"
                    f" {self.store.bucket.uri(self.store.layout.manifest(self.week))}.",
                    hint=_PULL_FIRST,
                    code="WEEK-NOT-PULLED",
                )
            self._records = {guid: manifest.restaurants[guid] for guid in manifest.stored}
            return self._records

    def made_of(
        self, guid: str, make: Callable[[RestaurantRecord, PullRecord], _Made], *, look_first: bool = True
    ) -> _Made:
        """What ``make`` makes of a restaurant's stored orders; again where a pull stored newer ones meanwhile.

        Without ``look_first`` the manifest is read again only after an error: for what reads the raw file anyway.
        Raises ExportError as ``make`` does, or where nothing is stored of the restaurant any more.
        """
        record = (self.restaurants() if look_first or not self._records else self._records).get(guid)
        while True:
            if record is None or record.pull is None:
                raise manifest_mismatch(self.week, guid, self.store)
            try:
                return make(record, record.pull)
            except ExportError:
                if (now := self.restaurants().get(guid)) == record:
                    raise
                record = now


@dataclass(frozen=True)
class RawFile:
    """The raw orders of one restaurant's week in a local file, and what the manifest says of them."""

    week: Week
    guid: str
    record: RestaurantRecord
    pull: PullRecord
    path: Path
    store: OrderStore

    def batch(self, bodies: Sequence[bytes], names: Names = NO_NAMES) -> RawOrders:
        """Some of its orders with what is known of the restaurant, and with ``names`` where these matter."""
        record = self.record
        return RawOrders(self.guid, bodies, record.time_zone, record.currency, record.name, names)

    def bodies(self, at_once: int = _ORDERS_AT_ONCE) -> Iterator[list[bytes]]:
        """The orders' JSON, ``at_once`` at a time; an ExportError, possibly at the end, where the file cannot be read,
        or is not the manifest's."""
        with reading_raw(self.week, self.guid, self.store):
            if orders_sha256(self.path) != self.pull.orders_sha256:
                raise manifest_mismatch(self.week, self.guid, self.store)
            for orders in read_groups(self.path):
                for start in range(0, len(orders), at_once):
                    yield [order.body for order in orders[start : start + at_once]]


def raw_files(
    week: Week, records: Mapping[str, RestaurantRecord], store: OrderStore, problems: dict[str, str]
) -> Generator[RawFile]:
    """The raw files of all restaurants of which the week is stored, by GUID; each is there until the next is asked for.
    A restaurant whose file is missing, or is no raw file, is left out, and the reason added to ``problems``."""
    with scratch_folder() as folder, ThreadPoolExecutor(_AHEAD, thread_name_prefix="raw") as threads:
        files = (
            RawFile(week, guid, record, record.pull, folder / f"{number}.parquet", store)
            for number, (guid, record) in enumerate(sorted(records.items()))
            if record.pull is not None
        )
        jobs = ((file, threads.submit(fetch_raw, week, file.guid, file.path, store)) for file in files)
        waiting = deque(islice(jobs, _AHEAD))
        while waiting:
            file, fetched = waiting.popleft()
            waiting.extend(islice(jobs, 1))
            with one_restaurant(file.guid, problems, store):
                fetched.result()
                yield file
                file.path.unlink()


def week_of(key: str, store: OrderStore) -> Week:
    """The week of a partition key as it was pulled; an ExportError where it was not, or the manifest is another's."""
    return pulled_week(key, store)[0]


def pulled_week(key: str, store: OrderStore) -> tuple[Week, Manifest]:
    """``week_of`` with the week's manifest."""
    unknown = datetime.min.replace(tzinfo=UTC)
    manifest, _ = store.load_manifest(Week(key, unknown, unknown))
    if manifest is None:
        raise ExportError(f"Week {key} was not pulled yet.", hint=_PULL_FIRST, code="WEEK-NOT-PULLED")
    if manifest.partition != key:
        raise ExportError(
            f"The manifest of week {key} is one of week {manifest.partition}.",
            hint="Remove it, and materialize raw_toast_orders for this week again.",
            code=DamagedObjectError.code,
        )
    start, end = map(datetime.fromisoformat, (manifest.start_date, manifest.end_date))
    return Week(key, start.astimezone(UTC), end.astimezone(UTC)), manifest


def earlier_manifests(
    week: Week, calendar: WeekCalendar, store: OrderStore, weeks: int
) -> Iterator[tuple[Week, Manifest]]:
    """The manifests of up to ``weeks`` weeks before ``week``, the nearest first; a week that was never pulled, or whose
    manifest is damaged, is left out."""
    days = (date.fromisoformat(week.key) - timedelta(days=7 * number) for number in range(1, weeks + 1))
    for day in days:
        if day >= calendar.first:
            earlier = calendar.week(f"{day:{KEY_FORMAT}}")
            with one_restaurant(earlier.key, {}, store):
                manifest, _ = store.load_manifest(earlier)
                if manifest is not None:
                    yield earlier, manifest


def fetch_raw(week: Week, guid: str, path: Path, store: OrderStore) -> None:
    """Write a restaurant's stored raw file to ``path``; an ExportError where it is missing, or no raw file."""
    if not store.bucket.fetch(store.layout.raw(week, guid), path):
        raise manifest_mismatch(week, guid, store)
    with reading_raw(week, guid, store):
        check_raw(path)


@contextmanager
def reading_raw(week: Week, guid: str, store: OrderStore) -> Iterator[None]:
    """Turn what reading a restaurant's raw file raises into an ExportError that names it."""
    where = store.bucket.uri(store.layout.raw(week, guid))
    hint = "Restore an earlier version of it, or remove it, then materialize raw_toast_orders for this week again."
    try:
        yield
    except (UnreadableFileError, pa.ArrowException, OSError) as error:
        # Arrow's own have no number; one with a number is the system's, such as a full disk.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        reason = error if isinstance(error, UnreadableFileError) else type(error).__name__
        text = f"The raw orders {where} cannot be read: {reason}."
        raise ExportError(text, hint=hint, code=DamagedObjectError.code) from error


def manifest_mismatch(week: Week, guid: str, store: OrderStore) -> ExportError:
    return ExportError(
        f"The raw orders {store.bucket.uri(store.layout.raw(week, guid))} are not those that the manifest describes.",
        hint="A run that was cut off can leave them so: materialize raw_toast_orders for this week again.",
        code="RAW-MISMATCH",
    )


@contextmanager
def one_restaurant(guid: str, problems: dict[str, str], store: OrderStore) -> Iterator[None]:
    """Add what fails at one restaurant to ``problems``; a StoreError is raised where the whole bucket fails."""
    try:
        yield
    except (ExportError, StoreError) as error:
        if isinstance(error, StoreError):
            store.bucket.check()
        problems[guid] = str(error)


def all_failed(what: str, problems: Mapping[str, str]) -> ExportError:
    reasons, code = quoted(problems.values())
    listed = "".join(f"\n  - {reason}" for reason in first_of(reasons, _MOST_NAMED))
    return ExportError(f"{what} could be made of none of {len(problems)} restaurants.{listed}\n", code=code)
