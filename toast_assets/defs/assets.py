"""The assets: each takes its week, calls the domain, and reports. ``weekly_assets`` gives them their partitions."""

from collections.abc import Iterable, Sequence
from datetime import timedelta

import dagster as dg

from toast_assets.amperity.client import AmperityClient
from toast_assets.concurrency import run
from toast_assets.defs.metadata import (
    RAW_COLUMNS,
    delivery_metadata,
    export_metadata,
    feeds_metadata,
    load_metadata,
    raw_metadata,
)
from toast_assets.defs.partitions import overdue_policy
from toast_assets.defs.preflight import DELIVERY, FEEDS, closed_week, prepared
from toast_assets.defs.resources import AmperityResource, OrderStoreResource, ToastResource
from toast_assets.delivery.deliver import DeliveryReport, WeekDelivery, check_delivery
from toast_assets.delivery.feed_files import write_feeds
from toast_assets.delivery.workflow import WeekLoad, WorkflowReport
from toast_assets.export.write import export_week
from toast_assets.pull.week import PullReport, WeekPull
from toast_assets.store.calendar import keep_boundaries
from toast_assets.week import WeekCalendar

GROUP, TABLES_GROUP = "toast_to_amperity", "toast_tables"
OWNERS = ["team:data-engineering"]
WEEKLY_JOB = "weekly_toast_orders"


class PullConfig(dg.Config):
    """``refresh`` true asks Toast again for every restaurant, false only for what an earlier run did not finish; left
    out, a run that follows an incomplete one does the latter, any other the former."""

    refresh: bool | None = None


class DeliveryConfig(dg.Config):
    """``dry_run`` does all but send, and reports what would be sent."""

    dry_run: bool = False


@dg.asset(
    group_name=GROUP,
    kinds={"toast", "parquet", "s3"},
    # Pools bound what concurrent runs ask of each service together; their sizes are set in the instance.
    pool="toast",
    metadata={"dagster/column_schema": RAW_COLUMNS},
    description="One row per order that Toast last modified within the week, byte for byte as Toast sent it.",
)
def raw_toast_orders(
    context: dg.AssetExecutionContext,
    config: PullConfig,
    toast: ToastResource,
    order_store: OrderStoreResource,
    amperity: AmperityResource,
) -> dg.MaterializeResult[None]:
    with prepared(context, order_store, toast, amperity) as store:
        week, weeks = closed_week(context, order_store), order_store.calendar()
        previous = weeks.last_closed(week.end - timedelta(days=7) + weeks.settling)

        async def pull() -> PullReport:
            async with toast.client(week, context.log) as client:
                return await WeekPull(week, client, store, previous, config.refresh, context.log, calendar=weeks).run()

        report = run(pull())
        keep_boundaries(store, weeks)
    version = report.manifest.data_version
    return dg.MaterializeResult(metadata=raw_metadata(report, store), data_version=dg.DataVersion(version))


@dg.asset(
    deps=[raw_toast_orders],
    group_name=GROUP,
    kinds={"json", "s3"},
    description="One gzipped JSON file per restaurant: the week's orders in the envelope of Amperity's guide.",
)
def toast_orders_s3_export(
    context: dg.AssetExecutionContext, order_store: OrderStoreResource, amperity: AmperityResource
) -> dg.MaterializeResult[None]:
    with prepared(context, order_store, amperity=amperity) as store:
        report = export_week(closed_week(context, order_store), store, context.log)
    return dg.MaterializeResult(metadata=export_metadata(report, store))


@dg.asset(
    deps=[raw_toast_orders],
    group_name=GROUP,
    kinds={"json", "s3"},
    description="Flat NDJSON files per restaurant for Amperity's couriers: order_items, transactions, customers.",
)
def amperity_feeds(
    context: dg.AssetExecutionContext, order_store: OrderStoreResource, amperity: AmperityResource
) -> dg.MaterializeResult[None]:
    with prepared(context, order_store, amperity=amperity) as store:
        settings, week = amperity.feed_settings(), closed_week(context, order_store)
        report = write_feeds(week, store, settings.purchase_brand, settings.redaction, context.log)
    return dg.MaterializeResult(metadata=feeds_metadata(report, store))


@dg.asset(
    deps=[toast_orders_s3_export],
    group_name=GROUP,
    kinds={"amperity"},
    pool="amperity",
    description="One record per exported order that Amperity has accepted, with its receipt in the delivery ledger.",
)
def amperity_delivery(
    context: dg.AssetExecutionContext,
    config: DeliveryConfig,
    order_store: OrderStoreResource,
    amperity: AmperityResource,
) -> dg.MaterializeResult[None]:
    with prepared(context, order_store, amperity=amperity, writes=not config.dry_run) as store:
        week = closed_week(context, order_store)

        async def deliver() -> tuple[DeliveryReport, WorkflowReport | None]:
            async with AmperityClient(amperity.settings(), log=context.log) as client:
                report = await WeekDelivery(week, client, store, config.dry_run, log=context.log).run()
                if "s3_pull" not in client.settings.methods:
                    return report, None
                return report, await WeekLoad(week, client, store, config.dry_run, context.log).run()

        report, load = run(deliver())
        metadata = delivery_metadata(report, store) | load_metadata(load)
        # Show what arrived, even if the delivery counts as failed.
        context.add_asset_metadata(metadata)
        check_delivery(report, amperity.settings().max_reject_share)
    return dg.MaterializeResult(metadata=metadata)


def weekly_assets(
    calendar: WeekCalendar,
    weekly: dg.PartitionsDefinition,
    tables: Iterable[dg.AssetsDefinition],
    loads_feeds: bool,
) -> Sequence[dg.AssetsDefinition]:
    """The assets above and ``tables``, partitioned by week. The delivery waits for the feeds only where they are
    loaded: without a reader there is no need for copies of guests' data."""
    overdue = overdue_policy(calendar)

    def by_week(spec: dg.AssetSpec) -> dg.AssetSpec:
        spec = spec.replace_attributes(partitions_def=weekly, owners=OWNERS)
        if spec.group_name == GROUP and spec.key != FEEDS:
            spec = spec.replace_attributes(freshness_policy=overdue)
        if spec.key == DELIVERY and loads_feeds:
            spec = spec.replace_attributes(deps=[*spec.deps, FEEDS])
        return spec

    return dg.map_asset_specs(
        by_week, [raw_toast_orders, toast_orders_s3_export, amperity_feeds, amperity_delivery, *tables]
    )
