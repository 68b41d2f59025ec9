"""The weekly sensor: asks for each week once it has closed, again while something is missing, and a second time."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple

import dagster as dg
import msgspec

from toast_assets.amperity.settings import AmperitySettings, FeedSettings
from toast_assets.defs.brand import PARTITION_TAG, RAW, WEEKLY_JOB, Brand
from toast_assets.defs.due_weeks import Cursor, Outcome, decide, recovered_cursor
from toast_assets.defs.resources import OrderStoreResource
from toast_assets.errors import CalendarError, SettingsError, ToastAssetsError
from toast_assets.settings import CalendarSettings, NetworkSettings, SensorSettings, Settings, problems_of
from toast_assets.store.calendar import check_boundaries
from toast_assets.store.settings import StoreSettings
from toast_assets.toast.settings import ToastSettings
from toast_assets.week import Week

SENSOR_NAME = "weekly_toast_orders_sensor"
_SENSOR_TAG = "dagster/sensor_name"
_RUN_KEY_TAG = "dagster/run_key"
_UNDER_WAY = [status for status in dg.DagsterRunStatus if status.name not in ("SUCCESS", "FAILURE", "CANCELED")]
# Two looks at each of half a year's weeks; what is older is settled.
_RUNS_REMEMBERED = 52
# What the weekly job needs.
_SETTINGS = (NetworkSettings, CalendarSettings, StoreSettings, ToastSettings, AmperitySettings)
# How Dagster names the folder of an instance that ends with its command.
_TEMPORARY = ".tmp_dagster_home_"


def build_sensor(brand: Brand, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> dg.SensorDefinition:
    """The brand's sensor, by the clock ``now`` (aware)."""
    name, store_key = brand.named(SENSOR_NAME), brand.named("order_store")

    @dg.sensor(
        name=name,
        job_name=brand.named(WEEKLY_JOB),
        minimum_interval_seconds=300,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=brand.said(
            "Starts a run when a week has closed, again while restaurants are missing, and once more after"
            " TOAST_SECOND_LOOK_HOURS. After a down-time it catches up week by week. TOAST_SENSOR switches it off."
        ),
        required_resource_keys={store_key},
    )
    def weekly_toast_orders_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        if waits := idle(brand, context.instance):
            return dg.SkipReason(brand.said(waits.reason))
        order_store: OrderStoreResource = getattr(context.resources, store_key)
        calendar, second_look_after = order_store.calendar(), SensorSettings.parse(brand.values()).second_look_after
        problems: dict[str, None] = {}
        with _noting(problems):
            check_boundaries(order_store.store, calendar)
        readable = not problems

        def outcome_of(week: Week) -> Outcome:
            if readable:
                with _noting(problems):
                    return _outcome(context.instance, order_store, week, brand)
            return "unknown"

        cursor = Cursor.decode(context.cursor)
        if cursor.newest is None:
            # It was reset, or cannot be read: the runs that it led to bring it back.
            filters = dg.RunsFilter(tags={_SENSOR_TAG: name})
            records = context.instance.get_run_records(filters, limit=_RUNS_REMEMBERED)
            runs = [(record.dagster_run.tags, record.create_timestamp) for record in records]
            wanted = {PARTITION_TAG, _RUN_KEY_TAG}
            earlier = [(tags[PARTITION_TAG], tags[_RUN_KEY_TAG], at) for tags, at in runs if wanted <= tags.keys()]
            cursor = recovered_cursor(calendar, earlier, second_look_after)
        pull_op = brand.key(RAW).to_python_identifier()
        decision = decide(calendar, now(), cursor, outcome_of, second_look_after, pull_op)
        message = brand.said(" ".join([decision.message, *problems]))
        context.log.info(message)
        return dg.SensorResult(
            run_requests=decision.requests,
            skip_reason=None if decision.requests else message,
            cursor=msgspec.json.encode(decision.cursor).decode(),
        )

    return weekly_toast_orders_sensor


class Idle(NamedTuple):
    """Why the sensor starts nothing, and what to set. It is a fault where nobody has chosen so."""

    reason: str
    is_fault: bool


def idle(brand: Brand, instance: dg.DagsterInstance) -> Idle | None:
    """Why the sensor starts nothing by its settings; None where it works."""
    values = brand.values()
    given = "sensor of the component" if "TOAST_SENSOR" in brand.given else "TOAST_SENSOR"
    kinds: list[type[Settings]] = [*_SETTINGS, *([FeedSettings] if brand.loads_feeds(values) else [])]
    try:
        mode = SensorSettings.parse(values).mode
    except SettingsError as error:
        return Idle(f"Nothing starts by itself: {error.problems[0]}.", is_fault=True)
    if mode == "off":
        return Idle(f"The sensor is off: {given} is off. Set it to on, or leave it out.", is_fault=False)
    if mode == "auto" and (instance.is_ephemeral or _TEMPORARY in instance.root_directory):
        reason = (
            "Nothing starts by itself on a temporary Dagster instance, whose history ends with it. Set DAGSTER_HOME to"
            f" a folder that stays, or {given} to on."
        )
        return Idle(reason, is_fault=False)
    if problems := problems_of(*(partial(kind.parse, values) for kind in kinds)):
        reason = (
            f"Nothing starts by itself before the settings are complete: {'; '.join(problems)}. Set the variables where"
            " this code location runs, then start it again."
        )
        return Idle(reason, is_fault=True)
    return None


@contextmanager
def _noting(problems: dict[str, None]) -> Iterator[None]:
    """A tick that cannot read the bucket still asks for new weeks: their runs fail with the reason, and raise the
    alert. Only where boundaries of weeks would move it fails."""
    try:
        yield
    except CalendarError:
        raise
    except ToastAssetsError as error:
        problems[str(error)] = None
    except Exception as error:  # noqa: BLE001 - its text may hold a secret
        problems[f"The bucket could not be read ({type(error).__name__})."] = None


def _outcome(instance: dg.DagsterInstance, order_store: OrderStoreResource, week: Week, brand: Brand) -> Outcome:
    """What became of a week, by the instance's runs and the bucket's manifest."""
    tags = {PARTITION_TAG: week.key}
    if any(map(brand.concerns, instance.get_runs(dg.RunsFilter(tags=tags, statuses=_UNDER_WAY)))):
        return "running"
    manifest, _ = order_store.store.load_manifest(week)
    if manifest is None or manifest.outcome != "complete":
        return "incomplete"
    newest = instance.get_runs(dg.RunsFilter(job_name=brand.named(WEEKLY_JOB), tags=tags), limit=1)
    return "failed" if any(run.status is dg.DagsterRunStatus.FAILURE for run in newest) else "complete"
