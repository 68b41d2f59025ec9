"""Which weeks to ask for, and why: the weekly sensor's decision as a pure function of clock, cursor and outcomes.

Each week is asked for once it has closed, again (with growing pauses) while something is missing, and a second time
``second_look_after`` its end: totals at Toast creep for 24 to 72 hours, by refunds, voids and devices that were offline
(Toast: staff in the forum).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Annotated, Literal, NamedTuple

import dagster as dg
import msgspec

from toast_assets.week import Week, WeekCalendar

REASON_TAG = "toast/reason"
# A fault that outlasts the retries of a run is given hours, then more than a day, then it is left to people.
MOST_ATTEMPTS = 6
_FIRST_PAUSE = timedelta(hours=1)
# Weeks that a tick asks for after a down-time; the next tick goes on.
MOST_WEEKS_PER_TICK = 4
_SECOND_LOOK = "second-look"

Outcome = Literal["complete", "incomplete", "failed", "running", "unknown"]
"""What is known of a week: the outcome of its last pull, and of its last run where the pull is whole."""


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


class Decision(NamedTuple):
    """What to start now, what to remember, and what to say."""

    requests: Sequence[dg.RunRequest]
    cursor: Cursor
    message: str


def recovered_cursor(
    calendar: WeekCalendar, earlier: Iterable[tuple[str, str, datetime]], second_look_after: timedelta
) -> Cursor:
    """The cursor that led to the runs in the history, each with its partition key, its run key, and when it was asked
    for (aware). Without it, weeks that a down-time has left behind, attempts and second looks would be forgotten."""
    weeks: dict[str, list[tuple[str, datetime]]] = defaultdict(list)
    for key, run_key, at in earlier:
        if calendar.is_week(key):
            weeks[key].append((run_key, at))
    tracked = {}
    for key, requests in weeks.items():
        run_keys, times = {run_key for run_key, _ in requests}, [at for _, at in requests]
        second = {run_key for run_key in run_keys if _SECOND_LOOK in run_key}
        late = min(times) >= calendar.week(key).end + second_look_after
        tracked[key] = Tracked(len(second or run_keys), max(times), bool(second) or late)
    return Cursor(max(weeks, default=None), tracked)


def _request(key: str, look: str, reason: str, refresh_of: str = "") -> dg.RunRequest:
    """A run of the week ``key``; the op ``refresh_of`` asks Toast again for what is complete."""
    return dg.RunRequest(
        run_key=f"week-{key}{look}",
        partition_key=key,
        run_config={"ops": {refresh_of: {"config": {"refresh": True}}}} if refresh_of else {},
        tags={REASON_TAG: reason},
    )


def decide(
    calendar: WeekCalendar,
    now: datetime,
    cursor: Cursor,
    outcome_of: Callable[[Week], Outcome],
    second_look_after: timedelta,
    pull_op: str = "raw_toast_orders",
) -> Decision:
    """The runs to start at ``now`` (aware). ``outcome_of`` is asked only for weeks that may be due again; ``pull_op``
    is the op that pulls a week."""
    last = calendar.last_closed(now)
    if last is None:
        return Decision([], cursor, f"Nothing to do. Next: {_closing(calendar, calendar.week(str(calendar.first)))}.")
    # Weeks before a later TOAST_START_DATE are no partitions any more.
    tracked = {key: state for key, state in cursor.tracked.items() if calendar.is_week(key)}
    notes: list[str] = []
    requests = list(_due_again(calendar, now, tracked, outcome_of, second_look_after, notes, pull_op))
    newest = cursor.newest
    # After the newest one that was asked for, oldest first; at the very start the last one only.
    closed: list[Week] = []
    before: Week | None = last
    while before is not None and (before.key > newest if newest else before is last):
        closed.insert(0, before)
        before = calendar.last_closed(before.start + calendar.settling)
    for week in closed[:MOST_WEEKS_PER_TICK]:
        # A week that is caught up on late needs no second look: the first one is late enough.
        tracked[week.key] = Tracked(1, now, second_look=now >= week.end + second_look_after)
        requests.append(_request(week.key, "", "it has closed"))
        newest = week.key
    if newest is not None and newest < last.key:
        notes.append("more weeks follow at the next tick")
    started = [*(f"week {one.partition_key}: {one.tags[REASON_TAG]}" for one in requests), *notes]
    following = calendar.week(f"{date.fromisoformat(last.key) + timedelta(days=7)}")
    upcoming = [
        *sorted(_looks(calendar, now, tracked, second_look_after)),
        (following.end, _closing(calendar, following)),
    ]
    said = f"{'; '.join(started) or 'Nothing to do'}. Next: {'; '.join(text for _, text in upcoming)}."
    return Decision(requests, Cursor(newest, tracked), said)


def _closing(calendar: WeekCalendar, week: Week) -> str:
    return f"week {week.key} at {_shown(week.end + calendar.settling)}"


def _looks(
    calendar: WeekCalendar, now: datetime, tracked: Mapping[str, Tracked], second_look_after: timedelta
) -> Iterator[tuple[datetime, str]]:
    """When tracked weeks are looked at again, each with what it says."""
    for key, state in tracked.items():
        again, second = _next_attempt(state), calendar.week(key).end + second_look_after
        if again > now and state.attempts < MOST_ATTEMPTS:
            yield again, f"week {key} again at {_shown(again)} if it is not complete by then"
        if not state.second_look and second > now:
            yield second, f"second look at week {key} at {_shown(second)}"


def _next_attempt(state: Tracked) -> datetime:
    return state.asked_at + _FIRST_PAUSE * (1 << state.attempts - 1)


def _shown(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _due_again(
    calendar: WeekCalendar,
    now: datetime,
    tracked: dict[str, Tracked],
    outcome_of: Callable[[Week], Outcome],
    second_look_after: timedelta,
    notes: list[str],
    pull_op: str,
) -> Iterator[dg.RunRequest]:
    """Second looks and further attempts; ``tracked`` is brought up to date, ``notes`` say what was given up."""
    for key, state in sorted(tracked.items()):
        week = calendar.week(key)
        second_look = not state.second_look and now >= week.end + second_look_after
        if not second_look and now < _next_attempt(state):
            continue
        outcome = outcome_of(week)
        if outcome == "running":
            # A pause begins when the run has ended, however long it took.
            tracked[key] = msgspec.structs.replace(state, asked_at=now)
        elif outcome == "unknown":
            continue
        elif second_look:
            tracked[key] = Tracked(1, now, second_look=True)
            yield _request(key, f"-{_SECOND_LOOK}", "second look", pull_op)
        elif outcome != "complete" and state.attempts < MOST_ATTEMPTS:
            attempt = state.attempts + 1
            tracked[key] = Tracked(attempt, now, state.second_look)
            look = _SECOND_LOOK if state.second_look else "first-look"
            how = "was incomplete" if outcome == "incomplete" else "failed"
            yield _request(
                key, f"-{look}-attempt-{attempt}", f"attempt {attempt} of {MOST_ATTEMPTS}, the last one {how}"
            )
        elif state.second_look:
            del tracked[key]
            if outcome != "complete":
                notes.append(f"week {key}: given up after {state.attempts} attempts, materialize it by hand")
