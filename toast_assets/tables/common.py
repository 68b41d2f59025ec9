"""Columns that every table has: where a row comes from, so that tables join without guessing."""

from __future__ import annotations

from toast_assets.tables.arrays import Kind
from toast_assets.tables.columns import Column

RESTAURANT = Column(
    "restaurant_guid",
    Kind.TEXT,
    "The restaurant. Toast's orders do not say it; it is the one that was asked for.",
)
ORDER = Column("order_guid", Kind.TEXT, "The order.", toast="guid")
CHECK = Column("check_guid", Kind.TEXT, "The check (bill) within the order.", toast="checks[].guid")
BUSINESS_DATE = Column(
    "business_date",
    Kind.DAY,
    "The order's business date on the restaurant's calendar; a day ends at its closeout hour, 04:00 by default.",
    toast="businessDate",
)
ORDER_MODIFIED = Column(
    "order_modified_at",
    Kind.INSTANT,
    "When the order was last modified: the newest row of an order, over all weeks, is its current state.",
    toast="modifiedDate",
)
COUNTS = Column(
    "counts",
    Kind.FLAG,
    "False when the order or the check is voided or deleted: such rows are no sales.",
    toast="voided, deleted, checks[].voided, checks[].deleted",
)
ORIGIN = (RESTAURANT, ORDER, BUSINESS_DATE, ORDER_MODIFIED)
