"""Everything that Dagster loads: composition only. The one module that reads the environment when it is imported."""

import os
from collections.abc import Mapping

import dagster as dg

from toast_assets.defs.alerts import build_alert_sensors
from toast_assets.defs.assets import GROUP, TABLES_GROUP, WEEKLY_JOB, weekly_assets
from toast_assets.defs.checks import asset_checks
from toast_assets.defs.partitions import weekly_partitions
from toast_assets.defs.preflight import FEEDS
from toast_assets.defs.resources import (
    AlertsResource,
    AmperityResource,
    LazyS3Resource,
    OrderStoreResource,
    ToastResource,
)
from toast_assets.defs.sensors import build_sensor
from toast_assets.defs.tables import current_orders, toast_tables
from toast_assets.errors import SettingsError
from toast_assets.settings import CalendarSettings
from toast_assets.week import WeekCalendar


def calendar_of(environment: Mapping[str, str]) -> WeekCalendar:
    """Where weeks begin; the default if it is malformed, which each run reports before it starts."""
    try:
        return CalendarSettings.parse(environment).calendar()
    except SettingsError:
        return WeekCalendar()


def build_defs() -> dg.Definitions:
    """All definitions, by this process's environment. What does not shape them is read when a run starts."""
    calendar = calendar_of(os.environ)
    # Where the delivery waits for the feeds.
    loads_feeds = "s3_pull" in os.environ.get("AMPERITY_DELIVERY", "")
    selection = dg.AssetSelection.groups(GROUP, TABLES_GROUP)
    weekly, s3 = weekly_partitions(calendar), LazyS3Resource()
    return dg.Definitions(
        assets=[*weekly_assets(calendar, weekly, [toast_tables], loads_feeds), current_orders],
        asset_checks=asset_checks(weekly),
        jobs=[
            dg.define_asset_job(
                WEEKLY_JOB,
                selection if loads_feeds else selection - dg.AssetSelection.assets(FEEDS),
                description="Pull a week's orders from Toast, export them to S3, deliver them to Amperity, make the"
                " tables.",
            )
        ],
        sensors=[build_sensor(), *build_alert_sensors()],
        resources={
            "toast": ToastResource.from_environment(),
            "s3": s3,
            "order_store": OrderStoreResource.from_environment(s3=s3),
            "amperity": AmperityResource.from_environment(),
            "alerts": AlertsResource.from_environment(),
        },
        # The weekly run is one process by nature: a fresh Python per step would only add seconds.
        executor=dg.in_process_executor,
    )


defs = build_defs()
