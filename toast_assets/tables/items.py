"""The table ``order_items``: one row per item and per modifier, to any depth."""

from __future__ import annotations

from toast_assets.tables.arrays import Kind
from toast_assets.tables.columns import Column, Table
from toast_assets.tables.common import CHECK, COUNTS, ORIGIN

ORDER_ITEMS = Table(
    "order_items",
    "One row per item (depth 0) and per modifier below it, to any depth. An item's prices include its modifiers': "
    "add up prices at depth 0 only, or net_sales over all rows.",
    "checks[].selections[]",
    ("restaurant_guid", "order_guid", "selection_guid"),
    (
        *ORIGIN,
        CHECK,
        Column("selection_guid", Kind.TEXT, "The item or modifier as ordered.", "guid"),
        Column(
            "parent_selection_guid",
            Kind.TEXT,
            "The item or modifier that this modifier belongs to; null for an item.",
            toast="checks[].selections[].guid",
        ),
        Column("depth", Kind.COUNT, "0 for an item, 1 for its modifiers, 2 for theirs, ….", toast="modifiers[]"),
        Column("position", Kind.COUNT, "The place among its siblings, from 0.", toast="checks[].selections[]"),
        COUNTS,
        Column("display_name", Kind.TEXT, "What the guest read, the item's name.", "name"),
        Column("item_guid", Kind.TEXT, "The menu item; null for gift cards and special requests.", "item.guid"),
        Column(
            "item_multi_location_id",
            Kind.TEXT,
            "The menu item's key across all restaurants of the group.",
            "item.multi_location_id",
        ),
        Column("item_group_guid", Kind.TEXT, "The menu group it was ordered from.", "item_group.guid"),
        Column("option_group_guid", Kind.TEXT, "The modifier group, for a modifier.", "option_group.guid"),
        Column("pre_modifier_guid", Kind.TEXT, "The pre-modifier, such as NO or EXTRA.", "pre_modifier.guid"),
        Column("sales_category_guid", Kind.TEXT, "The sales category.", "sales_category.guid"),
        Column("dining_option_guid", Kind.TEXT, "The item's own dining option.", "dining_option.guid"),
        Column("plu", Kind.TEXT, "The price look-up code.", "lookup_code"),
        Column(
            "selection_type",
            Kind.TEXT,
            "NONE or null for a menu item; OPEN_ITEM, SPECIAL_REQUEST, TOAST_CARD_SELL, …; an open list.",
            "selection_type",
        ),
        Column("quantity", Kind.QUANTITY, "The quantity; fractional when weighed or split.", "quantity"),
        Column("unit_of_measure", Kind.TEXT, "NONE, LB, OZ, KG, …; an open list.", "unit_of_measure"),
        Column("seat_number", Kind.COUNT, "The seat; 0 shared, -1 not chosen.", "seat_number"),
        Column(
            "pre_discount_price",
            Kind.MONEY,
            "Gross price for the whole quantity, with modifiers, without tax.",
            "pre_discount_price",
        ),
        Column(
            "price",
            Kind.MONEY,
            "Net price for the whole quantity, with modifiers, after discounts, without tax, as Toast says.",
            "price",
        ),
        Column("tax", Kind.MONEY, "Tax on this row.", "tax"),
        Column("receipt_line_price", Kind.MONEY, "Price of one, without modifiers.", "receipt_line_price"),
        Column(
            "discount_amount",
            Kind.MONEY,
            "Non-tax discounts on this very row; discounts on the check are in discounts alone.",
            toast="checks[].selections[].appliedDiscounts[].nonTaxDiscountAmount",
        ),
        Column(
            "net_sales",
            Kind.MONEY,
            "This row's part of net sales before discounts on the check: pre_discount_price - discount_amount for "
            "an item that counts and is a sale, else 0; 0 for modifiers, whose price is in their item's.",
            toast="checks[].selections[].preDiscountPrice",
        ),
        Column("tax_inclusion", Kind.TEXT, "INCLUDED, NOT_INCLUDED, INHERITED; an open list.", "tax_inclusion"),
        Column(
            "option_group_pricing_mode",
            Kind.TEXT,
            "How the modifier group changes the item's price; an open list.",
            "option_group_pricing_mode",
        ),
        Column("fulfillment_status", Kind.TEXT, "NEW, HOLD, SENT, READY; an open list.", "fulfillment_status"),
        Column(
            "is_gift_card",
            Kind.FLAG,
            "A gift card sold or topped up.",
            toast="checks[].selections[].selectionType",
        ),
        Column("deferred", Kind.FLAG, "Deferred revenue, such as a gift card: no sale of the day.", "deferred"),
        Column("voided", Kind.FLAG, "This item or modifier was voided.", "voided"),
        Column("voided_at", Kind.INSTANT, "When it was voided.", "void_date"),
        Column("void_business_date", Kind.DAY, "The business date of the void.", "void_business_date"),
        Column("void_reason_guid", Kind.TEXT, "Why it was voided.", "void_reason.guid"),
        Column("deleted", Kind.FLAG, "This item or modifier was deleted.", "deleted"),
        Column("created_at", Kind.INSTANT, "When it was ordered.", "created_date"),
        Column("modified_at", Kind.INSTANT, "When it was last modified.", "modified_date"),
        Column(
            "refund_amount",
            Kind.MONEY,
            "Refunded of this row, without tax; an item's includes its modifiers'.",
            "refund_details.refund_amount",
        ),
        Column("tax_refund_amount", Kind.MONEY, "Refunded tax.", "refund_details.tax_refund_amount"),
        Column(
            "refund_transaction_guid",
            Kind.TEXT,
            "What was refunded together.",
            "refund_details.refund_transaction.guid",
        ),
    ),
)
