"""Weeks of versions of orders in one bucket, its current orders, and what these have to be, in plain Python."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from io import BytesIO
from typing import NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from toast_assets.orders.times import format_time
from toast_assets.store.layout import month_in
from toast_assets.tables.build import build_tables
from toast_assets.tables.current_orders import CurrentReport, CurrentState
from toast_assets.week import Week, WeekCalendar
from toast_assets_tests.support.data.invented import Json, encode, order
from toast_assets_tests.support.faults.world import (
    LOG,
    Hook,
    Operation,
    Side,
    StoredObject,
    World,
)
from toast_assets_tests.support.stores.stored_weeks import store_week

CALENDAR = WeekCalendar()
WEEKS = [CALENDAR.week(key) for key in ("2025-09-15", "2025-09-22", "2025-09-29", "2025-10-06")]
A, B = "restaurant-a", "restaurant-b"


class Version(NamedTuple):
    """A version of an order: modified ``ms`` after its week's beginning, in a restaurant that created it in a month, or
    opened it there and does not say when it was created."""

    guid: str
    ms: int = 1000
    created: str | None = "2025-09"
    opened: str | None = None
    readable: bool = True
    guests: int = 2

    @property
    def month(self) -> str:
        return self.created or self.opened or "unknown"

    def body(self, week: Week) -> Json:
        made = {"createdDate": self.created, "openedDate": self.opened}
        times = {name: month and f"{month}-10T12:00:00.000+0000" for name, month in made.items()}
        modified = {"modifiedDate": format_time(week.start_ms + self.ms), "numberOfGuests": self.guests}
        # There is no such day.
        return {**order(), "guid": self.guid, **times, **modified, "businessDate": 20250919 if self.readable else 99}


class Row(NamedTuple):
    """What matters of a row of the current orders."""

    month: str
    guests: int
    newest_unreadable: bool


@cache
def tables_of(week: Week, content: frozenset[tuple[str, Version]]) -> dict[str, StoredObject]:
    """The objects of a week of these versions by restaurant."""
    world = World(week)
    bodies = {guid: encode(*(one.body(week) for of, one in sorted(content) if of == guid)) for guid in (A, B)}
    store_week(world.store(), week, bodies)
    build_tables(week, world.store(), LOG)
    return world.objects


@dataclass
class Bucket:
    """One bucket, with its weeks of versions by restaurant and order."""

    world: World = field(default_factory=lambda: World(WEEKS[0]))
    weeks: dict[Week, dict[tuple[str, str], Version]] = field(default_factory=lambda: defaultdict(dict))

    def put(self, week: Week, *versions: Version, restaurant: str = A) -> None:
        """New versions in a week, which only gains."""
        self.weeks[week] |= {(restaurant, version.guid): version for version in versions}

    def refresh(self, hook: Hook | None = None) -> CurrentReport:
        for week, versions in self.weeks.items():
            content = frozenset((restaurant, version) for (restaurant, _), version in versions.items())
            self.world.objects |= tables_of(week, content)
        return self.world.current_orders(hook=hook)

    def files(self) -> dict[tuple[str, str], pa.Table]:
        folder = self.world.store().layout.table_folder("current_orders")
        found = {month_in(key, folder): one.body for key, one in self.world.objects.items() if key.startswith(folder)}
        return {name: pq.read_table(BytesIO(body)) for name, body in found.items() if name is not None}

    def rows(self, restaurant: str = A) -> dict[str, Row]:
        """The rows of a restaurant, each of them in one file."""
        found: dict[str, Row] = {}
        for (guid, month), table in self.files().items():
            assert table.num_rows == 0 or set(table["restaurant_guid"].to_pylist()) == {guid}
            for one in table.to_pylist() if guid == restaurant else ():
                assert one["order_guid"] not in found
                found[one["order_guid"]] = Row(month, one["number_of_guests"], one["newest_unreadable"])
        return found

    def all_versions(self, restaurant: str = A) -> Iterator[tuple[Week, Version]]:
        for week, versions in self.weeks.items():
            yield from ((week, version) for (guid, _), version in versions.items() if guid == restaurant)

    def state(self) -> CurrentState:
        body = self.world.objects[self.world.store().layout.current_orders_state()].body
        return msgspec.json.decode(body, type=CurrentState)


def expected(versions: Iterable[tuple[Week, Version]]) -> dict[str, Row]:
    """The current orders by all versions of a restaurant, in plain Python."""
    rows: dict[str, Row] = {}
    for _, version in sorted(versions, key=lambda one: one[0].start_ms + one[1].ms):
        if version.readable:
            rows[version.guid] = Row(version.month, version.guests, newest_unreadable=False)
        elif version.guid in rows:
            rows[version.guid] = rows[version.guid]._replace(newest_unreadable=True)
    return rows


class Calls:
    """Counts the calls to S3, and notes their keys."""

    def __init__(self) -> None:
        self.made: list[tuple[Operation, str]] = []

    def __call__(self, operation: Operation, key: str, side: Side) -> None:
        if side == "before":
            self.made.append((operation, key))

    @property
    def operations(self) -> Counter[str]:
        return Counter(operation for operation, _ in self.made)

    def months(self, operation: Operation) -> list[str]:
        folder = World(WEEKS[0]).store().layout.table_folder("current_orders")
        found = (month_in(key, folder) for made, key in self.made if made == operation)
        return sorted(month for _, month in filter(None, found))
