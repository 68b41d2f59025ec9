"""The weekly job: pull, export, deliver, for one week."""

import dagster as dg

from toast_assets.defs.assets import FEEDS_ARE_LOADED, GROUP
from toast_assets.defs.tables import TABLES_GROUP


def _weekly_selection() -> dg.AssetSelection:
    selection = dg.AssetSelection.groups(GROUP, TABLES_GROUP)
    return selection if FEEDS_ARE_LOADED else selection - dg.AssetSelection.assets("amperity_feeds")


weekly_toast_orders = dg.define_asset_job(
    "weekly_toast_orders",
    selection=_weekly_selection(),
    description="Pull a week's orders from Toast, export them to S3, deliver them to Amperity, make the tables.",
)
