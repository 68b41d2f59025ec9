"""What every asset does before it asks anything of a service, and how its errors end it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import dagster as dg

from toast_assets.defs.resources import AmperityResource, OrderStoreResource, ToastResource
from toast_assets.errors import SettingsError, ToastAssetsError, WeekError
from toast_assets.machine import machine_problem
from toast_assets.scratch import remove_leftovers
from toast_assets.settings import AlertSettings, NetworkSettings, RetentionSettings, problems_of
from toast_assets.store.calendar import check_boundaries
from toast_assets.store.guards import refuse_unconditional
from toast_assets.store.order_store import OrderStore
from toast_assets.variables import misspelt_variables
from toast_assets.week import Week

RAW = dg.AssetKey("raw_toast_orders")
FEEDS = dg.AssetKey("amperity_feeds")
DELIVERY = dg.AssetKey("amperity_delivery")


def closed_week(context: dg.AssetExecutionContext, order_store: OrderStoreResource) -> Week:
    """The week of this run's one partition. Raises WeekError where the partition is no week, it has not closed yet, or
    the run spans several."""
    weeks = context.partition_key_range
    if weeks.start != weeks.end:
        raise WeekError(
            f"This run spans the partitions {weeks.start} to {weeks.end}; a run takes one week, so that each has its"
            " own status, retries and receipts.",
            hint="Launch a backfill over them: it makes one run per week.",
        )
    return order_store.calendar().closed_week(context.partition_key, datetime.now(UTC))


@contextmanager
def prepared(
    context: dg.AssetExecutionContext,
    order_store: OrderStoreResource,
    toast: ToastResource | None = None,
    amperity: AmperityResource | None = None,
    *,
    writes: bool = True,
) -> Iterator[OrderStore]:
    """The store for an asset's work, once settings and bucket are checked: the settings of all selected assets, so that
    a delivery that cannot work fails at once; the bucket by writing only where the asset ``writes``. Errors end the
    block as in ``failures``."""
    with failures(order_store):
        assets = context.job_def.asset_layer
        selected = assets.selected_asset_keys
        first = next(key for key in assets.asset_graph.toposorted_asset_keys if key in selected)
        if first in context.selected_asset_keys:
            # Once a run: what is wrong with variables that it works without.
            harmless = problems_of(AlertSettings.from_environment, RetentionSettings.from_environment)
            for line in (*misspelt_variables(os.environ), *harmless):
                context.log.warning("%s.", line)
        of_assets = {
            RAW: toast and toast.settings,
            FEEDS: amperity and amperity.feed_settings,
            DELIVERY: amperity and amperity.settings,
        }
        needed = [settings for asset, settings in of_assets.items() if settings and asset in selected]
        if problems := problems_of(
            order_store.calendar, NetworkSettings.from_environment, order_store.settings, *needed
        ):
            raise SettingsError(problems)
        # Guests' orders that a killed process left on this machine.
        remove_leftovers()
        store = order_store.store
        check_boundaries(store, order_store.calendar())
        if writes:
            refuse_unconditional(store)
        yield store


@contextmanager
def failures(order_store: OrderStoreResource | None = None) -> Iterator[None]:
    """Turn this package's errors, and a machine that runs out of something, into failures that Dagster shows as one
    sentence and does not retry. With an ``order_store`` a full disk is compared with the newest stored week."""
    try:
        yield
    except Exception as error:
        known = isinstance(error, ToastAssetsError)
        problem = error if known else machine_problem(error, lambda: _newest_week_bytes(order_store))
        if problem is None:
            raise
        cause = {"cause": type(problem).__name__}
        raise dg.Failure(description=str(problem), metadata=cause, allow_retries=False) from error


def _newest_week_bytes(order_store: OrderStoreResource | None) -> int | None:
    if order_store is None:
        return None
    try:
        store = order_store.store
        manifest, _ = store.load_manifest(order_store.calendar().week(store.pulled_weeks()[-1]))
    except (ToastAssetsError, IndexError):
        return None
    return sum(pull.bytes for pull in manifest.stored.values()) if manifest else None
