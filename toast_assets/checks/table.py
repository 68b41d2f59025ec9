"""All asset checks: what Dagster shows, runs and blocks by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from toast_assets.checks.check import CheckedWeek, CheckResult
from toast_assets.checks.delivery import delivered_equals_exported, export_equals_raw
from toast_assets.checks.raw_orders import (
    every_order_readable,
    every_restaurant_complete,
    guests_reachable,
    guests_scope_present,
    modified_times_inside_week,
    no_schema_drift,
    order_guids_unique,
    volume_as_usual,
)
from toast_assets.checks.tables import totals_reconcile


@dataclass(frozen=True)
class Check:
    """A check of an asset, with the name of its function and the first paragraph of that docstring as description.

    ``severity`` is that of a failure, which a result can lower to a warning. A ``blocking`` check that fails with an
    error stops what comes after its asset.
    """

    asset: str
    function: Callable[[CheckedWeek], CheckResult]
    severity: Literal["ERROR", "WARN"] = "ERROR"
    blocking: bool = False

    @property
    def name(self) -> str:
        """The name in the UI."""
        return self.function.__name__

    @property
    def description(self) -> str:
        """What the check is about, in the UI."""
        return " ".join((self.function.__doc__ or "").partition("\n\n")[0].split())

    def evaluate(self, checked: CheckedWeek) -> CheckResult:
        """The function's result; it ``warns`` where a failure is no more than a warning."""
        result = self.function(checked)
        return replace(result, warns=True) if self.severity == "WARN" else result


_RAW = "raw_toast_orders"

CHECKS = (
    Check(_RAW, every_restaurant_complete),
    Check(_RAW, every_order_readable, "WARN"),
    Check(_RAW, order_guids_unique, blocking=True),
    Check(_RAW, modified_times_inside_week, "WARN"),
    Check(_RAW, no_schema_drift, "WARN"),
    Check(_RAW, guests_scope_present, "WARN"),
    Check(_RAW, guests_reachable),
    Check(_RAW, volume_as_usual, "WARN"),
    Check("toast_orders_s3_export", export_equals_raw, blocking=True),
    Check("amperity_delivery", delivered_equals_exported),
    Check("orders", totals_reconcile),
)
