"""The week: where it begins and ends, and when it may be pulled."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pytest
from dagster._core.definitions.partitions.context import partition_loading_context
from hypothesis import given
from hypothesis import strategies as st

from toast_assets.defs.partitions import weekly_partitions
from toast_assets.errors import WeekError
from toast_assets.week import WeekCalendar, epoch_ms, from_epoch_ms, iso_ms

NEW_YORK = WeekCalendar(date(2025, 1, 6), "America/New_York", hour=4)


def test_a_week_is_monday_four_oclock_utc_to_the_next() -> None:
    week = WeekCalendar().week("2025-09-15")
    assert (week.start, week.end) == (datetime(2025, 9, 15, 4, tzinfo=UTC), datetime(2025, 9, 22, 4, tzinfo=UTC))


@pytest.mark.parametrize(("key", "hours"), [("2025-03-03", 167), ("2025-03-10", 168), ("2025-10-27", 169)])
def test_a_local_week_is_an_hour_shorter_or_longer_where_daylight_saving_changes(key: str, hours: int) -> None:
    week = NEW_YORK.week(key)
    assert week.end - week.start == timedelta(hours=hours)


@pytest.mark.parametrize(
    "calendar",
    [
        WeekCalendar(),
        NEW_YORK,
        WeekCalendar(date(2025, 1, 5), "Australia/Lord_Howe", weekday=6, hour=2),
        WeekCalendar(date(2024, 1, 3), "Europe/Berlin", weekday=2, hour=0),
    ],
)
def test_weeks_are_dagsters_partitions_and_touch_without_gap_or_overlap(calendar: WeekCalendar) -> None:
    partitions = weekly_partitions(calendar)
    keys = partitions.get_partition_keys(current_time=datetime(2026, 11, 24, tzinfo=UTC))
    weeks = [calendar.week(key) for key in keys]
    assert len(weeks) > 90
    for week, following in pairwise(weeks):
        assert week.end == following.start
    for week in weeks:
        window = partitions.time_window_for_partition_key(week.key)
        assert (window.start, window.end) == (week.start, week.end)


@pytest.mark.parametrize(
    ("zone", "weekday", "hours"),
    [
        # Sunday's hours around the changes, and the evening before where clocks change at midnight.
        ("America/New_York", 6, (0, 1, 2, 3)),
        ("Europe/London", 6, (0, 1, 2)),
        ("Europe/Dublin", 6, (0, 1, 2)),
        ("Australia/Lord_Howe", 6, (1, 2)),
        ("Pacific/Auckland", 6, (2, 3)),
        ("Africa/Casablanca", 6, (2, 3)),
        ("Asia/Gaza", 5, (0, 1, 2)),
        ("America/Havana", 6, (0, 1)),
        ("America/Santiago", 5, (23,)),
        ("America/Santiago", 6, (0,)),
        ("Atlantic/Azores", 6, (0, 1)),
    ],
)
def test_an_hour_that_comes_twice_or_never_is_read_as_dagster_reads_it(
    zone: str, weekday: int, hours: tuple[int, ...]
) -> None:
    first = date(2025, 1, 6) + timedelta(days=weekday)
    for hour in hours:
        calendar = WeekCalendar(first, zone, weekday, hour)
        partitions = weekly_partitions(calendar)
        keys = partitions.get_partition_keys(current_time=datetime(2028, 1, 1, tzinfo=UTC))
        assert len(keys) > 150
        for key in keys:
            window, week = partitions.time_window_for_partition_key(key), calendar.week(key)
            assert (week.start, week.end) == (window.start.astimezone(UTC), window.end.astimezone(UTC))
            for moment, ends in ((week.end, True), (week.end - timedelta(seconds=1), False)):
                with partition_loading_context(effective_dt=moment):
                    assert partitions.has_partition_key(key) is ends


def test_a_key_in_mid_week_is_refused_and_the_right_one_named() -> None:
    with pytest.raises(WeekError, match=r"'2025-09-17' is a Wednesday.*2025-09-15"):
        WeekCalendar().week("2025-09-17")


@pytest.mark.parametrize("key", ["", "last week", "2025-13-01", "20250915"])
def test_a_key_that_is_no_date_is_refused(key: str) -> None:
    with pytest.raises(WeekError, match="is not a date"):
        WeekCalendar().week(key)


def test_a_week_before_the_first_is_refused() -> None:
    with pytest.raises(WeekError, match="TOAST_START_DATE"):
        WeekCalendar().week("2024-12-30")


def test_a_week_may_be_pulled_once_it_has_closed_and_settled() -> None:
    calendar = WeekCalendar()
    ready = datetime(2025, 9, 22, 4, 15, tzinfo=UTC)
    assert calendar.closed_week("2025-09-15", ready).key == "2025-09-15"
    with pytest.raises(WeekError, match="ends at 2025-09-22 04:00 UTC and may be pulled from 2025-09-22 04:15 UTC"):
        calendar.closed_week("2025-09-15", ready - timedelta(milliseconds=1))


@given(st.datetimes(datetime(2025, 1, 14), datetime(2030, 1, 1)), st.sampled_from([WeekCalendar(), NEW_YORK]))  # noqa: DTZ001
def test_the_last_closed_week_may_be_pulled_and_the_one_after_it_may_not(
    naive: datetime, calendar: WeekCalendar
) -> None:
    now = naive.replace(tzinfo=UTC)
    last = calendar.last_closed(now)
    assert last is not None
    assert calendar.closed_week(last.key, now) == last
    following = date.fromisoformat(last.key) + timedelta(days=7)
    with pytest.raises(WeekError, match="has not closed yet"):
        calendar.closed_week(f"{following}", now)


def test_before_the_first_week_has_closed_there_is_no_last_one() -> None:
    assert WeekCalendar().last_closed(datetime(2025, 1, 13, 4, 14, tzinfo=UTC)) is None


@given(st.integers(0, 4_102_444_800_000))
def test_milliseconds_survive_the_way_to_a_datetime_and_back(milliseconds: int) -> None:
    assert epoch_ms(from_epoch_ms(milliseconds)) == milliseconds


def test_times_are_written_with_milliseconds_and_z() -> None:
    assert iso_ms(datetime(2025, 9, 22, 4, 0, 0, 7999, tzinfo=UTC)) == "2025-09-22T04:00:00.007Z"
