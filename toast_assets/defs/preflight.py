"""What every asset does before it asks anything of a service, and how its errors end it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial

import dagster as dg

from toast_assets.defs.brand import DELIVERY, FEEDS, RAW, Brand
from toast_assets.defs.resources import OrderStoreResource, Resources
from toast_assets.errors import SettingsError, ToastAssetsError, WeekError
from toast_assets.machine import machine_problem
from toast_assets.scratch import remove_leftovers
from toast_assets.settings import AlertSettings, NetworkSettings, RetentionSettings, SensorSettings, problems_of
from toast_assets.store.calendar import check_boundaries
from toast_assets.store.guards import refuse_unconditional
from toast_assets.store.order_store import STATUS_TABLE, OrderStore
from toast_assets.store.owner import claim
from toast_assets.week import Week


def closed_week(context: dg.AssetExecutionContext, order_store: OrderStoreResource) -> Week:
    """The week of this run's one partition. Raises WeekError where there is no partition, it is no week, it has not
    closed yet, or the run spans several."""
    calendar, now = order_store.calendar(), datetime.now(UTC)
    if not (context.has_partition_key or context.has_partition_key_range):
        last = calendar.last_closed(now)
        newest = f" The newest one that has closed is {last.key}." if last else ""
        raise WeekError(
            f"This run names no week.{newest}",
            hint="Choose one or several under Partitions when you press Materialize; dg launch takes --partition.",
        )
    weeks = context.partition_key_range
    if weeks.start != weeks.end:
        raise WeekError(
            f"This run spans the partitions {weeks.start} to {weeks.end}; a run takes one week, so that each has its"
            " own status, retries and receipts.",
            hint="Launch a backfill over them: it makes one run per week.",
        )
    return calendar.closed_week(context.partition_key, now)


@contextmanager
def prepared(
    context: dg.AssetExecutionContext, brand: Brand, *, writes: bool = True, alone: bool = False
) -> Iterator[OrderStore]:
    """The store for an asset's work, once settings and bucket are checked: the settings of all selected assets, so that
    a delivery that cannot work fails at once, or of this one ``alone``; the bucket by writing only where the asset
    ``writes``. Errors end the block as in ``failures``."""
    resources = Resources.of(context, brand)
    order_store = resources.order_store
    with failures(brand, order_store):
        assets, values = context.job_def.asset_layer, brand.values()
        selected = assets.selected_asset_keys
        first = next(key for key in assets.asset_graph.toposorted_asset_keys if key in selected)
        if first in context.selected_asset_keys:
            # Once a run: what is wrong with variables that it works without.
            harmless = problems_of(*(partial(kind.parse, values) for kind in (AlertSettings, RetentionSettings)))
            for line in (*brand.variables.misspelt(os.environ), *map(brand.said, harmless)):
                context.log.warning("%s.", line)
        of_assets = {
            RAW: resources.toast.settings,
            FEEDS: resources.amperity.feed_settings,
            DELIVERY: resources.amperity.settings,
        }
        needing = context.selected_asset_keys if alone else selected
        needed = [settings for name, settings in of_assets.items() if brand.key(name) in needing]
        if brand.table(STATUS_TABLE) in needing:
            needed.append(partial(SensorSettings.parse, values))
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
            claim(store, brand.name)
        yield store


@contextmanager
def failures(brand: Brand, order_store: OrderStoreResource | None = None) -> Iterator[None]:
    """Turn this package's errors, and a machine that runs out of something, into failures that Dagster shows as one
    sentence and does not retry. With an ``order_store`` a full disk is compared with the newest stored week."""
    try:
        yield
    except Exception as error:
        known = error if isinstance(error, ToastAssetsError) else None
        problem = known or machine_problem(error, lambda: _newest_week_bytes(order_store))
        if problem is None:
            raise
        cause = {"cause": type(problem).__name__, "code": problem.code}
        raise dg.Failure(description=brand.said(problem), metadata=cause, allow_retries=False) from error


def _newest_week_bytes(order_store: OrderStoreResource | None) -> int | None:
    if order_store is None:
        return None
    try:
        store = order_store.store
        manifest, _ = store.load_manifest(order_store.calendar().week(store.pulled_weeks()[-1]))
    except (ToastAssetsError, IndexError):
        return None
    return sum(pull.bytes for pull in manifest.stored.values()) if manifest else None
