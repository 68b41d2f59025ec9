"""All definitions of one brand, put together."""

import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import dagster as dg

from toast_assets.defs.alerts import build_alert_sensor
from toast_assets.defs.assets import (
    amperity_delivery,
    amperity_feeds,
    external_assets,
    raw_toast_orders,
    toast_orders_s3_export,
)
from toast_assets.defs.brand import DELIVERY, EXPORT, RAW, WEEKLY_JOB, Brand
from toast_assets.defs.checks import asset_checks
from toast_assets.defs.names import toast_configuration
from toast_assets.defs.partitions import overdue_policy, weekly_partitions
from toast_assets.defs.resources import brand_resources
from toast_assets.defs.sensors import build_sensor
from toast_assets.defs.status import toast_status
from toast_assets.defs.tables import current_orders, toast_tables
from toast_assets.errors import SettingsError
from toast_assets.settings import CalendarSettings
from toast_assets.week import WeekCalendar


def build_defs(brand: Brand | None = None, environment: Mapping[str, str] = os.environ) -> dg.Definitions:
    """The definitions of a brand, by default of the only one of its deployment. The ``environment`` shapes them: where
    weeks begin, and whether the delivery waits for feeds. All other settings are read when a run starts.

    Never fails by a setting: where weeks begin is the default if it is malformed, which each run reports before it
    starts.
    """
    brand = brand or Brand()
    values = brand.values(environment)
    calendar = calendar_of(values)
    # Without a reader there is no need for copies of guests' data.
    loads_feeds = brand.loads_feeds(values)
    weekly, overdue = weekly_partitions(calendar), overdue_policy(calendar)
    by_week = [
        raw_toast_orders(brand),
        toast_orders_s3_export(brand),
        *([amperity_feeds(brand)] if loads_feeds else []),
        amperity_delivery(brand, loads_feeds=loads_feeds),
        toast_tables(brand),
    ]
    over_all_weeks = [current_orders(brand), toast_configuration(brand), toast_status(brand)]
    weekly_keys = {key for asset in by_week for key in asset.keys}
    watched = {brand.key(name) for name in (RAW, EXPORT, DELIVERY)}

    def finished(spec: dg.AssetSpec) -> dg.AssetSpec:
        spec = spec.replace_attributes(group_name=brand.group, owners=brand.owners)
        if spec.key in weekly_keys:
            spec = spec.replace_attributes(partitions_def=weekly)
        return spec.replace_attributes(freshness_policy=overdue) if spec.key in watched else spec

    made = _with_source(dg.map_asset_specs(finished, [*by_week, *over_all_weeks]))
    alerts = [build_alert_sensor(brand, running=bool(values.get("ALERT_WEBHOOK_URL")))] if brand.alerts else []
    return dg.Definitions(
        assets=[*made, *map(finished, external_assets(brand))],
        asset_checks=asset_checks(brand, weekly),
        jobs=[
            dg.define_asset_job(
                brand.named(WEEKLY_JOB),
                dg.AssetSelection.assets(*(key for asset in made for key in asset.keys)),
                description="Pull a week's orders from Toast, export them to S3, deliver them to Amperity, make the"
                " tables.",
            )
        ],
        sensors=[build_sensor(brand), *alerts],
        resources=brand_resources(brand, environment),
        # The weekly run is one process by nature: a fresh Python per step would only add seconds.
        executor=dg.in_process_executor,
    )


def calendar_of(values: Mapping[str, str]) -> WeekCalendar:
    """Where weeks begin by the settings, and by default where they are malformed."""
    try:
        return CalendarSettings.parse(values).calendar()
    except SettingsError:
        return WeekCalendar()


def _with_source(assets: Sequence[dg.AssetsDefinition]) -> Sequence[dg.AssetsDefinition]:
    """The assets with links to their code, where this package is not installed but checked out: elsewhere these would
    lead into a container."""
    if not (Path(__file__).parents[2] / "pyproject.toml").exists():
        return assets
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)
        return cast(Sequence[dg.AssetsDefinition], dg.with_source_code_references(assets))
