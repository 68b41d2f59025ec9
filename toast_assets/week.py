"""The week: the half-open interval of modified times that one partition holds.

By default a week is [Monday 04:00 UTC, next Monday 04:00 UTC), as in Amperity's guide; its key is the date of its first
day, ``2025-09-15``. In another time zone it is 167 or 169 hours long where daylight saving changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from toast_assets.errors import WeekError

KEY_FORMAT = "%Y-%m-%d"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
# At these hours Dagster takes the second of two readings, and moves on where there is none
# (dagster._utils.schedules.DAYLIGHT_SAVINGS_HOURS); at others the first, and the time at which it would have begun.
_CHANGING_HOURS = (1, 2, 3)
DAY_NAMES = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


@dataclass(frozen=True, order=True)
class Week:
    """One partition: ``key`` is the first day's date, ``start`` (inclusive) and ``end`` (exclusive) in UTC, ``…_ms``
    in milliseconds since 1970."""

    key: str
    start: datetime
    end: datetime

    @property
    def start_ms(self) -> int:
        return epoch_ms(self.start)

    @property
    def end_ms(self) -> int:
        return epoch_ms(self.end)


@dataclass(frozen=True)
class WeekCalendar:
    """Where weeks begin: ``weekday`` 0 is Monday, ``hour`` is local to ``timezone``.

    ``first`` is the first week's first day; ``settling`` is how long after its end a week is left alone.
    """

    first: date = date(2025, 1, 6)
    timezone: str = "UTC"
    weekday: int = 0
    hour: int = 4
    settling: timedelta = timedelta(minutes=15)

    def week(self, key: str) -> Week:
        """The week named ``key``. Raises WeekError where the key is not a date, not a week's first day, or before the
        first week."""
        try:
            day = datetime.strptime(key, KEY_FORMAT).replace(tzinfo=UTC).date()
        except ValueError:
            raise WeekError(
                f"Partition {key!r} is not a date.", hint="Use a week's first day, such as 2025-09-15."
            ) from None
        if day.weekday() != self.weekday:
            begins = day - timedelta(days=(day.weekday() - self.weekday) % 7)
            raise WeekError(
                f"Partition {key!r} is a {DAY_NAMES[day.weekday()]}; weeks begin on a {DAY_NAMES[self.weekday]}.",
                hint=f"The week that holds this day is {begins:{KEY_FORMAT}}.",
            )
        if day < self.first:
            raise WeekError(
                f"Partition {key!r} is before the first week, {self.first:{KEY_FORMAT}}.",
                hint="Set TOAST_START_DATE to an earlier week's first day.",
            )
        return Week(f"{day:{KEY_FORMAT}}", self._begin(day), self._begin(day + timedelta(days=7)))

    def is_week(self, key: str) -> bool:
        try:
            self.week(key)
        except WeekError:
            return False
        return True

    def begins_as(self, other: WeekCalendar) -> bool:
        """Whether the weeks of both begin at the same moments, whatever the settings are called, over some ten years:
        UTC and Etc/UTC do, and so do zones whose clocks agree."""
        days = (self.first + timedelta(days=number) for number in range(3700))
        starts = [day for day in days if day.weekday() == self.weekday]
        return self.weekday == other.weekday and all(self._begin(day) == other._begin(day) for day in starts)

    def closed_week(self, key: str, now: datetime) -> Week:
        """The week named ``key``, if it may be pulled at ``now`` (aware). Raises WeekError as ``week``, or where the
        week is still open and orders would still enter it (Toast: ordersBulk filters on the modified time, so only a
        closed window can be complete)."""
        week = self.week(key)
        ready = week.end + self.settling
        if now < ready:
            raise WeekError(
                f"Week {week.key} has not closed yet: it ends at {week.end:%Y-%m-%d %H:%M} UTC"
                f" and may be pulled from {ready:%Y-%m-%d %H:%M} UTC on.",
                hint="Materialize it then, or let weekly_toast_orders_sensor do it.",
                code="WEEK-OPEN",
            )
        return week

    def last_closed(self, now: datetime) -> Week | None:
        """The newest week that may be pulled at ``now`` (aware), or None where the first week is still open."""
        local = now.astimezone(ZoneInfo(self.timezone)).date()
        day = local - timedelta(days=(local.weekday() - self.weekday) % 7)
        while day >= self.first:
            if now >= self._begin(day + timedelta(days=7)) + self.settling:
                return self.week(f"{day:{KEY_FORMAT}}")
            day -= timedelta(days=7)
        return None

    def _begin(self, day: date) -> datetime:
        zone = ZoneInfo(self.timezone)
        local = datetime.combine(day, time(self.hour), zone)
        if self.hour in _CHANGING_HOURS:
            if local.astimezone(UTC).astimezone(zone) != local:
                # Clocks are put forward over this hour.
                local += zone.dst(local + timedelta(hours=1)) or timedelta()
            local = local.replace(fold=1)
        return local.astimezone(UTC)


def epoch_ms(moment: datetime) -> int:
    """Milliseconds since 1970-01-01 UTC of an aware datetime."""
    return (moment - _EPOCH) // _MILLISECOND


def from_epoch_ms(milliseconds: int) -> datetime:
    """The aware UTC datetime of milliseconds since 1970-01-01 UTC."""
    return _EPOCH + timedelta(milliseconds=milliseconds)


def iso_ms(moment: datetime) -> str:
    """ISO-8601 in UTC with milliseconds and ``Z``, as in the export's metadata and the manifest."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"
