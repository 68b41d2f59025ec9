"""Current orders by month of creation: each order in one file, marked where its newest version cannot be read, for the
same calls to S3 however long the history is."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass
from functools import partial

import msgspec
import pytest

from toast_assets.errors import StoreConflictError
from toast_assets.tables import current_orders
from toast_assets.tables.build import build_tables
from toast_assets.week import Week
from toast_assets_tests.support.data.invented import encode
from toast_assets_tests.support.faults.world import (
    LOG,
    Hook,
    KilledError,
    Operation,
    Side,
    Stop,
    StoredObject,
    stopped,
)
from toast_assets_tests.support.stores.current_weeks import WEEKS, A, B, Bucket, Calls, Row, Version, expected
from toast_assets_tests.support.stores.guests import weeks
from toast_assets_tests.support.stores.stored_weeks import store_week


def test_orders_are_kept_by_the_month_of_their_creation_else_of_their_opening() -> None:
    bucket = Bucket()
    made = [
        Version("new"),
        Version("old", created="2024-12", opened="2025-01"),
        Version("opened", created=None, opened="2025-08"),
        Version("bare", created=None),
    ]
    bucket.put(WEEKS[0], *made)
    bucket.put(WEEKS[0], Version("other"), restaurant=B)
    bucket.refresh()
    assert set(bucket.files()) == {(A, one.month) for one in made} | {(B, "2025-09")}
    assert bucket.rows() == {one.guid: Row(one.month, 2, newest_unreadable=False) for one in made}
    frame = bucket.world.store().load_table("current_orders")
    assert set(frame["order_guid"]) == {"new", "old", "opened", "bare", "other"}


def test_the_month_is_that_of_utc() -> None:
    bucket = Bucket()
    late = Version("o").body(WEEKS[0]) | {"createdDate": "2025-08-31T20:30:00.000-0500"}
    store_week(bucket.world.store(), WEEKS[0], {A: encode(late)})
    build_tables(WEEKS[0], bucket.world.store(), LOG)
    bucket.refresh()
    assert set(bucket.files()) == {(A, "2025-09")}


def calls_of_one_new_week(others: int) -> Calls:
    """What a refresh asks S3 for after one new week, where ``others`` were merged before."""
    bucket = Bucket()
    for week in weeks(others):
        bucket.put(week, Version(f"o{week.key}", created=week.key[:7]))
        bucket.put(week, Version(f"p{week.key}", created=week.key[:7]), restaurant=B)
    bucket.put(WEEKS[0], Version("o1"), Version("edited", created="2025-08"))
    bucket.refresh()
    calls = Calls()
    bucket.put(WEEKS[1], Version("o2"), Version("o3"))
    report = bucket.refresh(calls)
    assert (report.weeks, report.state.orders) == ((WEEKS[1].key,), 2 * others + 4)
    return calls


def test_a_refresh_makes_the_same_calls_however_many_weeks_are_stored() -> None:
    without, many = calls_of_one_new_week(0), calls_of_one_new_week(30)
    assert without.operations == many.operations == {"list": 2, "get": 3, "put": 2}
    assert many.months("get") == many.months("put") == ["2025-09"]


def test_a_refresh_without_news_only_lists_and_reads_its_state() -> None:
    bucket = Bucket()
    bucket.put(WEEKS[0], Version("o"), Version("p", readable=False))
    bucket.put(WEEKS[0], Version("q", readable=False), restaurant=B)
    assert bucket.refresh().state.restaurants.keys() == {A}
    calls = Calls()
    bucket.refresh(calls)
    assert calls.operations == {"list": 2, "get": 1}


def test_the_file_of_a_new_month_is_written_without_asking_for_it() -> None:
    bucket, calls = Bucket(), Calls()
    bucket.put(WEEKS[0], Version("o"))
    bucket.refresh(calls)
    assert (calls.months("get"), calls.months("put")) == ([], ["2025-09"])


def test_a_week_with_a_late_order_asks_for_no_object_without_reading_it() -> None:
    bucket = Bucket()
    bucket.put(WEEKS[0], Version("o"), Version("edited"))
    bucket.refresh()
    calls = Calls()
    # The others come again with the same modified time, one of them changed.
    bucket.put(WEEKS[0], Version("late"), Version("edited", guests=7))
    bucket.refresh(calls)
    assert calls.operations["head"] == 0
    assert bucket.rows()["edited"].guests == 7


VERSIONS = {
    "first without any time": [
        (WEEKS[0], Version("o", created=None, guests=1)),
        (WEEKS[1], Version("o", created="2025-09", guests=2)),
    ],
    "opened, then created in another month": [
        (WEEKS[0], Version("o", created=None, opened="2025-10", guests=1)),
        (WEEKS[1], Version("o", created="2025-09", opened="2025-10", guests=2)),
        (WEEKS[2], Version("o", created="2025-09", opened="2025-11", guests=3)),
    ],
    "promised for another month": [
        (WEEKS[0], Version("o", created=None, opened="2025-10", guests=1)),
        (WEEKS[1], Version("o", created=None, opened="2025-11", guests=2)),
        (WEEKS[2], Version("o", created="2025-09", guests=3)),
    ],
    "created, then not": [
        (WEEKS[0], Version("o", created="2025-09", guests=1)),
        (WEEKS[1], Version("o", created=None, opened="2025-10", guests=2)),
    ],
}


@pytest.mark.parametrize("kind", VERSIONS)
def test_an_order_whose_month_changes_is_in_one_file_whatever_comes_first(kind: str) -> None:
    versions = VERSIONS[kind]
    for sequence in itertools.permutations(versions):
        bucket = Bucket()
        for number, (week, version) in enumerate(sequence, 1):
            # Others are in the way.
            bucket.put(week, version, *(Version(f"{week.key}-{month}", created=month) for month in MONTHS))
            bucket.refresh()
            rows = {guid: row for guid, row in bucket.rows().items() if guid == "o"}
            assert rows == expected(sequence[:number])
            assert bucket.state().orders == 1 + number * len(MONTHS)
        assert len({*bucket.state().restaurants[A].undated}) <= 1


MONTHS = ("2025-09", "2025-10", "2025-11")


def test_an_order_without_a_time_of_creation_is_still_found_after_its_file_got_others() -> None:
    bucket = Bucket()
    versions = Version("o", created=None, opened="2025-10"), Version("p", created="2025-10"), Version("o")
    for week, version in zip(WEEKS, versions, strict=False):
        bucket.put(week, version)
        bucket.refresh()
        assert bucket.rows() == expected(bucket.all_versions())


def test_a_moved_order_is_counted_as_replaced() -> None:
    bucket = Bucket()
    bucket.put(WEEKS[0], Version("o", created=None), Version("p"))
    bucket.refresh()
    bucket.put(WEEKS[1], Version("o"))
    report = bucket.refresh()
    assert (report.new, report.replaced, report.state.orders) == (0, 1, 2)


UNREADABLE = {
    "newest": [Version("o"), Version("o", readable=False)],
    "between": [Version("o"), Version("o", readable=False), Version("o", guests=3)],
    "only": [Version("o", readable=False)],
    "twice": [Version("o"), Version("o", readable=False), Version("o", readable=False)],
    "first": [Version("o", readable=False), Version("o")],
    "last of many": [Version("o", guests=1), Version("o", guests=2), Version("o", readable=False)],
}


@pytest.mark.parametrize("kind", UNREADABLE)
def test_an_order_whose_newest_version_cannot_be_read_is_marked_whatever_comes_first(kind: str) -> None:
    versions = list(zip(WEEKS, UNREADABLE[kind], strict=False))
    files = set()
    for sequence in itertools.permutations(versions):
        bucket = Bucket()
        for number, (week, version) in enumerate(sequence, 1):
            bucket.put(week, version, Version("quiet"))
            for _ in range(2):
                bucket.refresh()
                assert {guid: row for guid, row in bucket.rows().items() if guid == "o"} == expected(sequence[:number])
        files.add(frozenset((name, one.body) for name, one in bucket.world.objects.items() if "month=" in name))
    assert len(files) == 1


def test_a_row_is_unmarked_as_soon_as_the_same_version_can_be_read() -> None:
    bucket = Bucket()
    bucket.put(WEEKS[0], Version("o", guests=1))
    bucket.put(WEEKS[1], Version("o", readable=False))
    bucket.refresh()
    bucket.put(WEEKS[1], Version("o", guests=5))
    bucket.refresh()
    assert bucket.rows() == {"o": Row("2025-09", 5, newest_unreadable=False)}


def test_a_version_that_replaced_a_readable_one_of_the_same_time_marks_its_row() -> None:
    bucket = Bucket()
    bucket.put(WEEKS[0], Version("o", guests=1))
    bucket.refresh()
    bucket.put(WEEKS[0], Version("o", readable=False))
    bucket.refresh()
    assert bucket.rows() == {"o": Row("2025-09", 1, newest_unreadable=True)}


@pytest.mark.parametrize("seed", range(8))
def test_after_any_sequence_of_weeks_current_orders_are_the_newest_versions(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(current_orders, "_WEEKS_AT_ONCE", 2)
    chance = random.Random(seed)
    bucket = Bucket()
    # Of each order and week one version, so that every version that is stored once stays.
    waiting: list[tuple[str, Week, Version]] = []
    for restaurant, number in itertools.product((A, B), range(12)):
        for week in chance.sample(WEEKS, chance.randint(1, 4)):
            some = Version(
                f"{restaurant}-{number}",
                ms=chance.randrange(1, 500_000_000),
                created=chance.choice(["2025-09", "2025-09", None]),
                opened=chance.choice([None, *MONTHS]),
                readable=chance.random() < 0.8,
                guests=chance.randrange(1000),
            )
            waiting.append((restaurant, week, some))
    chance.shuffle(waiting)
    while waiting:
        some_more, waiting = waiting[:12], waiting[12:]
        for restaurant, week, version in some_more:
            bucket.put(week, version, restaurant=restaurant)
        damaged = [key for key in bucket.world.objects if "current_orders/" in key and chance.random() < 0.1]
        for key in damaged:
            del bucket.world.objects[key]
        report = bucket.refresh()
        for restaurant in (A, B):
            assert bucket.rows(restaurant) == expected(bucket.all_versions(restaurant))
        assert report.state.orders == len(bucket.rows(A)) + len(bucket.rows(B))
        assert bucket.refresh().weeks == ()


# Orders that move, are marked, or both, by two weeks that are merged at once.
TWO_WEEKS = (
    [
        Version("dated later", created=None, opened="2025-10", guests=1),
        Version("dated first", guests=1),
        Version("marked", guests=1),
        Version("read again", readable=False),
        Version("moved and marked", created=None, guests=1),
        Version("quiet", created="2025-08"),
    ],
    [
        Version("dated later", guests=2),
        Version("dated first", created=None, opened="2025-10", guests=2),
        Version("marked", readable=False),
        Version("read again", guests=2),
        Version("moved and marked", readable=False),
        Version("another", created="2025-08"),
    ],
)


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("readable", [False, True])
def test_two_runs_at_once_leave_one_row_per_order_with_its_mark(first: int, *, readable: bool) -> None:
    # Without marks less is merged twice, which could hide a mistake.
    one, two = ([version for version in TWO_WEEKS[n] if version.readable or not readable] for n in (first, 1 - first))

    def prepared() -> Bucket:
        bucket = Bucket()
        if readable:
            bucket.put(WEEKS[2], Version("before"), Version("moved and marked", created=None, guests=9))
            bucket.refresh()
        bucket.put(WEEKS[first], *one)
        return bucket

    calls = Calls()
    prepared().refresh(calls)
    for number in range(1, len(calls.made) + 1):
        bucket, stop = prepared(), PauseAt("get", "", number=number)
        with stopped(partial(bucket.refresh, stop), stop) as outcome:
            bucket.put(WEEKS[1 - first], *two)
            bucket.refresh()
        assert outcome.error is None
        assert bucket.rows() == expected(bucket.all_versions()), stop
        assert bucket.state().orders == len(bucket.rows())
        objects = dict(bucket.world.objects)
        bucket.refresh()
        assert bucket.world.objects == objects


@dataclass
class PauseAt(Stop):
    """Holds the call with this ``number``, from 1 on."""

    number: int = 0
    calls: int = 0

    def __call__(self, operation: Operation, key: str, side: Side) -> None:
        if side == "before":
            self.calls += 1
            if self.calls == self.number:
                self.operation, self.part = operation, key
                super().__call__(operation, key, side)


def killed_at(number: int) -> Hook:
    """A hook that ends the run before or after one of its writes."""
    writes = itertools.count(1)

    def hook(operation: Operation, key: str, side: Side) -> None:
        if operation in ("put", "delete") and next(writes) == number:
            raise KilledError(f"{operation} {key} {side}")

    return hook


def test_a_run_that_is_killed_at_any_write_is_made_up_for_by_the_next() -> None:
    for number in itertools.count(1):
        bucket = Bucket()
        bucket.put(WEEKS[0], *TWO_WEEKS[0])
        bucket.refresh()
        bucket.put(WEEKS[1], *TWO_WEEKS[1])
        try:
            bucket.refresh(killed_at(number))
        except KilledError as killed:
            where = str(killed)
        else:
            break
        bucket.refresh()
        assert bucket.rows() == expected(bucket.all_versions()), where
        assert bucket.state().orders == len(bucket.rows()), where
    assert number > 8


def test_files_of_an_earlier_release_are_replaced_once_the_state_knows_the_new_ones() -> None:
    for number in itertools.count(1):
        bucket = Bucket()
        bucket.put(WEEKS[0], Version("o", created=None), Version("p"))
        bucket.put(WEEKS[0], Version("q"), restaurant=B)
        bucket.put(WEEKS[1], Version("o"))
        store, objects = bucket.world.store(), bucket.world.objects
        names = (f"restaurant={A}.parquet", f"restaurant={B}.parquet", "state.json")
        former = [f"{store.layout.table_folder('current_orders')}{name}" for name in names]
        for key in former:
            store.bucket.write(key, b"orders of all months")
        weeks = {week.key: "the hash of its table" for week in WEEKS[:2]}
        state = {"schema": "an earlier one", "weeks": weeks, "restaurants": {A: {"rows": 2, "etag": "its ETag"}}}
        store.bucket.write(store.layout.current_orders_state(), msgspec.json.encode(state))
        try:
            bucket.refresh(killed_at(number))
        except KilledError:
            assert former[0] in objects or bucket.state().orders == 3
            bucket.refresh()
        else:
            break
        assert not [key for key in former if key in objects]
        assert bucket.rows() | bucket.rows(B) == expected([*bucket.all_versions(), *bucket.all_versions(B)])
    assert number > 10


def three_months() -> Bucket:
    """Three weeks of orders of as many months; one order of another month is edited in each week."""
    bucket = Bucket()
    for number, month in enumerate(MONTHS):
        versions = Version(f"a-{month}", created=month), Version("edited", created="2025-08", guests=number)
        bucket.put(WEEKS[number], *versions)
        bucket.put(WEEKS[number], Version(f"b-{month}", created=month), restaurant=B)
    bucket.refresh()
    return bucket


@pytest.mark.parametrize("harm", ["cut", "removed", "copied", "exchanged"])
def test_of_all_files_only_the_damaged_ones_are_made_again(harm: str) -> None:
    bucket = three_months()
    layout, objects = bucket.world.store().layout, dict(bucket.world.objects)
    one, other = (layout.current_orders(A, month) for month in ("2025-08", "2025-09"))
    bodies = {"cut": {one: objects[one].body[:-100]}, "copied": {one: objects[other].body}, "removed": {}}
    exchanged = {one: objects[other].body, other: objects[one].body}
    del bucket.world.objects[one]
    for key, body in bodies.get(harm, exchanged).items():
        bucket.world.store().bucket.write(key, body)
    calls = Calls()
    report = bucket.refresh(calls)
    assert report.weeks == tuple(week.key for week in WEEKS[:3])
    assert set(calls.months("put")) == ({"2025-08", "2025-09"} if harm == "exchanged" else {"2025-08"})
    assert not [key for _, key in calls.made if f"restaurant={B}" in key]
    assert bucket.world.objects == objects
    assert bucket.refresh().weeks == ()


def test_what_no_week_holds_any_more_outlives_the_damage_of_another_month() -> None:
    bucket = three_months()
    for key in [key for key in bucket.world.objects if f"week={WEEKS[1].key}" in key]:
        del bucket.world.objects[key]
    del bucket.world.objects[bucket.world.store().layout.current_orders(A, "2025-08")]
    report = bucket.world.current_orders()
    assert bucket.rows().keys() == {"edited", *(f"a-{month}" for month in MONTHS)}
    assert report.state.orders == 7


def test_a_damaged_file_of_a_month_without_orders_stays_until_an_order_of_the_month_comes() -> None:
    bucket = three_months()
    key = bucket.world.store().layout.current_orders(A, "2024-01")
    bucket.world.store().bucket.write(key, b"PAR1")
    for _ in range(2):
        assert bucket.refresh().state.orders == 7
        assert bucket.world.objects[key].body == b"PAR1"
    bucket.put(WEEKS[3], Version("old", created="2024-01"))
    assert bucket.refresh().state.orders == 8
    assert bucket.rows() == expected(bucket.all_versions())
    assert bucket.refresh().weeks == ()


def test_a_removed_file_is_noticed_once_where_no_week_is_stored() -> None:
    bucket = three_months()
    for key in [key for key in bucket.world.objects if "/orders/week=" in key]:
        del bucket.world.objects[key]
    del bucket.world.objects[bucket.world.store().layout.current_orders(A, "2025-09")]
    assert bucket.world.current_orders().state.orders == 6
    calls = Calls()
    assert bucket.world.current_orders(hook=calls).state.orders == 6
    assert calls.operations == {"list": 2, "get": 1}


def test_a_run_that_others_keep_overtaking_gives_up() -> None:
    bucket = three_months()
    bucket.put(WEEKS[3], Version("another"))
    key = bucket.world.store().layout.current_orders_state()
    bodies = itertools.count()

    def overtake(operation: Operation, called: str, side: Side) -> None:
        if (operation, called, side) == ("put", key, "before"):
            bucket.world.objects[key] = StoredObject(b"", f'"{next(bodies)}"', {})

    with pytest.raises(StoreConflictError):
        bucket.refresh(overtake)
    assert next(bodies) == 6
    bucket.refresh()
    assert bucket.rows() == expected(bucket.all_versions())


def test_a_file_that_is_damaged_while_it_is_merged_is_made_again() -> None:
    bucket = three_months()
    key = bucket.world.store().layout.current_orders(A, "2025-08")
    whole = bucket.world.objects[key]
    bucket.put(WEEKS[3], Version("edited", created="2025-08", guests=12), Version("another", created="2025-08"))

    def harm(_operation: Operation, called: str, _side: Side) -> None:
        if called == key and bucket.world.objects[key] is whole:
            bucket.world.objects[key] = StoredObject(b"PAR1", '"another"', {})

    report = bucket.refresh(harm)
    assert report.weeks == tuple(week.key for week in WEEKS)
    assert bucket.rows() == expected(bucket.all_versions())
    assert report.state.orders == len(bucket.rows()) + len(bucket.rows(B))


def test_the_state_is_small_however_many_months_a_restaurant_has() -> None:
    bucket = Bucket()
    months = [f"{year}-{month:02d}" for year in (2023, 2024) for month in range(1, 13)]
    bucket.put(WEEKS[0], *(Version(month, created=month) for month in months))
    bucket.refresh()
    assert len(bucket.files()) == 24
    assert len(msgspec.json.encode(bucket.state().restaurants)) < 80
