"""Estimates of a pull and of a backfill: by the pace, by the rule which restaurants a run asks, by earlier pulls."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import msgspec
import pytest

from toast_assets.amperity.settings import DeliverySpeed
from toast_assets.errors import CalendarError, StoreError, WeekError
from toast_assets.pull.estimate import (
    ASSUMED,
    RUN_SECONDS,
    Measure,
    State,
    WeekEstimate,
    backfill_seconds,
    estimate_backfill,
    in_words,
    measures_for,
    pull_seconds,
    weeks_between,
)
from toast_assets.sandbox import Kind, Sandbox, invent_restaurants
from toast_assets.store.order_store import OrderStore
from toast_assets.toast.settings import ToastLimits
from toast_assets.week import Week, WeekCalendar
from toast_assets_tests.support.stores.pulls import manifest_of, pull
from toast_assets_tests.support.stores.stored_weeks import save_manifest

CALENDAR = WeekCalendar()
WEEKS = [CALENDAR.week(key) for key in ("2025-09-08", "2025-09-15", "2025-09-22")]
BEFORE, WEEK, AFTER = WEEKS
LONG_AFTER = AFTER.end + timedelta(days=40)


@pytest.fixture
def sandbox(start_sandbox: Callable[..., Sandbox]) -> Sandbox:
    """Three restaurants of a few pages each, no limits, no faults."""
    return start_sandbox(restaurants=invent_restaurants(3, orders_per_week=200))


def estimated(
    sandbox: Sandbox, store: OrderStore, *weeks: Week, refresh: bool | None = None, **variables: str
) -> list[WeekEstimate]:
    names = {each.alias for each in ToastLimits.model_fields.values()}
    values = sandbox.environment() | variables
    limits = ToastLimits.parse({name: value for name, value in values.items() if name in names})
    methods = variables.get("AMPERITY_DELIVERY")
    delivery = DeliverySpeed.parse({"AMPERITY_REQUESTS_PER_SECOND": "10", "AMPERITY_DELIVERY": methods})
    return estimate_backfill(store, CALENDAR, weeks, limits, delivery, LONG_AFTER, refresh=refresh)


def of_one(
    sandbox: Sandbox, store: OrderStore, week: Week, *, refresh: bool | None = None, **variables: str
) -> WeekEstimate:
    (only,) = estimated(sandbox, store, week, refresh=refresh, **variables)
    return only


async def asked(sandbox: Sandbox, week: Week, *, refresh: bool | None = None) -> tuple[int, set[str]]:
    """How many requests a run makes besides the login, and the restaurants whose orders it asks for."""
    count = sandbox.toast.log.count
    before = {guid: count("orders", guid) for guid in sandbox.restaurant_guids}
    all_before = count() - count("login")
    await pull(sandbox, week, refresh=refresh, TOAST_CENSUS="on")
    asked_for = {guid for guid in sandbox.restaurant_guids if count("orders", guid) > before[guid]}
    return count() - count("login") - all_before, asked_for


def fail_one(sandbox: Sandbox) -> str:
    guid = sandbox.restaurant_guids[1]
    sandbox.faults.arm(Kind.STATUS, "orders", status=403, target=guid, last=None)
    return guid


# Whom a run will ask


@pytest.mark.parametrize("refresh", [None, True, False])
@pytest.mark.parametrize("state", State)
async def test_it_follows_the_rule_whom_a_run_asks(
    sandbox: Sandbox, store: OrderStore, state: State, refresh: bool | None
) -> None:
    if state is State.INCOMPLETE:
        fail_one(sandbox)
    if state is not State.NOTHING:
        await pull(sandbox, WEEK)
        sandbox.faults.clear()
    estimate = of_one(sandbox, store, WEEK, refresh=refresh)
    _, restaurants = await asked(sandbox, WEEK, refresh=refresh)
    assert (estimate.state, estimate.restaurants) == (state, len(restaurants))


async def test_what_a_run_stored_before_it_died_is_not_asked_for(sandbox: Sandbox, store: OrderStore) -> None:
    await pull(sandbox, WEEK)
    manifest, guid = manifest_of(store, WEEK), sandbox.restaurant_guids[0]
    left = {key: record for key, record in manifest.restaurants.items() if key != guid}
    pending = msgspec.structs.replace(manifest, outcome="incomplete", pending=(guid,), restaurants=left)
    save_manifest(store, WEEK, pending)
    estimate = of_one(sandbox, store, WEEK)
    requests, restaurants = await asked(sandbox, WEEK)
    assert (estimate.state, estimate.restaurants, estimate.requests) == (State.INCOMPLETE, 0, 1 + 13 + 16)
    assert (requests, restaurants) == (1 + 13 + 16, set())


async def test_a_restaurant_that_was_added_is_all_that_a_run_asks_for(sandbox: Sandbox, store: OrderStore) -> None:
    *known, _ = sandbox.restaurant_guids
    await pull(sandbox, WEEK, TOAST_RESTAURANT_GUID=",".join(known))
    estimate = of_one(sandbox, store, WEEK)
    assert (estimate.state, estimate.restaurants) == (State.INCOMPLETE, 1)
    assert estimate.basis == {"assumption": 1}


# Requests


async def test_the_requests_of_a_new_week_are_those_of_the_nearest_one(sandbox: Sandbox, store: OrderStore) -> None:
    await pull(sandbox, BEFORE)
    estimate = of_one(sandbox, store, WEEK)
    requests, _ = await asked(sandbox, WEEK)
    assert (estimate.basis, estimate.nearest) == ({"other_week": 3}, (BEFORE.key,))
    assert estimate.requests == pytest.approx(requests, rel=0.25)


async def test_discovery_is_counted(sandbox: Sandbox, store: OrderStore) -> None:
    await pull(sandbox, BEFORE)
    listed = of_one(sandbox, store, WEEK)
    discovered = of_one(sandbox, store, WEEK, TOAST_RESTAURANT_GUID="*")
    assert (discovered.orders, discovered.pull_seconds) == (listed.orders, listed.pull_seconds)
    assert discovered.requests == listed.requests + 1
    assert of_one(sandbox, store, WEEK, refresh=False, TOAST_RESTAURANT_GUID="*").requests == discovered.requests


async def test_a_week_of_its_own_is_the_best_measure_and_an_earlier_one_better_than_a_later(
    sandbox: Sandbox, store: OrderStore
) -> None:
    await pull(sandbox, BEFORE)
    await pull(sandbox, AFTER)
    assert of_one(sandbox, store, WEEK).nearest == (BEFORE.key,)
    assert of_one(sandbox, store, CALENDAR.week("2025-08-25")).nearest == (BEFORE.key,)
    assert of_one(sandbox, store, CALENDAR.week("2025-10-06")).nearest == (AFTER.key,)
    assert of_one(sandbox, store, AFTER).basis == {"own_pull": 3}


async def test_a_restaurant_that_was_never_pulled_counts_as_the_others_do(sandbox: Sandbox, store: OrderStore) -> None:
    failed = fail_one(sandbox)
    await pull(sandbox, BEFORE)
    others = [pull.orders for guid, pull in manifest_of(store, BEFORE).stored.items() if guid != failed]
    estimate = of_one(sandbox, store, WEEK)
    assert estimate.basis == {"other_week": 2, "other_restaurants": 1}
    assert estimate.orders == pytest.approx(sum(others) * 3 / 2)


def test_where_nothing_is_stored_it_says_that_it_assumes(sandbox: Sandbox, store: OrderStore) -> None:
    estimate = estimated(sandbox, store, BEFORE, WEEK)
    assert [week.basis for week in estimate] == [{"assumption": 3}] * 2
    assert [(week.requests, week.orders) for week in estimate] == [(3 * (15 + 1 + 13 + 16), 3 * 1000)] * 2


# Time


async def test_old_weeks_are_spaced_and_young_ones_are_not(sandbox: Sandbox, store: OrderStore) -> None:
    limits = ToastLimits.parse(
        {"TOAST_RESTAURANT_GUID": "a", "TOAST_CENSUS": "off", "TOAST_HISTORICAL_SPACING_SECONDS": "7"}
    )
    now = WEEK.end + timedelta(days=31)
    weeks = estimate_backfill(store, CALENDAR, [BEFORE, WEEK], limits, DeliverySpeed.parse({}), now)
    assert [week.spacing for week in weeks] == pytest.approx([7, 0.205])
    assert [week.pull_seconds for week in weeks] == pytest.approx([14 * 7, 14 * 0.205])


def test_pulls_follow_each_other_and_deliveries_go_on_beside_them(sandbox: Sandbox, store: OrderStore) -> None:
    weeks, off = (BEFORE, WEEK), "off"
    slow = estimated(sandbox, store, *weeks, TOAST_HISTORICAL_SPACING_SECONDS="50", TOAST_CENSUS=off)
    quick = estimated(sandbox, store, *weeks, TOAST_HISTORICAL_SPACING_SECONDS="2", TOAST_CENSUS=off)
    assert [week.pull_seconds for week in (*slow, *quick)] == [14 * 50, 14 * 50, 28, 28]
    assert backfill_seconds(slow) == 2 * 14 * 50 + 300 + RUN_SECONDS
    assert backfill_seconds(quick) == 28 + 2 * 300 + RUN_SECONDS


def test_a_run_takes_its_time_even_where_nothing_is_asked(sandbox: Sandbox, store: OrderStore) -> None:
    nothing = estimated(
        sandbox, store, BEFORE, WEEK, TOAST_HISTORICAL_SPACING_SECONDS="0.01", AMPERITY_DELIVERY="notify"
    )
    assert backfill_seconds(nothing) == 3 * RUN_SECONDS


async def test_only_what_is_not_stored_yet_has_to_be_delivered(sandbox: Sandbox, store: OrderStore) -> None:
    failed = fail_one(sandbox)
    await pull(sandbox, WEEK)
    assert of_one(sandbox, store, WEEK, refresh=True, TOAST_RESTAURANT_GUID=failed).undelivered == 1000
    sandbox.faults.clear()
    await pull(sandbox, WEEK)
    whole = of_one(sandbox, store, WEEK)
    assert (whole.undelivered, whole.delivery_seconds) == (0, 0)
    assert whole.orders == sum(record.orders for record in manifest_of(store, WEEK).stored.values())


def test_only_records_that_are_streamed_take_their_turns(sandbox: Sandbox, store: OrderStore) -> None:
    limits = ToastLimits.parse({"TOAST_RESTAURANT_GUID": "a", "TOAST_CENSUS": "off"})
    delivery = DeliverySpeed.parse({"AMPERITY_DELIVERY": "s3_pull"})
    (week,) = estimate_backfill(store, CALENDAR, [WEEK], limits, delivery, LONG_AFTER)
    assert (week.undelivered, week.delivery_seconds) == (1000, 0)


# Restaurants that are to be discovered


async def test_with_a_star_the_newest_stored_week_tells_the_restaurants(sandbox: Sandbox, store: OrderStore) -> None:
    first, second, third = sandbox.restaurant_guids
    await pull(sandbox, BEFORE, TOAST_RESTAURANT_GUID=first)
    await pull(sandbox, AFTER, TOAST_RESTAURANT_GUID=f"{second},{third}")
    before = sandbox.toast.log.count()
    assert of_one(sandbox, store, WEEK, TOAST_RESTAURANT_GUID="*").restaurants == 2
    assert sandbox.toast.log.count() == before


def test_with_a_star_and_nothing_stored_it_says_what_to_do(sandbox: Sandbox, store: OrderStore) -> None:
    with pytest.raises(StoreError, match="Materialize one week first, or name the restaurants"):
        estimated(sandbox, store, WEEK, TOAST_RESTAURANT_GUID="*")


# Ranges


def test_a_range_has_both_of_its_ends() -> None:
    assert weeks_between(CALENDAR, BEFORE.key, AFTER.key, LONG_AFTER) == WEEKS
    assert weeks_between(CALENDAR, WEEK.key, WEEK.key, LONG_AFTER) == [WEEK]


@pytest.mark.parametrize(
    ("first", "last", "reason"),
    [
        ("2025-09-09", "2025-09-22", "is a Tuesday; weeks begin on a Monday"),
        ("2025-09-08", "soon", "'soon' is not a date"),
        ("2024-12-30", "2025-09-22", "before the first week, 2025-01-06.*TOAST_START_DATE"),
        ("2025-09-08", "2030-01-07", "has not closed yet"),
        ("2025-09-22", "2025-09-08", "--from 2025-09-08 --to 2025-09-22"),
    ],
)
def test_a_range_that_is_none_is_one_clear_error(first: str, last: str, reason: str) -> None:
    with pytest.raises(WeekError, match=reason):
        weeks_between(CALENDAR, first, last, LONG_AFTER)


async def test_weeks_that_begin_elsewhere_are_refused_as_a_run_refuses_them(
    sandbox: Sandbox, store: OrderStore
) -> None:
    await pull(sandbox, WEEK)
    moved = WeekCalendar(hour=5)
    limits = ToastLimits.parse({"TOAST_RESTAURANT_GUID": "a", "TOAST_CENSUS": "off"})
    with pytest.raises(CalendarError):
        estimate_backfill(store, moved, [moved.week(AFTER.key)], limits, DeliverySpeed.parse({}), LONG_AFTER)


# One pull


def seconds(requests: list[float], spacing: float = 5.0, **variables: str) -> float:
    return pull_seconds(
        requests, ToastLimits.parse({"TOAST_RESTAURANT_GUID": "a", "TOAST_CENSUS": "off", **variables}), spacing
    )


def test_the_slowest_restaurant_decides_how_long_it_takes() -> None:
    assert seconds([721, 31, 31]) == 720 * 5


def test_the_first_request_waits_for_nothing() -> None:
    assert seconds([1] * 1000) == 0


def test_a_census_takes_its_turn_after_the_orders_of_each_restaurant() -> None:
    variables = {"TOAST_CONCURRENT_RESTAURANTS": "2"}
    with_census = pull_seconds([3, 3, 3], ToastLimits.parse({"TOAST_RESTAURANT_GUID": "a", **variables}), 5.0)
    assert with_census == pytest.approx(2 * (10 + 16 / 19), rel=0.03)


def test_many_restaurants_share_the_slots() -> None:
    assert seconds([31] * 1000) == 100 * 30 * 5


def test_a_busy_restaurant_that_comes_last_begins_when_a_slot_is_free() -> None:
    assert seconds([11, 21, 101], spacing=1.0, TOAST_CONCURRENT_RESTAURANTS="2") == 10 + 100


def test_a_limit_over_all_restaurants_counts_where_it_is_tighter() -> None:
    assert seconds([31] * 10, TOAST_TOTAL_REQUESTS_PER_SECOND="1.025") == 309
    assert seconds([31] * 10, TOAST_TOTAL_REQUESTS_PER_SECOND="10.25") == 150


def test_where_nothing_is_asked_no_time_passes() -> None:
    assert seconds([], TOAST_TOTAL_REQUESTS_PER_SECOND="1.025") == 0


@pytest.mark.parametrize(
    ("variables", "spacing", "taken"),
    [
        ({}, 5.0, 14 * 5.0),
        ({"TOAST_REQUESTS_PER_SECOND": "0.1"}, 10.25, 14 * 10.25),
        ({"TOAST_TOTAL_REQUESTS_PER_SECOND": "0.2"}, 5.0, (14 + 1 + 13) * 5.125),
    ],
)
def test_the_slower_of_limit_and_spacing_is_kept_as_the_client_keeps_it(
    store: OrderStore, variables: dict[str, str], spacing: float, taken: float
) -> None:
    limits = ToastLimits.parse({"TOAST_RESTAURANT_GUID": "a", "TOAST_CENSUS": "off", **variables})
    (week,) = estimate_backfill(store, CALENDAR, [WEEK], limits, DeliverySpeed.parse({}), LONG_AFTER)
    assert (week.spacing, week.pull_seconds) == pytest.approx((spacing, taken))


def test_restaurants_without_an_earlier_pull_count_as_the_mean_of_the_others() -> None:
    known = {"a": Measure(10, 600), "b": Measure(30, 1800)}
    assert measures_for(("a", "b", "new"), known) == {**known, "new": Measure(20, 1200)}


def test_restaurants_that_are_not_asked_do_not_count() -> None:
    assert measures_for(("new",), {"closed": Measure(900, 9000)}) == {"new": ASSUMED}


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0 s"), (89, "89 s"), (90, "2 min"), (7200, "2.0 h"), (200_000, "2.3 days")]
)
def test_a_length_of_time_has_the_unit_that_people_use(seconds: float, words: str) -> None:
    assert in_words(seconds) == words
