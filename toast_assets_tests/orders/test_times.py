"""Moments and days as Toast writes them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toast_assets.orders.times import business_day, day_begins, instant

OFFSETS = st.builds(lambda hours: timezone(timedelta(hours=hours)), st.integers(-11, 13))


@pytest.mark.parametrize(
    "text",
    [
        "2025-09-19T14:30:00.000+0000",
        "2025-09-19T14:30:00.000Z",
        "2025-09-19T14:30:00Z",
        "2025-09-19T14:30:00",
        "2025-09-19T10:30:00.000-0400",
        "2025-09-19T10:30:00.000-04:00",
    ],
)
def test_every_spelling_of_a_moment_is_the_same_moment(text: str) -> None:
    assert instant(text) == datetime(2025, 9, 19, 14, 30, tzinfo=UTC)


@pytest.mark.parametrize("text", [None, ""])
def test_no_moment_is_none(text: str | None) -> None:
    assert instant(text) is None


@given(st.datetimes(datetime(1970, 1, 2), datetime(2099, 1, 1), timezones=OFFSETS))  # noqa: DTZ001 - given a zone
def test_any_moment_with_any_offset_comes_back_in_utc(moment: datetime) -> None:
    whole = moment.replace(microsecond=moment.microsecond // 1000 * 1000)
    text = whole.isoformat(timespec="milliseconds")
    assert instant(text) == whole
    assert instant(text[:-3] + text[-2:]) == whole


@pytest.mark.parametrize("text", ["yesterday at noon", "2025-02-30T00:00:00Z", "0001-01-01T00:00:00+0500"])
def test_what_is_no_moment_is_an_error_that_does_not_repeat_it(text: str) -> None:
    with pytest.raises(ValueError, match=r"^a timestamp is not ISO-8601$"):
        instant(text)


def test_a_business_date_is_a_day_on_the_restaurants_calendar() -> None:
    assert business_day(20250919) == date(2025, 9, 19)
    assert business_day(None) is None
    assert business_day(0) is None


def test_a_number_that_is_no_date_is_an_error() -> None:
    with pytest.raises(ValueError, match="day"):
        business_day(20250931)


@pytest.mark.parametrize(
    ("place", "hour", "begins"),
    [
        ("America/New_York", 4, "2025-11-02T09:00"),
        ("America/New_York", 0, "2025-11-02T04:00"),
        ("Asia/Tokyo", None, "2025-11-01T19:00"),
        ("Nowhere/Land", 4, "2025-11-02T04:00"),
        (None, 99, "2025-11-02T04:00"),
    ],
)
def test_a_business_day_begins_at_the_local_closeout_hour(place: str | None, hour: int | None, begins: str) -> None:
    """On the day on which clocks are put back in New York."""
    assert day_begins(date(2025, 11, 2), place, hour) == datetime.fromisoformat(f"{begins}+00:00")
