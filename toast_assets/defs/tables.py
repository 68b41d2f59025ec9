"""The flat tables: six assets that one step makes out of a week's stored raw orders."""

from collections.abc import Iterator

import dagster as dg

from toast_assets.defs.assets import OWNERS, TABLES_GROUP, raw_toast_orders
from toast_assets.defs.preflight import check_settings, closed_week, failures
from toast_assets.defs.resources import OrderStoreResource
from toast_assets.defs.table_metadata import column_schema, orders_metadata, table_metadata
from toast_assets.store.raw_weeks import earlier_manifests
from toast_assets.tables.build import build_tables
from toast_assets.tables.schema import TABLES

# Of steps that could run, Dagster takes those of a higher priority first: no delivery waits for a table.
AFTER_DELIVERY = {"dagster/priority": "-1"}
_WEEKS_SHOWN = 8


@dg.multi_asset(
    name="toast_tables",
    specs=[
        dg.AssetSpec(
            name,
            deps=[raw_toast_orders],
            group_name=TABLES_GROUP,
            owners=OWNERS,
            kinds={"parquet", "s3"},
            description=table.description,
            metadata={"dagster/column_schema": column_schema(table)},
        )
        for name, table in TABLES.items()
    ],
    can_subset=False,
    op_tags=AFTER_DELIVERY,
)
def toast_tables(
    context: dg.AssetExecutionContext, order_store: OrderStoreResource
) -> Iterator[dg.MaterializeResult[None]]:
    with failures(order_store):
        check_settings(context, order_store)
        week, store = closed_week(context, order_store), order_store.store()
        report = build_tables(week, store, context.log)
        earlier = [
            (before.key, sum(pull.orders for pull in manifest.stored.values()))
            for before, manifest in earlier_manifests(week, order_store.calendar(), store, _WEEKS_SHOWN)
        ]
    for name, table in TABLES.items():
        metadata = table_metadata(table, report, store)
        if name == "orders":
            # What people look for comes first.
            metadata = {**orders_metadata(report, store, earlier[::-1]), **metadata}
        version = dg.DataVersion(report.files[name].sha256)
        yield dg.MaterializeResult(asset_key=name, metadata=metadata, data_version=version)
