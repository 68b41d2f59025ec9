"""The weekly partitions: Dagster's view of ``toast_assets.week``."""

import os
from datetime import UTC, datetime, timedelta

import dagster as dg
from dagster._core.definitions.partitions.context import PartitionLoadingContext

from toast_assets.errors import SettingsError
from toast_assets.settings import CalendarSettings, problems_of
from toast_assets.week import KEY_FORMAT, WeekCalendar

_OVERDUE_AFTER_HOURS = 12


def calendar_problems() -> list[str]:
    """What is malformed among the variables that say where weeks begin."""
    return problems_of(os.environ, CalendarSettings)


def calendar() -> WeekCalendar:
    """The calendar by the environment. Loading the definitions must not fail, so malformed variables, which each run
    names before it does anything, count as not set here."""
    try:
        return _settings().calendar()
    except SettingsError:
        return WeekCalendar()


class TimeWindowPartitionsDefinition(dg.TimeWindowPartitionsDefinition):
    """Dagster's own, with an error that says what is wrong with a key: a week still open, or no week's first day.

    It has its base's name because Dagster stores partitions definitions by their class's name; what is stored, and
    what other processes read, is the base.
    """

    def validate_partition_key(self, partition_key: str, context: PartitionLoadingContext) -> None:
        """Accept a closed week's key.

        Raises:
            WeekError: the key is none, or its week has not closed yet.
        """
        if not self.has_partition_key(partition_key):
            calendar().closed_week(partition_key, datetime.now(UTC))
        super().validate_partition_key(partition_key, context)


def weekly_partitions(weeks: WeekCalendar) -> dg.TimeWindowPartitionsDefinition:
    """One partition a week, keyed by its first day's date."""
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


def _settings() -> CalendarSettings:
    return CalendarSettings.parse(os.environ)
