"""What an order adds up to."""

from __future__ import annotations

from toast_assets.orders.model import Order
from toast_assets.orders.totals import Totals, add, check_totals


def order_totals(order: Order) -> Totals:
    """The sums over the order's checks."""
    return add(check_totals(check, counts=not order.is_gone) for check in order.checks or ())
