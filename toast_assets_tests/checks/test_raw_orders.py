"""What is concluded from the facts, and in which words."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from toast_assets.checks.check import CheckResult
from toast_assets.checks.facts import GuestCoverage, RestaurantFacts, WeekFacts
from toast_assets.store.manifest import Manifest, PullRecord, RestaurantRecord
from toast_assets_tests.checks.evaluating import conclude


def manifest(**orders: int) -> Manifest:
    counts = {"bytes": 0, "orders_sha256": "", "new": 0, "changed": 0, "requests": 0, "retries": 0, "throttled": 0}
    records = {
        guid: RestaurantRecord(
            outcome="complete",
            pull=PullRecord(orders=count, started_at="", finished_at="", slices=(), **counts),  # type: ignore[arg-type]
        )
        for guid, count in orders.items()
    }
    return Manifest(partition="", start_date="", end_date="", outcome="complete", restaurants=records)


def coverage(**channels: GuestCoverage) -> WeekFacts:
    facts = RestaurantFacts(
        orders=0,
        repeats=0,
        first_repeated=(),
        outside_week=0,
        first_outside=(),
        amounts={},
        versions="",
        channels=channels,
    )
    return WeekFacts(form=1, data_version="", restaurants={"here": facts}, drift=())


@pytest.mark.parametrize(
    ("orders", "earlier", "usual"),
    [
        (300, [310, 290, 305, 300], True),
        (150, [310, 290, 305, 300], False),
        (450, [310, 290, 305, 300], False),
        (0, [310, 290, 305, 300], False),
        (200, [310, 290, 305, 300], True),  # a third less: a holiday, no anomaly
        (100, [60, 310, 150, 220, 90, 280], True),  # this one is never regular
        (3, [8, 6, 9], True),  # so few that chance does as much
        (1, [500, 510], True),  # too few weeks to call anything usual
    ],
)
def test_a_week_is_unusual_against_the_restaurants_own_weeks(orders: int, earlier: Sequence[int], usual: bool) -> None:
    found = conclude("volume_as_usual", manifest(here=orders), earlier=[manifest(here=count) for count in earlier])
    assert found.passed is usual
    assert found.warns


def test_each_restaurant_is_measured_by_itself() -> None:
    earlier = [manifest(big=1000, small=50)] * 4
    found = conclude("volume_as_usual", manifest(big=50, small=50, new=1), earlier=earlier)
    assert "big: 50 orders, usually 1000" in found.description
    assert found.figures == {"unusual_restaurants": 1, "compared_restaurants": 2}


def test_a_restaurant_that_usually_trades_and_was_not_asked_for_is_missed() -> None:
    earlier = [manifest(here=300, closed=50), manifest(here=300, closed=60), manifest(here=300, closed=55)]
    found = conclude("volume_as_usual", manifest(here=310), earlier=earlier)
    assert (found.passed, found.figures["compared_restaurants"]) == (False, 1)
    assert "closed: not asked for, usually 55 orders" in found.description
    assert conclude("volume_as_usual", manifest(here=310), earlier=earlier[:2]).passed


def test_guests_are_missed_on_takeout_and_delivery_only_and_not_among_a_handful() -> None:
    assert not conclude(
        "guests_scope_present", facts=coverage(DELIVERY=GuestCoverage(6, 0, 0), Online=GuestCoverage(6, 0, 0))
    ).passed
    assert conclude("guests_scope_present", facts=coverage(DELIVERY=GuestCoverage(9, 0, 0))).passed
    assert conclude("guests_scope_present", facts=coverage(DELIVERY=GuestCoverage(900, 1, 0))).passed
    assert conclude("guests_scope_present", facts=coverage(DINE_IN=GuestCoverage(900, 0, 0))).passed


def test_of_many_problems_the_first_are_named_and_the_others_counted() -> None:
    assert CheckResult([str(number) for number in range(13)]).description == "0; 1; 2; 3; 4; 5; 6; 7; 8; 9; and 3 more"
