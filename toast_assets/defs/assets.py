"""The assets from Toast to Amperity: each takes its week, calls the domain, and reports. The external assets at both
ends are where the orders come from and go to."""

from collections.abc import Iterator
from datetime import timedelta

import dagster as dg
from pydantic import Field

from toast_assets.amperity.client import AmperityClient
from toast_assets.concurrency import run
from toast_assets.defs.brand import DELIVERY, DESTINATION, EXPORT, FEEDS, RAW, SOURCE, Brand
from toast_assets.defs.metadata import (
    EXPORT_COLUMNS,
    FEED_COLUMNS,
    LEDGER_COLUMNS,
    RAW_COLUMNS,
    delivery_metadata,
    export_metadata,
    feeds_metadata,
    load_metadata,
    raw_metadata,
    retries_metadata,
)
from toast_assets.defs.preflight import closed_week, prepared
from toast_assets.defs.resources import Resources
from toast_assets.delivery.deliver import DeliveryReport, WeekDelivery, check_delivery
from toast_assets.delivery.feed_files import write_feeds
from toast_assets.delivery.retries import Retries, retry_rejects
from toast_assets.delivery.workflow import WeekLoad, WorkflowReport
from toast_assets.export.write import export_week
from toast_assets.pull.week import PullReport, WeekPull
from toast_assets.store.calendar import keep_boundaries


class PullConfig(dg.Config):
    """How the week is pulled."""

    refresh: bool | None = Field(
        None,
        description="true asks Toast again for every restaurant, false only for those that an earlier run did not"
        " finish. By default a run that follows an incomplete one does the latter, any other the former.",
    )


class DeliveryConfig(dg.Config):
    """How the week is delivered."""

    dry_run: bool = Field(
        False, description="true sends nothing. The run reports what it would send, and is no materialization."
    )


def external_assets(brand: Brand) -> list[dg.AssetSpec]:
    """Both ends of the lineage, which nothing here materializes."""
    return [
        dg.AssetSpec(
            brand.key(SOURCE),
            description="The brand's orders and configuration at Toast (Orders API, ordersBulk).",
            kinds={"toast"},
        ),
        dg.AssetSpec(
            brand.key(DESTINATION),
            deps=[brand.key(DELIVERY)],
            description="The brand's tenant at Amperity, which holds each order in its newest version.",
            kinds={"amperity"},
        ),
    ]


def raw_toast_orders(brand: Brand) -> dg.AssetsDefinition:
    """A week's orders out of Toast into the bucket."""

    @dg.asset(
        key=brand.key(RAW),
        deps=[brand.key(SOURCE)],
        kinds={"toast", "parquet", "s3"},
        # Pools bound what concurrent runs ask of each service together; their sizes are set in the instance.
        pool=brand.named("toast"),
        metadata={"dagster/column_schema": RAW_COLUMNS},
        description="One row per order that Toast last modified within the week, byte for byte as Toast sent it.",
        required_resource_keys=Resources.keys(brand),
    )
    def asset(context: dg.AssetExecutionContext, config: PullConfig) -> dg.MaterializeResult[None]:
        resources = Resources.of(context, brand)
        with prepared(context, brand) as store:
            week, weeks = closed_week(context, resources.order_store), resources.order_store.calendar()
            previous = weeks.last_closed(week.end - timedelta(days=7) + weeks.settling)

            async def pull() -> PullReport:
                async with resources.toast.client(week, context.log) as client:
                    return await WeekPull(
                        week, client, store, previous, config.refresh, context.log, calendar=weeks
                    ).run()

            report = run(pull())
            keep_boundaries(store, weeks)
        version = report.manifest.data_version
        return dg.MaterializeResult(metadata=raw_metadata(report, store), data_version=dg.DataVersion(version))

    return asset


def toast_orders_s3_export(brand: Brand) -> dg.AssetsDefinition:
    """A week's orders as files for Amperity, and for people."""

    @dg.asset(
        key=brand.key(EXPORT),
        deps=[brand.key(RAW)],
        kinds={"json", "s3"},
        metadata={"dagster/column_schema": EXPORT_COLUMNS},
        description="One gzipped JSON file per restaurant: the week's orders in the envelope of Amperity's guide.",
        required_resource_keys=Resources.keys(brand),
    )
    def asset(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
        with prepared(context, brand) as store:
            week = closed_week(context, Resources.of(context, brand).order_store)
            report = export_week(week, store, context.log)
        return dg.MaterializeResult(metadata=export_metadata(report, store))

    return asset


def amperity_feeds(brand: Brand) -> dg.AssetsDefinition:
    """A week's orders as rows for Amperity's couriers."""

    @dg.asset(
        key=brand.key(FEEDS),
        deps=[brand.key(RAW)],
        kinds={"json", "s3"},
        metadata={"dagster/column_schema": FEED_COLUMNS},
        description="Flat NDJSON files per restaurant for Amperity's couriers: order_items, transactions, customers.",
        required_resource_keys=Resources.keys(brand),
    )
    def asset(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
        resources = Resources.of(context, brand)
        with prepared(context, brand) as store:
            settings, week = resources.amperity.feed_settings(), closed_week(context, resources.order_store)
            report = write_feeds(week, store, settings.purchase_brand, settings.redaction, context.log)
        return dg.MaterializeResult(metadata=feeds_metadata(report, week, store))

    return asset


def amperity_delivery(brand: Brand, *, loads_feeds: bool) -> dg.AssetsDefinition:
    """A week's orders to Amperity. The delivery waits for the feeds where it ``loads_feeds``."""

    @dg.multi_asset(
        name=brand.key(DELIVERY).to_python_identifier(),
        specs=[
            dg.AssetSpec(
                brand.key(DELIVERY),
                deps=[brand.key(EXPORT), *([brand.key(FEEDS)] if loads_feeds else [])],
                kinds={"amperity"},
                metadata={"dagster/column_schema": LEDGER_COLUMNS},
                description="One record per exported order that Amperity has accepted; the ledger has its receipt.",
                # After a dry run Dagster records no materialization, and skips the checks of one.
                skippable=True,
            )
        ],
        pool=brand.named("amperity"),
        required_resource_keys=Resources.keys(brand),
    )
    def asset(context: dg.AssetExecutionContext, config: DeliveryConfig) -> Iterator[dg.MaterializeResult[None]]:
        resources = Resources.of(context, brand)
        with prepared(context, brand, writes=not config.dry_run) as store:
            week, settings = closed_week(context, resources.order_store), resources.amperity.settings()

            async def deliver() -> tuple[DeliveryReport, WorkflowReport | None, Retries]:
                async with AmperityClient(settings, log=context.log) as client:
                    delivery = WeekDelivery(week, client, store, config.dry_run, log=context.log)
                    report, load = await delivery.run(), None
                    if "s3_pull" in settings.methods:
                        load = await WeekLoad(week, client, store, config.dry_run, context.log).run()
                    return report, load, await retry_rejects(delivery)

            report, load, retries = run(deliver())
            metadata = delivery_metadata(report, store) | load_metadata(load) | retries_metadata(retries)
            # Show what arrived, even if the delivery counts as failed.
            if config.dry_run:
                context.log_event(dg.AssetObservation(context.asset_key, partition=week.key, metadata=metadata))
            else:
                context.add_asset_metadata(metadata)
            check_delivery(report, settings.max_reject_share)
        if not config.dry_run:
            yield dg.MaterializeResult(metadata=metadata)

    return asset
