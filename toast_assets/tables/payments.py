"""The table ``payments``: one row per payment, with its refund and its void. Card numbers stay out."""

from __future__ import annotations

from toast_assets.tables.arrays import Kind
from toast_assets.tables.columns import Column, Table
from toast_assets.tables.common import CHECK, COUNTS, ORIGIN

PAYMENTS = Table(
    "payments",
    "One row per payment. Card digits and card identifiers are personal data and are left in the raw orders.",
    "checks[].payments[]",
    ("restaurant_guid", "order_guid", "payment_guid"),
    (
        *ORIGIN,
        CHECK,
        Column("payment_guid", Kind.TEXT, "The payment.", "guid"),
        COUNTS,
        Column(
            "taken",
            Kind.FLAG,
            "Money was taken or is about to be: not voided, denied, cancelled or failed.",
            toast="checks[].payments[].paymentStatus",
        ),
        Column("type", Kind.TEXT, "CASH, CREDIT, GIFTCARD, OTHER, …; an open list.", "type"),
        Column("card_type", Kind.TEXT, "VISA, MASTERCARD, …; an open list.", "card_type"),
        Column("card_entry_mode", Kind.TEXT, "SWIPED, KEYED, ONLINE, …; an open list.", "card_entry_mode"),
        Column("payment_status", Kind.TEXT, "CAPTURED, VOIDED, …; an open list.", "payment_status"),
        Column("paid_at", Kind.INSTANT, "When it was paid.", "paid_date"),
        Column("paid_business_date", Kind.DAY, "The business date of the payment.", "paid_business_date"),
        Column("amount", Kind.MONEY, "The amount, without the tip.", "amount"),
        Column("tip_amount", Kind.MONEY, "The tip.", "tip_amount"),
        Column("amount_tendered", Kind.MONEY, "What the guest handed over, without the tip.", "amount_tendered"),
        Column(
            "original_processing_fee",
            Kind.MONEY,
            "The processing fee, once the payment is captured.",
            "original_processing_fee",
        ),
        Column("mca_repayment_amount", Kind.MONEY, "Amounts that Toast withheld.", "mca_repayment_amount"),
        Column("refund_status", Kind.TEXT, "NONE, PARTIAL, FULL; an open list.", "refund_status"),
        Column("refund_amount", Kind.MONEY, "Refunded, without the tip, with tax.", "refund.refund_amount"),
        Column("tip_refund_amount", Kind.MONEY, "Refunded of the tip.", "refund.tip_refund_amount"),
        Column("refunded_at", Kind.INSTANT, "When it was refunded.", "refund.refund_date"),
        Column(
            "refund_business_date",
            Kind.DAY,
            "The business date of the refund, often later than the order's.",
            "refund.refund_business_date",
        ),
        Column(
            "refund_transaction_guid",
            Kind.TEXT,
            "What was refunded together.",
            "refund.refund_transaction.guid",
        ),
        Column(
            "voided",
            Kind.FLAG,
            "The payment was voided: by its status, or because there is a date of the void.",
            "is_voided",
            toast="checks[].payments[].paymentStatus, checks[].payments[].voidInfo",
        ),
        Column("voided_at", Kind.INSTANT, "When it was voided.", "void_info.void_date"),
        Column("void_business_date", Kind.DAY, "The business date of the void.", "void_info.void_business_date"),
        Column("void_reason_guid", Kind.TEXT, "Why it was voided.", "void_info.void_reason.guid"),
        Column("server_guid", Kind.TEXT, "The employee who took it; never a name.", "server.guid"),
        Column("cash_drawer_guid", Kind.TEXT, "The cash drawer.", "cash_drawer.guid"),
        Column("house_account_guid", Kind.TEXT, "The house account.", "house_account.guid"),
        Column("other_payment_guid", Kind.TEXT, "The restaurant's own way of payment.", "other_payment.guid"),
    ),
)
