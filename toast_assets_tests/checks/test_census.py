"""What is concluded from the census, and in which words."""

from __future__ import annotations

from toast_assets.checks.check import CheckResult
from toast_assets.store.manifest import CensusDay, CensusRecord, Manifest, RestaurantRecord, Verdicts
from toast_assets_tests.checks.evaluating import conclude


def day(held: int = 5, **others: int) -> Verdicts:
    counts = {"held": held, "pending": 0, "found": 0, "unknown": 0} | others
    return Verdicts(listed=sum(counts.values()), **counts)


def result(**records: CensusRecord | None) -> CheckResult:
    restaurants = {guid: RestaurantRecord(outcome="complete", census=one) for guid, one in records.items()}
    manifest = Manifest(partition="", start_date="", end_date="", outcome="complete", restaurants=restaurants)
    return conclude("no_order_missing", manifest)


def days(orders: Verdicts, payments: Verdicts | None = None) -> tuple[CensusDay, ...]:
    return (CensusDay(business_date="2025-09-15", orders=orders, payments=payments),)


WHOLE = CensusRecord(days=days(day(7, pending=2), day(4)))


def test_it_passes_where_everything_is_stored_or_due_in_a_later_week() -> None:
    found = result(a=WHOLE, b=CensusRecord(days=days(day(3))))
    assert found.passed
    assert found.description == (
        "Of 12 orders and 4 payments that Toast lists, 10 and 4 are stored; the others are due in a later week."
    )
    assert (found.figures["pending_orders"], found.figures["listed_payments"]) == (2, 4)
    assert found.rows[0] == ("a", "9 listed, 7 held, 2 pending", "4 listed, 4 held", "")


def test_a_newly_unknown_order_is_an_error_and_a_known_one_a_warning() -> None:
    new = result(a=WHOLE, b=CensusRecord(days=days(day(3, unknown=2)), unknown={"one": 1, "two": 2}))
    assert (new.passed, new.warns) == (False, False)
    assert new.description.startswith(
        "b: 2 orders or payments that Toast lists are in no week, and cannot be fetched: one, two."
    )
    old = result(a=WHOLE, b=CensusRecord(days=days(day(3, unknown=1)), unknown={"two": 2}))
    assert (old.passed, old.warns) == (False, True)


def test_an_order_that_was_found_warns_with_the_window_that_should_have_returned_it() -> None:
    found = result(a=CensusRecord(days=days(day(3, found=1)), found={"lost-order": "[09:00, 10:00)"}))
    assert (found.passed, found.warns) == (False, True)
    assert "lost-order in [09:00, 10:00)" in found.description
    assert found.figures["found_orders"] == 1


def test_a_census_that_is_refused_never_passes_and_each_reason_is_named_once() -> None:
    refused = CensusRecord(failure="Toast answered 403. [TOAST-LIST]")
    found = result(
        a=refused, b=refused, c=WHOLE, d=CensusRecord(days=days(day(1)), payments_failure="Toast answered 404.")
    )
    assert (found.passed, found.warns) == (False, True)
    assert found.problems == [
        "The list of orders is not available: Toast answered 403 (2 of 4 restaurants: a, b) [TOAST-LIST]",
        "The list of payments is not available: Toast answered 404 (1 of 4 restaurants: d)",
    ]
    assert found.causes == ["TOAST-LIST a", "TOAST-LIST b"]
    assert found.figures["not_available"] == 2
    assert found.rows[0][-1] == "Toast answered 403. [TOAST-LIST]"


def test_without_any_census_it_says_so() -> None:
    found = result(a=None)
    assert found.passed
    assert "No census was taken" in found.description


def test_one_restaurant_that_is_refused_hides_no_missing_order_of_another() -> None:
    found = result(
        a=CensusRecord(failure="Toast answered 403."), b=CensusRecord(days=days(day(3, unknown=1)), unknown={"one": 1})
    )
    assert not found.warns
    assert len(found.problems) == 2
