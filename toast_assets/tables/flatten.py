"""A batch of raw orders to flat Arrow tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa

from toast_assets.errors import UnrepresentableError
from toast_assets.orders.identity import email_key, guest_key
from toast_assets.orders.model import GIFT_CARD_TYPES, Order
from toast_assets.orders.names import Names
from toast_assets.orders.read import RawOrders, ReadOrders, Reason, Rejection, read
from toast_assets.orders.times import zone
from toast_assets.orders.totals import (
    NO_SALE,
    ZERO,
    ItemSale,
    Totals,
    add,
    check_totals,
    discount_sum,
    is_taken,
    item_sales,
    refund_amounts,
    sales_discount,
)
from toast_assets.orders.walk import Walk
from toast_assets.tables.columns import local_times
from toast_assets.tables.schema import TABLES

_INHERITED = ("restaurant_guid", "order_guid", "business_date", "order_modified_at", "check_guid", "counts")


def flatten(batch: RawOrders, *, salt: bytes = b"") -> tuple[ReadOrders, dict[str, pa.RecordBatch]]:
    """The orders of ``batch`` that all tables can hold, and the Arrow batch of each table. An order that cannot be read
    or converted is a rejection, and the others go on; Amperity's feeds take and reject the same ones. ``salt`` is that
    of ``email_key``."""
    found = read(batch)
    with suppress(UnrepresentableError):
        return found, _tables_of(batch, found.orders, salt)
    orders = found.orders[:]
    found.orders.clear()
    for order in orders:
        try:
            _tables_of(batch, [order], salt)
        except UnrepresentableError as error:
            rejection = Rejection(batch.restaurant_guid, order.guid, Reason.UNREPRESENTABLE, error.message)
            found.rejections.append(rejection)
        else:
            found.orders.append(order)
    return found, _tables_of(batch, found.orders, salt)


def _tables_of(batch: RawOrders, orders: Iterable[Order], salt: bytes) -> dict[str, pa.RecordBatch]:
    """The tables, or an UnrepresentableError; of ``batch`` only what it says of the restaurant is used."""
    walk, clock = Walk(orders), zone(batch.timezone)
    try:
        wasted = [bool(walk.orders[order].excess_food) for order in walk.check_order]
        sales = [item_sales(check) for check in walk.checks]
        bills = list(zip(walk.checks, sales, walk.check_counts, wasted, strict=True))
        totals = [check_totals(check, sold, counts=counts, wasted=waste) for check, sold, counts, waste in bills]
        counted = [sold if counts and not waste else () for _, sold, counts, waste in bills]
        of_orders = _orders(batch, walk, totals, clock)
        of_checks = _checks(of_orders, walk, totals)
        of_payments = _origin(of_checks, walk.payment_check) | {
            "taken": list(map(is_taken, walk.payments)),
            "paid_at_local": lambda arrays: local_times(arrays["paid_at"], clock),
        }
        of_customers = _origin(of_checks, walk.customer_check) | {
            "customer_key": list(map(guest_key, walk.customers)),
            "email_key": [email_key(guest.email, salt) for guest in walk.customers],
        }
        return {
            "orders": of_orders,
            "checks": of_checks,
            "order_items": _items(of_checks, walk, counted, clock, batch.names),
            "payments": TABLES["payments"].batch(walk.payments, of_payments, batch.names),
            "discounts": _discounts(of_orders, of_checks, walk, counted, batch.names),
            "service_charges": _service_charges(of_checks, walk, batch.names),
            "taxes": _taxes(of_checks, walk, batch.names),
            "customers": TABLES["customers"].batch(walk.customers, of_customers),
        }
    except (ValueError, ArithmeticError):
        raise UnrepresentableError("an amount is too large, or is no number") from None


def _orders(batch: RawOrders, walk: Walk, totals: Sequence[Totals], clock: ZoneInfo | None) -> pa.RecordBatch:
    of_order: list[list[Totals]] = [[] for _ in walk.orders]
    for order, of_check in zip(walk.check_order, totals, strict=True):
        of_order[order].append(of_check)
    given = _amounts([one[0] if len(one) == 1 else add(one) for one in of_order])
    of_restaurant = {
        "restaurant_guid": batch.restaurant_guid,
        "restaurant_name": batch.name,
        "currency": batch.currency,
    }
    for name, value in of_restaurant.items():
        given[name] = pa.repeat(pa.scalar(value, pa.string()), len(walk.orders))
    given["order_guid"] = [order.guid for order in walk.orders]
    given["business_date"] = [order.business_date for order in walk.orders]
    given["opened_at_local"] = lambda arrays: local_times(arrays["opened_at"], clock)
    given["check_count"] = [len(order.checks or ()) for order in walk.orders]
    return TABLES["orders"].batch(walk.orders, given, batch.names)


def _checks(orders: pa.RecordBatch, walk: Walk, totals: Sequence[Totals]) -> pa.RecordBatch:
    given = _amounts(totals) | _origin(orders, walk.check_order)
    given["position"] = walk.check_position
    given["counts"] = walk.check_counts
    charges = [[refund_amounts(one.refund_details) for one in of.applied_service_charges or ()] for of in walk.checks]
    given["service_charge_refund_amount"] = [sum((amount for amount, _ in some), ZERO) for some in charges]
    given["service_charge_tax_refund_amount"] = [sum((tax for _, tax in some), ZERO) for some in charges]
    return TABLES["checks"].batch(walk.checks, given)


def _amounts(totals: Sequence[Totals]) -> dict[str, Any]:
    return {name: [one[index] for one in totals] for index, name in enumerate(Totals._fields)}


def _items(
    checks: pa.RecordBatch, walk: Walk, sales: Sequence[Sequence[ItemSale]], clock: ZoneInfo | None, names: Names
) -> pa.RecordBatch:
    """``sales`` are those of each check, none of one that does not count."""
    selections = [line.selection for line in walk.items]
    given = _origin(checks, walk.item_check)
    given["parent_selection_guid"] = [line.parent_guid for line in walk.items]
    given["depth"] = [line.depth for line in walk.items]
    given["position"] = [line.position for line in walk.items]
    given["discount_amount"] = [
        discount_sum(one.applied_discounts) if one.applied_discounts else ZERO for one in selections
    ]
    rows = [
        sales[check][line.position] if not line.depth and sales[check] else NO_SALE
        for line, check in zip(walk.items, walk.item_check, strict=True)
    ]
    given["check_discount_amount"] = [sale.check_discount for sale in rows]
    given["net_sales"] = [sale.net for sale in rows]
    given["created_at_local"] = lambda arrays: local_times(arrays["created_at"], clock)
    given["is_gift_card"] = [one.selection_type in GIFT_CARD_TYPES for one in selections]
    return TABLES["order_items"].batch(selections, given, names)


def _discounts(
    orders: pa.RecordBatch, checks: pa.RecordBatch, walk: Walk, sales: Sequence[Sequence[ItemSale]], names: Names
) -> pa.RecordBatch:
    """``sales`` are those of each check, none of one that does not count."""
    places = walk.discount_place
    given = _origin(orders, [place.order for place in places])
    of_check = pa.array([None if place.check < 0 else place.check for place in places], pa.int32())
    given["check_guid"] = checks["check_guid"].take(of_check)
    taken_off = [any(sale.check_discount for sale in of_check) for of_check in sales]
    given["counts"] = [
        place.check >= 0
        and (taken_off[place.check] if place.level == "check" else place.is_sale and bool(sales[place.check]))
        for place in places
    ]
    given["selection_guid"] = [place.selection_guid for place in places]
    given["level"] = [place.level for place in places]
    given["sales_discount_amount"] = list(map(sales_discount, walk.discounts))
    return TABLES["discounts"].batch(walk.discounts, given, names)


def _service_charges(checks: pa.RecordBatch, walk: Walk, names: Names) -> pa.RecordBatch:
    given = _origin(checks, walk.charge_check)
    given["tax_amount"] = [
        sum((tax.tax_amount or ZERO for tax in charge.applied_taxes or ()), ZERO) for charge in walk.charges
    ]
    return TABLES["service_charges"].batch(walk.charges, given, names)


def _taxes(checks: pa.RecordBatch, walk: Walk, names: Names) -> pa.RecordBatch:
    given = _origin(checks, [place.check for place in walk.tax_place])
    given["selection_guid"] = [place.selection_guid for place in walk.tax_place]
    given["service_charge_id"] = [place.service_charge_id for place in walk.tax_place]
    return TABLES["taxes"].batch(walk.taxes, given, names)


def _origin(parents: pa.RecordBatch, rows: Sequence[int]) -> dict[str, Any]:
    """What a row inherits, taken from its parent's row in one go: much cheaper than converting it again."""
    taken = pa.array(rows, pa.int32())
    origin = {name: parents[name].take(taken) for name in _INHERITED if name in parents.schema.names}
    # An order's own modified time is that of the rows below it.
    return {"order_modified_at": parents["modified_at"].take(taken)} | origin
