"""Asset checks: what a person may trust about a week, each with its reasons, per partition."""

import warnings
from collections.abc import Callable
from datetime import UTC, datetime

import dagster as dg

from toast_assets.defs.assets import WEEKLY, raw_toast_orders
from toast_assets.defs.metadata import markdown_table
from toast_assets.defs.partitions import calendar
from toast_assets.defs.preflight import failures
from toast_assets.defs.resources import OrderStoreResource

_Decorator = Callable[[Callable[..., dg.AssetCheckResult]], dg.AssetChecksDefinition]


def _weekly_check(asset: dg.AssetsDefinition, description: str, *, blocking: bool = False) -> _Decorator:
    """``dg.asset_check`` with a status per week.

    Partitioned checks are in preview in Dagster 1.13, hence its warning at each import; the version is locked, and
    the tests run them.
    """

    def decorate(function: Callable[..., dg.AssetCheckResult]) -> dg.AssetChecksDefinition:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", dg.PreviewWarning)
            return dg.asset_check(asset=asset, partitions_def=WEEKLY, description=description, blocking=blocking)(
                function
            )

    return decorate


@_weekly_check(
    raw_toast_orders,
    description="Every restaurant's week was pulled and proved whole. Does not block: what is whole goes on.",
)
def every_restaurant_complete(
    context: dg.AssetCheckExecutionContext, order_store: OrderStoreResource
) -> dg.AssetCheckResult:
    with failures():
        week = calendar().closed_week(context.partition_key, datetime.now(UTC))
        manifest, _ = order_store.store().load_manifest(week)
    if manifest is None:
        return dg.AssetCheckResult(passed=False, description=f"Week {week.key} was never pulled.")
    reasons = {guid: manifest.restaurants[guid].failure or "failed" for guid in manifest.failures}
    reasons |= dict.fromkeys(manifest.pending, "not pulled yet: a run was cut off")
    listed = "; ".join(f"{guid}: {reason}" for guid, reason in reasons.items())
    described = f"{len(reasons)} restaurants are missing – {listed}" if reasons else "All restaurants are complete."
    return dg.AssetCheckResult(
        passed=not reasons,
        severity=dg.AssetCheckSeverity.ERROR,
        description=described,
        metadata={
            "restaurants": len(manifest.restaurants),
            "missing": len(reasons),
            "reasons": markdown_table(("restaurant", "reason"), list(reasons.items())),
        },
    )
