"""All asset checks by the key of their asset, and those that stop what comes after it when they fail."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from toast_assets.checks import census, delivery, net_sales, raw_orders, totals
from toast_assets.checks.check import CheckedWeek, CheckResult

Check = Callable[[CheckedWeek], CheckResult]

CHECKS: Mapping[str, Sequence[Check]] = {
    "raw_toast_orders": (
        raw_orders.every_restaurant_complete,
        raw_orders.every_order_readable,
        census.no_order_missing,
        raw_orders.order_guids_unique,
        raw_orders.modified_times_inside_week,
        raw_orders.no_schema_drift,
        raw_orders.guests_scope_present,
        raw_orders.guests_reachable,
        raw_orders.names_known,
        raw_orders.volume_as_usual,
    ),
    "toast_orders_s3_export": (delivery.export_equals_raw,),
    "amperity_delivery": (delivery.delivered_equals_exported,),
    "toast/orders": (totals.totals_reconcile, net_sales.net_sales_agree_with_toast),
}
BLOCKING: Sequence[Check] = (raw_orders.order_guids_unique, delivery.export_equals_raw)
