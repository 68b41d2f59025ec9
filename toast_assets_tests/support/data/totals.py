"""What an order adds up to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from decimal import Decimal

import pyarrow as pa

from toast_assets.checks.amounts import OF_CHECKS, OF_PAYMENTS
from toast_assets.orders.model import Order
from toast_assets.orders.totals import Totals, add, check_totals


def order_totals(order: Order) -> Totals:
    """The sums over the order's checks."""
    return add(check_totals(check, counts=not order.is_gone) for check in order.checks or ())


def sums_in_tables(tables: Mapping[str, pa.RecordBatch]) -> dict[str, dict[str, Decimal]]:
    """What the tables add up to, by order GUID: the ``SUMS`` that the checks read from the raw order."""
    found: dict[str, dict[str, Decimal]] = {}
    for row in tables["orders"].to_pylist():
        of_order = {name: row[name] for name in (*OF_CHECKS, "tax_amount")}
        found[row["order_guid"]] = defaultdict(Decimal, of_order)
    for row in tables["checks"].to_pylist():
        for name in OF_CHECKS:
            found[row["order_guid"]][f"checks.{name}"] += row[name]
    for row in tables["payments"].to_pylist():
        for name in OF_PAYMENTS if row["taken"] else ():
            amount = row["amount" if name == "payment_amount" else name]
            found[row["order_guid"]][f"payments.{name}"] += amount or 0
    return found
