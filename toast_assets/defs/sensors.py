"""The weekly sensor: asks for each week once it has closed, again while something is missing, and a second time."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import dagster as dg

from toast_assets.defs.assets import WEEKLY_JOB
from toast_assets.defs.due_weeks import Cursor, EarlierRequest, Outcome, decide, recovered_cursor
from toast_assets.defs.resources import OrderStoreResource
from toast_assets.errors import CalendarError, ToastAssetsError
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
_REFRESH = {"ops": {"raw_toast_orders": {"config": {"refresh": True}}}}
# Two looks at each of half a year's weeks; what is older is settled.
_RUNS_REMEMBERED = 52


def build_sensor(now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> dg.SensorDefinition:
    """The sensor, by the clock ``now`` (aware)."""

    @dg.sensor(
        name=SENSOR_NAME,
        job_name=WEEKLY_JOB,
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
        calendar = order_store.calendar()
        outcomes = _Outcomes(context.instance, order_store, calendar)
        cursor = Cursor.decode(context.cursor)
        if cursor.newest is None:
            # It was reset, or cannot be read: the runs that it led to bring it back.
            cursor = recovered_cursor(calendar, _earlier(context.instance))
        decision = decide(calendar, now(), cursor, outcomes.of)
        message = ". ".join([decision.message, *outcomes.problems])
        context.log.info(message)
        return dg.SensorResult(
            run_requests=[
                dg.RunRequest(
                    run_key=request.run_key,
                    partition_key=request.week.key,
                    run_config=_REFRESH if request.refresh else {},
                    tags={REASON_TAG: request.reason},
                )
                for request in decision.requests
            ],
            skip_reason=None if decision.requests else message,
            cursor=decision.cursor.encode(),
        )

    return weekly_toast_orders_sensor


class _Outcomes:
    """What became of a week, by the instance's runs and the bucket's manifest; ``problems`` of the bucket, once each.

    A tick that cannot read the bucket still asks for new weeks: their runs fail with the reason, and raise the alert.
    A tick that raises asks for nothing, so no run fails and no alert is posted.
    """

    def __init__(self, instance: dg.DagsterInstance, order_store: OrderStoreResource, calendar: WeekCalendar) -> None:
        self.problems: list[str] = []
        self._instance = instance
        self._store: OrderStore | None = None
        try:
            store = order_store.store()
            check_boundaries(store, calendar)
            self._store = store
        except CalendarError:
            raise
        except Exception as error:  # noqa: BLE001 - the run that is asked for says what it is
            self._note(error)

    def of(self, week: Week) -> Outcome:
        """The outcome of one week."""
        tags = {_PARTITION_TAG: week.key}
        if self._instance.get_runs_count(dg.RunsFilter(tags=tags, statuses=_UNDER_WAY)):
            return Outcome.RUNNING
        if self._store is None:
            return Outcome.UNKNOWN
        try:
            manifest, _ = self._store.load_manifest(week)
        except Exception as error:  # noqa: BLE001 - as above
            self._note(error)
            return Outcome.UNKNOWN
        if manifest is None or manifest.outcome != "complete":
            return Outcome.INCOMPLETE
        newest = self._instance.get_runs(dg.RunsFilter(job_name=WEEKLY_JOB, tags=tags), limit=1)
        failed = any(run.status is dg.DagsterRunStatus.FAILURE for run in newest)
        return Outcome.FAILED if failed else Outcome.COMPLETE

    def _note(self, error: Exception) -> None:
        # The text of errors that are not this package's is left out: it may hold a secret.
        known = isinstance(error, ToastAssetsError)
        problem = str(error) if known else f"The bucket could not be read ({type(error).__name__})."
        if problem not in self.problems:
            self.problems.append(problem)


def _earlier(instance: dg.DagsterInstance) -> Iterator[EarlierRequest]:
    filters = dg.RunsFilter(tags={_SENSOR_TAG: SENSOR_NAME})
    for record in instance.get_run_records(filters, limit=_RUNS_REMEMBERED):
        tags = record.dagster_run.tags
        if _PARTITION_TAG in tags and _RUN_KEY_TAG in tags:
            yield EarlierRequest(tags[_PARTITION_TAG], tags[_RUN_KEY_TAG], record.create_timestamp)
