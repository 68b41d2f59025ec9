"""Checks of the flat tables."""

import dagster as dg

from toast_assets.checks.compared import totals_reconcile as compared_with_raw
from toast_assets.checks.inspection import inspection_of
from toast_assets.defs.checks import judged, weekly_check
from toast_assets.defs.resources import OrderStoreResource


@weekly_check(
    dg.AssetKey("orders"),
    description=(
        "Orders, net sales by Toast's recipe, tax, tips, payments and refunds of the tables are those of the raw"
        " orders, which are added up on their own, for every restaurant to the cent. Orders that the tables reject are"
        " named and count on neither side."
    ),
)
def totals_reconcile(context: dg.AssetCheckExecutionContext, order_store: OrderStoreResource) -> dg.AssetCheckResult:
    return judged(
        context,
        order_store,
        lambda week, manifest, store: compared_with_raw(week, manifest, inspection_of(week, manifest, store), store),
    )


TABLE_CHECKS = [totals_reconcile]
