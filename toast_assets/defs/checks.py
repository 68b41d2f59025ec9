"""Asset checks: what a person may trust about a week, each with its reasons, per partition.

Here is what all checks share, and the one about the pull itself. ``checks_raw``, ``checks_delivery`` and
``checks_tables`` hold the others.
"""

import warnings
from collections.abc import Callable
from datetime import UTC, datetime

import dagster as dg

from toast_assets.checks import verdicts
from toast_assets.checks.verdicts import Verdict
from toast_assets.defs.assets import raw_toast_orders
from toast_assets.defs.metadata import markdown_table
from toast_assets.defs.preflight import failures
from toast_assets.defs.resources import OrderStoreResource
from toast_assets.defs.tables import AFTER_DELIVERY
from toast_assets.store.manifest import Manifest
from toast_assets.store.order_store import OrderStore
from toast_assets.week import Week

WeeklyCheck = Callable[[dg.PartitionsDefinition], dg.AssetChecksDefinition]
"""A check that ``build_defs`` gives its partitions."""
_Decorator = Callable[[Callable[..., dg.AssetCheckResult]], WeeklyCheck]
Judge = Callable[[Week, Manifest, OrderStore], Verdict]


def weekly_check(asset: dg.AssetsDefinition | dg.AssetKey, description: str, *, blocking: bool = False) -> _Decorator:
    """``dg.asset_check`` with a status per week. A check that does not block has time until the delivery is done.

    Partitioned checks are in preview in Dagster 1.13, hence its warning at each import; the version is locked, and
    the tests run them.
    """

    def decorate(function: Callable[..., dg.AssetCheckResult]) -> WeeklyCheck:
        def check(weekly: dg.PartitionsDefinition) -> dg.AssetChecksDefinition:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", dg.PreviewWarning)
                return dg.asset_check(
                    asset=asset,
                    partitions_def=weekly,
                    description=description,
                    blocking=blocking,
                    op_tags=None if blocking else AFTER_DELIVERY,
                )(function)

        return check

    return decorate


def judged(
    context: dg.AssetCheckExecutionContext, order_store: OrderStoreResource, judge: Judge
) -> dg.AssetCheckResult:
    """What ``judge`` says of the context's week, as Dagster shows it; a week that was never pulled fails."""
    with failures():
        week = order_store.calendar().closed_week(context.partition_key, datetime.now(UTC))
        store = order_store.store()
        manifest, _ = store.load_manifest(week)
        if manifest is None or not manifest.stored:
            return _shown(Verdict(False, f"Week {week.key} was never pulled."))
        return _shown(judge(week, manifest, store))


def _shown(found: Verdict) -> dg.AssetCheckResult:
    details = {"details": markdown_table(found.heads, found.rows)} if found.rows else {}
    return dg.AssetCheckResult(
        passed=found.passed,
        severity=dg.AssetCheckSeverity.WARN if found.warns else dg.AssetCheckSeverity.ERROR,
        description=found.description,
        metadata={**found.figures, **details},
    )


@weekly_check(
    raw_toast_orders,
    description="Every restaurant's week was pulled and proved whole. Does not block: what is whole goes on.",
)
def every_restaurant_complete(
    context: dg.AssetCheckExecutionContext, order_store: OrderStoreResource
) -> dg.AssetCheckResult:
    return judged(context, order_store, lambda _week, manifest, _store: verdicts.every_restaurant_complete(manifest))
