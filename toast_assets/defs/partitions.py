"""The weekly partitions: Dagster's view of ``toast_assets.week``."""

from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg

from toast_assets.week import KEY_FORMAT, WeekCalendar

_OVERDUE_AFTER_HOURS = 12


def weekly_partitions(weeks: WeekCalendar) -> dg.TimeWindowPartitionsDefinition:
    """One partition a week, keyed by its first day's date. A key that cannot be run is refused with the reason."""

    # Dagster stores partitions definitions by their class's name, so other processes read it as Dagster's own.
    class TimeWindowPartitionsDefinition(dg.TimeWindowPartitionsDefinition):
        def validate_partition_key(self, partition_key: str, context: Any) -> None:
            if not self.has_partition_key(partition_key):
                weeks.closed_week(partition_key, datetime.now(UTC))
            super().validate_partition_key(partition_key, context)

    # cron counts weekdays from Sunday, datetime from Monday.
    cron = f"0 {weeks.hour} * * {(weeks.weekday + 1) % 7}"
    return TimeWindowPartitionsDefinition(
        start=f"{weeks.first:{KEY_FORMAT}}", fmt=KEY_FORMAT, cron_schedule=cron, timezone=weeks.timezone
    )


def overdue_policy(weeks: WeekCalendar) -> dg.FreshnessPolicy:
    """An asset turns red in the UI where it was not materialized within twelve hours after a week's end."""
    hour = weeks.hour + _OVERDUE_AFTER_HOURS
    day = (weeks.weekday + 1 + hour // 24) % 7
    return dg.FreshnessPolicy.cron(
        deadline_cron=f"0 {hour % 24} * * {day}",
        lower_bound_delta=timedelta(hours=_OVERDUE_AFTER_HOURS),
        timezone=weeks.timezone,
    )
