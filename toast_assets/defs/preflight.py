"""Before anything is asked of a service: are the settings of all selected assets there, does a week begin
where the stored ones do, and has it closed?"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import dagster as dg

from toast_assets.defs.partitions import calendar, calendar_problems
from toast_assets.defs.resources import AmperityResource, OrderStoreResource, ToastResource
from toast_assets.errors import SettingsError, ToastAssetsError, WeekError
from toast_assets.pipeline.boundaries import check_boundaries
from toast_assets.settings import NetworkSettings, RetentionSettings, misspelt_variables, problems_of
from toast_assets.week import Week

RAW = dg.AssetKey("raw_toast_orders")
FEEDS = dg.AssetKey("amperity_feeds")
DELIVERY = dg.AssetKey("amperity_delivery")


def closed_week(context: dg.AssetExecutionContext) -> Week:
    """The week of this run's one partition.

    Raises:
        WeekError: the partition is no week, it has not closed yet, or the run spans several.
    """
    weeks = context.partition_key_range
    if weeks.start != weeks.end:
        raise WeekError(
            f"This run spans the partitions {weeks.start} to {weeks.end}; a run takes one week, so that each has its"
            " own status, retries and receipts.",
            hint="Launch a backfill over them: it makes one run per week.",
        )
    return calendar().closed_week(context.partition_key, datetime.now(UTC))


def check_settings(
    context: dg.AssetExecutionContext,
    order_store: OrderStoreResource,
    toast: ToastResource | None = None,
    amperity: AmperityResource | None = None,
) -> None:
    """Check what the run's selected assets need, not just this one: a delivery that cannot work is known at once.

    Raises:
        SettingsError: naming every variable that is missing or malformed.
        CalendarError: they would move the boundaries of stored weeks.
        StoreError: the bucket is missing or refuses access.
    """
    selected = _selected(context)
    _warn(context, selected)
    problems = calendar_problems()
    checks: list[Callable[[], object]] = [lambda: NetworkSettings.parse(os.environ), order_store.settings]
    if toast is not None and RAW in selected:
        checks.insert(0, toast.settings)
    if amperity is not None and FEEDS in selected:
        checks.append(amperity.feed_settings)
    if amperity is not None and DELIVERY in selected:
        checks.append(amperity.settings)
    for check in checks:
        try:
            check()
        except SettingsError as error:
            problems += [problem for problem in error.problems if problem not in problems]
    if problems:
        raise SettingsError(problems)
    check_boundaries(order_store.store(), calendar())


@contextmanager
def failures() -> Iterator[None]:
    """Turn this package's errors into failures that Dagster shows as one sentence and does not retry in vain."""
    try:
        yield
    except ToastAssetsError as error:
        raise dg.Failure(
            description=str(error), metadata={"cause": type(error).__name__}, allow_retries=False
        ) from error


def _warn(context: dg.AssetExecutionContext, selected: set[dg.AssetKey]) -> None:
    """Once a run: what is wrong with variables that it works without."""
    order = context.job_def.asset_layer.asset_graph.toposorted_asset_keys
    if context.asset_key == next(key for key in order if key in selected):
        for line in (*misspelt_variables(os.environ), *problems_of(os.environ, RetentionSettings)):
            context.log.warning("%s.", line)


def _selected(context: dg.AssetExecutionContext) -> set[dg.AssetKey]:
    return set(context.job_def.asset_layer.selected_asset_keys)
