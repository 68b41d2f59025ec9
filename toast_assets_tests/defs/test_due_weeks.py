"""The sensor's decision over simulated time: every week requested, none twice without cause, second looks where due."""

from __future__ import annotations

import random
import re
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import dagster as dg
import msgspec
import pytest

from toast_assets.defs.due_weeks import (
    MOST_ATTEMPTS,
    REASON_TAG,
    Cursor,
    Outcome,
    decide,
    recovered_cursor,
)
from toast_assets.week import Week, WeekCalendar

CALENDAR = WeekCalendar()
NEW_YORK = WeekCalendar(date(2025, 1, 6), "America/New_York", hour=4)
MONDAY = datetime(2025, 9, 22, 4, 15, tzinfo=UTC)
SECOND_LOOK_AFTER = timedelta(hours=72)


def week_of(request: dg.RunRequest) -> str:
    assert request.partition_key is not None
    return request.partition_key


def run_key_of(request: dg.RunRequest) -> str:
    assert request.run_key is not None
    return request.run_key


@dataclass
class Simulation:
    """A year of ticks: runs take an hour; ``fails`` says how often a week's first pulls stay incomplete."""

    calendar: WeekCalendar = CALENDAR
    second_look_after: timedelta = SECOND_LOOK_AFTER
    fails: dict[str, int] = field(default_factory=dict)
    cursor: str | None = None
    used: dict[str, datetime] = field(default_factory=dict)
    requests: list[tuple[datetime, dg.RunRequest]] = field(default_factory=list)
    runs: Counter[str] = field(default_factory=Counter)
    busy_until: dict[str, datetime] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)

    def tick(self, now: datetime) -> None:
        def outcome(week: Week) -> Outcome:
            if self.busy_until.get(week.key, now) > now:
                return "running"
            done = self.runs[week.key] > self.fails.get(week.key, 0)
            return "complete" if done else "incomplete"

        cursor = Cursor.decode(self.cursor)
        if cursor.newest is None:
            earlier = [(week_of(request), run_key_of(request), at) for at, request in self.requests]
            cursor = recovered_cursor(self.calendar, earlier, self.second_look_after)
        decision = decide(self.calendar, now, cursor, outcome, self.second_look_after)
        assert decision.message
        self.said.append(decision.message)
        self.cursor = msgspec.json.encode(decision.cursor).decode()
        for request in decision.requests:
            # Dagster ignores a run key that it has seen.
            if run_key_of(request) not in self.used:
                self.used[run_key_of(request)] = now
                self.requests.append((now, request))
                self.runs[week_of(request)] += 1
                self.busy_until[week_of(request)] = now + timedelta(hours=1)

    def pass_time(self, begin: datetime, end: datetime, step: timedelta = timedelta(minutes=30)) -> None:
        while begin < end:
            self.tick(begin)
            begin += step

    def asked(self, kind: str) -> list[str]:
        return [week_of(request) for _, request in self.requests if kind in request.tags[REASON_TAG]]


def weeks_between(first: str, last: str) -> list[str]:
    day, keys = date.fromisoformat(first), []
    while f"{day}" <= last:
        keys.append(f"{day}")
        day += timedelta(days=7)
    return keys


def test_the_first_start_asks_for_the_last_closed_week_only() -> None:
    decision = decide(CALENDAR, MONDAY, Cursor(), lambda _: "complete", SECOND_LOOK_AFTER)
    assert [(week_of(request), request.tags[REASON_TAG]) for request in decision.requests] == [
        ("2025-09-15", "it has closed")
    ]


@pytest.mark.parametrize("after", [timedelta(hours=1), SECOND_LOOK_AFTER, timedelta(hours=160)])
@pytest.mark.parametrize("calendar", [CALENDAR, NEW_YORK])
def test_in_a_year_every_week_is_asked_for_once_and_looked_at_twice(calendar: WeekCalendar, after: timedelta) -> None:
    simulation = Simulation(calendar, after)
    simulation.pass_time(datetime(2025, 1, 14, tzinfo=UTC), datetime(2026, 1, 14, tzinfo=UTC))
    weeks = weeks_between("2025-01-06", "2026-01-05")
    assert simulation.asked("has closed") == weeks
    # The first tick comes a day after the first week's end, the last one less than two after the last week's.
    seconds = weeks[1:] if after < timedelta(days=1) else weeks[:-1]
    assert simulation.asked("second look") == seconds
    assert len(simulation.requests) == len(weeks) + len(seconds)


def test_a_second_look_comes_three_days_after_the_close_and_asks_toast_again() -> None:
    simulation = Simulation()
    simulation.pass_time(MONDAY, MONDAY + timedelta(days=6))
    (when, request) = simulation.requests[1]
    assert request.run_config == {"ops": {"raw_toast_orders": {"config": {"refresh": True}}}}
    assert timedelta(hours=72) <= when - CALENDAR.week(week_of(request)).end <= timedelta(hours=73)


def test_after_a_down_time_it_catches_up_oldest_first_within_a_bound_for_each_tick() -> None:
    simulation = Simulation()
    simulation.tick(MONDAY)
    back = MONDAY + timedelta(weeks=10)
    simulation.tick(back)
    caught_up = [
        week_of(request)
        for now, request in simulation.requests
        if now == back and "has closed" in request.tags[REASON_TAG]
    ]
    assert caught_up == weeks_between("2025-09-22", "2025-10-13")
    simulation.pass_time(back + timedelta(minutes=5), back + timedelta(days=2))
    assert simulation.asked("has closed") == weeks_between("2025-09-15", "2025-11-24")


def test_a_week_that_is_caught_up_on_late_gets_no_second_look() -> None:
    simulation = Simulation()
    simulation.tick(MONDAY)
    simulation.pass_time(MONDAY + timedelta(weeks=3), MONDAY + timedelta(weeks=3, days=1))
    assert simulation.asked("second look") == ["2025-09-15"]


def test_an_incomplete_week_is_asked_again_with_growing_pauses_up_to_a_number_of_times() -> None:
    simulation = Simulation(fails={"2025-09-15": 1000})
    simulation.pass_time(MONDAY, MONDAY + timedelta(hours=70))
    times = [now for now, _ in simulation.requests]
    assert len(times) == MOST_ATTEMPTS
    pauses = [later - earlier for earlier, later in pairwise(times)]
    assert pauses == sorted(pauses)
    assert pauses[-1] >= 8 * pauses[0]


def test_a_week_that_was_mended_is_not_asked_again_before_its_second_look() -> None:
    simulation = Simulation(fails={"2025-09-15": 2})
    simulation.pass_time(MONDAY, MONDAY + timedelta(hours=71))
    assert len(simulation.requests) == 3


def test_a_week_whose_run_is_under_way_is_left_alone() -> None:
    cursor = decide(CALENDAR, MONDAY, Cursor(), lambda _: "unknown", SECOND_LOOK_AFTER).cursor
    for hours in (2, 80):
        now = MONDAY + timedelta(hours=hours)
        decision = decide(CALENDAR, now, cursor, lambda _: "running", SECOND_LOOK_AFTER)
        assert not decision.requests
        # What comes next is never past.
        times = re.findall(r"\d{4}-\d\d-\d\d \d\d:\d\d", decision.message)
        assert min(times) > f"{now:%Y-%m-%d %H:%M}"


@pytest.mark.parametrize("seed", range(5))
def test_with_down_times_failures_and_cursor_resets_no_week_is_missed_and_none_asked_without_cause(seed: int) -> None:
    chance = random.Random(seed)
    now, end = datetime(2025, 1, 14, tzinfo=UTC), datetime(2026, 1, 14, tzinfo=UTC)
    weeks = weeks_between("2025-01-06", "2026-01-05")
    simulation = Simulation(NEW_YORK, fails={key: chance.choice([0, 0, 0, 1, 3]) for key in weeks})
    resets = 0
    while now < end:
        simulation.tick(now)
        if chance.random() < 0.002:
            now += timedelta(days=chance.randint(1, 24))
            simulation.tick(now)
        # Also in the middle of catching up.
        if chance.random() < 0.01:
            simulation.cursor = None
            resets += 1
        now += timedelta(minutes=30)
    simulation.pass_time(end, end + timedelta(days=4))
    assert resets > 50
    assert simulation.asked("has closed") == weeks
    looks = Counter(simulation.asked("second look"))
    for key in weeks:
        first = next(at for at, request in simulation.requests if week_of(request) == key)
        in_time = first < NEW_YORK.week(key).end + SECOND_LOOK_AFTER
        assert looks[key] == (1 if in_time else 0)
        # A second look that comes before the last attempt takes its place.
        needed = 1 + simulation.fails[key]
        assert max(needed, 1 + looks[key]) <= simulation.runs[key] <= needed + looks[key]


@pytest.mark.parametrize("after", [timedelta(hours=30), SECOND_LOOK_AFTER, timedelta(hours=200)])
def test_a_reset_cursor_comes_back_from_the_runs_that_it_led_to(after: timedelta) -> None:
    simulation = Simulation(second_look_after=after, fails={"2025-09-15": 1000, "2025-09-22": 2, "2025-10-06": 2})
    simulation.tick(MONDAY)
    for hours in range(24 * 25):
        now = MONDAY + timedelta(hours=hours)
        earlier = [(week_of(request), run_key_of(request), at) for at, request in simulation.requests]
        recovered, kept = recovered_cursor(CALENDAR, earlier, after), Cursor.decode(simulation.cursor)
        assert recovered.newest == kept.newest
        for key, state in kept.tracked.items():
            assert (recovered.tracked[key].attempts, recovered.tracked[key].second_look) == (
                state.attempts,
                state.second_look,
            )
        simulation.tick(now)


@pytest.mark.parametrize(("hours", "is_late"), [(30, True), (60, False)])
def test_a_week_of_the_history_that_was_asked_for_after_the_second_look_was_due_gets_none(
    hours: int, *, is_late: bool
) -> None:
    asked = CALENDAR.week("2025-09-15").end + timedelta(hours=50)
    recovered = recovered_cursor(CALENDAR, [("2025-09-15", "week-2025-09-15", asked)], timedelta(hours=hours))
    assert recovered.tracked["2025-09-15"].second_look is is_late


def test_a_history_without_the_sensors_runs_is_a_first_start() -> None:
    assert recovered_cursor(CALENDAR, [], SECOND_LOOK_AFTER) == Cursor()


def test_a_run_that_failed_after_a_whole_pull_is_asked_for_again_without_asking_toast() -> None:
    cursor = decide(CALENDAR, MONDAY, Cursor(), lambda _: "unknown", SECOND_LOOK_AFTER).cursor
    (request,) = decide(CALENDAR, MONDAY + timedelta(hours=1), cursor, lambda _: "failed", SECOND_LOOK_AFTER).requests
    assert request.tags[REASON_TAG] == "attempt 2 of 6, the last one failed"
    assert not request.run_config


def test_a_pause_begins_when_the_run_has_ended() -> None:
    cursor = decide(CALENDAR, MONDAY, Cursor(), lambda _: "unknown", SECOND_LOOK_AFTER).cursor
    cursor = decide(CALENDAR, MONDAY + timedelta(hours=5), cursor, lambda _: "running", SECOND_LOOK_AFTER).cursor
    soon = decide(CALENDAR, MONDAY + timedelta(hours=5, minutes=5), cursor, lambda _: "incomplete", SECOND_LOOK_AFTER)
    assert not soon.requests
    later = decide(CALENDAR, MONDAY + timedelta(hours=6), soon.cursor, lambda _: "incomplete", SECOND_LOOK_AFTER)
    assert [request.run_key for request in later.requests] == ["week-2025-09-15-first-look-attempt-2"]


def test_a_week_that_is_given_up_is_named() -> None:
    simulation = Simulation(fails={"2025-09-15": 1000})
    simulation.pass_time(MONDAY, MONDAY + timedelta(days=6, hours=20), timedelta(minutes=15))
    said = [text.partition(" Next:")[0] for text in simulation.said if "given up" in text]
    assert said == ["week 2025-09-15: given up after 6 attempts, materialize it by hand."]
    assert len(simulation.requests) == 2 * MOST_ATTEMPTS


def test_a_tick_says_what_it_starts_and_an_idle_one_what_comes_next_and_when() -> None:
    first = decide(CALENDAR, MONDAY, Cursor(), lambda _: "unknown", SECOND_LOOK_AFTER)
    following = (
        " Next: week 2025-09-15 again at 2025-09-22 05:15 UTC if it is not complete by then; second look at week"
        " 2025-09-15 at 2025-09-25 04:00 UTC; week 2025-09-22 at 2025-09-29 04:15 UTC."
    )
    assert first.message == f"week 2025-09-15: it has closed.{following}"
    assert (
        decide(CALENDAR, MONDAY, first.cursor, lambda _: "complete", SECOND_LOOK_AFTER).message
        == f"Nothing to do.{following}"
    )


def test_the_first_week_is_said_to_come_next_before_it_has_closed() -> None:
    decision = decide(CALENDAR, datetime(2025, 1, 8, tzinfo=UTC), Cursor(), lambda _: "unknown", SECOND_LOOK_AFTER)
    assert decision == ([], Cursor(), "Nothing to do. Next: week 2025-01-06 at 2025-01-13 04:15 UTC.")


def test_every_tick_says_the_next_week_and_the_time_at_which_it_is_asked_for() -> None:
    simulation = Simulation(NEW_YORK, fails={"2025-10-20": 2, "2025-10-27": 1000})
    # The clocks of New York change on 2025-11-02.
    now = datetime(2025, 10, 20, tzinfo=UTC)
    while now < datetime(2025, 11, 17, tzinfo=UTC):
        if now.hour == 7:
            simulation.cursor = None
        simulation.tick(now)
        last = NEW_YORK.last_closed(now)
        assert last is not None
        following = NEW_YORK.week(f"{date.fromisoformat(last.key) + timedelta(days=7)}")
        at = following.end + NEW_YORK.settling
        assert simulation.said[-1].endswith(f"week {following.key} at {at:%Y-%m-%d %H:%M} UTC.")
        now += timedelta(minutes=50)


def test_the_weeks_that_a_later_first_week_leaves_behind_are_forgotten() -> None:
    simulation = Simulation()
    simulation.tick(MONDAY)
    simulation.calendar = replace(CALENDAR, first=date(2025, 10, 6))
    simulation.pass_time(MONDAY + timedelta(days=4), MONDAY + timedelta(weeks=3, hours=1), timedelta(hours=1))
    assert simulation.asked("") == ["2025-09-15", "2025-10-06"]


def test_with_nothing_stored_the_weekday_may_change_and_the_next_such_week_follows() -> None:
    simulation = Simulation()
    simulation.tick(MONDAY)
    simulation.calendar = replace(CALENDAR, weekday=6, first=date(2025, 1, 5))
    simulation.pass_time(MONDAY, MONDAY + timedelta(weeks=2), timedelta(hours=1))
    assert simulation.asked("has closed") == ["2025-09-15", "2025-09-21", "2025-09-28"]


def test_a_cursor_that_cannot_be_read_is_a_new_one() -> None:
    assert Cursor.decode("not json") == Cursor.decode("") == Cursor.decode(None) == Cursor()
