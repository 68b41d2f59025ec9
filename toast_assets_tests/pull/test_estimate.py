"""The estimate of one pull: by the pace, the places and what earlier pulls took."""

from __future__ import annotations

import pytest

from toast_assets.pull.estimate import ASSUMED, Measure, PullPace, estimate_pull, in_words
from toast_assets.toast.settings import ToastLimits

HISTORICAL = PullPace(spacing=5.0, at_once=10)


def test_the_slowest_restaurant_decides_how_long_it_takes() -> None:
    assert HISTORICAL.seconds([721, 31, 31]) == 720 * 5


def test_the_first_request_waits_for_nothing() -> None:
    assert HISTORICAL.seconds([1] * 1000) == 0


def test_many_restaurants_share_the_places() -> None:
    assert HISTORICAL.seconds([31] * 1000) == 100 * 30 * 5


def test_a_busy_restaurant_that_comes_last_begins_when_a_place_is_free() -> None:
    assert PullPace(spacing=1.0, at_once=2).seconds([11, 21, 101]) == 10 + 100


def test_a_limit_over_all_restaurants_counts_where_it_is_tighter() -> None:
    assert PullPace(spacing=5.0, at_once=10, total_spacing=1.0).seconds([31] * 10) == 309
    assert PullPace(spacing=5.0, at_once=10, total_spacing=0.1).seconds([31] * 10) == 150


def test_where_nothing_is_asked_no_time_passes() -> None:
    estimate = estimate_pull((), {}, PullPace(spacing=5.0, at_once=10, total_spacing=1.0))
    assert (estimate.restaurants, estimate.requests, estimate.seconds) == (0, 0, 0)


@pytest.mark.parametrize(
    ("variables", "spacing", "total"),
    [
        ({}, 5.0, 0.0),
        ({"TOAST_REQUESTS_PER_SECOND": "0.1"}, 10.25, 0.0),
        ({"TOAST_TOTAL_REQUESTS_PER_SECOND": "2"}, 5.0, 0.5125),
    ],
)
def test_the_slower_of_limit_and_spacing_is_kept_as_the_client_keeps_it(
    variables: dict[str, str], spacing: float, total: float
) -> None:
    limits = ToastLimits.parse({"TOAST_RESTAURANT_GUID": "a", **variables})
    pace = PullPace.of(limits, 5.0)
    assert (pace.spacing, pace.at_once, pace.total_spacing) == pytest.approx((spacing, 10, total))


def test_restaurants_without_an_earlier_pull_count_as_the_mean_of_the_others() -> None:
    estimate = estimate_pull(("a", "b", "new"), {"a": Measure(10, 600), "b": Measure(30, 1800)}, HISTORICAL)
    assert (estimate.measured, estimate.requests, estimate.orders) == (2, 60, 3600)


def test_restaurants_that_are_not_asked_do_not_count() -> None:
    estimate = estimate_pull(("new",), {"closed": Measure(900, 9000)}, HISTORICAL)
    assert (estimate.measured, estimate.requests, estimate.orders) == (0, ASSUMED.requests, ASSUMED.orders)


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0 s"), (89, "89 s"), (90, "2 min"), (7200, "2.0 h"), (200_000, "2.3 days")]
)
def test_times_are_told_in_the_unit_that_people_use(seconds: float, words: str) -> None:
    assert in_words(seconds) == words
