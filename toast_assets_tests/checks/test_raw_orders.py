"""What is concluded from the facts, and in which words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import msgspec
import pytest

from toast_assets.checks.check import CheckResult
from toast_assets.checks.facts import GuestCoverage, NameCoverage, RestaurantFacts, WeekFacts
from toast_assets.store.manifest import Manifest, PullRecord, RestaurantRecord
from toast_assets.store.order_store import OrderStore
from toast_assets.tables.names import ReadConfiguration
from toast_assets.toast.restaurants import Restaurant
from toast_assets.week import Week, WeekCalendar
from toast_assets_tests.checks.evaluating import conclude, evaluate
from toast_assets_tests.support.stores.stored_weeks import PULLED, save_manifest


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


def of_restaurant(**given: Any) -> RestaurantFacts:
    counts: dict[str, Any] = {"orders": 0, "repeats": 0, "outside_week": 0, "farthest_outside_ms": 0}
    counts |= {"first_repeated": (), "first_outside": ()}
    return RestaurantFacts(**counts | {"amounts": {}, "versions": "", "channels": {}, "names": {}} | given)


def of_week(restaurants: Mapping[str, RestaurantFacts], **given: Any) -> WeekFacts:
    return WeekFacts(form=1, data_version="", restaurants=dict(restaurants), **given)


def coverage(**channels: tuple[int, int, int, int]) -> WeekFacts:
    """Of one restaurant: orders, with a guest, reachable, and certain, by channel."""
    return of_week(
        {"here": of_restaurant(channels={name: GuestCoverage(*counts) for name, counts in channels.items()})}
    )


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
    assert found.figures == {"unusual_restaurants": 1, "compared_restaurants": 2, "restaurants_without_orders": 0}


def test_a_restaurant_that_usually_trades_and_was_not_asked_for_is_missed() -> None:
    earlier = [manifest(here=300, closed=50), manifest(here=300, closed=60), manifest(here=300, closed=55)]
    found = conclude("volume_as_usual", manifest(here=310), earlier=earlier)
    assert (found.passed, found.figures["compared_restaurants"]) == (False, 1)
    assert "closed: not asked for, usually 55 orders" in found.description
    assert conclude("volume_as_usual", manifest(here=310), earlier=earlier[:2]).passed


def store_counts(store: OrderStore, key: str, **orders: int) -> Manifest:
    found = msgspec.structs.replace(manifest(**orders), partition=key)
    save_manifest(store, WeekCalendar().week(key), found)
    return found


def test_a_restaurant_without_an_order_in_any_stored_week_is_named(
    store: OrderStore, week: Week, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_counts(store, "2025-03-03", busy=5, reopened=1, phantom=0)
    store_counts(store, "2025-03-10", busy=5, phantom=0)
    (unreadable,) = manifest(odd=0).restaurants.values()
    assert unreadable.pull is not None
    odd = msgspec.structs.replace(unreadable, pull=msgspec.structs.replace(unreadable.pull, unreadable=1))
    failed = msgspec.structs.replace(unreadable, outcome="failed", failure="403")
    this = store_counts(store, week.key, busy=5, closed=0, Reopened=0, phantom=0)
    this.restaurants.update(odd=odd, failed=failed)
    store_counts(store, "2025-09-08", busy=5, closed=3, phantom=0)
    store_counts(store, "2025-09-22", busy=5)
    found = evaluate("volume_as_usual", week, this, store)
    assert (found.passed, found.warns, found.figures["restaurants_without_orders"]) == (False, True, 1)
    assert found.description.startswith("phantom: no order in any stored week. It is new, or the client may not read")
    assert "Check the client's access and scopes for it, or remove it from TOAST_RESTAURANT_GUID" in found.description
    assert found.rows == [("phantom", 0, "no order in any stored week", 0)]
    # A later week counts, too, and once each has an order no more weeks are read.
    store_counts(store, "2025-09-29", phantom=1, reopened=1)
    load = Mock(side_effect=store.load_manifest)
    monkeypatch.setattr(store, "load_manifest", load)
    assert evaluate("volume_as_usual", week, this, store).passed
    read = [call.args[0].key for call in load.mock_calls]
    assert read == ["2025-09-08", "2025-09-01", "2025-08-25", "2025-08-18", "2025-08-11", "2025-08-04", "2025-09-29"]


@pytest.mark.parametrize("key", ["2025-03-03", "2025-09-08"])
def test_a_damaged_manifest_of_another_week_does_not_fail_the_look_for_orders(
    store: OrderStore, week: Week, key: str
) -> None:
    store_counts(store, "2025-03-10", closed=1)
    store.bucket.write(store.layout.manifest(WeekCalendar().week(key)), b"damaged")
    found = evaluate("volume_as_usual", week, store_counts(store, week.key, closed=0, phantom=0), store)
    assert [name for name, *_ in found.rows] == ["phantom"]


def test_an_archived_restaurant_without_orders_is_not_named(store: OrderStore, week: Week, tmp_path: Path) -> None:
    read = ReadConfiguration(tmp_path)
    read.add_restaurant(Restaurant("gone", archived=True), PULLED)
    read.add_restaurant(Restaurant("phantom", archived=False), PULLED)
    read.save(store)
    found = evaluate("volume_as_usual", week, store_counts(store, week.key, gone=0, phantom=0), store)
    assert [name for name, *_ in found.rows] == ["phantom"]
    store.bucket.write(store.layout.whole_table("restaurants"), b"damaged")
    found = evaluate("volume_as_usual", week, store_counts(store, week.key, gone=0, phantom=0), store)
    assert [name for name, *_ in found.rows] == ["gone", "phantom"]


def test_orders_outside_the_week_are_counted_with_the_largest_distance() -> None:
    day = 86_400_000
    facts = of_week(
        {
            "busy": of_restaurant(outside_week=3, farthest_outside_ms=5 * day, first_outside=("a", "b", "c")),
            "near": of_restaurant(outside_week=1, farthest_outside_ms=1, first_outside=("d",)),
            "fine": of_restaurant(),
        }
    )
    found = conclude("modified_times_inside_week", facts=facts)
    assert (found.passed, found.warns) == (False, True)
    assert found.description == (
        "busy: 3 orders were modified outside, by up to 5.0 days, such as a;"
        " near: 1 orders were modified outside, by up to 1 s, such as d"
    )
    assert found.figures == {"orders_outside": 4, "farthest_outside_seconds": 432_000.0}
    assert found.rows == [("busy", 3, "5.0 days", "a, b, c"), ("near", 1, "1 s", "d")]
    none = conclude("modified_times_inside_week", facts=of_week({"fine": of_restaurant()}))
    assert (none.passed, none.figures["farthest_outside_seconds"]) == (True, 0.0)


@pytest.mark.parametrize(
    ("channels", "passes"),
    [
        # By guesses it takes ten orders.
        ({"DELIVERY": (6, 0, 0, 0), "Online": (6, 0, 0, 0)}, False),
        ({"DELIVERY": (9, 0, 0, 0)}, True),
        ({"DELIVERY": (900, 1, 0, 0)}, True),
        ({"DINE_IN": (900, 0, 0, 0)}, True),
        # Where the configuration has the behavior, one order is enough if nobody at all is named.
        ({"TAKE_OUT": (1, 0, 0, 1)}, False),
        ({"TAKE_OUT": (1, 0, 0, 1), "DINE_IN": (9, 0, 0, 9)}, False),
        ({"TAKE_OUT": (1, 0, 0, 1), "DINE_IN": (9, 1, 0, 9)}, True),
        ({"TAKE_OUT": (9, 0, 0, 0), "DINE_IN": (9, 0, 0, 9)}, True),
        ({"TAKE_OUT": (1, 1, 0, 1), "DELIVERY": (1, 0, 0, 1)}, True),
    ],
)
def test_guests_are_missed_on_takeout_and_delivery_only(
    channels: dict[str, tuple[int, int, int, int]], passes: bool
) -> None:
    assert conclude("guests_scope_present", facts=coverage(**channels)).passed is passes


def test_guests_are_reported_with_the_share_of_each_channel_the_largest_first() -> None:
    facts = coverage(DELIVERY=(10, 10, 5, 0), DINE_IN=(30, 3, 3, 30))
    found = conclude("guests_reachable", manifest(here=40), facts=facts)
    assert found.description == "8 of 40 orders (20%) have an e-mail or a phone."
    assert found.heads[3] == "share of orders"
    assert found.rows == [("here", "DINE_IN", 30, "75%", 3, "3 (10%)"), ("here", "DELIVERY", 10, "25%", 10, "5 (50%)")]


def names(**counts: tuple[int, int]) -> RestaurantFacts:
    """GUIDs and those without a name, by kind."""
    return of_restaurant(names={kind: NameCoverage(*numbers) for kind, numbers in counts.items()})


def of_names(**restaurants: dict[str, str]) -> Manifest:
    """A manifest whose records say this of the names of each restaurant."""
    base = manifest(**dict.fromkeys(restaurants, 1))
    records = {guid: msgspec.structs.replace(base.restaurants[guid], **said) for guid, said in restaurants.items()}
    return msgspec.structs.replace(base, restaurants=records)


READ = {"names_read_at": "2025-09-22T04:15:00.000Z"}


REFUSED = {"names_failure": "Toast answered 403 to /config/v2/diningOptions. The client lacks the scope config:read."}
"""What a pull says where Toast refuses the configuration."""


def test_a_missing_scope_is_one_sentence_however_many_restaurants_there_are() -> None:
    guids = [f"place-{number}" for number in range(12)]
    week = of_names(**dict.fromkeys(guids, REFUSED))
    found = conclude("names_known", week, facts=of_week({}))
    (problem,) = found.problems
    assert found.warns
    assert problem == (
        "Toast answered 403 to /config/v2/diningOptions. The client lacks the scope config:read"
        " (12 of 12 restaurants: place-0, place-1, place-2, and 9 more)"
    )


def test_each_reason_for_names_that_could_not_be_read_is_said_once_the_most_frequent_first() -> None:
    down = {"names_failure": "Toast answered 503 to /config/v2/menuItems. [TOAST-UNAVAILABLE]"}
    week = of_names(a=REFUSED, b=down, c=down, d=READ)
    found = conclude("names_known", week, facts=of_week({}))
    down_there, no_scope = found.problems
    assert down_there == "Toast answered 503 to /config/v2/menuItems (2 of 4 restaurants: b, c) [TOAST-UNAVAILABLE]"
    assert found.causes == ["TOAST-UNAVAILABLE b", "TOAST-UNAVAILABLE c"]
    assert no_scope.endswith("(1 of 4 restaurants: a)")


def test_guids_without_a_name_warn_with_their_share_and_the_kinds_that_lack_most_come_first() -> None:
    facts = of_week({"a": names(menu_item=(90, 2), table=(10, 0)), "b": names(menu_item=(100, 23))}, names_version="1")
    found = conclude("names_known", of_names(a=READ, b=READ), facts=facts)
    assert (found.passed, found.warns) == (False, True)
    assert found.description == (
        "25 of 200 GUIDs (12.5%) have no name: archived before the first pull that read names, or deleted"
    )
    assert found.figures == {"guids": 200, "guids_without_name": 25, "share_without_name": 0.125}
    assert found.rows == [
        ("b", "menu_item", 100, 23, "23%"),
        ("a", "menu_item", 90, 2, "2%"),
        ("a", "table", 10, 0, "0%"),
    ]


def test_guids_of_restaurants_whose_names_were_not_read_have_that_reason() -> None:
    facts = of_week({"a": names(table=(4, 1)), "b": names(table=(4, 4))}, names_version="1")
    both = conclude("names_known", of_names(a=READ, b=REFUSED), facts=facts)
    assert both.problems[1].endswith(
        "have no name: archived before the first pull that read names, or deleted"
        " or of a restaurant whose names were not read for this week"
    )
    neither = conclude("names_known", of_names(a={}, b={}), facts=facts)
    assert neither.description == (
        "5 of 8 GUIDs (62.5%) have no name: of a restaurant whose names were not read for this week"
    )


def test_names_pass_where_all_are_known_and_where_they_are_switched_off() -> None:
    facts = of_week({"a": names(table=(4, 0))}, names_version="1")
    assert conclude("names_known", of_names(a=READ), facts=facts).description == "All 4 GUIDs have a name."
    off = conclude("names_known", of_names(a={}), facts=of_week({"a": names(table=(4, 4))}))
    assert off.passed
    assert off.description == (
        "Names were not read for this week (TOAST_NAMES is off, or an earlier release pulled it)."
    )


def test_names_that_were_read_and_are_gone_warn() -> None:
    facts = of_week({"a": names(table=(4, 4))})
    assert not conclude("names_known", of_names(a=READ), facts=facts).passed


def test_of_many_problems_the_first_are_named_and_the_others_counted() -> None:
    assert CheckResult([str(number) for number in range(13)]).description == "0; 1; 2; 3; 4; 5; 6; 7; 8; 9; and 3 more"


def test_a_long_reason_is_cut_and_keeps_its_code() -> None:
    found = CheckResult([f"{'long ' * 200}[TOAST-REPLY]", *["another [TOAST-LIST]"] * 10])
    assert "… (999 characters) [TOAST-REPLY]; another [TOAST-LIST]; " in found.description
    assert found.description.endswith("; and 1 more")
