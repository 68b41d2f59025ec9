"""The report of a probe: verdicts, counts and names of fields, so that it can be shared with anyone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from importlib.metadata import version
from typing import NamedTuple

import msgspec

from toast_assets.http.bodies import decode
from toast_assets.markdown import plain
from toast_assets.probe.answers import Answer, Verdict
from toast_assets.probe.questions import GROUPS, QUESTIONS
from toast_assets.week import iso_ms

_MARKS = {Verdict.CONFIRMED: "✓", Verdict.REFUTED: "✗", Verdict.UNSEEN: "?"}
_NOT_ASKED = Answer(Verdict.UNSEEN, "it was not asked")


class Probed(NamedTuple):
    """What the probe found at one restaurant: its answers by key, and how many requests they took."""

    answers: Mapping[str, Answer]
    requests: int


class RestaurantAnswer(msgspec.Struct, frozen=True):
    """The answer of the restaurant with this number, from 1."""

    restaurant: int
    verdict: Verdict
    reason: str


class Result(msgspec.Struct, frozen=True, omit_defaults=True):
    """What all restaurants say of an assumption; ``otherwise`` is what the product does where it is refuted."""

    key: str
    statement: str
    verdict: Verdict
    answers: tuple[RestaurantAnswer, ...]
    otherwise: str | None = None


class Report(msgspec.Struct, frozen=True, omit_defaults=True):
    """``weeks`` are the keys of the weeks that the orders are of, ``requests`` their numbers by restaurant. ``changes``
    are those since an earlier report, if it was compared with one."""

    toast_assets: str
    made_at: str
    weeks: tuple[str, ...]
    requests: tuple[int, ...]
    totals: dict[Verdict, int]
    questions: tuple[Result, ...]
    changes: tuple[str, ...] | None = None


class _Earlier(msgspec.Struct):
    """What another release's report has, too."""

    class _Result(msgspec.Struct):
        key: str
        verdict: str

    questions: list[_Result]


def make_report(probed: Sequence[Probed], weeks: Sequence[str], now: datetime) -> Report:
    """The report on some restaurants and weeks (keys), made at ``now`` (aware)."""
    results = tuple(_result(key, [of.answers.get(key, _NOT_ASKED) for of in probed]) for key in QUESTIONS)
    return Report(
        toast_assets=version("toast-assets"),
        made_at=iso_ms(now),
        weeks=tuple(weeks),
        requests=tuple(of.requests for of in probed),
        totals={verdict: sum(result.verdict is verdict for result in results) for verdict in Verdict},
        questions=results,
    )


def _result(key: str, answers: Sequence[Answer]) -> Result:
    verdicts = {answer.verdict for answer in answers}
    verdict = next((one for one in (Verdict.REFUTED, Verdict.CONFIRMED) if one in verdicts), Verdict.UNSEEN)
    return Result(
        key,
        QUESTIONS[key].statement,
        verdict,
        tuple(RestaurantAnswer(number, *answer) for number, answer in enumerate(answers, 1)),
        QUESTIONS[key].otherwise if verdict is Verdict.REFUTED else None,
    )


def verdicts_in(report: bytes) -> dict[str, str]:
    """The verdicts by key in an earlier report, whatever release made it.

    Raises:
        ValueError: it is none.
    """
    return {result.key: result.verdict for result in decode(report, _Earlier).questions}


def compare(before: Mapping[str, str], now: Report) -> tuple[str, ...]:
    """A line for each verdict that changed, and for each question that is new."""
    return tuple(
        f"{result.key}: {plain(before[result.key]) if result.key in before else 'new'} → {result.verdict}"
        for result in now.questions
        if before.get(result.key) != result.verdict
    )


def markdown(report: Report) -> str:
    """The report for people, readable as it is."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: Report) -> Iterator[str]:
    yield "# What toast-assets assumes about Toast"
    yield ""
    asked = f"{len(report.requests)} restaurants, {' + '.join(map(str, report.requests))} requests"
    weeks = f"orders of the weeks {', '.join(report.weeks)}"
    yield f"toast-assets {report.toast_assets}, {report.made_at}: {asked}, {weeks}."
    results = {result.key: result for result in report.questions}
    for group, questions in GROUPS.items():
        yield from ("", f"## {group}", "")
        for key in questions:
            result = results[key]
            yield f"- {_MARKS[result.verdict]} `{key}` {result.statement} **{result.verdict.capitalize()}**"
            yield from (f"  - Restaurant {one.restaurant}: {one.verdict}, {one.reason}" for one in result.answers)
            if result.otherwise:
                yield f"  - What toast-assets does: {result.otherwise}"
    if report.changes is not None:
        yield from ("", "## Changes since the earlier report", "")
        yield from (f"- {change}" for change in report.changes or ("None.",))
    yield ""
    yield ", ".join(f"{count} {verdict}" for verdict, count in report.totals.items()) + "."
