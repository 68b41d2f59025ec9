"""The flat tables: the assets that one step makes out of a week's stored raw orders, and ``current_orders`` of all
weeks, which each weekly run refreshes; with what a person sees of them."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from functools import partial
from typing import Any

import dagster as dg

from toast_assets.defs.brand import RAW, Brand
from toast_assets.defs.metadata import ANY, failed_restaurants, markdown_table, unconverted
from toast_assets.defs.pictures import channel_table, heat_map, sales_by_channel, sales_by_hour, still_to_come, volume
from toast_assets.defs.preflight import closed_week, prepared
from toast_assets.defs.resources import Resources
from toast_assets.markdown import plain
from toast_assets.status.settling import DAYS, LEGEND, SHARES, TOTALS, Settling, settling
from toast_assets.store.manifest import full_name
from toast_assets.store.order_store import OrderStore
from toast_assets.store.raw_weeks import earlier_manifests
from toast_assets.tables.build import TablesReport, build_tables
from toast_assets.tables.columns import Column, Table
from toast_assets.tables.current_files import CURRENT
from toast_assets.tables.current_orders import refresh_current_orders
from toast_assets.tables.schema import TABLES

# Of steps that could run, Dagster takes those of a higher priority first: no delivery waits for a table.
AFTER_DELIVERY = {"dagster/priority": "-1"}
_WEEKS_SHOWN = 8
_CURVES = 5
# Columns that hold what is known of the restaurant; Toast's orders do not say it.
_OF_RESTAURANT = ("restaurant_guid", "restaurant_name", "currency")


def column_schema(table: Table) -> dg.TableSchema:
    """Names, types and descriptions of a table's columns, each with its Toast field."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                column.name,
                str(field.type),
                column.description + (f" Toast: {toast}." if (toast := table.toast_field(column)) else ""),
                dg.TableColumnConstraints(nullable=field.nullable),
            )
            for column, field in zip(table.columns, table.schema, strict=True)
        ]
    )


def table_spec(brand: Brand, table: Table) -> dg.AssetSpec:
    """A table's asset, made of what a pull stores."""
    return dg.AssetSpec(
        brand.table(table.name),
        deps=[brand.key(RAW)],
        kinds={"parquet", "s3"},
        description=table.description,
        metadata={"dagster/column_schema": column_schema(table)},
    )


def _sources(column: Column, brand: Brand) -> Iterator[dg.TableColumnDep]:
    """The columns that a column is made of."""
    if column.lookup:
        yield dg.TableColumnDep(brand.table("names"), column.lookup.what)
    if column.path or not column.lookup:
        source = "restaurant_guid" if column.name in _OF_RESTAURANT else "order_json"
        yield dg.TableColumnDep(brand.key(RAW), source)


def toast_tables(brand: Brand) -> dg.AssetsDefinition:
    """The tables of one week."""

    @dg.multi_asset(
        name=brand.named("toast_tables"),
        specs=[table_spec(brand, table) for table in TABLES.values()],
        can_subset=False,
        op_tags=AFTER_DELIVERY,
        required_resource_keys=Resources.keys(brand),
    )
    def assets(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None]]:
        resources = Resources.of(context, brand)
        with prepared(context, brand) as store:
            week, calendar = closed_week(context, resources.order_store), resources.order_store.calendar()
            report = build_tables(week, store, context.log, salt=resources.amperity.salt())
            earlier = [
                (before.key, sum(pull.orders for pull in manifest.stored.values()))
                for before, manifest in earlier_manifests(week, calendar, store, _WEEKS_SHOWN)
            ]
        for name, table in TABLES.items():
            file = report.files[name]
            lineage = {column.name: [*_sources(column, brand)] for column in table.columns}
            metadata = {
                # What people look for comes first.
                **(_orders_metadata(report, store, earlier[::-1]) if name == "orders" else {}),
                "dagster/row_count": file.rows,
                "dagster/uri": store.bucket.uri(file.key),
                "dagster/column_schema": column_schema(table),
                "dagster/column_lineage": dg.TableColumnLineage(lineage),
                "rows": file.rows,
                "bytes": file.bytes,
                "seconds": round(report.seconds, 2),
                "rejected_orders": report.rejected,
                "file": store.bucket.uri(file.key),
            }
            version = dg.DataVersion(file.sha256)
            yield dg.MaterializeResult(asset_key=brand.table(name), metadata=metadata, data_version=version)

    return assets


def current_orders(brand: Brand) -> dg.AssetsDefinition:
    """The newest state of all orders."""
    orders = brand.table("orders")

    @dg.asset(
        key=brand.table("current_orders"),
        deps=[orders],
        kinds={"parquet", "s3"},
        # Runs of different weeks write the same files; one after the other, no run has to merge again.
        pool=brand.named("current_orders"),
        op_tags=AFTER_DELIVERY,
        metadata={"dagster/column_schema": column_schema(CURRENT)},
        description="One row per order over all weeks, its newest version: sales after late tips, voids and refunds.",
        required_resource_keys=Resources.keys(brand),
    )
    def asset(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
        with prepared(context, brand) as store:
            resources = Resources.of(context, brand)
            report = refresh_current_orders(store, context.log, salt=resources.amperity.salt())
            settled = settling(store, resources.order_store.calendar(), context.log)
        state = report.state
        metadata: dict[str, Any] = {
            "dagster/row_count": state.orders,
            "dagster/uri": store.bucket.uri(store.layout.table_folder("current_orders")),
            "dagster/column_lineage": dg.TableColumnLineage(
                {name: [dg.TableColumnDep(orders, name)] for name in TABLES["orders"].schema.names}
                | {"newest_unreadable": [dg.TableColumnDep(orders, "modified_at")]}
            ),
            "orders": state.orders,
            "new_orders": report.new,
            "changed_orders": report.replaced,
            "restaurants": len(state.restaurants),
            "weeks": len(state.weeks),
            "weeks_read": len(report.weeks),
            "weeks_left_out": ", ".join(report.left_out) or "none",
            "seconds": round(report.seconds, 2),
            "files": store.bucket.uri(store.layout.current_orders(ANY, "YYYY-MM")),
            **_settling_metadata(settled),
        }
        return dg.MaterializeResult(metadata=metadata, data_version=dg.DataVersion(state.data_version))

    return asset


def _settling_metadata(found: Settling) -> Mapping[str, Any]:
    """How long figures still move, and what second looks brought."""
    rows = [
        (f"{plain(one.name)} ({one.restaurant_guid})" if one.name else one.restaurant_guid, *one.cells)
        for one in found.restaurants
    ]
    metadata: dict[str, Any] = {
        "settling": markdown_table(("restaurant", *SHARES, "backdated"), rows),
        "settling_legend": LEGEND,
        "backdated_orders": found.backdated,
    }
    if found.totals:
        totals = [(f"all, {currency}", total.money_shares) for currency, total in found.totals.items()]
        named = zip(found.short_names, found.restaurants, strict=True)
        curves = [(name, one.followed.money_shares) for name, one in named if one.followed_problem is None]
        metadata["settling_of_all"] = markdown_table(("currency", *TOTALS), found.total_rows)
        metadata["still_to_come"] = still_to_come(DAYS, totals, curves[:_CURVES] if len(curves) > 1 else [])
    return metadata


def _orders_metadata(report: TablesReport, store: OrderStore, weeks: Sequence[tuple[str, int]]) -> Mapping[str, Any]:
    """What ``orders`` shows beyond the other tables; ``weeks`` are earlier weeks' keys and orders, oldest first."""
    orders, named = report.files["orders"].rows, partial(full_name, report.records)
    rows = []
    net_sales: dict[str, Decimal] = defaultdict(Decimal)
    for one in report.restaurants:
        currency = one.currency or "unknown currency"
        rows.append((named(one.guid), one.orders, f"{one.net_sales:,.2f} {currency}", one.late))
        net_sales[currency] += one.net_sales
    single = len(net_sales) <= 1
    return {
        "orders": orders,
        # Dagster plots numbers, and it knows no decimals.
        **{"net_sales" if single else f"net_sales_{code}": float(amount) for code, amount in net_sales.items()},
        **({"currency": next(iter(net_sales), "unknown currency")} if single else {}),
        "late_changes": sum(one.late for one in report.restaurants),
        "restaurants": len(report.restaurants),
        **failed_restaurants(report.problems, named),
        **{f"{what}_orders": report.changes[what] for what in ("new", "changed", "unchanged")},
        "per_restaurant": markdown_table(("restaurant", "orders", "net sales", "late changes"), rows),
        "per_channel": channel_table(report.sales),
        "sales_by_channel": sales_by_channel(report.sales),
        "sales_by_hour": sales_by_hour(report.sales),
        "orders_by_hour": heat_map(report.opened),
        "orders_by_week": volume([*weeks, (report.week.key, orders)]),
        "legend": "late changes: orders that were modified when their business date was over for a day or more, such as"
        " by late tips and refunds. net sales: Toast's recipe, without tax and tips. By channel and hour,"
        " orders made in test mode and wasted food are left out too.",
        **unconverted(report.rejections, report.nulled, named),
    }
