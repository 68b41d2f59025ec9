"""Asset checks: those of ``checks.table`` as Dagster's, with a status and reasons per week."""

import warnings
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from toast_assets.checks.check import CheckedWeek, CheckResult
from toast_assets.checks.table import BLOCKING, CHECKS, Check
from toast_assets.defs.brand import Brand
from toast_assets.defs.metadata import markdown_table
from toast_assets.defs.preflight import failures
from toast_assets.defs.resources import OrderStoreResource, Resources
from toast_assets.defs.tables import AFTER_DELIVERY
from toast_assets.errors import WeekError, split_code
from toast_assets.week import Week


def asset_checks(brand: Brand, weekly: dg.PartitionsDefinition) -> list[dg.AssetChecksDefinition]:
    """All checks, each with a status per week."""
    # Partitioned checks are in preview in Dagster 1.13, hence its warning. The version is locked; the tests run them.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.PreviewWarning)
        return [_asset_check(brand, asset, check, weekly) for asset, checks in CHECKS.items() for check in checks]


def _asset_check(brand: Brand, asset: str, check: Check, weekly: dg.PartitionsDefinition) -> dg.AssetChecksDefinition:
    """``check`` as Dagster runs it. One that does not block has time until the delivery is done."""
    key, blocking = brand.key(*asset.split("/")), check in BLOCKING

    @dg.asset_check(
        asset=key,
        name=check.__name__,
        description=check_description(check),
        blocking=blocking,
        partitions_def=weekly,
        op_tags=None if blocking else AFTER_DELIVERY,
        required_resource_keys=Resources.keys(brand),
    )
    def evaluated(context: dg.AssetCheckExecutionContext) -> Any:
        resources = Resources.of(context, brand)
        order_store = resources.order_store
        with failures(brand):
            week, chosen = _checked_week(context, order_store)
            store = order_store.store
            manifest, _ = store.load_manifest(week)
            if manifest is None or not manifest.stored:
                code = "WEEK-NOT-PULLED"
                result = CheckResult([f"Week {week.key} was never pulled. [{code}]"], causes=[code])
            else:
                calendar = order_store.calendar()
                result = check(CheckedWeek(week, manifest, store, resources.amperity.settings, calendar))
        details = {"details": markdown_table(result.heads, result.rows)} if result.rows else {}
        # What quotes no error has the code of the check.
        own = [check_code(check)] if any(not split_code(problem)[1] for problem in result.problems) else []
        causes = {} if result.passed else {"causes": [*dict.fromkeys((*result.causes, *own))]}
        about: dict[str, Any] = {
            "asset_key": key,
            "check_name": check.__name__,
            "passed": result.passed,
            "severity": dg.AssetCheckSeverity.WARN if result.warns else dg.AssetCheckSeverity.ERROR,
            "description": brand.said(" ".join([f"{chosen}{result.description}", *(f"[{code}]" for code in own)])),
            "metadata": {"week": week.key, **result.figures, **details, **causes},
        }
        if not chosen:
            yield dg.AssetCheckResult(**about)
            return
        # Of a result Dagster looks up the materialization that was checked, which fails in a run without a partition.
        yield dg.Output(None, context.op_execution_context.op_def.output_defs[0].name)
        yield dg.AssetCheckEvaluation(**about, blocking=blocking)

    return evaluated


def check_description(check: Check) -> str:
    """The first paragraph of a check's docstring."""
    return " ".join((check.__doc__ or "").partition("\n\n")[0].split())


def check_code(check: Check) -> str:
    """The code of a failed check, in the form of those of errors."""
    return f"CHECK-{check.__name__.upper().replace('_', '-')}"


def _checked_week(context: dg.AssetCheckExecutionContext, order_store: OrderStoreResource) -> tuple[Week, str]:
    """The week to check, and how it was chosen where the run does not name one, as the UI's button for all checks of
    an asset does not."""
    calendar, now = order_store.calendar(), datetime.now(UTC)
    if context.has_partition_key or context.has_partition_key_range:
        return calendar.closed_week(context.partition_key, now), ""
    if newest := next(filter(calendar.is_week, reversed(order_store.store.pulled_weeks())), None):
        return calendar.closed_week(newest, now), f"The newest stored week is {newest}. "
    text, hint = "No week is stored yet, so there is nothing to check.", "Materialize raw_toast_orders first."
    raise WeekError(text, hint=hint, code="WEEK-NOT-PULLED")
