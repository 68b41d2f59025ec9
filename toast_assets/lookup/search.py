"""Finds the restaurants and weeks that hold an order, by its GUID or by the number on its receipt.

Everything raises StoreError where the bucket fails; what concerns one week is noted as a problem.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from toast_assets.errors import ExportError, StoreError
from toast_assets.index.weeks import decode_week_orders, holders
from toast_assets.orders.raw import RawOrder
from toast_assets.orders.raw_file import order_guids, read_raw
from toast_assets.orders.scanner import decode
from toast_assets.scratch import scratch_folder
from toast_assets.store.client import CALLS_AT_ONCE
from toast_assets.store.manifest import Manifest
from toast_assets.store.order_store import OrderStore
from toast_assets.store.raw_weeks import pulled_week, reading_raw
from toast_assets.week import Week

# Orders are hardly ever edited later than this after their business day.
_DAYS_AFTER = 14
_UNKNOWN = datetime.min.replace(tzinfo=UTC)
_Found = TypeVar("_Found")


class Problem(msgspec.Struct, frozen=True, order=True):
    """Something that cannot be read, so that the answer lacks what only it says."""

    week: str
    problem: str


class _Number(msgspec.Struct):
    displayNumber: Any = None


@dataclass
class Search:
    """Looks into all pulled weeks, or only into one ``week``, of all restaurants or of one (``restaurant``, its GUID).
    ``problems`` are found on the way. Threads may share it."""

    store: OrderStore
    restaurant: str | None = None
    week: str | None = None
    problems: list[Problem] = field(default_factory=list)

    @property
    def found_problems(self) -> tuple[Problem, ...]:
        """The problems, by week."""
        return tuple(sorted(self.problems))

    @cached_property
    def weeks(self) -> list[str]:
        """The partition keys of the weeks to look into, oldest first."""
        return [key for key in self.store.pulled_weeks() if self.week in (None, key)]

    def holding(self, guid: str) -> dict[str, set[str]]:
        """By restaurant the weeks that probably hold an order: a raw file that can be read decides."""
        found: dict[str, set[str]] = defaultdict(set)
        with ThreadPoolExecutor(CALLS_AT_ONCE, thread_name_prefix="trace") as threads:
            indexed = threads.map(partial(self._indexed, guid), self.weeks)
            for week, restaurants in zip(self.weeks, indexed, strict=True):
                for one in self._read_through(guid, week, threads) if restaurants is None else restaurants:
                    found[one].add(week)
        return {one: weeks for one, weeks in found.items() if self.is_wanted(one)}

    def numbered(self, number: str, day: date) -> set[str]:
        """The GUIDs of the restaurant's orders with a display number on a business day: of the weeks around that day,
        or where these have none, of all others."""
        near = [f"{day + timedelta(days=days)}" for days in (-7, _DAYS_AFTER)]
        for chosen in (
            [week for week in self.weeks if near[0] <= week <= near[1]],
            [week for week in self.weeks if not near[0] <= week <= near[1]],
        ):
            with ThreadPoolExecutor(CALLS_AT_ONCE, thread_name_prefix="trace") as threads:
                found = set[str]().union(*threads.map(partial(self._numbered_in, number, day), chosen))
            if found:
                return found
        return set()

    def manifest(self, key: str) -> tuple[Week, Manifest] | None:
        """A week with its manifest; None where that cannot be read."""
        return self.tried(key, lambda: pulled_week(key, self.store))

    def rows(self, key: str, restaurant: str, guid: str) -> list[RawOrder] | None:
        """What a restaurant's raw file has of an order; None where there is no file, or it is damaged."""
        return self._orders(key, restaurant, lambda order: order.guid.lower() == guid.lower())

    def tried(self, key: str, read: Callable[[], _Found]) -> _Found | None:
        """What ``read`` finds of a week; None where it fails, which is a problem then."""
        found: list[_Found] = []
        with self.noting(key):
            found.append(read())
        return found[0] if found else None

    @contextmanager
    def noting(self, key: str) -> Iterator[None]:
        """What fails at one week is a problem; a StoreError is raised where the whole bucket fails."""
        try:
            yield
        except (ExportError, StoreError) as error:
            if isinstance(error, StoreError):
                self.store.bucket.check()
            self.note(key, str(error))

    def note(self, key: str, problem: str) -> None:
        """Something of a week is missing or cannot be read."""
        if (found := Problem(key, problem)) not in self.problems:
            self.problems.append(found)

    def is_wanted(self, restaurant: str) -> bool:
        """Whether a restaurant is one to look into."""
        return self.restaurant is None or restaurant.lower() == self.restaurant.lower()

    def _wanted_of(self, key: str) -> list[str]:
        found = self.manifest(key)
        return [one for one in (found[1].stored if found else ()) if self.is_wanted(one)]

    def _indexed(self, guid: str, key: str) -> list[str] | None:
        """The restaurants that probably hold an order in a week; None where nothing says which orders the week has."""
        where, orders = self.store.layout.week_orders(key), None
        with self.noting(key):
            found = self.store.bucket.read(where)
            orders = decode_week_orders(found[0]) if found else None
            if found and orders is None:
                hint = "Remove it: the next pull of the week makes it again."
                raise StoreError(f"{self.store.bucket.uri(where)} is damaged.", hint=hint)
        return None if orders is None else holders(orders, guid)

    def _read_through(self, guid: str, key: str, threads: ThreadPoolExecutor) -> list[str]:
        """The restaurants of which the week's raw files hold an order, or that have no file that can be read."""
        restaurants = self._wanted_of(key)
        held = threads.map(partial(self._is_held, guid, key), restaurants)
        return [one for one, is_held in zip(restaurants, held, strict=True) if is_held]

    def _is_held(self, guid: str, key: str, restaurant: str) -> bool:
        held = self._raw(key, restaurant, lambda path: guid.lower() in map(str.lower, order_guids(path)))
        return held is not False

    def _numbered_in(self, number: str, day: date, key: str) -> set[str]:
        def is_wanted(order: RawOrder) -> bool:
            return order.business_date == day and _number_of(order.body) == number

        found = (self._orders(key, one, is_wanted) or () for one in self._wanted_of(key))
        return {order.guid for some in found for order in some}

    def _orders(self, key: str, restaurant: str, is_wanted: Callable[[RawOrder], bool]) -> list[RawOrder] | None:
        return self._raw(key, restaurant, lambda path: list(filter(is_wanted, read_raw(path))))

    def _raw(self, key: str, restaurant: str, read: Callable[[Path], _Found]) -> _Found | None:
        """What ``read`` finds in a restaurant's raw file; None where there is no file, or it is damaged."""
        week, found = Week(key, _UNKNOWN, _UNKNOWN), None
        with self.noting(key), scratch_folder() as folder:
            path = folder / "raw.parquet"
            if self.store.bucket.fetch(self.store.layout.raw(week, restaurant), path):
                with reading_raw(week, restaurant, self.store):
                    found = read(path)
        return found


def _number_of(body: bytes) -> str | None:
    try:
        number = decode(body, _Number).displayNumber
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return None if number is None else str(number)
