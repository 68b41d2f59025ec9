"""The questions that orders alone answer: each verdict with its witness, and nothing of an order in a reason."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from toast_assets.checks.drift import decoded
from toast_assets.orders.names import Name, references
from toast_assets.probe.answers import Answer, Verdict
from toast_assets.probe.bodies import BODIES
from toast_assets.probe.questions import QUESTIONS
from toast_assets_tests.probe.observing import observed
from toast_assets_tests.support.data.invented import (
    RESTAURANT,
    Json,
    check,
    customer,
    gift_card,
    invented_week,
    order,
    payment,
    selection,
    service_charge,
)
from toast_assets_tests.support.data.odd_orders import odd_orders

CONFIRMED, REFUTED, UNSEEN = Verdict.CONFIRMED, Verdict.REFUTED, Verdict.UNSEEN
ONE = Decimal(1)


def answer(key: str, orders: list[Json], **more: Any) -> Answer:
    return BODIES[key](observed(orders, **more))


def delivery(guest: Json | None = None) -> Json:
    return order(check(guest=guest), deliveryInfo={"address1": "1 Example Road"})


def moved(made: Json, **amounts: Decimal) -> Json:
    """An order whose checks have these amounts added."""
    bills = [bill | {name: bill[name] + more for name, more in amounts.items()} for bill in made["checks"]]
    return made | {"checks": bills}


def test_each_key_is_one_of_the_questions() -> None:
    assert BODIES.keys() <= QUESTIONS.keys()


@pytest.mark.parametrize("key", BODIES)
def test_without_orders_nothing_is_seen(key: str) -> None:
    assert answer(key, []).verdict is UNSEEN


@pytest.mark.parametrize("key", BODIES)
def test_odd_orders_end_no_question(key: str) -> None:
    odd = [found for one in odd_orders(RESTAURANT) if isinstance(found := decoded(one.body), dict)]
    several = [
        order() | {"checks": "none"},
        order(businessDate=99999999),
        order(businessDate=99991231),
        order(modifiedDate=7),
    ]
    mixed = [*odd, *several, {}, {"checks": [None, 7, {"customer": "Greta"}], "deliveryInfo": {}}]
    assert len(mixed) > 50
    assert answer(key, [*mixed, *(order() for _ in range(200))]).verdict is not None


def test_one_guest_confirms_that_takeout_and_delivery_name_guests() -> None:
    found = answer("guests", [delivery(), delivery(customer()), order(check(guest=customer()))])
    assert found == (CONFIRMED, "1 of 2 takeout and delivery orders name a guest")


@pytest.mark.parametrize("nobody", [None, {}, {"guid": "a-guest"}, {"email": ""}, "Greta"])
def test_ten_takeout_and_delivery_orders_without_a_guest_refute_it(nobody: Any) -> None:
    away = [delivery(nobody) for _ in range(9)]
    dine_in = [order(check(guest=customer())) for _ in range(20)]
    assert answer("guests", away + dine_in).verdict is UNSEEN
    assert answer("guests", [*away, order(check(guest=nobody), curbsidePickupInfo={}), *dine_in]).verdict is REFUTED


def test_the_configuration_says_which_orders_are_takeout() -> None:
    orders = [order() for _ in range(12)]
    options = [("dining_option", one["diningOption"]["guid"]) for one in orders]
    assert answer("guests", orders).verdict is UNSEEN
    assert answer("guests", orders, names=dict.fromkeys(options, Name("To go", "TAKE_OUT"))).verdict is REFUTED
    dine_in = [delivery() | {"diningOption": one["diningOption"]} for one in orders]
    assert answer("guests", dine_in, names=dict.fromkeys(options, Name("Bar", "DINE_IN"))).verdict is UNSEEN


def tipped(total: Callable[[Decimal, Decimal], Decimal]) -> Json:
    """An order with a gratuity of 3 and a tip of 2; ``total`` is of both, on top of amount and tax."""
    bill = check(
        selection("30.00"),
        payments=[payment("32.40", "2"), payment("5", "7", voided=True)],
        appliedServiceCharges=[service_charge("3", gratuity=True), service_charge("4")],
    )
    return order(bill | {"totalAmount": bill["amount"] + bill["taxAmount"] + total(Decimal(3), Decimal(2))})


@pytest.mark.parametrize(
    ("total", "formula"),
    [
        (lambda _gratuities, _tips: Decimal(0), "amount + taxAmount"),
        (lambda gratuities, _tips: gratuities, "amount + taxAmount + gratuities"),
        (lambda _gratuities, tips: tips, "amount + taxAmount + tips"),
        (lambda gratuities, tips: gratuities + tips, "amount + taxAmount + gratuities + tips"),
    ],
)
def test_the_formula_of_total_amount_is_named(total: Callable[[Decimal, Decimal], Decimal], formula: str) -> None:
    orders = [tipped(total) for _ in range(3)]
    assert answer("total_amount", orders) == (CONFIRMED, f"{formula} gives totalAmount in 3 of 3 checks")


@pytest.mark.parametrize(("wrong", "verdict"), [(5, CONFIRMED), (6, REFUTED)])
def test_95_percent_of_the_checks_decide_about_amounts(wrong: int, verdict: Verdict) -> None:
    for key, amounts in (("total_amount", {"totalAmount": ONE}), ("check_amount", {"amount": ONE})):
        orders = [moved(order(), **amounts) if number < wrong else order() for number in range(100)]
        found = answer(key, orders)
        assert found.verdict is verdict
        assert f"in {100 - wrong} of 100 checks" in found.reason


def test_an_amount_of_check_and_total_that_is_higher_concerns_the_check_alone() -> None:
    orders = [moved(order(), amount=ONE, totalAmount=ONE) for _ in range(10)]
    assert answer("check_amount", orders) == (REFUTED, "items and charges give amount in 0 of 10 checks")
    assert answer("total_amount", orders).verdict is CONFIRMED


def test_a_few_checks_refute_no_formula() -> None:
    orders = [moved(order(), amount=ONE) for _ in range(9)]
    assert answer("check_amount", orders) == (UNSEEN, "items and charges give amount in 0 of 9 checks")


def test_checks_that_do_not_count_and_wasted_food_are_left_out() -> None:
    gone = [order(voided=True), order(deleted=True), order(check(voided=True)), order(excessFood=True)]
    gone += [order(check(amount=None))]
    for key in ("check_amount", "total_amount"):
        assert answer(key, gone).reason.endswith("0 of 0 checks")
    donation = service_charge("2", serviceChargeCategory="FUNDRAISING_CAMPAIGN")
    kept = [order(check(gift_card(), selection(), appliedServiceCharges=[donation], taxAmount=None))]
    assert answer("check_amount", kept) == (CONFIRMED, "items and charges give amount in 1 of 1 checks")


def paid_at(modified: str, **more: Any) -> Json:
    return order(check(payments=[payment(**more)]), modifiedDate=modified)


def test_a_captured_card_in_an_order_last_modified_before_its_closeout_shows_that_settlement_left_it() -> None:
    late = [paid_at("2025-09-20T08:00:00.000+0000") for _ in range(9)]
    assert answer("settlement", late).verdict is UNSEEN
    early = paid_at("2025-09-20T07:59:59.999+0000")
    reason = "captured card payments are in orders last modified before their closeout"
    assert answer("settlement", [*late, early]) == (CONFIRMED, f"1 of 10 {reason}")
    assert answer("settlement", [*late, late[0]]) == (REFUTED, f"0 of 10 {reason}")
    assert answer("settlement", [early], closeout_hour=3).verdict is UNSEEN
    assert answer("settlement", [early], closeout_hour=None).verdict is CONFIRMED


def test_cash_and_cards_that_are_not_captured_are_no_witness() -> None:
    others = [paid_at("2025-09-19T12:00:00.000Z", type="CASH"), paid_at("2025-09-19T12:00:00.000Z", voided=True)]
    assert answer("settlement", others).reason.startswith("0 of 0 ")


def test_without_a_time_zone_settlement_is_unseen() -> None:
    early = [paid_at("2025-09-19T12:00:00.000Z")]
    assert answer("settlement", early, time_zone=None) == (UNSEEN, "the time zone of the restaurant is unknown")


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("2025-09-19T18:00:00.123456+0000", "6 fraction digits and +0000"),
        ("2025-09-19T18:00:00+0000", "0 fraction digits and +0000"),
        ("2025-09-19T18:00:00.000-0400", "3 fraction digits and another offset"),
        ("2025-09-19T18:00:00.000+00:00", "3 fraction digits and another offset"),
        ("2025-09-19T18:00:00.000", "3 fraction digits and no offset"),
        ("Greta, 19 September", "another form"),
        ("٢٠٢٥-09-19T18:00:00.000Z", "another form"),
    ],
)
def test_another_form_of_a_time_is_described_and_not_shown(text: str, form: str) -> None:
    found = answer("date_formats", [order(check(selection(voidDate=text))), order()])
    assert found.verdict is REFUTED
    assert f"1 times with {form}" in found.reason


def test_usual_times_at_any_depth_are_counted_by_form() -> None:
    made = {"openedDate": "2025-09-19T18:00:00.000Z", "checks": [{"paidDate": "2025-09-19T18:00:00.123+0000"}]}
    others = {"voidBusinessDate": 20250919, "closedDate": None, "deletedDate": "", "Date of birth": "a secret"}
    reason = "1 times with 3 fraction digits and Z, 1 times with 3 fraction digits and +0000"
    assert answer("date_formats", [made | others]) == (CONFIRMED, reason)


def test_95_percent_of_the_distinct_guids_decide_about_names() -> None:
    orders = [order() for _ in range(40)]
    referred = list(dict.fromkeys(pair for one in orders for pair in references(one)))
    assert len(referred) == 240
    for unnamed, verdict in ((12, CONFIRMED), (13, REFUTED)):
        known = {(kind, guid.upper().lower()): Name(kind) for kind, guid in referred[unnamed:]}
        found = answer("names", orders, names=known)
        assert found.verdict is verdict
        assert found.reason.startswith(f"{240 - unnamed} of 240 GUIDs have a name, ")
        assert "of kind menu_item have none" in found.reason


def test_guids_compare_without_case() -> None:
    one, other = ({"diningOption": {"guid": guid}} for guid in ("an-option", "AN-Option"))
    found = answer("names", [one, other], names={("dining_option", "an-option"): Name("Bar")})
    assert found == (CONFIRMED, "1 of 1 GUIDs have a name")


def test_names_that_could_not_be_read_are_unseen() -> None:
    found = answer("names", [order() for _ in range(10)], names_problem="Toast answered 403")
    assert found == (UNSEEN, "the configuration could not be read: Toast answered 403")


def test_a_week_of_everything_follows_the_recipes() -> None:
    orders = [json.loads(body, parse_float=Decimal) for body in invented_week(300)]
    for key in ("total_amount", "check_amount", "guests", "date_formats", "settlement"):
        assert answer(key, orders).verdict is not REFUTED, key
