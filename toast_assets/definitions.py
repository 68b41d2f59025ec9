"""Everything that Dagster loads: composition only. The one module that reads the environment when it is imported."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import dagster as dg

from toast_assets.defs.alerts import build_alert_sensors
from toast_assets.defs.assets import GROUP, TABLES_GROUP, WEEKLY_JOB, weekly_assets
from toast_assets.defs.checks import asset_checks
from toast_assets.defs.names import toast_configuration
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


@dataclass(frozen=True)
class DefinitionSettings:
    """What shapes the definitions. All other settings are read when a run starts.

    ``loads_feeds`` is true where the delivery waits for the feeds; ``variables`` are the names that are set.
    """

    calendar: WeekCalendar
    loads_feeds: bool
    variables: frozenset[str]

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Never fails: where weeks begin is the default if it is malformed, which each run reports before it starts."""
        try:
            calendar = CalendarSettings.parse(environment).calendar()
        except SettingsError:
            calendar = WeekCalendar()
        return cls(calendar, "s3_pull" in environment.get("AMPERITY_DELIVERY", ""), frozenset(environment))


def build_defs(settings: DefinitionSettings | None = None) -> dg.Definitions:
    """All definitions; without ``settings`` those of this process's environment."""
    settings = settings or DefinitionSettings.from_environment(os.environ)
    names, loads_feeds = settings.variables, settings.loads_feeds
    selection = dg.AssetSelection.groups(GROUP, TABLES_GROUP)
    weekly, s3 = weekly_partitions(settings.calendar), LazyS3Resource()
    return dg.Definitions(
        assets=[
            *weekly_assets(settings.calendar, weekly, [toast_tables], loads_feeds),
            *(current_orders, toast_configuration),
        ],
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
            "toast": ToastResource.from_environment(names),
            "s3": s3,
            "order_store": OrderStoreResource.from_environment(names, s3=s3),
            "amperity": AmperityResource.from_environment(names),
            "alerts": AlertsResource.from_environment(names),
        },
        # The weekly run is one process by nature: a fresh Python per step would only add seconds.
        executor=dg.in_process_executor,
    )


defs = build_defs()
