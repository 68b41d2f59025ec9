"""The assets ``toast/names`` and ``toast/restaurants``, over all weeks: each pull merges what it reads into them, and
this step reports what they hold."""

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

from toast_assets.defs.brand import Brand
from toast_assets.defs.metadata import markdown_table
from toast_assets.defs.preflight import prepared
from toast_assets.defs.resources import Resources
from toast_assets.defs.tables import AFTER_DELIVERY, table_spec
from toast_assets.tables.names import names_version, stored_rows
from toast_assets.tables.schema import NAMES, RESTAURANTS


def toast_configuration(brand: Brand) -> dg.AssetsDefinition:
    """What is known of Toast's configuration."""
    tables = {brand.table(table.name): table for table in (NAMES, RESTAURANTS)}

    @dg.multi_asset(
        name=brand.named("toast_configuration"),
        specs=[table_spec(brand, table) for table in tables.values()],
        can_subset=True,
        op_tags=AFTER_DELIVERY,
        required_resource_keys=Resources.keys(brand),
    )
    def assets(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None]]:
        with prepared(context, brand, writes=False) as store:
            for key, table in tables.items():
                if key in context.selected_asset_keys:
                    rows, uri = stored_rows(store, table), store.bucket.uri(store.layout.whole_table(table.name))
                    details = _kinds(rows, brand) if table is NAMES else _descriptions(rows)
                    yield dg.MaterializeResult(
                        asset_key=key,
                        metadata={
                            **{"dagster/row_count": len(rows), "dagster/uri": uri, "rows": len(rows)},
                            **details,
                            "file": uri,
                        },
                        data_version=dg.DataVersion(names_version(store, table)),
                    )

    return assets


def _kinds(names: pa.Table, brand: Brand) -> Mapping[str, Any]:
    if not len(names):
        note = "No name was read yet: TOAST_NAMES is off, or the client lacks the scope config:read."
        return {"note": brand.said(note)}
    last = names.group_by("restaurant_guid").aggregate([("last_seen", "max")])
    both = names.join(last, "restaurant_guid")
    gone = pc.less(both["last_seen"], both["last_seen_max"]).cast(pa.int32())
    counts = [("guid", "count"), ("gone", "sum")]
    found = both.append_column("gone", gone).group_by("kind").aggregate(counts).sort_by("kind").to_pydict()
    heads = ("kind", "names", "no longer at Toast")
    return {"kinds": markdown_table(heads, list(zip(*found.values(), strict=True)))}


def _descriptions(restaurants: pa.Table) -> Mapping[str, Any]:
    rows = [
        (
            f"{' – '.join(filter(None, (row['restaurant_name'], row['location_name'])))} ({row['restaurant_guid']})",
            *(row[name] or "" for name in ("location_code", "time_zone", "currency")),
            "yes" if row["archived"] else "no",
        )
        for row in restaurants.sort_by("restaurant_name").to_pylist()
    ]
    return {"list": markdown_table(("restaurant", "code", "time zone", "currency", "archived"), rows)}
