"""Checks of the raw orders: one reading of them serves all but the one about volume."""

import dagster as dg

from toast_assets.checks import verdicts
from toast_assets.checks.inspection import inspection_of
from toast_assets.checks.unreadable import unreadable_orders
from toast_assets.defs.assets import raw_toast_orders
from toast_assets.defs.checks import judged, weekly_check
from toast_assets.defs.resources import OrderStoreResource
from toast_assets.store.raw_weeks import earlier_manifests

_WEEKS_COMPARED = 6


@weekly_check(
    raw_toast_orders,
    description=(
        "Every order that Toast returned could be read and placed. Does not block: one that cannot is kept aside and"
        " affects no other order."
    ),
)
def every_order_readable(
    context: dg.AssetCheckExecutionContext, order_store: OrderStoreResource
) -> dg.AssetCheckResult:
    return judged(
        context,
        order_store,
        lambda week, manifest, store: verdicts.every_order_readable(manifest, unreadable_orders(week, store)),
    )


@weekly_check(
    raw_toast_orders,
    description=(
        "Each order stands once in its restaurant's week. Blocks: a record that is sent twice is wrong twice. One"
        " GUID at two restaurants only warns, and so does a restaurant whose raw orders cannot be read."
    ),
    blocking=True,
)
def order_guids_unique(context: dg.AssetCheckExecutionContext, order_store: OrderStoreResource) -> dg.AssetCheckResult:
    return judged(
        context,
        order_store,
        lambda week, manifest, store: verdicts.order_guids_unique(manifest, inspection_of(week, manifest, store)),
    )


@weekly_check(
    raw_toast_orders,
    description=(
        "Every order was modified within the week. Does not block: what is stored stays stored, so that a week whose"
        " bounds were set differently once would never be delivered again."
    ),
)
def modified_times_inside_week(
    context: dg.AssetCheckExecutionContext, order_store: OrderStoreResource
) -> dg.AssetCheckResult:
    return judged(
        context,
        order_store,
        lambda week, manifest, store: verdicts.modified_times_inside_week(
            week, manifest, inspection_of(week, manifest, store)
        ),
    )


@weekly_check(
    raw_toast_orders,
    description=(
        "Orders have the fields, types and enum values that are recorded; what is new is named with its first order."
    ),
)
def no_schema_drift(context: dg.AssetCheckExecutionContext, order_store: OrderStoreResource) -> dg.AssetCheckResult:
    return judged(
        context,
        order_store,
        lambda week, manifest, store: verdicts.no_schema_drift(inspection_of(week, manifest, store)),
    )


@weekly_check(
    raw_toast_orders,
    description="Takeout and delivery orders name guests; if none does, the credential lacks the scope guest.pi:read.",
)
def guests_scope_present(
    context: dg.AssetCheckExecutionContext, order_store: OrderStoreResource
) -> dg.AssetCheckResult:
    return judged(
        context,
        order_store,
        lambda week, manifest, store: verdicts.guests_scope_present(inspection_of(week, manifest, store)),
    )


@weekly_check(
    raw_toast_orders,
    description="A report: the share of orders with an e-mail or a phone, by restaurant and channel.",
)
def guests_reachable(context: dg.AssetCheckExecutionContext, order_store: OrderStoreResource) -> dg.AssetCheckResult:
    return judged(
        context,
        order_store,
        lambda week, manifest, store: verdicts.guests_reachable(
            inspection_of(week, manifest, store),
            {guid: record.name or guid for guid, record in manifest.restaurants.items()},
        ),
    )


@weekly_check(
    raw_toast_orders,
    description="Each restaurant has about as many orders as in its own last weeks.",
)
def volume_as_usual(context: dg.AssetCheckExecutionContext, order_store: OrderStoreResource) -> dg.AssetCheckResult:
    return judged(
        context,
        order_store,
        lambda week, manifest, store: verdicts.volume_as_usual(
            manifest,
            (earlier for _, earlier in earlier_manifests(week, order_store.calendar(), store, _WEEKS_COMPARED)),
        ),
    )


RAW_CHECKS = [
    every_order_readable,
    order_guids_unique,
    modified_times_inside_week,
    no_schema_drift,
    guests_scope_present,
    guests_reachable,
    volume_as_usual,
]
