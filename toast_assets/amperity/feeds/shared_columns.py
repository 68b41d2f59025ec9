"""What all feeds say of an order in the same way: store, times, channel, guest."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from toast_assets.errors import UnrepresentableError
from toast_assets.orders.identity import guest_key, order_customer
from toast_assets.orders.model import Order, Selection
from toast_assets.orders.names import Names
from toast_assets.orders.read import RawOrders
from toast_assets.orders.times import business_day, instant

UNKNOWN_PRODUCT = "UNKNOWN_ITEM"
# The columns that depend on Toast's configuration.
NAMES = ("store_name", "product_category", "product_subcategory", "purchase_channel")


def shared_columns(batch: RawOrders, order: Order, clock: ZoneInfo, brand: str) -> dict[str, Any]:
    """The columns that an order's rows repeat in every feed but ``customers``; times are text as Amperity reads it.
    Raises UnrepresentableError where the order has no time, no modified time, or an invalid one."""
    times = (order.opened_date, order.created_date, order.paid_date, order.closed_date, order.modified_date)
    opened = next(filter(None, map(_time, times)), None)
    modified = _time(order.modified_date)
    if opened is None or modified is None or order.guid is None:
        raise UnrepresentableError("the order has no time at which it was opened or modified")
    try:
        business_date = business_day(order.business_date)
    except ValueError:
        raise UnrepresentableError("the business date is no date") from None
    option = order.served_as
    behavior = option and (batch.names.find("dining_option", option.guid).behavior or option.behavior)
    return {
        "order_id": order.guid,
        "store_id": batch.restaurant_guid,
        "store_name": batch.name,
        "purchase_brand": brand,
        "currency": batch.currency,
        "purchase_channel": behavior or order.source or "Unknown",
        "digital_channel": order.source or None,
        "business_date": business_date.isoformat() if business_date is not None else None,
        **order_times(opened, clock),
        **modified_times(modified, clock),
        "fk_customer": guest_key(order_customer(order)),
    }


def order_times(at: datetime, clock: ZoneInfo) -> dict[str, str]:
    """The columns of when something was ordered, refunded or voided; UnrepresentableError beyond the calendar."""
    return {"order_datetime": _local(at, clock), "order_datetime_utc": _text(at)}


def modified_times(at: datetime, clock: ZoneInfo) -> dict[str, str]:
    """The columns of when an order was last modified; UnrepresentableError beyond the calendar."""
    return {"modified_at": _text(at), "modified_at_local": _local(at, clock)}


def product_id(selection: Selection) -> str:
    """The item's key across restaurants, else its GUID, else what kind of selection it is: never empty.

    Toast: gift cards and special requests have no item.
    """
    item, kind = selection.item, selection.selection_type
    known = item and (item.multi_location_id or item.guid)
    return known or (kind if kind != "NONE" else None) or UNKNOWN_PRODUCT


def product_names(selection: Selection, names: Names) -> dict[str, Any]:
    """The columns of what a product belongs to; null where Toast's configuration has no name of it."""
    category, group = selection.sales_category, selection.item_group
    return {
        "product_category": names.find("sales_category", category.guid).name if category else None,
        "product_subcategory": names.find("menu_group", group.guid).name if group else None,
    }


def _local(moment: datetime, clock: ZoneInfo) -> str:
    try:
        return _text(moment.astimezone(clock))
    except OverflowError:
        raise UnrepresentableError("a time is beyond the calendar") from None


def _text(moment: datetime) -> str:
    """``yyyy-MM-dd HH:mm:ss.SSS``, without an offset."""
    return moment.replace(tzinfo=None).isoformat(sep=" ", timespec="milliseconds")


def _time(text: str | None) -> datetime | None:
    try:
        return instant(text)
    except ValueError as error:
        raise UnrepresentableError(str(error)) from None
