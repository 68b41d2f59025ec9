"""Tables and feeds against an independent reading of the same orders (``support.data.oracle``), over seeded weeks with
every odd shape that Toast's documents know."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal
from functools import cache
from typing import Any

import pytest

from toast_assets.orders.names import Name, Names
from toast_assets.orders.read import RawOrders
from toast_assets.tables.flatten import flatten
from toast_assets.tables.schema import TABLES
from toast_assets_tests.amperity.feeds.rows import ZONE, rows
from toast_assets_tests.support.data import oracle
from toast_assets_tests.support.data.invented import RESTAURANT
from toast_assets_tests.support.data.odd_sales import odd_names, odd_week
from toast_assets_tests.support.data.right_rows import item_faults, transaction_faults
from toast_assets_tests.support.stores.names import some_names

SEEDS = (1, 2, 3)
ORDERS = 1000


@cache
def week(seed: int) -> tuple[bytes, ...]:
    return tuple(odd_week(ORDERS, seed))


@cache
def table(name: str, seed: int) -> list[dict[str, Any]]:
    orders = RawOrders(RESTAURANT, list(week(seed)), ZONE, "USD", names=Names(odd_names()))
    rows: list[dict[str, Any]] = flatten(orders)[1][name].to_pylist()
    return rows


@cache
def configured(seed: int) -> oracle.Names:
    return some_names(map(oracle.read, week(seed)))


def feed(name: str, seed: int) -> dict[str, list[dict[str, Any]]]:
    """The rows of a feed by order."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    known = Names({key: Name(*called) for key, called in configured(seed).items()})
    for row in rows(name, *week(seed), names=known):
        found[row["order_id"]].append(row)
    return found


def checks_of(seed: int) -> Iterator[tuple[oracle.Json, oracle.Json]]:
    for order in map(oracle.read, week(seed)):
        for check in order["checks"]:
            yield order, check


@pytest.mark.parametrize("seed", SEEDS)
def test_every_amount_of_every_order_is_the_oracles(seed: int) -> None:
    for row, order in zip(table("orders", seed), map(oracle.read, week(seed)), strict=True):
        right = oracle.amounts(order)
        assert {name: row[name] for name in right} == right, order


@pytest.mark.parametrize("seed", SEEDS)
def test_every_amount_of_every_check_is_the_oracles(seed: int) -> None:
    for row, (order, check) in zip(table("checks", seed), checks_of(seed), strict=True):
        right = oracle.check_amounts(order, check)
        # Toast's own, also of a check that does not count.
        del right["tax_amount"]
        assert {name: row[name] for name in right} == right, check


@pytest.mark.parametrize("seed", SEEDS)
def test_the_items_of_a_check_add_up_to_its_net_sales_and_follow_toasts_prices(seed: int) -> None:
    by_check: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in table("order_items", seed):
        by_check[row["check_guid"]].append(row)
    for order, check in checks_of(seed):
        rows, right = by_check[check["guid"]], oracle.check_amounts(order, check)
        assert sum((row["net_sales"] for row in rows), Decimal(0)) == right["item_sales"] - right["discount_amount"]
        shares = {row["selection_guid"]: row["check_discount_amount"] for row in rows}
        by_price = oracle.item_shares(order, check)
        if by_price is not None:
            assert {guid: share for guid, share in shares.items() if share} == by_price, check


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", [name for name, one in TABLES.items() if any(column.lookup for column in one.columns)])
def test_every_name_of_every_row_is_the_oracles(name: str, seed: int) -> None:
    columns = [one.name for one in TABLES[name].columns if one.lookup or one.name == "marketplace"]
    found = [[row[column] for column in columns] for row in table(name, seed)]
    right = [row for order in map(oracle.read, week(seed)) for row in oracle.named(order, odd_names())[name]]
    assert found == right
    # Each has several values and is also null, but for charges, which have a name of their own.
    for column, values in zip(columns, zip(*right, strict=True), strict=True):
        assert len({*values}) > 3, column
        assert (None in values) != (column == "service_charge_name"), column


@pytest.mark.parametrize("seed", SEEDS)
def test_the_transactions_of_every_order_are_the_oracles(seed: int) -> None:
    found = feed("transactions", seed)
    for order in map(oracle.read, week(seed)):
        assert list(transaction_faults(found[order["guid"]], order, configured(seed))) == [], order


@pytest.mark.parametrize("seed", SEEDS)
def test_the_order_items_of_every_order_are_the_oracles(seed: int) -> None:
    found = feed("order_items", seed)
    for order in map(oracle.read, week(seed)):
        assert list(item_faults(found[order["guid"]], order, configured(seed))) == [], order


@pytest.mark.parametrize("seed", SEEDS)
def test_discounts_that_count_add_up_to_the_orders_discounts(seed: int) -> None:
    found: dict[str, Decimal] = defaultdict(Decimal)
    for row in table("discounts", seed):
        if row["counts"]:
            found[row["order_guid"]] += row["sales_discount_amount"]
    for order in map(oracle.read, week(seed)):
        assert found[order["guid"]] == oracle.amounts(order)["discount_amount"]


@pytest.mark.parametrize("seed", SEEDS)
def test_the_seeded_weeks_have_every_amount(seed: int) -> None:
    found = [oracle.amounts(order) for order in map(oracle.read, week(seed))]
    assert [name for name in oracle.AMOUNTS if sum(1 for amounts in found if amounts[name]) < 10] == []
    by_price = [oracle.item_shares(order, check) for order, check in checks_of(seed) if check["appliedDiscounts"]]
    assert by_price.count(None) > 10
    assert sum(1 for shares in by_price if shares) > 10


@pytest.mark.parametrize("seed", SEEDS)
def test_the_seeded_weeks_have_voids_before_and_after_payments_and_returns_at_known_times(seed: int) -> None:
    found = [oracle.transaction_rows(order) for order in map(oracle.read, week(seed))]
    kinds = [(kind, len(entry.times)) for entries in found for (_, kind), entry in entries.items()]
    assert kinds.count((oracle.RETURN, 1)) > 50
    assert sum(1 for kind, _ in kinds if kind == oracle.CANCELLATION) > 50
    voided = [
        (order, check)
        for order, check in checks_of(seed)
        if any(thing["voided"] for thing in (order, check, *check["selections"]))
    ]
    before = [
        1
        for order, check in voided
        if not any(kind == oracle.CANCELLATION for _, kind in oracle.transaction_rows(order))
    ]
    assert len(before) > 20
