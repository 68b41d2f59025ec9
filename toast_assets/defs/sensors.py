"""The weekly sensor: asks for each week once it has closed, again while something is missing, and a second time."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from toast_assets.defs.due_weeks import (
    Cursor,
    EarlierRequest,
    Outcome,
    WeekRequest,
    decide,
    decode_cursor,
    encode_cursor,
    recovered_cursor,
)
from toast_assets.defs.jobs import weekly_toast_orders
from toast_assets.defs.partitions import calendar, calendar_problems
from toast_assets.defs.resources import OrderStoreResource
from toast_assets.errors import CalendarError, SettingsError, ToastAssetsError
from toast_assets.store.calendar import check_boundaries
from toast_assets.store.order_store import OrderStore
from toast_assets.week import Week, WeekCalendar

SENSOR_NAME = "weekly_toast_orders_sensor"
REASON_TAG = "toast/reason"
_PARTITION_TAG = "dagster/partition"
_SENSOR_TAG = "dagster/sensor_name"
_RUN_KEY_TAG = "dagster/run_key"
_UNDER_WAY = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
# Two looks at each of half a year's weeks; what is older is settled.
_RUNS_REMEMBERED = 52


def build_sensor(now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> dg.SensorDefinition:
    """The sensor, by the clock ``now`` (aware)."""

    @dg.sensor(
        name=SENSOR_NAME,
        job=weekly_toast_orders,
        minimum_interval_seconds=300,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=(
            "Asks for each week once it has closed, again while a restaurant is missing, and a second time three days"
            " after its close. After a down-time it catches up week by week."
        ),
    )
    def weekly_toast_orders_sensor(
        context: dg.SensorEvaluationContext, order_store: OrderStoreResource
    ) -> dg.SensorResult:
        if problems := calendar_problems():
            raise SettingsError(problems)
        bucket = _Bucket(order_store, calendar())
        decision = decide(calendar(), now(), _cursor(context), _Outcomes(context.instance, bucket))
        message = ". ".join([decision.message, *bucket.problems])
        context.log.info(message)
        return dg.SensorResult(
            run_requests=[_run_request(request) for request in decision.requests],
            skip_reason=None if decision.requests else message,
            cursor=encode_cursor(decision.cursor),
        )

    return weekly_toast_orders_sensor


class _Bucket:
    """The order store, where it can be reached; ``problems`` say why not, once each.

    A tick that cannot see the bucket still asks for new weeks: their runs fail with the reason, where people look and
    alerts come from. A tick that raises asks for nothing, so nothing fails and nobody is alerted.
    """

    def __init__(self, resource: OrderStoreResource, weeks: WeekCalendar) -> None:
        self.problems: list[str] = []
        self._store: OrderStore | None = None
        try:
            store = resource.store()
            check_boundaries(store, weeks)
            self._store = store
        except CalendarError:
            raise
        except Exception as error:  # noqa: BLE001 - the run that is asked for says what it is
            self._note(error)

    def pulled(self, week: Week) -> bool | None:
        """Whether the week is stored whole; None where that cannot be known."""
        if self._store is None:
            return None
        try:
            manifest, _ = self._store.load_manifest(week)
        except Exception as error:  # noqa: BLE001 - as above
            self._note(error)
            return None
        return manifest is not None and manifest.outcome == "complete"

    def _note(self, error: Exception) -> None:
        # Of what is none of this package's errors the text is left out: it may hold a secret.
        known = isinstance(error, ToastAssetsError)
        problem = str(error) if known else f"The bucket could not be looked at ({type(error).__name__})."
        if problem not in self.problems:
            self.problems.append(problem)


class _Outcomes:
    """What became of a week, by the instance's runs and the bucket's manifest."""

    def __init__(self, instance: dg.DagsterInstance, bucket: _Bucket) -> None:
        self._instance = instance
        self._bucket = bucket

    def __call__(self, week: Week) -> Outcome:
        tags = {_PARTITION_TAG: week.key}
        if self._instance.get_runs_count(dg.RunsFilter(tags=tags, statuses=_UNDER_WAY)):
            return Outcome.RUNNING
        pulled = self._bucket.pulled(week)
        if pulled is None:
            return Outcome.UNKNOWN
        if not pulled:
            return Outcome.INCOMPLETE
        newest = self._instance.get_runs(dg.RunsFilter(job_name=weekly_toast_orders.name, tags=tags), limit=1)
        failed = any(run.status is dg.DagsterRunStatus.FAILURE for run in newest)
        return Outcome.FAILED if failed else Outcome.COMPLETE


def _cursor(context: dg.SensorEvaluationContext) -> Cursor:
    """The cursor; one that was reset, or that cannot be read, comes back from the runs that it led to."""
    cursor = decode_cursor(context.cursor)
    return cursor if cursor.newest is not None else recovered_cursor(calendar(), _earlier(context.instance))


def _earlier(instance: dg.DagsterInstance) -> Iterator[EarlierRequest]:
    filters = dg.RunsFilter(tags={_SENSOR_TAG: SENSOR_NAME})
    for record in instance.get_run_records(filters, limit=_RUNS_REMEMBERED):
        tags = record.dagster_run.tags
        if _PARTITION_TAG in tags and _RUN_KEY_TAG in tags:
            yield EarlierRequest(tags[_PARTITION_TAG], tags[_RUN_KEY_TAG], record.create_timestamp)


def _run_request(request: WeekRequest) -> dg.RunRequest:
    config: dict[str, Any] = {"ops": {"raw_toast_orders": {"config": {"refresh": True}}}} if request.refresh else {}
    return dg.RunRequest(
        run_key=request.run_key,
        partition_key=request.week.key,
        run_config=config,
        tags={REASON_TAG: request.reason},
    )
