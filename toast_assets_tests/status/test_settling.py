"""How long figures move: shares against a computation in plain Python, second looks, and where there is too little."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import cache
from random import Random
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import msgspec
import pytest

from toast_assets.orders.times import format_time
from toast_assets.status.settling import DAYS, Followed, Late, RestaurantSettling, SecondLooks, Settling, settling
from toast_assets.tables.build import build_tables
from toast_assets.week import Week, WeekCalendar, epoch_ms, iso_ms
from toast_assets_tests.support.data.invented import check, encode, order, refund_details, selection
from toast_assets_tests.support.faults.world import LOG, StoredObject, World
from toast_assets_tests.support.stores.current_weeks import Calls
from toast_assets_tests.support.stores.stored_weeks import damage_at_the_end, save_manifest, store_week

FIRST = date(2025, 9, 15)
CALENDAR = WeekCalendar(FIRST)
# Clocks are put back in the eighth week in New York, and put forward in the third in Lord Howe.
WEEKS = [CALENDAR.week(f"{FIRST + timedelta(days=7 * number)}") for number in range(15)]
A, B = "restaurant-a", "restaurant-b"
DAY, MS = timedelta(days=1), timedelta(milliseconds=1)
NEW_YORK = "America/New_York"


class Version(NamedTuple):
    """A version of an order."""

    order: str
    day: date
    modified: datetime
    price: int
    refund: int = 0
    voided: bool = False

    def body(self) -> dict[str, Any]:
        item = selection(f"{self.price}.00", refundDetails=refund_details(f"{self.refund}.00") if self.refund else None)
        modified, day = format_time(epoch_ms(self.modified)), int(f"{self.day:%Y%m%d}")
        return order(check(item), voided=self.voided, guid=self.order, modifiedDate=modified, businessDate=day)

    @property
    def net_sales(self) -> Decimal:
        return Decimal(0 if self.voided else self.price)

    @property
    def after_refunds(self) -> Decimal:
        return Decimal(0 if self.voided else self.price - self.refund)


def end_of(day: date, zone: str, closeout_hour: int | None) -> datetime:
    hour = 4 if closeout_hour is None else closeout_hour
    return datetime.combine(day + DAY, time(hour), ZoneInfo(zone)).astimezone(UTC)


@dataclass
class Bucket:
    """Weeks of versions in one bucket, by restaurant."""

    world: World = field(default_factory=lambda: World(WEEKS[0]))
    calls: Calls = field(default_factory=Calls)

    def put(self, week: Week, versions: dict[str, Iterable[Version]], **record: Any) -> None:
        """Stores the newest version of each order in the week, and makes the tables."""
        bodies = {guid: encode(*(one.body() for one in held(week, some))) for guid, some in versions.items()}
        store_week(self.world.store(), week, bodies, **{"time_zone": NEW_YORK} | record)
        build_tables(week, self.world.store(), LOG)

    def describe(self, week: Week, guid: str, **fields: Any) -> None:
        """Changes what the manifest says of a restaurant."""
        manifest, _ = self.world.store().load_manifest(week)
        assert manifest is not None
        records = manifest.restaurants | {guid: msgspec.structs.replace(manifest.restaurants[guid], **fields)}
        save_manifest(self.world.store(), week, msgspec.structs.replace(manifest, restaurants=records))

    def settling(self) -> Settling:
        return settling(self.world.store(self.calls), CALENDAR, LOG)

    def of(self, guid: str = A) -> RestaurantSettling:
        (found,) = (one for one in self.settling().restaurants if one.restaurant_guid == guid)
        return found


def held(week: Week, versions: Iterable[Version]) -> list[Version]:
    """What a week holds: of each order the newest version that was modified in it."""
    newest: dict[str, Version] = {}
    for version in sorted(versions, key=lambda one: one.modified):
        if week.start <= version.modified < week.end:
            newest[version.order] = version
    return [*newest.values()]


def quiet(week: Week, number: int = 1) -> list[Version]:
    """Orders of 10.00 of each day of a week that were last modified in the evening."""
    days = [date.fromisoformat(week.key) + n * DAY for n in range(7)]
    return [Version(f"{day}-{n}", day, datetime.combine(day, time(18), UTC), 10) for day in days for n in range(number)]


@cache
def _quiet_objects(weeks: int) -> dict[str, StoredObject]:
    bucket = Bucket()
    for week in WEEKS[:weeks]:
        bucket.put(week, {A: quiet(week), B: quiet(week)})
    return bucket.world.objects


def quiet_bucket(weeks: int) -> Bucket:
    """Two restaurants and the first weeks, each with one order a day."""
    return Bucket(World(WEEKS[0], objects=dict(_quiet_objects(weeks))))


# Shares


CLOCKS = {
    "america": (NEW_YORK, 3),
    "asia": ("Asia/Tokyo", None),
    "australia": ("Australia/Lord_Howe", 2),
    "hawaii": ("Pacific/Honolulu", 23),
}


def lively(guid: str, zone: str, closeout_hour: int | None) -> list[Version]:
    """Orders of days before, in and after the weeks, many of which are edited, refunded or voided later."""
    rng, versions = Random(guid), []
    for number in range(260):
        day = FIRST + rng.randrange(-3, 7 * len(WEEKS)) * DAY
        end, version = end_of(day, zone, closeout_hour), Version(f"{guid}-{number}", day, WEEKS[0].start, 10)
        lags = [timedelta(seconds=-rng.randrange(80_000))]
        exact = [days * DAY + rng.choice((timedelta(), MS)) for days in DAYS]
        for _ in range(rng.choice((0, 0, 1, 3))):
            lags.append(rng.choice((*exact, timedelta(seconds=rng.randrange(12 * 86_400)))))
        for lag in sorted(lags):
            price, refund = rng.randrange(1, 90), rng.choice((0, 0, 1))
            versions.append(version._replace(modified=end + lag, price=price, refund=refund, voided=rng.random() < 0.1))
    return versions


def right(versions: Sequence[Version], zone: str, closeout_hour: int | None, weeks: Sequence[Week] = WEEKS) -> Followed:
    """The numbers over these weeks, in plain Python."""
    by_order: dict[str, list[Version]] = defaultdict(list)
    for week in weeks:
        for version in held(week, versions):
            by_order[version.order].append(version)

    def end(version: Version) -> datetime:
        return end_of(version.day, zone, closeout_hour)

    counted = [
        some
        for some in by_order.values()
        if end_of(some[-1].day - DAY, zone, closeout_hour) >= weeks[0].start
        and end(some[-1]) + 13 * DAY <= weeks[-1].end
    ]
    late = []
    for days in DAYS:
        due = [some for some in counted if some[-1].modified - end(some[-1]) > days * DAY]
        change = Decimal(0)
        for some in due:
            known = [one for one in some if one.modified - end(one) <= days * DAY]
            change += abs(some[-1].after_refunds - known[-1].after_refunds) if known else 0
        late.append(Late(days, len(due), sum((some[-1].net_sales for some in due), Decimal(0)), change))
    begins = {end_of(some[-1].day - DAY, zone, closeout_hour) for some in counted}
    in_weeks = sum(any(week.start <= begin < week.end for begin in begins) for week in weeks)
    return Followed(in_weeks, len(counted), sum((some[-1].net_sales for some in counted), Decimal(0)), tuple(late))


@pytest.fixture(scope="module")
def lively_bucket() -> Bucket:
    bucket = Bucket()
    for week in WEEKS:
        bucket.put(week, {guid: lively(guid, *clock) for guid, clock in CLOCKS.items()}, currency="USD")
        for guid, (zone, closeout_hour) in CLOCKS.items():
            bucket.describe(week, guid, time_zone=zone, closeout_hour=closeout_hour)
    return bucket


@pytest.mark.parametrize("guid", CLOCKS)
def test_shares_and_changes_are_those_of_all_stored_versions_of_the_newest_weeks(
    lively_bucket: Bucket, guid: str
) -> None:
    found, expected = lively_bucket.of(guid), right(lively(guid, *CLOCKS[guid]), *CLOCKS[guid], WEEKS[-13:])
    assert found.followed == expected
    assert found.followed_problem is None
    # The example has what matters.
    assert [late.orders > 0 < late.change for late in expected.late] == [True] * len(DAYS)
    assert expected.weeks == 11


def test_totals_add_up_by_currency_and_those_with_the_most_late_money_come_first(lively_bucket: Bucket) -> None:
    lively_bucket.describe(WEEKS[-1], "asia", currency="JPY")
    found = lively_bucket.settling()
    lively_bucket.describe(WEEKS[-1], "asia", currency="USD")
    shares = [one.followed.money_shares[0] for one in found.restaurants]
    assert shares == sorted(shares, reverse=True)
    assert [*found.totals] == ["JPY", "USD"]
    by_guid = {one.restaurant_guid: one.followed for one in found.restaurants}
    assert found.totals["JPY"] == by_guid.pop("asia")
    total = found.totals["USD"]
    assert total.orders == sum(one.orders for one in by_guid.values())
    assert total.late[2].net_sales == sum(one.late[2].net_sales for one in by_guid.values())
    assert total.late[3].change == sum(one.late[3].change for one in by_guid.values())


def test_only_the_newest_weeks_are_read_whatever_is_stored(lively_bucket: Bucket) -> None:
    lively_bucket.calls.made.clear()
    found = lively_bucket.settling()
    assert list(found.weeks) == [week.key for week in WEEKS[-13:]]
    assert lively_bucket.calls.operations == {"list": 1, "get": 2 * 13}


def test_an_order_is_late_after_more_than_that_many_days_to_the_millisecond() -> None:
    day = FIRST + 7 * DAY
    end = end_of(day, NEW_YORK, 4)
    odd = [Version("exact", day, end + DAY, 10), Version("later", day, end + DAY + MS, 20)]
    bucket = quiet_bucket(6)
    for week in WEEKS[1:3]:
        bucket.put(week, {A: [*quiet(week), *odd]})
    assert [(late.orders, int(late.net_sales)) for late in bucket.of().followed.late] == [(1, 20), *[(0, 0)] * 3]


def test_an_order_that_was_voided_late_shows_as_a_change_although_it_sells_nothing_now() -> None:
    day = FIRST + 7 * DAY
    versions = [Version("v", day, datetime.combine(day, time(18), UTC), 50)]
    versions.append(versions[0]._replace(modified=versions[0].modified + 8 * DAY, voided=True))
    bucket = quiet_bucket(6)
    for week in WEEKS[1:4]:
        bucket.put(week, {A: [*quiet(week), *versions]})
    assert bucket.of().followed.late[-1] == Late(7, 1, Decimal(0), Decimal(50))


# Too little


@pytest.mark.parametrize(("weeks", "problem"), [(1, 0), (2, 0), (5, 3), (6, None)])
def test_fewer_than_four_weeks_that_were_followed_are_too_few(weeks: int, problem: int | None) -> None:
    found = quiet_bucket(weeks).settling()
    said = None if problem is None else f"too few weeks ({problem} of 4)"
    assert [one.followed_problem for one in found.restaurants] == [said] * 2
    assert bool(found.totals) == (said is None)
    assert found.restaurants[0].cells[0] == (said or "0.0% / 0.0%")


def test_without_any_week_there_is_nothing() -> None:
    assert Bucket().settling() == Settling()


def test_without_a_time_zone_nobody_knows_when_a_business_day_ends() -> None:
    bucket = quiet_bucket(8)
    for week in WEEKS[:8]:
        bucket.describe(week, A, time_zone=None)
        bucket.describe(week, B, time_zone=NEW_YORK if week is WEEKS[3] else "Nowhere/Land")
    assert bucket.of(A).followed_problem == "time zone unknown"
    assert bucket.of(B).followed_problem is None
    assert [one.restaurant_guid for one in bucket.settling().restaurants] == [B, A]


def test_weeks_before_a_gap_do_not_count_because_later_versions_may_be_missing() -> None:
    bucket = quiet_bucket(12)
    bucket.put(WEEKS[3], {B: quiet(WEEKS[3])})
    assert (bucket.of(A).followed.weeks, bucket.of(B).followed.weeks) == (6, 10)


def test_a_restaurant_whose_raw_orders_are_damaged_stops_no_other() -> None:
    bucket, week = quiet_bucket(12), WEEKS[3]
    bodies = {guid: encode(*(one.body() for one in quiet(week, 2))) for guid in (A, B)}
    store_week(bucket.world.store(), week, bodies, time_zone=NEW_YORK)
    damage_at_the_end(bucket.world.store(), week, A)
    assert [*build_tables(week, bucket.world.store(), LOG).problems] == [A]
    assert (bucket.of(A).followed.weeks, bucket.of(B).followed.weeks) == (6, 10)
    assert bucket.of(B).followed.orders == 77


def test_a_damaged_or_missing_table_and_a_damaged_manifest_are_gaps_and_are_named() -> None:
    bucket = quiet_bucket(12)
    layout, objects = bucket.world.store().layout, bucket.world.objects
    table = objects[layout.table("orders", WEEKS[0].key)]
    objects[layout.table("orders", WEEKS[0].key)] = replace(table, body=table.body[:-100] + bytes(100))
    del objects[layout.table("orders", WEEKS[1].key)]
    objects[layout.manifest(WEEKS[2])] = replace(table, body=b"{")
    found = bucket.settling()
    assert found.left_out == tuple(week.key for week in WEEKS[:3])
    assert [one.followed.weeks for one in found.restaurants] == [7, 7]


def test_odd_business_dates_and_orders_that_cannot_be_read_are_left_out() -> None:
    bucket = Bucket()
    for week in WEEKS[:6]:
        last = quiet(week)[-1]
        odd = [last._replace(order=f"{week.key} {day}", day=day) for day in (date.max, date(1970, 1, 1))]
        bodies = [one.body() for one in (*quiet(week), *odd)]
        bodies += [bodies[0] | {"guid": f"{week.key} unreadable", "businessDate": 99}]
        bodies += [bodies[0] | {"guid": f"{week.key} without a day", "businessDate": None}]
        store_week(bucket.world.store(), week, {A: encode(*bodies)}, time_zone=NEW_YORK)
        assert build_tables(week, bucket.world.store(), LOG).rejected == 1
    assert (bucket.of().followed.orders, bucket.of().followed.weeks) == (28, 4)


# Second looks


def looked(week: Week, hours: float = 72) -> dict[str, Any]:
    return {"second_look_at": iso_ms(week.end + timedelta(hours=hours))}


def test_what_second_looks_brought_is_counted_with_its_money() -> None:
    bucket = Bucket()
    for number, week in enumerate(WEEKS[:5]):
        some = quiet(week)
        late = {one.order: week.end + timedelta(hours=72) for one in some[:number]}
        # A third pull, and one within a day, which is no second look.
        late |= {some[5].order: week.end + timedelta(days=9), some[6].order: week.end + timedelta(hours=23)}
        bucket.put(week, {A: some, B: []}, late=late, **looked(week))
    assert bucket.of(A).looks == SecondLooks(5, 35, 10 + 5, Decimal(150))
    assert bucket.of(B).looks == SecondLooks(5)
    assert (bucket.of(A).looks_problem, bucket.settling().backdated) == (None, 15)
    # Tables that are made again say the same.
    for week in WEEKS[:5]:
        del bucket.world.objects[bucket.world.store().layout.table("orders", week.key)]
        build_tables(week, bucket.world.store(), LOG)
    assert bucket.of(A).looks.backdated == 15


def test_weeks_without_a_second_look_or_with_a_late_first_one_are_no_evidence() -> None:
    bucket = quiet_bucket(6)
    for week in WEEKS[:3]:
        bucket.put(week, {A: quiet(week)}, **looked(week))
    backfilled = quiet(WEEKS[3])
    bucket.put(WEEKS[3], {A: backfilled}, late={one.order: WEEKS[3].end + 30 * DAY for one in backfilled})
    found = bucket.of(A)
    assert found.looks == SecondLooks(3, 21)
    assert found.looks_problem == found.cells[-1] == "too few weeks (3 of 4)"


def test_orders_of_other_weeks_and_orders_that_cannot_be_read_count_without_money() -> None:
    """What the census finds is stored in the week that is pulled, whenever it was modified."""
    bucket, week = quiet_bucket(1), WEEKS[0]
    inside, outside = quiet(week)[0], quiet(WEEKS[1])[0]
    unreadable = quiet(week)[1].body() | {"businessDate": 99}
    bodies = [inside.body(), outside.body(), unreadable]
    late = {body["guid"]: week.end + 3 * DAY for body in bodies}
    store_week(bucket.world.store(), week, {A: encode(*bodies)}, late=late, **looked(week))
    build_tables(week, bucket.world.store(), LOG)
    assert bucket.of(A).looks == SecondLooks(1, 3, 2, Decimal(10))


def test_a_restaurant_that_cannot_be_read_keeps_what_its_table_said() -> None:
    bucket, week = quiet_bucket(1), WEEKS[0]
    some = quiet(week)
    bucket.put(week, {A: some, B: some}, late={some[0].order: week.end + 3 * DAY}, **looked(week))
    damage_at_the_end(bucket.world.store(), week, A)
    assert [*build_tables(week, bucket.world.store(), LOG).problems] == [A]
    assert bucket.of(A).looks == bucket.of(B).looks == SecondLooks(1, 7, 1, Decimal(10))
