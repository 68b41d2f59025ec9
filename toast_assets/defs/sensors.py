"""The weekly sensor: asks for each week once it has closed, again while something is missing, and a second time."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import dagster as dg
import msgspec

from toast_assets.defs.assets import WEEKLY_JOB
from toast_assets.defs.due_weeks import Cursor, Outcome, decide, recovered_cursor
from toast_assets.defs.resources import OrderStoreResource
from toast_assets.errors import CalendarError, ToastAssetsError
from toast_assets.store.calendar import check_boundaries
from toast_assets.week import Week

SENSOR_NAME = "weekly_toast_orders_sensor"
_PARTITION_TAG = "dagster/partition"
_SENSOR_TAG = "dagster/sensor_name"
_RUN_KEY_TAG = "dagster/run_key"
_UNDER_WAY = [status for status in dg.DagsterRunStatus if status.name not in ("SUCCESS", "FAILURE", "CANCELED")]
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
        problems: dict[str, None] = {}
        with _noting(problems):
            check_boundaries(order_store.store, calendar)
        readable = not problems

        def outcome_of(week: Week) -> Outcome:
            if readable:
                with _noting(problems):
                    return _outcome(context.instance, order_store, week)
            return "unknown"

        cursor = Cursor.decode(context.cursor)
        if cursor.newest is None:
            # It was reset, or cannot be read: the runs that it led to bring it back.
            filters = dg.RunsFilter(tags={_SENSOR_TAG: SENSOR_NAME})
            records = context.instance.get_run_records(filters, limit=_RUNS_REMEMBERED)
            runs = [(record.dagster_run.tags, record.create_timestamp) for record in records]
            wanted = {_PARTITION_TAG, _RUN_KEY_TAG}
            earlier = [(tags[_PARTITION_TAG], tags[_RUN_KEY_TAG], at) for tags, at in runs if wanted <= tags.keys()]
            cursor = recovered_cursor(calendar, earlier)
        decision = decide(calendar, now(), cursor, outcome_of)
        message = ". ".join([decision.message, *problems])
        context.log.info(message)
        return dg.SensorResult(
            run_requests=decision.requests,
            skip_reason=None if decision.requests else message,
            cursor=msgspec.json.encode(decision.cursor).decode(),
        )

    return weekly_toast_orders_sensor


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


def _outcome(instance: dg.DagsterInstance, order_store: OrderStoreResource, week: Week) -> Outcome:
    """What became of a week, by the instance's runs and the bucket's manifest."""
    tags = {_PARTITION_TAG: week.key}
    if instance.get_runs_count(dg.RunsFilter(tags=tags, statuses=_UNDER_WAY)):
        return "running"
    manifest, _ = order_store.store.load_manifest(week)
    if manifest is None or manifest.outcome != "complete":
        return "incomplete"
    newest = instance.get_runs(dg.RunsFilter(job_name=WEEKLY_JOB, tags=tags), limit=1)
    return "failed" if any(run.status is dg.DagsterRunStatus.FAILURE for run in newest) else "complete"
