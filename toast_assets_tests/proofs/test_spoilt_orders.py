"""Orders spoilt at random: each becomes rows or a rejection, and never an exception that stops the rest."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from toast_assets.amperity.feeds.build import feed_batches
from toast_assets.amperity.feeds.schema import encode as encode_row
from toast_assets.checks.amounts import SUMS, read_amounts
from toast_assets.checks.drift import FieldCollector, decoded
from toast_assets.orders.read import RawOrders
from toast_assets.tables.flatten import flatten
from toast_assets_tests.support.data.guide import guide_order
from toast_assets_tests.support.data.invented import (
    RESTAURANT,
    Json,
    check,
    customer,
    discount,
    encode,
    modifier,
    order,
    payment,
    refund_details,
    selection,
    service_charge,
)
from toast_assets_tests.support.data.totals import sums_in_tables

GONE = "(field removed)"
VALUES: list[Any] = [
    None,
    GONE,
    "",
    "text",
    "NaN",
    "true",
    "🍕",
    0,
    -1,
    Decimal(10) ** 30,
    20251399,
    Decimal("0.123456789"),
    Decimal("1e-45"),
    Decimal("1e-9999999"),
    True,
    [],
    {},
    [{}],
    [None],
]


def full_order() -> Json:
    item = selection(
        "20.00", off="1.00", modifiers=[modifier(modifiers=[modifier()])], refundDetails=refund_details("5.00")
    )
    bill = check(item, guest=customer(), payments=[payment(refund="5.00"), payment(voided=True)])
    bill |= {"appliedDiscounts": [discount("2.00")], "appliedServiceCharges": [service_charge("3.00")]}
    return order(bill, check(), deliveryInfo={"address1": "1 Example Road"})


def places(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    pairs = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, below in pairs:
        yield (*path, key)
        yield from places(below, (*path, key))


def spoil(made: Json, path: tuple[Any, ...], value: Any) -> None:
    *way, last = path
    owner: Any = made
    try:
        for key in way:
            owner = owner[key]
        if value == GONE:
            del owner[last]
        else:
            owner[last] = value
    except (KeyError, IndexError, TypeError):
        pass  # an earlier change took the way there away


def assert_raw_amounts_are_those_of_the_tables(body: bytes, tables: dict[str, pa.RecordBatch]) -> None:
    """What the checks add up by themselves is what the tables hold, whatever was spoilt."""
    found = sums_in_tables(tables)[tables["orders"]["order_guid"][1].as_py()]
    amounts = dict(zip(SUMS, read_amounts(decoded(body)), strict=True))
    assert {name: (amount, found[name]) for name, amount in amounts.items() if amount != found[name]} == {}


@pytest.mark.parametrize("original", [full_order(), guide_order()], ids=["toast", "guide"])
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_a_spoilt_order_is_rows_or_a_rejection(original: Json, data: st.DataObject) -> None:
    made = copy.deepcopy(original)
    paths = list(places(original))
    for path, value in data.draw(st.lists(st.tuples(st.sampled_from(paths), st.sampled_from(VALUES)), max_size=4)):
        spoil(made, path, copy.deepcopy(value))
    raw = RawOrders(RESTAURANT, [encode(order())[0], encode(made)[0]], "Europe/Dublin")
    found, tables = flatten(raw)
    assert tables["orders"].num_rows + len(found.rejections) == 2
    for batch in tables.values():
        batch.validate(full=True)
    if not found.rejections:
        assert_raw_amounts_are_those_of_the_tables(raw.orders[1], tables)
    fed = list(feed_batches([raw], "Example Brand", "2025-09-15", {}))
    assert len(fed[0].rejections) <= 1
    assert all(encode_row(row) for part in fed for rows in part.rows.values() for row in rows)
    collector = FieldCollector()
    for body in raw.orders:
        collector.add(decoded(body))
    assert collector.fields().keys() >= {""}


def test_modifiers_nested_hundreds_deep_are_rows_or_a_rejection() -> None:
    for depth in (50, 200, 400, 2000):
        line = b'{"guid":"s","preDiscountPrice":1,"refundDetails":null,"modifiers":['
        deep = b'{"guid":"o","modifiedDate":"2025-09-19T18:45:12.345Z","checks":[{"guid":"c","selections":['
        raw = RawOrders(RESTAURANT, [deep + line * depth + b"]}" * depth + b"]}]}"], "UTC")
        found, tables = flatten(raw)
        assert tables["orders"].num_rows + len(found.rejections) == 1
        fed = list(feed_batches([raw], "Example Brand", "2025-09-15", {}))
        assert bool(fed[0].rows["order_items"]) != bool(fed[0].rejections)
