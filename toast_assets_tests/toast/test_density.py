"""A week costs hardly more requests than it has full pages, in whatever order Toast sorts them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from toast_assets.toast.density import Density
from toast_assets.toast.page import Window
from toast_assets.toast.windows import ProvedWindow, read_week
from toast_assets_tests.support.services.simulated import (
    WEEK,
    SimulatedToast,
    Sorting,
    ascending,
    at_random,
    by_guid,
    descending,
    lunch_times,
    realistic_times,
    uniform_times,
)

Times = Callable[[int, int], list[int]]
SORTINGS = (ascending, descending, by_guid, at_random)


async def read(toast: SimulatedToast, earlier: Sequence[tuple[Window, int]] = ()) -> list[ProvedWindow]:
    return [proved async for proved in read_week(toast, WEEK, Density(WEEK, earlier))]


def allowed(orders: int) -> float:
    return 1.5 * math.ceil(orders / 100) + 20


@pytest.mark.parametrize("sorting", SORTINGS, ids=lambda sorting: sorting.__name__)
@pytest.mark.parametrize("times", [uniform_times, realistic_times], ids=["uniform", "realistic"])
async def test_a_week_of_any_size_costs_one_and_a_half_times_its_pages_and_a_few(
    times: Times, sorting: Sorting
) -> None:
    for orders in (0, 1, 7, 60, 99, 100, 101, 150, 199, 250, 400, 700, 1000, 1500, 2000, 3500, 5000):
        for seed in range(1, 4):
            toast = SimulatedToast.of(times(orders, seed), sorting)
            proved = await read(toast)
            assert sum(len(each.orders) for each in proved) == orders
            assert len(toast.asked) <= allowed(orders), (orders, seed)


@pytest.mark.parametrize("sorting", SORTINGS, ids=lambda sorting: sorting.__name__)
@pytest.mark.parametrize("times", [uniform_times, realistic_times], ids=["uniform", "realistic"])
async def test_a_large_week_costs_less_than_one_and_a_half_times_its_pages(times: Times, sorting: Sorting) -> None:
    toast = SimulatedToast.of(times(20_000, 1), sorting)
    await read(toast)
    assert len(toast.asked) <= 1.5 * 200


@pytest.mark.parametrize("sorting", SORTINGS, ids=lambda sorting: sorting.__name__)
async def test_a_restaurant_that_opens_for_lunch_only_costs_hardly_more(sorting: Sorting) -> None:
    """Ten requests more than other weeks: no histogram foresees the first day's rush, nor the day that it is closed."""
    for orders in (300, 1000, 3000, 20_000):
        toast = SimulatedToast.of(lunch_times(orders, 1), sorting)
        await read(toast)
        assert len(toast.asked) <= allowed(orders) + 10, orders


@pytest.mark.parametrize("sorting", [ascending, descending], ids=lambda sorting: sorting.__name__)
async def test_an_earlier_pull_makes_the_next_one_cheaper(sorting: Sorting) -> None:
    first_cost = second_cost = 0
    for seed in range(1, 6):
        first = SimulatedToast.of(realistic_times(2000, seed), sorting)
        earlier = [(each.window, len(each.orders)) for each in await read(first)]
        second = SimulatedToast.of(realistic_times(2000, seed + 100), sorting)
        await read(second, earlier)
        first_cost += len(first.asked)
        second_cost += len(second.asked)
        assert len(second.asked) <= 1.5 * 20 + 10
    assert second_cost < first_cost


async def test_a_restaurant_that_closed_since_the_earlier_pull_costs_little() -> None:
    earlier = [(each.window, len(each.orders)) for each in await read(SimulatedToast.of(realistic_times(3000, 1)))]
    closed = SimulatedToast.of([])
    await read(closed, earlier)
    assert len(closed.asked) <= 20


async def test_an_earlier_pull_that_says_nothing_true_costs_requests_and_no_order() -> None:
    earlier = [(Window(WEEK.start, WEEK.end), 3)]
    toast = SimulatedToast.of(realistic_times(3000, 1))
    proved = await read(toast, earlier)
    assert sum(len(each.orders) for each in proved) == 3000
    assert len(toast.asked) <= 2 * allowed(3000)


@given(
    orders=st.integers(0, 3000),
    spots=st.lists(st.integers(WEEK.start, WEEK.end - 1), min_size=1, max_size=6),
    width=st.sampled_from([1, 5, 50, 200, 5_000, 600_000, 90_000_000]),
    sorting=st.sampled_from(SORTINGS),
)
@example(orders=2540, spots=[1_757_955_212_498], width=50, sorting=descending)
@example(orders=2937, spots=[1_758_263_427_711, 1_758_452_058_534], width=50, sorting=descending)
@example(orders=2634, spots=[WEEK.start + day * 86_400_000 for day in range(1, 6)], width=50, sorting=descending)
@settings(max_examples=40, deadline=None)
async def test_no_distribution_of_orders_makes_the_cuts_run_away(
    orders: int, spots: list[int], width: int, sorting: Sorting
) -> None:
    times = [min(WEEK.end - 1, spots[number % len(spots)] + number * 7919 % width) for number in range(orders)]
    toast = SimulatedToast.of(times, sorting)
    assert sum(len(each.orders) for each in await read(toast)) == orders
    # Finding a crowd takes two replies for each of thirty halvings; pages of one millisecond are walked more than once.
    assert len(toast.asked) <= 12 * math.ceil(orders / 100) + 60 * (len(spots) + 1)
