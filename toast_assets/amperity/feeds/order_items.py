"""The feed ``order_items``: one row per item and per modifier, with every detail that Toast knows of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Annotated, Any

from toast_assets.amperity.feeds.schema import Feed, Row, day, decimal, flag, integer, moment, quantity, text
from toast_assets.amperity.feeds.shared_columns import NAMES, product_id, product_names
from toast_assets.errors import UnrepresentableError
from toast_assets.orders.model import Order
from toast_assets.orders.names import Names
from toast_assets.orders.totals import ZERO, discount_sum
from toast_assets.orders.walk import lines


class OrderItemRow(Row, frozen=True):
    """An item or modifier as ordered."""

    order_item_id: Annotated[str, text("order_id|selection_id: the row's key.", key=True)]
    selection_id: Annotated[str, text("The item or modifier as ordered: Toast's selection GUID.")]
    order_id: Annotated[str, text("The order: Toast's GUID, which never changes.")]
    check_id: Annotated[str | None, text("The check within the order: Toast's GUID.")]
    parent_selection_id: Annotated[str | None, text("For a modifier the row it belongs to; null for an item.")]
    depth: Annotated[int, integer("0 for an item, 1 for its modifiers, 2 for theirs, ….")]
    store_id: Annotated[str, text("The restaurant: Toast's GUID.")]
    store_name: Annotated[str | None, text("The name of the restaurant, with that of the location.")]
    business_date: Annotated[str | None, day("The business date on the restaurant's calendar.")]
    order_datetime: Annotated[str, moment("When the order was opened, on the restaurant's clock.")]
    order_datetime_utc: Annotated[str, moment("When the order was opened, in UTC.")]
    modified_at: Annotated[str, moment("When the order was last modified, in UTC: the last-updated field.")]
    modified_at_local: Annotated[str, moment("When the order was last modified, on the restaurant's clock.")]
    product_id: Annotated[str, text("The item's multiLocationId, else its GUID, else Toast's selection type.")]
    product_name: Annotated[str | None, text("What the guest read.")]
    product_category: Annotated[str | None, text("The sales category's name; null where it is not known.")]
    product_subcategory: Annotated[str | None, text("The menu group's name; null where it is not known.")]
    menu_group_id: Annotated[str | None, text("The menu group it was ordered from: Toast's GUID.")]
    sales_category_id: Annotated[str | None, text("The sales category: Toast's GUID.")]
    selection_type: Annotated[str | None, text("Toast's selection type: NONE, OPEN_ITEM, SPECIAL_REQUEST, ….")]
    quantity: Annotated[Decimal | None, quantity("As Toast has it, fractional when weighed or split between checks.")]
    unit_of_measure: Annotated[str | None, text("NONE, or the unit of a weighed quantity.")]
    list_price: Annotated[Decimal | None, decimal("Gross price with modifiers, without tax: sum depth 0 only.")]
    discount_amount: Annotated[Decimal, decimal("Non-tax discounts on this very row, without those on the check.")]
    net_price: Annotated[Decimal | None, decimal("Toast's price: with modifiers, after all discounts, without tax.")]
    tax_amount: Annotated[Decimal | None, decimal("Tax on this row.")]
    is_gift_card: Annotated[bool, flag("A gift card sold or topped up; not among the transactions.")]
    is_deferred: Annotated[bool, flag("Deferred revenue; not among the transactions.")]
    is_cancelled: Annotated[bool, flag("The row, its item, check or order was voided, deleted, or removed.")]
    refund_amount: Annotated[Decimal | None, decimal("Refunded of this row and its modifiers, without tax, positive.")]
    tax_refund_amount: Annotated[Decimal | None, decimal("Refunded tax, as a positive amount.")]
    purchase_channel: Annotated[str, text("How it was served: the dining behavior, else Toast's source, or Unknown.")]
    digital_channel: Annotated[str | None, text("Where it was ordered: Toast's source.")]
    purchase_brand: Annotated[str, text("The brand, a setting.")]
    currency: Annotated[str | None, text("The restaurant's ISO currency code, null where it is not known.")]
    fk_customer: Annotated[str | None, text("The order's one guest, as in customers; null where there is none.")]


ORDER_ITEMS = Feed(
    "order_items",
    "One row per item and per modifier, to any depth, gift cards and voided ones included.",
    OrderItemRow,
    "A custom table: no semantic tags, joined to the others by order_id and fk_customer.",
    names=NAMES,
)
# What an item that is not there has, by the type of a field; of all other types it has null.
_NOTHING = {"decimal(18,4)": ZERO, "decimal(18,6)": ZERO, "integer": 0, "boolean": False}


def order_items(order: Order, shared: Mapping[str, Any], names: Names) -> Iterator[OrderItemRow]:
    """The rows of one order; ``shared`` are its ``shared_columns``, ``names`` the restaurant's. Two can have one key
    where an item was moved to another check and is still in its old one, deleted. Raises UnrepresentableError where an
    item or modifier has no GUID, so that its row would have no key."""
    for check in order.checks or ():
        gone_above: list[bool] = []
        for line in lines(check.selections):
            # A modifier goes with its item: the flags of what is above it, by depth.
            del gone_above[line.depth :]
            gone_above.append(line.selection.is_gone or any(gone_above))
            selection = line.selection
            if not selection.guid:
                raise UnrepresentableError("an item or modifier has no guid")
            refund = selection.refund_details
            yield OrderItemRow(
                **shared,
                **product_names(selection, names),
                order_item_id=f"{order.guid}|{selection.guid}",
                selection_id=selection.guid,
                check_id=check.guid,
                parent_selection_id=line.parent_guid,
                depth=line.depth,
                product_id=product_id(selection),
                product_name=selection.name,
                menu_group_id=selection.item_group.guid if selection.item_group else None,
                sales_category_id=selection.sales_category.guid if selection.sales_category else None,
                selection_type=selection.selection_type,
                quantity=selection.quantity,
                unit_of_measure=selection.unit_of_measure,
                list_price=selection.pre_discount_price,
                discount_amount=discount_sum(selection.applied_discounts),
                net_price=selection.price,
                tax_amount=selection.tax,
                is_gift_card=selection.is_gift_card,
                is_deferred=not selection.is_revenue,
                is_cancelled=order.is_gone or check.is_gone or gone_above[-1],
                refund_amount=refund.refund_amount if refund else None,
                tax_refund_amount=refund.tax_refund_amount if refund else None,
            )


def no_order_item(shared: Mapping[str, Any], selection_guid: str, product: str) -> OrderItemRow:
    """The row of an item or modifier that the newest version of its order does not have: all amounts are 0."""
    values: dict[str, Any] = {name: _NOTHING.get(one.type) for name, one in ORDER_ITEMS.columns.items()}
    values |= {"order_item_id": f"{shared['order_id']}|{selection_guid}", "selection_id": selection_guid}
    return OrderItemRow(**values | {"product_id": product, "is_cancelled": True} | dict(shared))
