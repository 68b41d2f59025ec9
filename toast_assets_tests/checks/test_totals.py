"""20,000 invented orders: what the tables add up to is what the raw orders add up to, to the cent.

The reference is written against the JSON, on its own, from Toast's description.
"""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal
from functools import cache

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from toast_assets.orders.read import RawOrders, decode_order
from toast_assets.tables.flatten import flatten
from toast_assets_tests.support.data.invented import RESTAURANT, Json, invented_week
from toast_assets_tests.support.data.totals import order_totals

ORDERS = 20_000


@cache
def raw() -> list[bytes]:
    return list(invented_week(ORDERS))


@cache
def tables() -> dict[str, pa.Table]:
    parts = defaultdict(list)
    for start in range(0, ORDERS, 500):
        found, batch = flatten(RawOrders(RESTAURANT, raw()[start : start + 500], "America/Chicago"))
        assert found.rejections == []
        for name, part in batch.items():
            parts[name].append(part)
    return {name: pa.Table.from_batches(batches) for name, batches in parts.items()}


def total(table: str, column: str, **where: bool) -> Decimal:
    rows = tables()[table]
    for name, value in where.items():
        rows = rows.filter(pc.equal(rows[name], value))
    return pc.sum(rows[column]).as_py() or Decimal(0)


@cache
def expected() -> dict[str, Decimal]:
    sums: dict[str, Decimal] = defaultdict(Decimal)
    decoder = msgspec.json.Decoder(float_hook=Decimal)
    for data in raw():
        made = decoder.decode(data)
        for bill in made["checks"]:
            for name, amount in of_check(bill, made["voided"] or made["deleted"]).items():
                sums[name] += amount
    return sums


def of_check(bill: Json, order_gone: bool) -> dict[str, Decimal]:
    sums: dict[str, Decimal] = defaultdict(Decimal)
    for paid in bill["payments"]:
        if paid["paymentStatus"] != "VOIDED":
            sums["payments"] += paid["amount"]
            sums["tips"] += paid["tipAmount"]
            sums["refunds"] += paid["refund"]["refundAmount"] if paid["refund"] else 0
    if order_gone or bill["voided"] or bill["deleted"]:
        return sums
    sums["tax"] += bill["taxAmount"]
    for item in bill["selections"]:
        if not (item["voided"] or item["deferred"]):
            sums["net sales"] += item["preDiscountPrice"] - off(item["appliedDiscounts"])
    for charge in bill["appliedServiceCharges"]:
        sums["gratuity" if charge["gratuity"] else "net sales"] += charge["chargeAmount"]
    sums["net sales"] -= off(bill["appliedDiscounts"])
    return sums


def off(discounts: list[Json]) -> Decimal:
    return sum(
        (d["discountAmount"] if d["nonTaxDiscountAmount"] is None else d["nonTaxDiscountAmount"] for d in discounts),
        Decimal(0),
    )


@pytest.mark.parametrize("table", ["orders", "checks"])
@pytest.mark.parametrize(
    ("column", "name"),
    [
        ("net_sales", "net sales"),
        ("gratuity_amount", "gratuity"),
        ("payment_amount", "payments"),
        ("tip_amount", "tips"),
        ("refund_amount", "refunds"),
    ],
)
def test_the_amounts_of_a_week_reconcile_to_the_cent(table: str, column: str, name: str) -> None:
    assert total(table, column) == expected()[name]
    assert expected()[name] > 0


def test_the_tax_of_a_week_reconciles_to_the_cent() -> None:
    assert total("orders", "tax_amount") == total("checks", "tax_amount", counts=True) == expected()["tax"]


def test_net_sales_are_gross_sales_less_discounts_in_every_row() -> None:
    for name in ("orders", "checks"):
        table = tables()[name]
        gross = pc.add(table["item_sales"], table["service_charge_amount"])
        assert pc.all(pc.equal(gross, table["gross_sales"])).as_py()
        assert pc.all(pc.equal(pc.subtract(gross, table["discount_amount"]), table["net_sales"])).as_py()


def test_items_and_service_charges_add_up_to_the_orders() -> None:
    assert total("order_items", "net_sales") + total("orders", "service_charge_amount") == expected()["net sales"]


def test_payments_add_up_to_the_orders() -> None:
    assert total("payments", "amount", taken=True) == expected()["payments"]
    assert total("payments", "refund_amount", taken=True) == expected()["refunds"]


def test_the_totals_of_single_orders_are_those_in_the_table() -> None:
    by_guid = dict(zip(*(tables()["orders"][name].to_pylist() for name in ("order_guid", "net_sales")), strict=True))
    for data in raw()[:500]:
        one = decode_order(data)
        assert by_guid[one.guid] == order_totals(one).net_sales


def test_no_row_is_lost_or_doubled() -> None:
    assert tables()["orders"].num_rows == ORDERS
    for name, key in (("orders", "order_guid"), ("checks", "check_guid"), ("order_items", "selection_guid")):
        table = tables()[name]
        assert pc.count_distinct(table[key]).as_py() == table.num_rows
