"""What is stored of a week, as it is now: the manifest's records, and the raw orders that they describe.

Whatever is made of raw orders is decided by what the manifest says at that moment, not by what it said when the run
began: a run that was paused then makes the newest content, or leaves what another run made of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import TypeVar

import pyarrow as pa

from toast_assets.errors import ExportError, StoreError
from toast_assets.orders.raw_file import UnreadableFileError, check_raw
from toast_assets.store.bucket import ABSENT, Version
from toast_assets.store.manifest import PullRecord, RestaurantRecord
from toast_assets.store.order_store import OrderStore
from toast_assets.week import Week

_PULL_AGAIN = "A run that was cut off can leave them so: materialize raw_toast_orders for this week again."
_MOST_NAMED = 20
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
        """The records by restaurant, as they are now; the manifest is read only where it has changed.

        Raises:
            ExportError: the week was never pulled.
            StoreError: the bucket is missing or refuses access, or the manifest cannot be read.
        """
        with self._lock:
            info = self.store.bucket.info(self.store.layout.manifest(self.week))
            if info is None or info.version != self._version:
                self._records, self._version = self._read()
            return self._records

    def made_of(self, guid: str, make: Callable[[RestaurantRecord, PullRecord], _Made]) -> _Made:
        """What ``make`` makes of a restaurant's stored orders; once more where a pull stored newer ones meanwhile.

        Raises:
            ExportError: as ``make`` does, or nothing is stored of the restaurant any more.
        """
        while True:
            record = self.restaurants().get(guid)
            if record is None or record.pull is None:
                raise manifest_mismatch(self.week, guid, self.store)
            try:
                return make(record, record.pull)
            except ExportError:
                if self.restaurants().get(guid) == record:
                    raise

    def _read(self) -> tuple[dict[str, RestaurantRecord], Version]:
        manifest, version = self.store.load_manifest(self.week)
        if manifest is None or not manifest.stored:
            raise ExportError(
                f"Week {self.week.key} was not pulled yet: there is no"
                f" {self.store.bucket.uri(self.store.layout.manifest(self.week))}.",
                hint="Materialize raw_toast_orders for this week first.",
            )
        return {guid: manifest.restaurants[guid] for guid in manifest.stored}, version


def week_of(key: str, store: OrderStore) -> Week:
    """The week of a partition key, as it was pulled.

    Raises:
        ExportError: it was never pulled, or its manifest is of another week.
        StoreError: the bucket is missing or refuses access, or the manifest cannot be read.
    """
    unknown = datetime.min.replace(tzinfo=UTC)
    manifest, _ = store.load_manifest(Week(key, unknown, unknown))
    if manifest is None:
        raise ExportError(f"Week {key} was not pulled yet.", hint="Materialize raw_toast_orders for this week first.")
    if manifest.partition != key:
        raise ExportError(
            f"The manifest of week {key} is one of week {manifest.partition}.",
            hint="Remove it, and materialize raw_toast_orders for this week again.",
        )
    start, end = map(datetime.fromisoformat, (manifest.start_date, manifest.end_date))
    return Week(key, start.astimezone(UTC), end.astimezone(UTC))


def stored_restaurants(week: Week, store: OrderStore) -> dict[str, RestaurantRecord]:
    """The manifest's records of the restaurants of which the week is stored.

    Raises:
        ExportError: the week was never pulled.
    """
    return StoredWeek(week, store).restaurants()


def fetch_raw(week: Week, guid: str, path: Path, store: OrderStore) -> None:
    """Write a restaurant's stored raw file to ``path``.

    Raises:
        ExportError: it is missing, or is no raw file.
        StoreError: the bucket is missing or refuses access.
    """
    if store.download_raw(week, guid, path).etag is None:
        raise manifest_mismatch(week, guid, store)
    with reading_raw(week, guid, store):
        check_raw(path)


@contextmanager
def reading_raw(week: Week, guid: str, store: OrderStore) -> Iterator[None]:
    """While a restaurant's raw file is read: one that cannot be read is an error that names it.

    Raises:
        ExportError: it cannot be read.
    """
    where = store.bucket.uri(store.layout.raw(week, guid))
    hint = (
        "Restore an earlier version of the object, or remove it, then materialize raw_toast_orders for this week again."
    )
    try:
        yield
    except UnreadableFileError as error:
        raise ExportError(f"The raw orders {where} cannot be read: {error}.", hint=hint) from error
    except (pa.ArrowException, OSError) as error:
        # Arrow's own have no number; one with a number is the system's, such as a full disk.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ExportError(f"The raw orders {where} are damaged ({type(error).__name__}).", hint=hint) from error


def manifest_mismatch(week: Week, guid: str, store: OrderStore) -> ExportError:
    """The error for raw orders and a manifest that do not belong together."""
    return ExportError(
        f"The raw orders {store.bucket.uri(store.layout.raw(week, guid))} are not those that the manifest describes.",
        hint=_PULL_AGAIN,
    )


@contextmanager
def one_restaurant(guid: str, problems: dict[str, str], store: OrderStore) -> Iterator[None]:
    """Keep to one restaurant what fails at it: the reason is added to ``problems``.

    Raises:
        StoreError: the bucket as a whole is missing or refuses access.
    """
    try:
        yield
    except (ExportError, StoreError) as error:
        if isinstance(error, StoreError):
            store.bucket.check()
        problems[guid] = str(error)


def all_failed(what: str, problems: Mapping[str, str]) -> ExportError:
    """The error where ``what`` could be made of no restaurant."""
    named = list(problems.values())
    more = [f"and {len(named) - _MOST_NAMED} more"] if len(named) > _MOST_NAMED else []
    reasons = "".join(f"\n  - {reason}" for reason in [*named[:_MOST_NAMED], *more])
    return ExportError(f"{what} could be made of none of {len(named)} restaurants.{reasons}\n")
