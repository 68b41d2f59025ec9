"""Which weeks to ask for, and why: the weekly sensor's decision as a pure function of clock, cursor and outcomes.

Each week is asked for once it has closed, again (with growing pauses) while something is missing, and a second time
about three days after its close: totals at Toast creep for 24 to 72 hours, by refunds, voids and devices that were
offline (Toast: staff in the forum).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Annotated

import msgspec

from toast_assets.week import KEY_FORMAT, Week, WeekCalendar

SECOND_LOOK_AFTER = timedelta(hours=72)
# A fault that outlasts the retries of a run is given hours, then more than a day, then it is left to people.
MOST_ATTEMPTS = 6
_FIRST_PAUSE = timedelta(hours=1)
# Weeks that a tick asks for after a down-time; the next tick goes on.
MOST_WEEKS_PER_TICK = 4
_SECOND_LOOK = "second-look"


class Outcome(StrEnum):
    """What is known of a week: the outcome of its last pull, and of its last run where the pull is whole."""

    COMPLETE = "complete"
    INCOMPLETE = "incomplete"
    FAILED = "failed"
    RUNNING = "running"
    UNKNOWN = "unknown"


class Tracked(msgspec.Struct, frozen=True):
    """A week that may have to be asked for again. ``asked_at`` is when it was asked for last, or last seen under way;
    ``attempts`` are those of its first look, or of its second one where ``second_look`` is true."""

    attempts: int
    asked_at: Annotated[datetime, msgspec.Meta(tz=True)]
    second_look: bool


class Cursor(msgspec.Struct, frozen=True):
    """What the sensor remembers: the newest week that it asked for, and the weeks that are not settled yet."""

    newest: str | None = None
    tracked: dict[str, Tracked] = {}

    @classmethod
    def decode(cls, text: str | None) -> Cursor:
        """The cursor as it was stored; a new one where it was reset or cannot be read."""
        try:
            return msgspec.json.decode(text or "{}", type=cls)
        except msgspec.DecodeError:
            return cls()

    def encode(self) -> str:
        """The inverse of ``decode``."""
        return msgspec.json.encode(self).decode()


@dataclass(frozen=True)
class WeekRequest:
    """One run to start. ``reason`` is for people; ``refresh`` asks Toast again for what is complete."""

    week: Week
    run_key: str
    reason: str
    refresh: bool = False


@dataclass(frozen=True)
class EarlierRequest:
    """A run that was asked for, in the history of runs: its partition, its run key, and when (aware)."""

    key: str
    run_key: str
    at: datetime


@dataclass(frozen=True)
class Decision:
    """What to start now, what to remember, and what to say."""

    requests: tuple[WeekRequest, ...]
    cursor: Cursor
    message: str


def recovered_cursor(calendar: WeekCalendar, earlier: Iterable[EarlierRequest]) -> Cursor:
    """The cursor that led to the requests in the history of runs, for one that was lost.

    Run keys alone would only keep a week from being asked for twice; weeks that a down-time has left behind, attempts
    and second looks would be forgotten.
    """
    weeks: dict[str, list[EarlierRequest]] = defaultdict(list)
    for request in earlier:
        if calendar.is_week(request.key):
            weeks[request.key].append(request)
    tracked = {}
    for key, requests in weeks.items():
        second = [request for request in requests if _SECOND_LOOK in request.run_key]
        late = min(request.at for request in requests) >= calendar.week(key).end + SECOND_LOOK_AFTER
        attempts = len({request.run_key for request in second or requests})
        tracked[key] = Tracked(attempts, max(request.at for request in requests), bool(second) or late)
    return Cursor(max(weeks, default=None), tracked)


def decide(calendar: WeekCalendar, now: datetime, cursor: Cursor, outcome_of: Callable[[Week], Outcome]) -> Decision:
    """The runs to start at ``now`` (aware). ``outcome_of`` is asked only for weeks that may be due again."""
    last = calendar.last_closed(now)
    if last is None:
        return Decision((), cursor, f"The first week, {calendar.first}, has not closed yet.")
    # Weeks before a later TOAST_START_DATE are no partitions any more.
    tracked = {key: state for key, state in cursor.tracked.items() if calendar.is_week(key)}
    notes: list[str] = []
    requests = list(_due_again(calendar, now, tracked, outcome_of, notes))
    newest = cursor.newest
    for week in _newly_closed(calendar, last, newest):
        # A week that is caught up on late needs no second look: the first one is late enough.
        tracked[week.key] = Tracked(1, now, second_look=now >= week.end + SECOND_LOOK_AFTER)
        requests.append(WeekRequest(week, f"week-{week.key}", f"week {week.key}: closed"))
        newest = week.key
    if newest is not None and newest < last.key:
        notes.append("more weeks follow at the next tick")
    said = [*(request.reason for request in requests), *notes]
    if not said:
        said = [f"Nothing to do: week {last.key} was asked for"]
        for key, state in sorted(tracked.items()):
            if not state.second_look:
                begins = calendar.week(key).end + SECOND_LOOK_AFTER
                said.append(f"second look at week {key} from {begins:%Y-%m-%d %H:%M} UTC on")
    return Decision(tuple(requests), Cursor(newest, tracked), "; ".join(said))


def _newly_closed(calendar: WeekCalendar, last: Week, newest: str | None) -> Iterator[Week]:
    """Weeks after the newest one that was asked for, oldest first; at the very start the last one only."""
    if newest is None:
        yield last
        return
    after = max(date.fromisoformat(newest) + timedelta(days=1), calendar.first)
    day = after + timedelta(days=(calendar.weekday - after.weekday()) % 7)
    for _ in range(MOST_WEEKS_PER_TICK):
        if f"{day:{KEY_FORMAT}}" > last.key:
            return
        yield calendar.week(f"{day:{KEY_FORMAT}}")
        day += timedelta(days=7)


def _due_again(
    calendar: WeekCalendar,
    now: datetime,
    tracked: dict[str, Tracked],
    outcome_of: Callable[[Week], Outcome],
    notes: list[str],
) -> Iterator[WeekRequest]:
    """Second looks and further attempts; ``tracked`` is brought up to date, ``notes`` say what was given up."""
    for key, state in sorted(tracked.items()):
        week = calendar.week(key)
        second_look = not state.second_look and now >= week.end + SECOND_LOOK_AFTER
        if not second_look and now < state.asked_at + _FIRST_PAUSE * 2 ** (state.attempts - 1):
            continue
        outcome = outcome_of(week)
        if outcome is Outcome.RUNNING:
            # A pause begins when the run has ended, however long it took.
            tracked[key] = msgspec.structs.replace(state, asked_at=now)
        elif outcome is Outcome.UNKNOWN:
            continue
        elif second_look:
            tracked[key] = Tracked(1, now, second_look=True)
            yield WeekRequest(week, f"week-{key}-{_SECOND_LOOK}", f"week {key}: second look", refresh=True)
        elif outcome is not Outcome.COMPLETE and state.attempts < MOST_ATTEMPTS:
            attempt = state.attempts + 1
            tracked[key] = Tracked(attempt, now, state.second_look)
            look = _SECOND_LOOK if state.second_look else "first-look"
            how = "was incomplete" if outcome is Outcome.INCOMPLETE else "failed"
            reason = f"week {key}: attempt {attempt} of {MOST_ATTEMPTS}, the last one {how}"
            yield WeekRequest(week, f"week-{key}-{look}-attempt-{attempt}", reason)
        elif state.second_look:
            del tracked[key]
            if outcome is not Outcome.COMPLETE:
                notes.append(f"week {key}: given up after {state.attempts} attempts, materialize it by hand")
