"""The reading of raw orders beside the tables: the same amounts, order by order, by the oracle and in the tables."""

from __future__ import annotations

import pytest

from toast_assets.checks.amounts import AMOUNTS, SUMS, UnreadableAmountsError, read_amounts
from toast_assets.checks.drift import decoded
from toast_assets.orders.read import RawOrders
from toast_assets.tables.flatten import flatten
from toast_assets_tests.support.data import oracle
from toast_assets_tests.support.data.invented import RESTAURANT, Json, check, encode, order, selection
from toast_assets_tests.support.data.odd_sales import odd_week
from toast_assets_tests.support.data.totals import sums_in_tables

SEEDS = (4, 5, 6)
ORDERS = 1000


@pytest.mark.parametrize("seed", SEEDS)
def test_every_amount_of_every_odd_order_is_the_oracles_and_that_of_the_tables(seed: int) -> None:
    week = list(odd_week(ORDERS, seed))
    in_tables = sums_in_tables(flatten(RawOrders(RESTAURANT, week))[1])
    for body in week:
        made = oracle.read(body)
        found = dict(zip(SUMS, read_amounts(decoded(body)), strict=True))
        assert {name: found[name] for name in AMOUNTS} == oracle.amounts(made), body
        assert {name: amount for name, amount in found.items() if amount != in_tables[made["guid"]][name]} == {}, body


def test_modifiers_of_another_type_are_left_out_as_in_the_tables() -> None:
    odd: tuple[object, ...] = ("some", {}, [None], [{}], [{"deferred": None}])
    for modifiers in odd:
        made = order(check(selection("5.00")))
        made["checks"][0]["selections"][0]["modifiers"] = modifiers
        (body,) = encode(made)
        found, tables = flatten(RawOrders(RESTAURANT, [body]))
        assert found.rejections == []
        assert sums_in_tables(tables)[made["guid"]] == dict(zip(SUMS, read_amounts(decoded(body)), strict=True))


def test_modifiers_that_are_nested_too_deep_are_refused_beyond_the_depth_that_the_tables_take() -> None:
    def nested(depth: int) -> Json:
        item: Json = {"preDiscountPrice": 1}
        for _ in range(depth):
            item = {"preDiscountPrice": 1, "modifiers": [item]}
        return {"checks": [{"selections": [item]}]}

    assert read_amounts(nested(100))[0] == 1
    with pytest.raises(UnreadableAmountsError):
        read_amounts(nested(5000))
