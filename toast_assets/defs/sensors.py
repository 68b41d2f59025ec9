"""The weekly sensor: asks for each week once it has closed, again while something is missing, and a second time."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from toast_assets.defs.jobs import weekly_toast_orders
from toast_assets.defs.partitions import calendar
from toast_assets.defs.resources import OrderStoreResource
from toast_assets.errors import ToastAssetsError
from toast_assets.pipeline.requests import Outcome, WeekRequest, decide, decode_cursor, encode_cursor
from toast_assets.store.order_store import OrderStore
from toast_assets.week import Week

REASON_TAG = "toast/reason"
_PARTITION_TAG = "dagster/partition"
_UNDER_WAY = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def build_sensor(now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> dg.SensorDefinition:
    """The sensor, by the clock ``now`` (aware)."""

    @dg.sensor(
        name="weekly_toast_orders_sensor",
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
        outcome_of = _Outcomes(context, order_store)
        decision = decide(calendar(), now(), decode_cursor(context.cursor), outcome_of)
        message = " ".join([decision.message, *outcome_of.problems])
        context.log.info(message)
        return dg.SensorResult(
            run_requests=[_run_request(request) for request in decision.requests],
            skip_reason=None if decision.requests else message,
            cursor=encode_cursor(decision.cursor),
        )

    return weekly_toast_orders_sensor


class _Outcomes:
    """What became of a week, by the instance's runs and the bucket's manifest; ``problems`` say why it is not known."""

    def __init__(self, context: dg.SensorEvaluationContext, order_store: OrderStoreResource) -> None:
        self._context = context
        self._resource = order_store
        self._store: OrderStore | None = None
        self.problems: list[str] = []

    def __call__(self, week: Week) -> Outcome:
        filters = dg.RunsFilter(tags={_PARTITION_TAG: week.key}, statuses=_UNDER_WAY)
        if self._context.instance.get_runs_count(filters):
            return Outcome.RUNNING
        try:
            self._store = self._store or self._resource.store()
            manifest, _ = self._store.load_manifest(week)
        except ToastAssetsError as error:
            # New weeks are asked for all the same; their runs fail with the reason, where people look.
            self.problems.append(str(error))
            return Outcome.UNKNOWN
        return Outcome.COMPLETE if manifest and manifest.outcome == "complete" else Outcome.INCOMPLETE


def _run_request(request: WeekRequest) -> dg.RunRequest:
    config: dict[str, Any] = {"ops": {"raw_toast_orders": {"config": {"refresh": True}}}} if request.refresh else {}
    return dg.RunRequest(
        run_key=request.run_key,
        partition_key=request.week.key,
        run_config=config,
        tags={REASON_TAG: request.reason},
    )
