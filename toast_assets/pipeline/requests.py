"""Which weeks to ask for, and why: the weekly sensor's decision as a pure function of clock, cursor and manifests.

Each week is asked for once it has closed, again (with growing pauses) while something is missing, and a second time
about three days after its close: totals at Toast creep for 24 to 72 hours, by refunds, voids and devices that were
offline (Toast: staff in the forum).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum

import msgspec

from toast_assets.week import KEY_FORMAT, Week, WeekCalendar, iso_ms

SECOND_LOOK_AFTER = timedelta(hours=72)
# A fault that outlasts the retries of a run is given hours, then most of a week, then it is left to people.
MOST_ATTEMPTS = 6
_FIRST_PAUSE = timedelta(hours=1)
# Weeks that a tick asks for after a down-time; the next tick goes on.
MOST_WEEKS_PER_TICK = 4


class Outcome(StrEnum):
    """What is known of a week's last pull."""

    COMPLETE = "complete"
    INCOMPLETE = "incomplete"
    RUNNING = "running"
    UNKNOWN = "unknown"


class Tracked(msgspec.Struct, frozen=True):
    """A week that may have to be asked for again. ``asked_at`` is ISO-8601, UTC."""

    attempts: int
    asked_at: str
    second_look: bool


class Cursor(msgspec.Struct, frozen=True):
    """What the sensor remembers: the newest week that it asked for, and the weeks that are not settled yet."""

    newest: str | None = None
    tracked: dict[str, Tracked] = {}


@dataclass(frozen=True)
class WeekRequest:
    """One run to start. ``reason`` is for people; ``refresh`` asks Toast again for what is complete."""

    week: Week
    run_key: str
    reason: str
    refresh: bool


@dataclass(frozen=True)
class Decision:
    """What to start now, what to remember, and what to say."""

    requests: tuple[WeekRequest, ...]
    cursor: Cursor
    message: str


def decode_cursor(text: str | None) -> Cursor:
    """The cursor as it was stored. One that was reset, or that cannot be read, is a new one: run keys make sure that
    nothing is asked for twice because of it."""
    try:
        return msgspec.json.decode(text or "{}", type=Cursor)
    except msgspec.DecodeError:
        return Cursor()


def encode_cursor(cursor: Cursor) -> str:
    """The inverse of ``decode_cursor``."""
    return msgspec.json.encode(cursor).decode()


def decide(calendar: WeekCalendar, now: datetime, cursor: Cursor, outcome_of: Callable[[Week], Outcome]) -> Decision:
    """The runs to start at ``now`` (aware). ``outcome_of`` is asked only for weeks that may be due again."""
    last = calendar.last_closed(now)
    if last is None:
        return Decision((), cursor, f"The first week, {calendar.first}, has not closed yet.")
    tracked = dict(cursor.tracked)
    requests = list(_due_again(calendar, now, tracked, outcome_of))
    newest = cursor.newest
    for week in _newly_closed(calendar, last, newest):
        # A week that is caught up on late needs no second look: the first one is late enough.
        late = now >= week.end + SECOND_LOOK_AFTER
        tracked[week.key] = Tracked(1, iso_ms(now), second_look=late)
        requests.append(WeekRequest(week, f"week-{week.key}", f"week {week.key}: closed", refresh=False))
        newest = week.key
    behind = newest is not None and newest < last.key
    return Decision(tuple(requests), Cursor(newest, tracked), _message(requests, tracked, last, behind=behind))


def _newly_closed(calendar: WeekCalendar, last: Week, newest: str | None) -> Iterator[Week]:
    """Weeks after the newest one that was asked for, oldest first; at the very start the last one only."""
    if newest is None:
        yield last
        return
    day = date.fromisoformat(newest)
    for _ in range(MOST_WEEKS_PER_TICK):
        day += timedelta(days=7)
        if f"{day:{KEY_FORMAT}}" > last.key:
            return
        yield calendar.week(f"{day:{KEY_FORMAT}}")


def _due_again(
    calendar: WeekCalendar, now: datetime, tracked: dict[str, Tracked], outcome_of: Callable[[Week], Outcome]
) -> Iterator[WeekRequest]:
    """Second looks and further attempts; ``tracked`` is brought up to date."""
    for key, state in sorted(tracked.items()):
        week = calendar.week(key)
        second_look = not state.second_look and now >= week.end + SECOND_LOOK_AFTER
        pause_over = now >= _asked_at(state) + _FIRST_PAUSE * 2 ** (state.attempts - 1)
        if not second_look and not pause_over:
            continue
        outcome = outcome_of(week)
        if outcome in (Outcome.RUNNING, Outcome.UNKNOWN):
            continue
        look = "second-look" if state.second_look or second_look else "first-look"
        if second_look:
            tracked[key] = Tracked(1, iso_ms(now), second_look=True)
            yield WeekRequest(week, f"week-{key}-second-look", f"week {key}: second look", refresh=True)
        elif outcome is Outcome.INCOMPLETE and state.attempts < MOST_ATTEMPTS:
            attempt = state.attempts + 1
            tracked[key] = Tracked(attempt, iso_ms(now), state.second_look)
            reason = f"week {key}: attempt {attempt} of {MOST_ATTEMPTS}, the last one was incomplete"
            yield WeekRequest(week, f"week-{key}-{look}-attempt-{attempt}", reason, refresh=False)
        elif state.second_look:
            del tracked[key]


def _asked_at(state: Tracked) -> datetime:
    return datetime.fromisoformat(state.asked_at).astimezone(UTC)


def _message(requests: list[WeekRequest], tracked: dict[str, Tracked], last: Week, *, behind: bool) -> str:
    if requests:
        text = "; ".join(request.reason for request in requests)
        return f"{text}; more weeks follow at the next tick" if behind else text
    waiting = [key for key, state in tracked.items() if not state.second_look]
    looks = f" Second look due for {', '.join(waiting)}." if waiting else ""
    return f"Nothing to do: week {last.key} was asked for.{looks}"
