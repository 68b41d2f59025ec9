"""Net sales of the tables against Toast's own amounts: green on every shape, red where the tables' recipe is wrong."""

from __future__ import annotations

import logging
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from toast_assets.checks.check import CheckResult
from toast_assets.orders import totals
from toast_assets.orders.model import Selection, ServiceCharge
from toast_assets.store.order_store import OrderStore
from toast_assets.tables.build import build_tables
from toast_assets.week import Week
from toast_assets_tests.checks.evaluating import evaluate
from toast_assets_tests.support.data.invented import (
    Json,
    check,
    discount,
    encode,
    gift_card,
    invented_week,
    modifier,
    order,
    payment,
    refund_details,
    selection,
    service_charge,
)
from toast_assets_tests.support.stores.stored_weeks import store_week

Agree = Callable[..., CheckResult]


@pytest.fixture
def agree(store: OrderStore, week: Week) -> Agree:
    """Evaluates the check for a week of these orders, by restaurant."""

    def evaluated(*orders: Json, **restaurants: list[Json]) -> CheckResult:
        bodies = {guid: encode(*made) for guid, made in ({"here": list(orders)} | restaurants).items()}
        manifest = store_week(store, week, bodies)
        build_tables(week, store, logging.getLogger(__name__))
        return evaluate("net_sales_agree_with_toast", week, manifest, store)

    return evaluated


def of(amount: str | None, *items: Json, **more: Any) -> Json:
    """An order of one check for which Toast says ``amount``."""
    return order(check(*items, **more, amount=amount and Decimal(amount)))


def every_shape() -> list[Json]:
    """Orders whose ``amount`` was worked out by hand from Toast's description of it."""
    deposit = selection("200.00", deferred=True, displayName="Deposit")
    add_on = modifier("0.25", deferred=True)
    donation = service_charge("1.00", serviceChargeCategory="FUNDRAISING_CAMPAIGN")
    charges = [service_charge("5.00"), service_charge("4.00", gratuity=True), donation]
    return [
        of("10.00", selection("10.00")),
        of("16.00", selection("10.00"), appliedServiceCharges=charges),
        of("217.00", selection("18.00", off="1.00"), deposit),
        of("50.00", gift_card("50.00")),
        of("10.25", selection("10.25", modifiers=[add_on])),
        of("4.00", selection("4.00"), selection("9.00", voided=True)),
        of("16.50", selection("20.00", off="1.00"), appliedDiscounts=[discount("2.50", taxed="2.70")]),
        of("0", selection("8.00", voided=True), appliedDiscounts=[discount("2.00")]),
        of("12.00", selection("12.00", refundDetails=refund_details("12.00")), payments=[payment(refund="12.96")]),
        # What does not count is not compared, whatever Toast says.
        order(check(voided=True, amount=99)),
        order(check(amount=99), voided=True),
        order(check(selection("9.50"), amount=99), excessFood=True),
    ]


def test_the_tables_agree_with_toast_on_every_shape_of_order(agree: Agree) -> None:
    found = agree(*every_shape())
    assert found.passed, found.description
    assert found.figures == {
        "compared_checks": 9,
        "different_checks": 0,
        "checks_without_amount": 0,
        "difference": 0,
        "toast_amount": 335.75,
    }
    assert found.description == "9 of 9 checks agree with Toast's amounts, 335.75 in all."


def test_the_tables_agree_with_toast_on_thousands_of_orders(store: OrderStore, week: Week) -> None:
    manifest = store_week(store, week, {"here": list(invented_week(2000, seed=3))})
    build_tables(week, store, logging.getLogger(__name__))
    found = evaluate("net_sales_agree_with_toast", week, manifest, store)
    assert (found.passed, found.figures["different_checks"]) == (True, 0), found.description


def patched(name: str, instead: object, owner: object = totals) -> Callable[[pytest.MonkeyPatch], None]:
    return lambda monkeypatch: monkeypatch.setattr(owner, name, instead)


@pytest.mark.parametrize(
    "mistake",
    [
        patched("is_sale", property(lambda charge: not charge.gratuity), ServiceCharge),
        patched("is_sale", property(lambda charge: not charge.is_donation), ServiceCharge),
        patched("deferred_price", lambda item: Decimal(0)),
        patched("is_revenue", property(lambda item: True), Selection),
        patched("is_gone", property(lambda item: False), Selection),
        patched("item_discount", lambda item: Decimal(0)),
        patched("allocate", lambda amount, weights: [Decimal(0)] * len(weights)),
    ],
    ids=[
        *("donations are sales", "gratuities are sales", "deferred items are forgotten"),
        *("deferred items are sales", "voided items count", "no discount on items", "no discount on checks"),
    ],
)
def test_a_wrong_recipe_of_the_tables_warns(
    agree: Agree, mistake: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    mistake(monkeypatch)
    found = agree(*every_shape())
    assert (found.passed, found.warns) == (False, True), found.description


def test_donations_among_sales_which_toasts_amount_cannot_tell_apart_fail_totals_reconcile(
    agree: Agree, store: OrderStore, week: Week, monkeypatch: pytest.MonkeyPatch
) -> None:
    patched("is_donation", property(lambda charge: False), ServiceCharge)(monkeypatch)
    assert agree(*every_shape()).passed
    manifest = store_week(store, week, {"here": encode(*every_shape())})
    assert "orders.donation_amount is 0" in evaluate("totals_reconcile", week, manifest, store).description


def test_a_restaurant_that_differs_is_named_with_its_sums_and_its_first_orders(agree: Agree) -> None:
    more, less = of("12.00", selection("10.00")), of("19.50", selection("20.00"))
    found = agree(
        **{"there": [of("30.00", selection("30.00")), more, less], "elsewhere": [of("5.00", selection("5.00"))]}
    )
    assert not found.passed
    assert found.description.startswith(
        "Place there (there): 2 of 3 checks differ from Toast's amount, by 2.50 in all "
        "(tables 60.00, Toast 61.50): orders "
    )
    assert f"{more['guid']} (10.00, Toast 12.00)" in found.description
    assert f"{less['guid']} (20.00, Toast 19.50)" in found.description
    assert "elsewhere" not in found.description
    assert found.rows[0] == ("Place there (there)", "2 of 3 differ", Decimal(60), Decimal("61.5"))
    assert (less["guid"], Decimal(20), Decimal("19.5")) in {row[1:] for row in found.rows}


def test_of_many_orders_the_first_five_are_named(agree: Agree) -> None:
    found = agree(*(of("1.00", selection("10.00")) for _ in range(9)))
    assert found.description.count("Toast 1.00)") == 5
    assert len(found.rows) == 6


@pytest.mark.parametrize(
    ("odd", "plain", "passes"),
    [
        # 40 checks of 25.00, so that 0.5 % of the sales are 5.00 and 5 % of the checks are 2.
        (["24.99"] * 40, 0, True),
        (["22.50", "27.50"], 38, True),
        (["22.49", "27.50"], 38, False),
        (["24.90", "25.10"], 38, True),
        (["24.90", "25.10", "24.90"], 37, False),
        (["19.90"], 39, False),
    ],
)
def test_small_differences_are_figures_and_larger_ones_warn(
    agree: Agree, odd: list[str], plain: int, passes: bool
) -> None:
    found = agree(*(of(amount, selection("25.00")) for amount in [*odd, *["25.00"] * plain]))
    assert found.passed == passes, found.description
    off = [abs(Decimal(amount) - 25) for amount in odd if abs(Decimal(amount) - 25) > Decimal("0.01")]
    assert (found.figures["different_checks"], found.figures["difference"]) == (len(off), float(sum(off)))


def test_a_check_without_an_amount_is_counted_and_not_compared(agree: Agree) -> None:
    found = agree(of(None, selection("10.00")), of("10.00", selection("10.00")))
    assert found.passed
    assert (found.figures["compared_checks"], found.figures["checks_without_amount"]) == (1, 1)


def test_a_week_without_checks_agrees(agree: Agree) -> None:
    assert agree(order() | {"checks": []}).description == "0 of 0 checks agree with Toast's amounts, 0.00 in all."


@pytest.mark.parametrize("body", [None, b"no Parquet"])
def test_a_table_that_is_missing_or_damaged_warns(store: OrderStore, week: Week, body: bytes | None) -> None:
    manifest = store_week(store, week, {"here": encode(order())})
    if body is not None:
        store.bucket.write(store.layout.table("checks", week.key), body)
    found = evaluate("net_sales_agree_with_toast", week, manifest, store)
    assert (found.passed, found.warns) == (False, True)
    expected = "the table checks was not made" if body is None else "Materialize the tables for the week again."
    assert expected in found.description
    assert [*found.causes] == ([] if body is None else ["STORE-DAMAGED"])
