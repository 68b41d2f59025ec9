"""The newest state of every order over all weeks: one asset without partitions, refreshed by each weekly run.

A weekly run may hold assets without partitions beside partitioned ones, so this needs no trigger of its own.
"""

import dagster as dg

from toast_assets.defs.assets import OWNERS, TABLES_GROUP
from toast_assets.defs.preflight import check_settings, failures
from toast_assets.defs.resources import OrderStoreResource
from toast_assets.defs.table_metadata import column_schema, current_metadata
from toast_assets.defs.tables import AFTER_DELIVERY
from toast_assets.tables.current_orders import ORDERS, refresh_current_orders


@dg.asset(
    deps=["orders"],
    group_name=TABLES_GROUP,
    owners=OWNERS,
    kinds={"parquet", "s3"},
    # Runs of different weeks write the same files; one after the other, none has to merge again.
    pool="current_orders",
    op_tags=AFTER_DELIVERY,
    metadata={"dagster/column_schema": column_schema(ORDERS)},
    description="One row per order over all weeks, its newest version: sales after late tips, voids and refunds.",
)
def current_orders(context: dg.AssetExecutionContext, order_store: OrderStoreResource) -> dg.MaterializeResult[None]:
    with failures(order_store):
        check_settings(context, order_store)
        store = order_store.store()
        report = refresh_current_orders(store, context.log)
    return dg.MaterializeResult(
        metadata=current_metadata(report, store), data_version=dg.DataVersion(report.state.data_version)
    )
