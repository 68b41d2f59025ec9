"""All asset checks: what Dagster shows, runs and blocks by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from toast_assets.checks import delivery, raw_orders, totals
from toast_assets.checks.check import CheckedWeek, CheckResult


@dataclass(frozen=True)
class Check:
    """A check of an asset, with the name of its function and the first paragraph of that docstring as description. A
    ``blocking`` one that fails with an error stops what comes after its asset."""

    asset: str
    function: Callable[[CheckedWeek], CheckResult]
    blocking: bool = False

    @property
    def name(self) -> str:
        return self.function.__name__

    @property
    def description(self) -> str:
        """What the check is about, in the UI."""
        return " ".join((self.function.__doc__ or "").partition("\n\n")[0].split())


_RAW = "raw_toast_orders"

CHECKS = (
    Check(_RAW, raw_orders.every_restaurant_complete),
    Check(_RAW, raw_orders.every_order_readable),
    Check(_RAW, raw_orders.order_guids_unique, blocking=True),
    Check(_RAW, raw_orders.modified_times_inside_week),
    Check(_RAW, raw_orders.no_schema_drift),
    Check(_RAW, raw_orders.guests_scope_present),
    Check(_RAW, raw_orders.guests_reachable),
    Check(_RAW, raw_orders.volume_as_usual),
    Check("toast_orders_s3_export", delivery.export_equals_raw, blocking=True),
    Check("amperity_delivery", delivery.delivered_equals_exported),
    Check("orders", totals.totals_reconcile),
)
