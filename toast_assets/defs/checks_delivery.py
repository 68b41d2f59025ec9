"""Checks on the way out: what is exported is what is stored, what arrived is what was exported."""

import dagster as dg

from toast_assets.defs.assets import amperity_delivery, toast_orders_s3_export
from toast_assets.defs.checks import judged, weekly_check
from toast_assets.defs.resources import AmperityResource, OrderStoreResource
from toast_assets.pipeline.crosschecks import delivered_equals_exported as compared_with_ledger
from toast_assets.pipeline.crosschecks import export_equals_raw as compared_with_raw
from toast_assets.pipeline.inspection import inspection_of
from toast_assets.pipeline.verdicts import Verdict
from toast_assets.store.manifest import Manifest
from toast_assets.store.order_store import OrderStore
from toast_assets.week import Week


@weekly_check(
    toast_orders_s3_export,
    description="Every export unpacks and holds the stored orders, by count and hash. Blocks: nothing else may leave.",
    blocking=True,
)
def export_equals_raw(context: dg.AssetCheckExecutionContext, order_store: OrderStoreResource) -> dg.AssetCheckResult:
    return judged(context, order_store, compared_with_raw)


@weekly_check(
    amperity_delivery,
    description="Amperity has accepted every exported order in its stored version, by the delivery ledger.",
)
def delivered_equals_exported(
    context: dg.AssetCheckExecutionContext, order_store: OrderStoreResource, amperity: AmperityResource
) -> dg.AssetCheckResult:
    def judge(week: Week, manifest: Manifest, store: OrderStore) -> Verdict:
        settings = amperity.settings()
        if "stream" not in settings.methods or settings.stream_id is None:
            return Verdict(True, "Orders are not streamed (AMPERITY_DELIVERY): there are no receipts to compare.")
        found = inspection_of(week, manifest, store)
        return compared_with_ledger(week, manifest, found, store, settings.stream_id)

    return judged(context, order_store, judge)


DELIVERY_CHECKS = [export_equals_raw, delivered_equals_exported]
