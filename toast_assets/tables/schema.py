"""All tables, by name, in the order in which people read them."""

from __future__ import annotations

from toast_assets.tables.checks import CHECKS
from toast_assets.tables.columns import Table
from toast_assets.tables.customers import CUSTOMERS
from toast_assets.tables.discounts import DISCOUNTS
from toast_assets.tables.items import ORDER_ITEMS
from toast_assets.tables.orders import ORDERS
from toast_assets.tables.payments import PAYMENTS

TABLES: dict[str, Table] = {
    table.name: table for table in (ORDERS, CHECKS, ORDER_ITEMS, PAYMENTS, DISCOUNTS, CUSTOMERS)
}
