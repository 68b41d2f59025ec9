"""What a person sees of the flat tables: columns and where they come from, counts, rejections, pictures."""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from toast_assets import markdown
from toast_assets.defs.metadata import failed_restaurants, markdown_table, nulled_metadata
from toast_assets.defs.pictures import heat_map, volume
from toast_assets.store.order_store import OrderStore
from toast_assets.tables.build import TablesReport
from toast_assets.tables.columns import Table
from toast_assets.tables.current_orders import ORDERS, CurrentReport

_RAW = dg.AssetKey("raw_toast_orders")
# Toast's orders do not say where they come from: this one column is the pull's own.
_OF_THE_PULL = "restaurant_guid"


def column_schema(table: Table) -> dg.TableSchema:
    """Names, types and descriptions of a table's columns, each with its Toast field."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                column.name,
                str(table.schema.field(column.name).type),
                column.description + (f" Toast: {toast}." if (toast := table.toast_field(column)) else ""),
                dg.TableColumnConstraints(nullable=table.schema.field(column.name).nullable),
            )
            for column in table.columns
        ]
    )


def column_lineage(table: Table) -> dg.TableColumnLineage:
    """Every column comes out of the raw order's JSON, the restaurant out of the column beside it."""
    return dg.TableColumnLineage(
        {
            column.name: [dg.TableColumnDep(_RAW, _OF_THE_PULL if column.name == _OF_THE_PULL else "order_json")]
            for column in table.columns
        }
    )


def table_metadata(table: Table, report: TablesReport, store: OrderStore) -> dict[str, Any]:
    """Metadata of one table's materialization."""
    file = report.files[table.name]
    return {
        "dagster/row_count": file.rows,
        "dagster/uri": store.bucket.uri(file.key),
        "dagster/column_schema": column_schema(table),
        "dagster/column_lineage": column_lineage(table),
        "rows": file.rows,
        "bytes": file.bytes,
        "seconds": round(report.seconds, 2),
        "rejected_orders": report.rejected,
    }


def orders_metadata(report: TablesReport, store: OrderStore, weeks: Sequence[tuple[str, int]]) -> Mapping[str, Any]:
    """What ``orders`` shows beyond the other tables; ``weeks`` are earlier weeks' keys and orders, oldest first."""
    orders = report.files["orders"].rows
    rows = [
        (
            one.name or one.guid,
            *(one.orders, f"{one.net_sales:,.2f}", one.late, one.requests, f"{one.seconds:.1f}"),
        )
        for one in report.restaurants
    ]
    heads = ("restaurant", "orders", "net sales", "late changes", "requests", "seconds")
    keys = (store.layout.raw, store.layout.export)
    objects = [
        (one.name or one.guid, markdown.code(store.bucket.uri(key(report.week, one.guid))))
        for one in report.restaurants
        for key in keys
    ]
    metadata = {
        "orders": orders,
        # Dagster plots numbers, and it knows no decimals.
        "net_sales": float(report.net_sales),
        "late_changes": sum(one.late for one in report.restaurants),
        "restaurants": len(report.restaurants),
        "new_orders": report.changes.new,
        "changed_orders": report.changes.changed,
        "unchanged_orders": report.changes.unchanged,
        "per_restaurant": markdown_table(heads, rows),
        "orders_by_hour": heat_map(report.opened),
        "orders_by_week": volume([*weeks, (report.week.key, orders)]),
        "objects": markdown_table(("restaurant", "object"), objects),
        **nulled_metadata(report.nulled),
        "manifest": dg.MetadataValue.url(store.bucket.uri(store.layout.manifest(report.week))),
        **failed_restaurants(report.problems),
    }
    if report.rejections:
        first = [(one.order_guid, one.restaurant_guid, one.reason.value, one.detail) for one in report.rejections]
        metadata["rejections"] = markdown_table(("order", "restaurant", "reason", "detail"), first)
    return metadata


def current_metadata(report: CurrentReport, store: OrderStore) -> Mapping[str, Any]:
    """Metadata of ``current_orders``."""
    orders = dg.AssetKey("orders")
    lineage = {column.name: [dg.TableColumnDep(orders, column.name)] for column in ORDERS.columns}
    return {
        "dagster/row_count": report.state.orders,
        "dagster/uri": store.bucket.uri(store.layout.table_folder("current_orders")),
        "dagster/column_lineage": dg.TableColumnLineage(lineage),
        "orders": report.state.orders,
        "new_orders": report.new,
        "changed_orders": report.replaced,
        "restaurants": len(report.state.restaurants),
        "weeks": len(report.state.weeks),
        "weeks_read": len(report.weeks),
        "weeks_left_out": ", ".join(report.left_out) or "none",
        "seconds": round(report.seconds, 2),
        "state": dg.MetadataValue.url(store.bucket.uri(store.layout.current_orders_state())),
    }
