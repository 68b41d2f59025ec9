"""Where weeks begin is kept with them: settings that would move the boundaries of stored weeks are refused."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import pytest

from toast_assets.errors import CalendarError, StoreError
from toast_assets.store.bucket import ABSENT
from toast_assets.store.calendar import check_boundaries, keep_boundaries
from toast_assets.store.order_store import OrderStore
from toast_assets.week import WeekCalendar
from toast_assets_tests.support.stores.stored_weeks import store_week

CALENDAR = WeekCalendar()
MOVED = {
    "another hour": replace(CALENDAR, hour=5),
    "another weekday": replace(CALENDAR, weekday=6, first=date(2025, 1, 5)),
    "another zone": replace(CALENDAR, timezone="Europe/Berlin"),
}
SAME = {
    "a later first week": replace(CALENDAR, first=date(2027, 1, 4)),
    "an earlier first week": replace(CALENDAR, first=date(2024, 1, 1)),
    "another settling delay": replace(CALENDAR, settling=timedelta(hours=2)),
    "another name of the same zone": replace(CALENDAR, timezone="Etc/UTC"),
}


@pytest.fixture(params=["the note", "the manifests alone"])
def stored(request: pytest.FixtureRequest, store: OrderStore) -> OrderStore:
    """A store with a week, as a run leaves it, and as a run leaves it that was killed before it was done."""
    store_week(store, CALENDAR.week("2025-09-15"), {"here": []})
    if request.param == "the note":
        keep_boundaries(store, CALENDAR)
    return store


@pytest.mark.parametrize("calendar", MOVED.values(), ids=MOVED)
def test_what_would_move_the_boundaries_of_stored_weeks_is_refused(stored: OrderStore, calendar: WeekCalendar) -> None:
    with pytest.raises(CalendarError, match=r"would move their boundaries.*TOAST_WEEK_HOUR back"):
        check_boundaries(stored, calendar)


@pytest.mark.parametrize("calendar", [CALENDAR, *SAME.values()], ids=["the same settings", *SAME])
def test_what_leaves_them_where_they_are_is_not(stored: OrderStore, calendar: WeekCalendar) -> None:
    check_boundaries(stored, calendar)
    keep_boundaries(stored, calendar)


@pytest.mark.parametrize("calendar", MOVED.values(), ids=MOVED)
def test_where_nothing_is_stored_any_setting_will_do_and_none_is_noted(
    store: OrderStore, calendar: WeekCalendar
) -> None:
    check_boundaries(store, calendar)
    assert list(store.bucket.keys("")) == []


def test_the_message_says_both_boundaries_and_where(store: OrderStore) -> None:
    keep_boundaries(store, CALENDAR)
    with pytest.raises(CalendarError) as caught:
        check_boundaries(store, replace(CALENDAR, timezone="America/New_York", weekday=6, first=date(2025, 1, 5)))
    for part in (store.bucket.uri("toast-orders/"), "Monday 04:00 UTC", "Sunday 04:00 America/New_York", "S3_PREFIX"):
        assert part in str(caught.value)


def test_the_note_is_written_once(store: OrderStore) -> None:
    keep_boundaries(store, CALENDAR)
    before = store.bucket.read(store.layout.calendar)
    keep_boundaries(store, SAME["another name of the same zone"])
    assert store.bucket.read(store.layout.calendar) == before


def test_of_two_runs_that_note_at_once_the_second_compares(store: OrderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    write = store.bucket.write

    def overtaken(key: str, body: bytes, **properties: object) -> object:
        monkeypatch.undo()
        keep_boundaries(store, MOVED["another hour"])
        return write(key, body, replaces=ABSENT, ContentType=str(properties["ContentType"]))

    monkeypatch.setattr(store.bucket, "write", overtaken)
    with pytest.raises(CalendarError, match="Monday 05:00 UTC"):
        keep_boundaries(store, CALENDAR)


@pytest.mark.parametrize("body", [b"{", b'{"time_zone": "\xff"}', b"[" * 5000])
def test_a_note_that_cannot_be_read_is_named(store: OrderStore, body: bytes) -> None:
    store.bucket.write(store.layout.calendar, body)
    with pytest.raises(StoreError, match=r"calendar\.json cannot be read"):
        check_boundaries(store, CALENDAR)
