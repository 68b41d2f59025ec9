"""Checks on the way out: what is exported is what is stored, what arrived is what was exported."""

import dagster as dg

from toast_assets.checks.compared import export_equals_raw as compared_with_raw
from toast_assets.checks.delivered import delivered_equals_exported as compared_with_ledger
from toast_assets.checks.inspection import inspection_of
from toast_assets.checks.verdicts import Verdict
from toast_assets.defs.assets import amperity_delivery, toast_orders_s3_export
from toast_assets.defs.checks import judged, weekly_check
from toast_assets.defs.resources import AmperityResource, OrderStoreResource
from toast_assets.store.manifest import Manifest
from toast_assets.store.order_store import OrderStore
from toast_assets.week import Week


@weekly_check(
    toast_orders_s3_export,
    description=(
        "Every export unpacks and holds the stored orders, by count and hash. Blocks if none does: nothing else may"
        " leave."
    ),
    blocking=True,
)
def export_equals_raw(context: dg.AssetCheckExecutionContext, order_store: OrderStoreResource) -> dg.AssetCheckResult:
    return judged(context, order_store, compared_with_raw)


@weekly_check(
    amperity_delivery,
    description=(
        "Amperity has accepted every exported order in its stored version and as it would be sent now, by the"
        " delivery ledger; a notice of every export, and a load of the feeds, where these methods are set."
    ),
)
def delivered_equals_exported(
    context: dg.AssetCheckExecutionContext, order_store: OrderStoreResource, amperity: AmperityResource
) -> dg.AssetCheckResult:
    def judge(week: Week, manifest: Manifest, store: OrderStore) -> Verdict:
        return compared_with_ledger(
            week, manifest, lambda: inspection_of(week, manifest, store), store, amperity.settings()
        )

    return judged(context, order_store, judge)


DELIVERY_CHECKS = [export_equals_raw, delivered_equals_exported]
