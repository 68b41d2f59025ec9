"""The assets ``toast/names`` and ``toast/restaurants``, over all weeks: each pull merges what it reads into them, and
this step reports what they hold."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from toast_assets.defs.assets import OWNERS, TABLES_GROUP, raw_toast_orders
from toast_assets.defs.metadata import markdown_table
from toast_assets.defs.preflight import prepared
from toast_assets.defs.resources import OrderStoreResource
from toast_assets.defs.tables import AFTER_DELIVERY, column_schema
from toast_assets.tables.names import NAMES, RESTAURANTS, names_version, stored_rows

_KEYS = {table.name: dg.AssetKey(["toast", table.name]) for table in (NAMES, RESTAURANTS)}
_SHOWN = ("restaurant_name", "location_name", "location_code", "time_zone", "currency", "archived")


@dg.multi_asset(
    name="toast_configuration",
    specs=[
        dg.AssetSpec(
            _KEYS[table.name],
            deps=[raw_toast_orders],
            group_name=TABLES_GROUP,
            owners=OWNERS,
            kinds={"toast", "parquet", "s3"},
            description=table.description,
            metadata={"dagster/column_schema": column_schema(table)},
        )
        for table in (NAMES, RESTAURANTS)
    ],
    can_subset=True,
    op_tags=AFTER_DELIVERY,
)
def toast_configuration(
    context: dg.AssetExecutionContext, order_store: OrderStoreResource
) -> Iterator[dg.MaterializeResult[None]]:
    with prepared(context, order_store, writes=False) as store:
        for table in (NAMES, RESTAURANTS):
            if _KEYS[table.name] not in context.selected_asset_keys:
                continue
            rows = stored_rows(store, table)
            metadata: dict[str, Any] = {
                "dagster/row_count": len(rows),
                "dagster/uri": store.bucket.uri(store.layout.whole_table(table.name)),
                "rows": len(rows),
            }
            if not rows:
                metadata["note"] = (
                    "Nothing was read yet: TOAST_NAMES is off, or the client lacks the scope config:read."
                )
            if table is NAMES:
                kinds = rows.group_by("kind").aggregate([("guid", "count"), ("last_seen", "max")]).sort_by("kind")
                metadata["kinds"] = markdown_table(
                    ("kind", "names", "last read"), list(zip(*kinds.to_pydict().values(), strict=True))
                )
            else:
                listed = rows.select(_SHOWN).sort_by("restaurant_name").to_pylist()
                metadata["list"] = markdown_table(
                    [name.replace("_", " ") for name in _SHOWN], [one.values() for one in listed]
                )
            version = names_version(store, table)
            yield dg.MaterializeResult(
                asset_key=_KEYS[table.name], metadata=metadata, data_version=dg.DataVersion(version)
            )
