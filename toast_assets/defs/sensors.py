"""The weekly sensor: asks for each week once it has closed."""

from collections.abc import Callable
from datetime import UTC, datetime

import dagster as dg

from toast_assets.defs.jobs import weekly_toast_orders
from toast_assets.defs.partitions import calendar
from toast_assets.week import WeekCalendar


def request_for(weeks: WeekCalendar, now: datetime) -> dg.RunRequest | dg.SkipReason:
    """The last week that has closed by ``now``; its run key makes sure that it is asked for only once."""
    week = weeks.last_closed(now)
    if week is None:
        return dg.SkipReason(f"The first week, {weeks.first}, has not closed yet.")
    return dg.RunRequest(
        run_key=f"week-{week.key}", partition_key=week.key, tags={"toast/reason": f"week {week.key}: closed"}
    )


def build_sensor(now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> dg.SensorDefinition:
    """The sensor, by the clock ``now`` (aware)."""

    @dg.sensor(
        name="weekly_toast_orders_sensor",
        job=weekly_toast_orders,
        minimum_interval_seconds=300,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Asks for the last closed week, once.",
    )
    def weekly_toast_orders_sensor() -> dg.RunRequest | dg.SkipReason:
        return request_for(calendar(), now())

    return weekly_toast_orders_sensor
