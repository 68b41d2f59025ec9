"""The feed ``transactions``: shaped for Amperity's Unified Itemized Transactions.

One row per order, product and kind. What was voided before anybody paid is no purchase. What was voided or deleted
later, and what was refunded, is taken back by rows of its own, with values of 0 and below, at the time at which that
happened. So the rows of an order add up to what it came to.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from toast_assets.amperity.feeds.schema import Feed, Row, day, decimal, flag, integer, moment, text
from toast_assets.amperity.feeds.shared_columns import NAMES, order_times, product_id, product_names
from toast_assets.orders.model import Check, Order, Payment, Selection
from toast_assets.orders.names import Names
from toast_assets.orders.times import instant
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
# Toast: with these states a payment never took money. One that was voided later did.
_NEVER_PAID = frozenset({"CANCELLED", "DENIED", "ERROR", "ERROR_NETWORK"})
# What a row says of a product.
PURCHASE, RETURN, CANCELLATION = "purchase", "return", "cancellation"


class TransactionRow(Row, frozen=True):
    """What an order has of one product and kind."""

    transaction_item_id: Annotated[str, text("order_id|product_id|kind: the row's key.", key=True)]
    order_id: Annotated[str, text("The order: Toast's GUID, which never changes.")]
    order_datetime: Annotated[str, moment("When it was ordered, refunded, voided: on the restaurant's clock.")]
    order_datetime_utc: Annotated[str, moment("The same in UTC.")]
    business_date: Annotated[str | None, day("The order's business date on the restaurant's calendar.")]
    product_id: Annotated[str, text("The item's multiLocationId, else GUID, else its type; or UNITEMIZED_REFUND.")]
    product_name: Annotated[str | None, text("What the guest read.")]
    product_category: Annotated[str | None, text("The sales category's name; null where it is not known.")]
    product_subcategory: Annotated[str | None, text("The menu group's name; null where it is not known.")]
    item_quantity: Annotated[int, integer("Units; a weighed item is 1. Below 0 in returns of items and cancellations.")]
    item_list_price: Annotated[Decimal, decimal("Gross price of all units with their modifiers, without tax.")]
    item_discount_amount: Annotated[Decimal, decimal("Non-tax discounts on the items, and their share of the check's.")]
    check_discount_amount: Annotated[Decimal, decimal("The check's part of item_discount_amount.")]
    item_revenue: Annotated[Decimal, decimal("item_list_price - item_discount_amount: no tax, tip or service charge.")]
    item_tax_amount: Annotated[Decimal | None, decimal("Tax on the items; null, not known, for UNITEMIZED_REFUND.")]
    order_discount_amount: Annotated[Decimal, decimal("0: item_discount_amount has every discount.")]
    is_return: Annotated[bool, flag("Refunded: values are 0 or below.")]
    is_cancellation: Annotated[bool, flag("Voided or deleted after it was paid: values are 0 or below.")]
    store_id: Annotated[str, text("The restaurant: Toast's GUID.")]
    store_name: Annotated[str | None, text("The name of the restaurant, with that of the location.")]
    purchase_channel: Annotated[str, text("How it was served: the dining behavior, else Toast's source, or Unknown.")]
    digital_channel: Annotated[str | None, text("Where it was ordered: Toast's source.")]
    purchase_brand: Annotated[str, text("The brand, a setting.")]
    payment_method: Annotated[str | None, text("The type of the order's largest payment.")]
    currency: Annotated[str | None, text("The restaurant's ISO currency code, null where it is not known.")]
    fk_customer: Annotated[str | None, text("The order's one guest, as in customers; null where there is none.")]
    modified_at: Annotated[str, moment("When the order was last modified, in UTC: the last-updated field.")]
    modified_at_local: Annotated[str, moment("When the order was last modified, on the restaurant's clock.")]


_UNTAGGED = {
    *("transaction_item_id", "order_datetime_utc", "business_date", "check_discount_amount"),
    # Amperity has no such tag.
    *("store_name", "modified_at", "modified_at_local"),
}
_TAGGED = [name for name in TransactionRow.__struct_fields__ if name not in _UNTAGGED]
TRANSACTIONS = Feed(
    "transactions",
    "One row per order, product and kind: purchase, return, cancellation.",
    TransactionRow,
    "Unified Itemized Transactions.",
    {name: (f"txn-item/{name.replace('_', '-')}",) for name in _TAGGED} | {"fk_customer": ("fk-customer",)},
    NAMES,
)


@dataclass
class _Sum:
    """What is summed into one row; ``units`` may be fractional until the end. ``at`` is when that happened, of several
    the latest; None means when the order was opened."""

    units: Decimal = ZERO
    list_price: Decimal = ZERO
    discount: Decimal = ZERO
    check_discount: Decimal = ZERO
    tax: Decimal | None = ZERO
    name: str | None = None
    category: str | None = None
    subcategory: str | None = None
    at: datetime | None = None

    def add(self, other: _Sum, sign: int = 1, at: datetime | None = None) -> None:
        """Add ``other`` (``sign`` 1) or take it off (-1)."""
        self.units += sign * other.units
        self.list_price += sign * other.list_price
        self.discount += sign * other.discount
        self.check_discount += sign * other.check_discount
        self.tax = None if self.tax is None or other.tax is None else self.tax + sign * other.tax
        self.name = self.name or other.name
        self.category = self.category or other.category
        self.subcategory = self.subcategory or other.subcategory
        self.at = max(filter(None, (self.at, at)), default=None)


def transactions(order: Order, shared: Mapping[str, Any], clock: ZoneInfo, names: Names) -> list[TransactionRow]:
    """The rows of one order, by product in the order's own sequence; ``shared`` are its ``shared_columns``, ``names``
    the restaurant's. Raises UnrepresentableError where a time is beyond the calendar on the restaurant's ``clock``."""
    sums = defaultdict[tuple[str, str], _Sum](_Sum)
    for check in order.checks or ():
        _Bill(order, check, names).add_to(sums)
    taken = [payment for check in order.checks or () for payment in check.payments or () if is_taken(payment)]
    largest = max(taken, key=lambda payment: payment.amount or ZERO, default=None)
    method = largest.type if largest is not None else None
    return [_row(shared, key, amounts, clock, method) for key, amounts in sums.items()]


def no_transaction(shared: Mapping[str, Any], product: str, kind: str, clock: ZoneInfo) -> TransactionRow:
    """The row of a product and kind that the newest version of its order does not have: all amounts are 0."""
    return _row(shared, (product, kind), _Sum(), clock)


def _row(
    shared: Mapping[str, Any], key: tuple[str, str], amounts: _Sum, clock: ZoneInfo, method: str | None = None
) -> TransactionRow:
    product, kind = key
    times = {} if amounts.at is None else order_times(amounts.at, clock)
    return TransactionRow(
        **{**shared, **times},
        transaction_item_id=f"{shared['order_id']}|{product}|{kind}",
        product_id=product,
        product_name=amounts.name,
        product_category=amounts.category,
        product_subcategory=amounts.subcategory,
        item_quantity=_whole(amounts.units),
        item_list_price=amounts.list_price,
        item_discount_amount=amounts.discount,
        check_discount_amount=amounts.check_discount,
        item_revenue=amounts.list_price - amounts.discount,
        item_tax_amount=amounts.tax,
        order_discount_amount=ZERO,
        is_return=kind == RETURN,
        is_cancellation=kind == CANCELLATION,
        payment_method=method,
    )


@dataclass
class _Bill:
    """One check of an order, with what its payments say of times."""

    order: Order
    check: Check
    names: Names
    paid: list[Payment] = field(init=False)
    """The payments that took money, also those that were voided later."""
    refunded: dict[str | None, datetime] = field(init=False)
    """When money was given back, by refund transaction; under None the last time."""

    def __post_init__(self) -> None:
        payments = self.check.payments or ()
        self.paid = [one for one in payments if one.amount and one.payment_status not in _NEVER_PAID]
        self.refunded = {}
        for refund in (one.refund for one in payments if one.refund is not None and is_taken(one)):
            if (at := instant(refund.refund_date)) is not None:
                self.refunded[None] = max(at, self.refunded.get(None, at))
                if refund.refund_transaction is not None:
                    self.refunded[refund.refund_transaction.guid] = at

    def add_to(self, sums: defaultdict[tuple[str, str], _Sum]) -> None:
        """Add what the check has of each product and kind."""
        gone = self.order.is_gone or self.check.is_gone
        for item, sale in zip(self.check.selections or (), item_sales(self.check), strict=True):
            if not item.is_revenue:
                continue
            product, line = product_id(item), self._line(item, sale.check_discount)
            if gone or item.is_gone:
                voided = self._voided_at(item)
                # A void of what nobody had paid for is a correction of the restaurant, no guest's cancellation.
                if line.list_price >= 0 and self._was_paid(voided, due=ZERO if gone else self.check.total_amount):
                    sums[product, PURCHASE].add(line)
                    sums[product, CANCELLATION].add(line, -1, voided or self._modified_at)
                continue
            if line.list_price < 0:
                # Money given back over the counter.
                sums[product, RETURN].add(line, 1, instant(item.created_date))
                continue
            sums[product, PURCHASE].add(line)
            amount, tax = refund_of(item)
            if amount or tax:
                whole = amount >= line.list_price - line.discount > 0
                units = line.units if whole else ZERO
                back = replace(line, units=units, list_price=amount, discount=ZERO, check_discount=ZERO, tax=tax)
                sums[product, RETURN].add(back, -1, self._refunded_at(item))
        custom = ZERO if gone else refunds_of(self.check, check_totals(self.check).refund_amount).custom
        if custom:
            back = _Sum(list_price=custom, tax=None, name="Refund without items")
            sums[UNITEMIZED_REFUND, RETURN].add(back, -1, self.refunded.get(None, self._modified_at))

    @property
    def _modified_at(self) -> datetime:
        """The latest at which anything can have happened; ``shared_columns`` has refused orders without it."""
        return instant(self.order.modified_date) or datetime.max.replace(tzinfo=UTC)

    def _voided_at(self, item: Selection) -> datetime | None:
        """When an item was first voided, with its check or order or by itself; None where Toast does not say."""
        order, check = self.order, self.check
        dates = (item.void_date, check.void_date, order.void_date, order.gone_date)
        return min(filter(None, map(instant, dates)), default=None)

    def _was_paid(self, voided: datetime | None, due: Decimal | None) -> bool:
        """Whether money had been taken before the void. Where Toast does not say when that was, more was paid than is
        ``due`` without what was voided, tax included."""
        if voided is None:
            return sum((one.amount or ZERO for one in self.paid), ZERO) > (due or ZERO)
        return any((paid := instant(one.paid_date)) is None or paid <= voided for one in self.paid)

    def _refunded_at(self, item: Selection) -> datetime:
        transaction = item.refund_details and item.refund_details.refund_transaction
        last = self.refunded.get(None, self._modified_at)
        return self.refunded.get(transaction.guid, last) if transaction else last

    def _line(self, item: Selection, share: Decimal) -> _Sum:
        units = _ONE if item.quantity is None else abs(item.quantity)
        if units and item.unit_of_measure not in {None, "", "NONE"}:
            # Weighed.
            units = _ONE
        price, tax, discount = sales_price(item), item.tax or ZERO, item_discount(item)
        names = product_names(item, self.names)
        texts = (item.name, names["product_category"], names["product_subcategory"])
        if price < 0:
            return _Sum(-units, price - discount, ZERO, share, -abs(tax), *texts)
        return _Sum(units, price, discount + share, share, tax, *texts)


def _whole(units: Decimal) -> int:
    rounded = int(abs(units).quantize(_ONE, ROUND_HALF_UP))
    return (-1 if units < 0 else 1) * max(rounded, 1 if units else 0)
