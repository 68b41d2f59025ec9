"""The table ``discounts``: one row per discount applied to a check, an item or a modifier."""

from __future__ import annotations

from toast_assets.tables.arrays import Kind
from toast_assets.tables.columns import Column, Table
from toast_assets.tables.common import COUNTS, ORIGIN

DISCOUNTS = Table(
    "discounts",
    "One row per applied discount, on whatever level.",
    "appliedDiscounts[]",
    ("restaurant_guid", "order_guid"),
    (
        *ORIGIN,
        Column(
            "check_guid",
            Kind.TEXT,
            "The check; null for a discount on the order, which only the guide's example has.",
            toast="checks[].guid",
        ),
        Column(
            "selection_guid",
            Kind.TEXT,
            "The item or modifier; null for a discount on the check.",
            toast="checks[].selections[].guid",
        ),
        Column("level", Kind.TEXT, "order, check, item or modifier."),
        COUNTS,
        Column("applied_discount_guid", Kind.TEXT, "The discount as applied.", "guid"),
        Column("discount_guid", Kind.TEXT, "The discount as configured.", "discount.guid"),
        Column("name", Kind.TEXT, "Its name.", "name", toast="appliedDiscounts[].name"),
        Column(
            "discount_type",
            Kind.TEXT,
            "PERCENT, FIXED, OPEN_PERCENT, OPEN_FIXED, BOGO, FIXED_TOTAL; an open list.",
            "discount_type",
        ),
        Column("discount_percent", Kind.QUANTITY, "0 to 100, for a percentage.", "discount_percent"),
        Column("discount_amount", Kind.MONEY, "The whole discount.", "discount_amount"),
        Column(
            "non_tax_discount_amount",
            Kind.MONEY,
            "The part that is not tax; less than the whole where prices include tax.",
            "non_tax_discount_amount",
        ),
        Column(
            "sales_discount_amount",
            Kind.MONEY,
            "What it takes off sales: the non-tax part, the whole where that is null, 0 for a loyalty reward that "
            "was removed again. Whether that sale counts is another matter (counts, order_items.net_sales).",
            toast="appliedDiscounts[].nonTaxDiscountAmount, appliedDiscounts[].discountAmount",
        ),
        Column("processing_state", Kind.TEXT, "State of a loyalty reward; an open list.", "processing_state"),
        Column("promo_code", Kind.TEXT, "The promotion code.", "applied_promo_code"),
        Column("reason_name", Kind.TEXT, "Why it was given.", "applied_discount_reason.name"),
        Column("reason_comment", Kind.TEXT, "A remark on that.", "applied_discount_reason.comment"),
        Column(
            "reason_guid",
            Kind.TEXT,
            "The reason as configured.",
            "applied_discount_reason.discount_reason.guid",
        ),
        Column("loyalty_vendor", Kind.TEXT, "The loyalty programme.", "loyalty_details.vendor"),
        Column("loyalty_reference", Kind.TEXT, "The reward there.", "loyalty_details.reference_id"),
        Column("approver_guid", Kind.TEXT, "The employee who approved it; never a name.", "approver.guid"),
    ),
)
