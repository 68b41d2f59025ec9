"""Asset checks: those of ``checks.table`` as Dagster's, with a status and reasons per week."""

import warnings
from datetime import UTC, datetime

import dagster as dg

from toast_assets.checks.check import CheckedWeek, CheckResult
from toast_assets.checks.table import BLOCKING, CHECKS, Check
from toast_assets.defs.metadata import markdown_table
from toast_assets.defs.preflight import failures
from toast_assets.defs.resources import AmperityResource, OrderStoreResource
from toast_assets.defs.tables import AFTER_DELIVERY


def asset_checks(weekly: dg.PartitionsDefinition) -> list[dg.AssetChecksDefinition]:
    """All checks, each with a status per week."""
    # Partitioned checks are in preview in Dagster 1.13, hence its warning. The version is locked; the tests run them.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.PreviewWarning)
        return [_asset_check(asset, check, weekly) for asset, checks in CHECKS.items() for check in checks]


def _asset_check(asset: str, check: Check, weekly: dg.PartitionsDefinition) -> dg.AssetChecksDefinition:
    """``check`` as Dagster runs it, with the first paragraph of its docstring as description. One that does not block
    has time until the delivery is done."""
    blocking = check in BLOCKING

    @dg.asset_check(
        asset=dg.AssetKey(asset),
        name=check.__name__,
        description=" ".join((check.__doc__ or "").partition("\n\n")[0].split()),
        blocking=blocking,
        partitions_def=weekly,
        op_tags=None if blocking else AFTER_DELIVERY,
    )
    def evaluated(
        context: dg.AssetCheckExecutionContext, order_store: OrderStoreResource, amperity: AmperityResource
    ) -> dg.AssetCheckResult:
        with failures():
            weeks = order_store.calendar()
            week = weeks.closed_week(context.partition_key, datetime.now(UTC))
            store = order_store.store
            manifest, _ = store.load_manifest(week)
            if manifest is None or not manifest.stored:
                result = CheckResult([f"Week {week.key} was never pulled."])
            else:
                result = check(CheckedWeek(week, manifest, store, amperity.settings, weeks))
        details = {"details": markdown_table(result.heads, result.rows)} if result.rows else {}
        return dg.AssetCheckResult(
            passed=result.passed,
            severity=dg.AssetCheckSeverity.WARN if result.warns else dg.AssetCheckSeverity.ERROR,
            description=result.description,
            metadata={**result.figures, **details},
        )

    return evaluated
