"""The feed ``transactions``: shaped for Amperity's Unified Itemized Transactions.

One row per order, product and kind. What was ordered is a purchase, and stays one whatever becomes of it; what was
voided or deleted, and what was refunded, is taken back by rows of its own, with values of 0 and below. So the rows
of an order add up to what it came to, in whichever week Amperity first saw it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Annotated, Any

from toast_assets.amperity.feeds.schema import Feed, Row, day, decimal, flag, integer, moment, text
from toast_assets.amperity.feeds.shared_columns import product_id
from toast_assets.orders.model import Check, Order, Selection
from toast_assets.orders.totals import (
    ZERO,
    check_totals,
    is_taken,
    item_discount,
    item_sales,
    refund_of,
    refunds_of,
    sales_price,
)

UNITEMIZED_REFUND = "UNITEMIZED_REFUND"
_ONE = Decimal(1)
# What a row says of a product.
PURCHASE, RETURN, CANCELLATION = "purchase", "return", "cancellation"


class TransactionRow(Row, frozen=True):
    """What an order has of one product and kind."""

    transaction_item_id: Annotated[str, text("order_id|product_id|kind: the row's key.", key=True)]
    order_id: Annotated[str, text("The order: Toast's GUID, which never changes.")]
    order_datetime: Annotated[str, moment("When the order was opened, on the restaurant's clock.")]
    order_datetime_utc: Annotated[str, moment("When the order was opened, in UTC.")]
    business_date: Annotated[str | None, day("The business date on the restaurant's calendar.")]
    product_id: Annotated[str, text("The item's multiLocationId, else GUID, else its type; or UNITEMIZED_REFUND.")]
    product_name: Annotated[str | None, text("What the guest read.")]
    product_category: Annotated[str | None, text("The sales category's GUID, else the menu group's.")]
    item_quantity: Annotated[int, integer("Units; a weighed item is 1. Below 0 in returns of items and cancellations.")]
    item_list_price: Annotated[Decimal, decimal("Gross price of all units with their modifiers, without tax.")]
    item_discount_amount: Annotated[Decimal, decimal("Non-tax discounts on the items, and their share of the check's.")]
    item_revenue: Annotated[Decimal, decimal("item_list_price - item_discount_amount: no tax, tip or service charge.")]
    item_tax_amount: Annotated[Decimal | None, decimal("Tax on the items; null, not known, for UNITEMIZED_REFUND.")]
    order_discount_amount: Annotated[Decimal, decimal("The check's part of item_discount_amount: never subtract it.")]
    is_return: Annotated[bool, flag("Refunded: values are 0 or below.")]
    is_cancellation: Annotated[bool, flag("Voided or deleted: values are 0 or below.")]
    store_id: Annotated[str, text("The restaurant: Toast's GUID.")]
    purchase_channel: Annotated[str, text("How it was ordered: Toast's source, or Unknown.")]
    purchase_brand: Annotated[str, text("The brand, a setting.")]
    payment_method: Annotated[str | None, text("The type of the order's largest payment.")]
    currency: Annotated[str | None, text("The restaurant's ISO currency code, null where it is not known.")]
    fk_customer: Annotated[str | None, text("The order's one guest, as in customers; null where there is none.")]
    modified_at: Annotated[str, moment("When the order was last modified, in UTC: the last-updated field.")]
    modified_at_local: Annotated[str, moment("When the order was last modified, on the restaurant's clock.")]


_UNTAGGED = {"transaction_item_id", "order_datetime_utc", "business_date", "modified_at", "modified_at_local"}
_TAGGED = [name for name in TransactionRow.__struct_fields__ if name not in _UNTAGGED]
TRANSACTIONS = Feed(
    "transactions",
    "One row per order, product and kind: purchase, return, cancellation.",
    TransactionRow,
    "Unified Itemized Transactions.",
    {name: f"txn-item/{name.replace('_', '-')}" for name in _TAGGED} | {"fk_customer": "fk-customer"},
)


@dataclass
class _Sum:
    """What is summed into one row; ``units`` may be fractional until the end."""

    units: Decimal = ZERO
    list_price: Decimal = ZERO
    discount: Decimal = ZERO
    tax: Decimal | None = ZERO
    order_discount: Decimal = ZERO
    name: str | None = None
    category: str | None = None

    def add(self, other: _Sum, sign: int) -> None:
        """Add ``other`` (``sign`` 1) or take it off (-1)."""
        self.units += sign * other.units
        self.list_price += sign * other.list_price
        self.discount += sign * other.discount
        self.order_discount += sign * other.order_discount
        self.tax = None if self.tax is None or other.tax is None else self.tax + sign * other.tax
        self.name = self.name or other.name
        self.category = self.category or other.category


_Sums = defaultdict[tuple[str, str], _Sum]


def transactions(order: Order, shared: Mapping[str, Any]) -> list[TransactionRow]:
    """The rows of one order, by product in the order's own sequence; ``shared`` are its ``shared_columns``."""
    sums = _Sums(_Sum)
    for check in order.checks or ():
        _add_check(sums, check, gone=order.is_gone or check.is_gone)
    taken = [payment for check in order.checks or () for payment in check.payments or () if is_taken(payment)]
    largest = max(taken, key=lambda payment: payment.amount or ZERO, default=None)
    return [
        TransactionRow(
            **shared,
            transaction_item_id=f"{order.guid}|{product}|{kind}",
            product_id=product,
            product_name=amounts.name,
            product_category=amounts.category,
            item_quantity=_whole(amounts.units),
            item_list_price=amounts.list_price,
            item_discount_amount=amounts.discount,
            item_revenue=amounts.list_price - amounts.discount,
            item_tax_amount=amounts.tax,
            order_discount_amount=amounts.order_discount,
            is_return=kind == RETURN,
            is_cancellation=kind == CANCELLATION,
            payment_method=largest.type if largest is not None else None,
        )
        for (product, kind), amounts in sums.items()
    ]


def _add_check(sums: _Sums, check: Check, *, gone: bool) -> None:
    for item, sale in zip(check.selections or (), item_sales(check), strict=True):
        if not item.is_revenue:
            continue
        product, line = product_id(item), _line(item, sale.check_discount)
        cancelled = gone or item.is_gone
        if line.list_price < 0:
            # Money given back over the counter. Voided it is a row of nothing: no cancellation can be positive.
            sums[product, RETURN].add(_Sum() if cancelled else line, 1)
            continue
        sums[product, PURCHASE].add(line, 1)
        amount, tax = refund_of(item)
        if cancelled:
            sums[product, CANCELLATION].add(line, -1)
        elif amount or tax:
            whole = amount >= line.list_price - line.discount > 0
            back = _Sum(line.units if whole else ZERO, amount, ZERO, tax, ZERO, line.name, line.category)
            sums[product, RETURN].add(back, -1)
    custom = ZERO if gone else refunds_of(check, check_totals(check).refund_amount).custom
    if custom:
        back = _Sum(list_price=custom, tax=None, name="Refund without items")
        sums[UNITEMIZED_REFUND, RETURN].add(back, -1)


def _line(item: Selection, share: Decimal) -> _Sum:
    category = item.sales_category or item.item_group
    units = _ONE if item.quantity is None else abs(item.quantity)
    if units and item.unit_of_measure not in {None, "", "NONE"}:
        # Weighed.
        units = _ONE
    price, tax = sales_price(item), item.tax or ZERO
    net = price - item_discount(item)
    names = (item.name, category.guid if category is not None else None)
    if price < 0:
        return _Sum(-units, net, ZERO, -abs(tax), share, *names)
    return _Sum(units, price, price - net + share, tax, share, *names)


def _whole(units: Decimal) -> int:
    rounded = int(abs(units).quantize(_ONE, ROUND_HALF_UP))
    return (-1 if units < 0 else 1) * max(rounded, 1 if units else 0)
