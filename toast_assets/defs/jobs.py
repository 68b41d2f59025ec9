"""The weekly job: pull, export, deliver, for one week."""

import dagster as dg

from toast_assets.defs.assets import GROUP

weekly_toast_orders = dg.define_asset_job(
    "weekly_toast_orders",
    selection=dg.AssetSelection.groups(GROUP),
    description="Pull a week's orders from Toast, export them to S3, deliver them to Amperity.",
)
