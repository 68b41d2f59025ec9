"""The asset ``toast/status``: restaurants × weeks, refreshed by every run, also by one whose pull or delivery fails."""

from collections import Counter
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pyarrow as pa

from toast_assets.defs.brand import SOURCE, Brand
from toast_assets.defs.metadata import markdown_table
from toast_assets.defs.pictures import status_map
from toast_assets.defs.preflight import prepared
from toast_assets.defs.resources import Resources
from toast_assets.defs.tables import column_schema
from toast_assets.settings import CalendarSettings, SensorSettings
from toast_assets.status.rows import STANDINGS, standing
from toast_assets.status.summary import causes, week_lines
from toast_assets.status.table import Status
from toast_assets.tables.schema import STATUS

# A run takes it last. It depends on nothing that the run makes: a step that depends on the delivery would be skipped
# after a failure, when people look at this page.
_LAST = {"dagster/priority": "-2"}
_RESTAURANTS_NAMED = 2


def toast_status(brand: Brand) -> dg.AssetsDefinition:
    """What is stored and delivered of each restaurant's weeks, and what is not."""

    @dg.asset(
        key=brand.table(STATUS.name),
        deps=[brand.key(SOURCE)],
        kinds={"parquet", "s3"},
        op_tags=_LAST,
        metadata={"dagster/column_schema": column_schema(STATUS)},
        description=STATUS.description,
        required_resource_keys=Resources.keys(brand),
    )
    def asset(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
        with prepared(context, brand, alone=True) as store:
            settings = CalendarSettings.parse(Resources.of(context, brand).order_store.values())
            sensor = SensorSettings.parse(brand.values())
            report = Status(store, settings, sensor, datetime.now(UTC)).refresh()
        uri = store.bucket.uri(store.layout.whole_table(STATUS.name))
        metadata = {**_shown(report.table, brand), "weeks_read": len(report.weeks), "file": uri}
        return dg.MaterializeResult(metadata={"dagster/row_count": len(report.table), "dagster/uri": uri, **metadata})

    return asset


def _shown(table: pa.Table, brand: Brand) -> dict[str, Any]:
    """What needs attention first, then the picture, and counts that Dagster plots."""
    found, lines = causes(table), week_lines(table)
    rows = [
        (one.when, len(one.restaurants), which, one.standing, one.reason, one.next)
        for one in found
        for which in ["all" if one.everywhere else ", ".join(one.named(_RESTAURANTS_NAMED))]
    ]
    heads = ("weeks", "restaurants", "which", "state", "reason", "next")
    nothing = "Nothing is missing." if lines else "No week is stored yet."
    attention = brand.said(markdown_table(heads, rows).md_str) if rows else nothing
    counts = Counter(map(standing, table["state"].to_pylist(), table["delivery"].to_pylist()))
    return {
        "attention": dg.MetadataValue.md(attention),
        "restaurants_by_week": status_map(table),
        **{name.replace(" ", "_"): counts[name] for name in STANDINGS},
        **{name: sum(line.sums[name] for line in lines) for name in ("rejected", "pending")},
        "restaurants": len(table["restaurant_guid"].unique()),
        "weeks": len(lines),
    }
