"""Everything that Dagster loads: composition only."""
# ruff: noqa: E402 - before anything else is loaded

import gc

# Half a million objects are loaded, and hardly one of them is garbage: looking for it takes three tenths of a second.
gc.disable()

from collections.abc import Mapping
from typing import Any

import dagster as dg

from toast_assets.defs import assets, tables
from toast_assets.defs.alerts import AlertsResource, build_alert_sensors
from toast_assets.defs.checks import ASSET_CHECKS
from toast_assets.defs.jobs import weekly_toast_orders
from toast_assets.defs.resources import AmperityResource, LazyS3Resource, OrderStoreResource, ToastResource
from toast_assets.defs.sensors import build_sensor


def build_defs(resource_overrides: Mapping[str, Any] | None = None) -> dg.Definitions:
    """All definitions; ``resource_overrides`` replace resources by their keys."""
    s3 = LazyS3Resource()
    return dg.Definitions(
        assets=[
            assets.raw_toast_orders,
            assets.toast_orders_s3_export,
            assets.amperity_feeds,
            assets.amperity_delivery,
            tables.toast_tables,
            tables.current_orders,
        ],
        asset_checks=ASSET_CHECKS,
        jobs=[weekly_toast_orders],
        sensors=[build_sensor(), *build_alert_sensors()],
        resources={
            "toast": ToastResource.from_environment(),
            "s3": s3,
            "order_store": OrderStoreResource.from_environment(s3=s3),
            "amperity": AmperityResource.from_environment(),
            "alerts": AlertsResource.from_environment(),
            **(resource_overrides or {}),
        },
        # The weekly run is one process by nature: a fresh Python per step would only add seconds.
        executor=dg.in_process_executor,
    )


defs = build_defs()
# What was loaded stays until the end. The garbage collector need not look at these half a million objects, neither
# during a run nor, which takes half a second, when the process ends.
gc.freeze()
gc.enable()
