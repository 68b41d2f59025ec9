"""The facts of a week: against the tables to the cent, made once per data version."""

from __future__ import annotations

import logging
from decimal import Decimal

import pytest

from toast_assets.pipeline.crosschecks import totals_reconcile
from toast_assets.pipeline.inspection import inspection_of
from toast_assets.pipeline.tables import build_tables
from toast_assets.store.order_store import OrderStore
from toast_assets.week import Week
from toast_assets_tests.guide import guide_order
from toast_assets_tests.invented import check, encode, gift_card, invented_week, order, payment, selection
from toast_assets_tests.support.stored_weeks import store_week

LOG = logging.getLogger(__name__)


def test_twenty_thousand_orders_reconcile_to_the_cent(store: OrderStore, week: Week) -> None:
    manifest = store_week(store, week, {f"r{number}": list(invented_week(5_000, number)) for number in range(4)})
    build_tables(week, store, LOG)
    found = totals_reconcile(week, manifest, inspection_of(week, manifest, store), store)
    assert found.passed, found.description
    assert found.figures["differences"] == 0
    assert all(found.figures[name] > 0 for name in ("net_sales", "tax_amount", "tip_amount", "refund_amount"))


@pytest.mark.parametrize("cents", ["0.01", "-0.01"])
def test_a_single_cent_is_noticed(store: OrderStore, week: Week, cents: str) -> None:
    store_week(store, week, {"here": encode(order(), wrong := order())})
    build_tables(week, store, LOG)
    wrong["checks"][0]["selections"][0]["preDiscountPrice"] += Decimal(cents)
    manifest = store_week(store, week, {"here": encode(order(), wrong)})
    found = totals_reconcile(week, manifest, inspection_of(week, manifest, store), store)
    assert not found.passed
    assert "Place here (here): orders.net_sales is 20.0000, raw" in found.description


def test_odd_shapes_and_noise_in_the_digits_reconcile(store: OrderStore, week: Week) -> None:
    odd = [
        guide_order(),
        order(check(selection("10.989999999999998"), payments=[payment("11.869199999999999")])),
        order(check(gift_card(), payments=[payment(voided=True), payment(paymentStatus="DENIED")])),
        order(check(selections=[], payments=[], customer=None)),
        order() | {"checks": None},
        {"guid": "bare", "modifiedDate": "2025-09-19T00:00:00.000Z"},
    ]
    manifest = store_week(store, week, {"here": encode(*odd)})
    build_tables(week, store, LOG)
    found = totals_reconcile(week, manifest, inspection_of(week, manifest, store), store)
    assert found.passed, found.description


def test_a_table_that_was_not_made_is_named(store: OrderStore, week: Week) -> None:
    manifest = store_week(store, week, {"here": encode(order())})
    found = totals_reconcile(week, manifest, inspection_of(week, manifest, store), store)
    assert "the table orders was not made" in found.description


def test_an_inspection_is_made_again_once_an_order_changed_or_it_cannot_be_read(store: OrderStore, week: Week) -> None:
    first = inspection_of(week, store_week(store, week, {"here": encode(order())}), store)
    manifest = store_week(store, week, {"here": encode(order(), order())})
    second = inspection_of(week, manifest, store)
    assert (first.restaurants["here"].orders, second.restaurants["here"].orders) == (1, 2)
    store.bucket.write(store.layout.inspection(week), b"{")
    assert inspection_of(week, manifest, store) == second
