"""The table ``checks``: one row per check (bill)."""

from __future__ import annotations

from toast_assets.tables.arrays import Kind
from toast_assets.tables.columns import Column, Table
from toast_assets.tables.common import COUNTS, ORIGIN
from toast_assets.tables.orders import TOTALS

# Toast's own taxAmount stands beside it, so the computed one needs another name here.
_CHECK_TOTALS = tuple(column for column in TOTALS if column.name != "tax_amount")

CHECKS = Table(
    "checks",
    "One row per check. amount, tax_amount and total_amount are Toast's own and stay as they were on a void; "
    "the sums from net_sales on are 0 where the check does not count, payments and refunds excepted.",
    "checks[]",
    ("restaurant_guid", "order_guid", "check_guid"),
    (
        *ORIGIN,
        Column("check_guid", Kind.TEXT, "The check.", "guid"),
        Column("position", Kind.COUNT, "The check's place in the order, from 0.", toast="checks[]"),
        COUNTS,
        Column("external_id", Kind.TEXT, "The id that an ordering partner gave the check.", "external_id"),
        Column("display_number", Kind.TEXT, "The number on the bill; not unique.", "display_number"),
        Column("created_at", Kind.INSTANT, "When Toast received the check.", "created_date"),
        Column("opened_at", Kind.INSTANT, "When the check was opened.", "opened_date"),
        Column("closed_at", Kind.INSTANT, "When the check was last closed.", "closed_date"),
        Column("paid_at", Kind.INSTANT, "When the check last received a payment.", "paid_date"),
        Column("modified_at", Kind.INSTANT, "When the check was last modified.", "modified_date"),
        Column("voided", Kind.FLAG, "The check was voided.", "voided"),
        Column("voided_at", Kind.INSTANT, "When it was voided.", "void_date"),
        Column("void_business_date", Kind.DAY, "The business date of the void.", "void_business_date"),
        Column("deleted", Kind.FLAG, "The check was deleted.", "deleted"),
        Column("payment_status", Kind.TEXT, "OPEN, PAID, CLOSED; an open list.", "payment_status"),
        Column("tab_name", Kind.TEXT, "The name on the tab, often a guest's.", "tab_name"),
        Column("tax_exempt", Kind.FLAG, "No tax is due.", "tax_exempt"),
        Column("duration_seconds", Kind.COUNT, "Seconds from creation to payment.", "duration"),
        Column(
            "amount",
            Kind.MONEY,
            "Toast's amount: after discounts, with service charges that are no gratuity, without tax.",
            "amount",
        ),
        Column("tax_amount", Kind.MONEY, "Toast's tax on items and service charges.", "tax_amount"),
        Column(
            "total_amount",
            Kind.MONEY,
            "Toast's total: amount and tax, in many bodies also gratuities and tips. Never changed by a refund.",
            "total_amount",
        ),
        Column(
            "service_charge_refund_amount",
            Kind.MONEY,
            "Refunds of service charges, without tax.",
            toast="checks[].appliedServiceCharges[].refundDetails.refundAmount",
        ),
        Column(
            "service_charge_tax_refund_amount",
            Kind.MONEY,
            "Refunds of the tax on service charges.",
            toast="checks[].appliedServiceCharges[].refundDetails.taxRefundAmount",
        ),
        Column("opened_by_guid", Kind.TEXT, "The employee who opened the check; never a name.", "opened_by.guid"),
        Column("created_device_id", Kind.TEXT, "The device that created the check.", "created_device.id"),
        Column("modified_device_id", Kind.TEXT, "The device that last modified it.", "last_modified_device.id"),
        Column("customer_guid", Kind.TEXT, "The guest, where Toast names one.", "customer.guid"),
        Column("loyalty_vendor", Kind.TEXT, "The loyalty programme.", "applied_loyalty_info.vendor"),
        Column(
            "loyalty_identifier",
            Kind.TEXT,
            "The guest's account there.",
            "applied_loyalty_info.loyalty_identifier",
        ),
        *_CHECK_TOTALS,
    ),
)
