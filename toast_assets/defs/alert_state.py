"""What is broken, and what has changed by a run: the alerts' state as a pure function of the runs that ended."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import msgspec

from toast_assets.codes import Scope, scope_of

# Of one code at one check. Where it is more, the state holds them as a crowd: its size is bounded, and so is a chat.
MOST_RESTAURANTS = 25
_CROWD = "*"
_MOST_PROBLEMS = 100
# Two years; of more weeks with the same problem the oldest are forgotten.
_MOST_WEEKS = 104
# A backfill alternates between weeks that work and weeks that do not. Where other weeks have worked for longer than
# that, a week with the same problem is another incident.
_QUIET_SECONDS = 86_400


class Evaluation(NamedTuple):
    """What a run found of a step or check (``subject``) in a week, which is empty where there is no partition.

    ``causes`` are those by which it failed: codes, each with a restaurant, or with an empty text where it is about no
    single one. Every other cause is over if the evaluation is ``conclusive``; a step that fails has not come to the
    causes behind the one that ended it. A check of what an earlier run ``stored`` says nothing of other weeks.
    """

    subject: str
    week: str
    causes: Sequence[tuple[str, str]] = ()
    text: str = ""
    conclusive: bool = True
    stored: bool = False


class Place(msgspec.Struct, frozen=True, array_like=True):
    """Since when (epoch seconds) something is broken, and in which weeks it was seen."""

    since: int
    weeks: Sequence[str]


class Problem(msgspec.Struct, frozen=True):
    """A cause that is not over, by restaurant. ``quiet_since`` is when another week first worked after it was seen."""

    subject: str
    code: str
    places: dict[str, Place]
    quiet_since: int | None = None


class Broken(NamedTuple):
    """What a run found broken that was not known to be."""

    subject: str
    codes: Sequence[str]
    restaurants: Sequence[str]
    text: str


class Recovered(NamedTuple):
    """What is over, for which ``restaurants``, and for how many others it is not; ``weeks`` are those that are still
    broken by it."""

    subject: str
    code: str
    restaurants: Sequence[str]
    others: int
    since: int
    weeks: Sequence[str]


class Change(NamedTuple):
    """The problems after a run, and what is new about them."""

    problems: Sequence[Problem]
    broken: Sequence[Broken]
    recovered: Sequence[Recovered]


def changed(
    problems: Iterable[Problem],
    evaluations: Iterable[Evaluation],
    at: int,
    scope: Callable[[str], Scope] = scope_of,
) -> Change:
    """What the evaluations of a run that ended ``at`` (epoch seconds) change. A cause that lasts is no news, and one
    that concerns more than a week is over with the first week that works."""
    known = {(problem.subject, problem.code): problem for problem in problems}
    broken: list[Broken] = []
    recovered: list[Recovered] = []
    for one in evaluations:
        codes = dict.fromkeys([*(code for subject, code in known if subject == one.subject), *dict(one.causes)])
        fresh: dict[str, set[str]] = {}
        for code in codes:
            seen = {restaurant for name, restaurant in one.causes if name == code}
            problem = known.pop((one.subject, code), None) or Problem(one.subject, code, {})
            problem, new, over = _after(problem, one, seen, at, is_weekly=one.stored or scope(code) == "week")
            if new:
                fresh[code] = new
            if over:
                recovered.append(_recovered(problem, over))
            if problem.places:
                known[one.subject, code] = problem
        if fresh:
            restaurants = {restaurant for each in fresh.values() for restaurant in each if restaurant}
            broken.append(Broken(one.subject, list(fresh), sorted(restaurants), one.text))
    newest = sorted(known.values(), key=lambda each: min(place.since for place in each.places.values()))
    return Change(newest[-_MOST_PROBLEMS:], broken, recovered)


def _after(
    problem: Problem, one: Evaluation, seen: set[str], at: int, *, is_weekly: bool
) -> tuple[Problem, set[str], dict[str, Place]]:
    """A problem after an evaluation, the restaurants for which it is news, and the places where it is over."""
    places, is_crowd = dict(problem.places), len(seen) > MOST_RESTAURANTS
    was_crowd, still = _CROWD in places, {_CROWD} if is_crowd else seen
    if is_crowd and places:
        weeks = {week for place in places.values() for week in place.weeks}
        places = {_CROWD: Place(min(place.since for place in places.values()), sorted(weeks))}
    new = set() if was_crowd else seen - places.keys()
    quiet_since = problem.quiet_since
    if is_weekly and quiet_since is not None and at - quiet_since > _QUIET_SECONDS:
        new = new | {each for each in still & places.keys() if one.week not in places[each].weeks}
    for each in still:
        place = places.get(each, Place(at, ()))
        places[each] = Place(place.since, sorted({*place.weeks, one.week})[-_MOST_WEEKS:])
    over: dict[str, Place] = {}
    if one.conclusive:
        for each in places.keys() - still:
            left = Place(places[each].since, [week for week in places[each].weeks if week != one.week])
            if is_weekly and left.weeks:
                places[each] = left
            else:
                over[each] = left
                del places[each]
    if still:
        quiet_since = None
    elif one.conclusive:
        quiet_since = quiet_since or at
    return Problem(problem.subject, problem.code, places, quiet_since), new - {_CROWD}, over


def _recovered(problem: Problem, over: dict[str, Place]) -> Recovered:
    return Recovered(
        problem.subject,
        problem.code,
        sorted(over.keys() - {"", _CROWD}),
        len(problem.places),
        min(place.since for place in over.values()),
        sorted({week for place in over.values() for week in place.weeks if week}),
    )
