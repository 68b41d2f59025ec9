"""What is news: a failure that lasts is said once when it begins and once when it is over, however its runs mix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from toast_assets.codes import Scope
from toast_assets.defs.alert_state import MOST_RESTAURANTS, Broken, Evaluation, Problem, Recovered, changed

RAW, CHECK = "raw_toast_orders", "raw_toast_orders / every_restaurant_complete"
SCOPES: dict[str, Scope] = {"LOGIN": "everything", "403": "restaurant", "DAMAGED": "week"}
DAY = 86_400
W1, W2, W3, W4, W5 = (f"2025-09-{day:02}" for day in (1, 8, 15, 22, 29))


def step(week: str, code: str = "") -> Evaluation:
    """A step that succeeded, or failed with a code."""
    return Evaluation(RAW, week, [(code, "")] if code else [], f"the text of {code}", conclusive=not code)


def check(week: str, *causes: str, stored: bool = False) -> Evaluation:
    """A check that passed, or failed with causes such as ``403 a``."""
    pairs = [each.partition(" ") for each in causes]
    return Evaluation(CHECK, week, [(code, restaurant) for code, _, restaurant in pairs], "why", stored=stored)


@dataclass
class Runs:
    """Runs that end one after the other, each a minute after the one before; ``said`` are their messages."""

    problems: Sequence[Problem] = ()
    at: int = 0
    said: list[tuple[Sequence[Broken], Sequence[Recovered]]] = field(default_factory=list)

    def end(self, *evaluations: Evaluation, after: int = 60) -> None:
        self.at += after
        stored = msgspec.json.decode(msgspec.json.encode(self.problems), type=list[Problem])
        self.problems, broken, recovered = changed(stored, evaluations, self.at, SCOPES.__getitem__)
        if broken or recovered:
            self.said.append((broken, recovered))

    @property
    def messages(self) -> list[str]:
        """Each message in short: ``+`` what broke, ``-`` what is over, each with its restaurants."""
        return [
            " ".join(
                [
                    *(f"+{','.join([*one.codes, *one.restaurants])}" for one in broken),
                    *(f"-{','.join([one.code, *one.restaurants])}" for one in recovered),
                ]
            )
            for broken, recovered in self.said
        ]


def test_a_failure_that_lasts_five_runs_of_a_week_is_two_messages() -> None:
    for code in SCOPES:
        runs = Runs()
        for _ in range(5):
            runs.end(step(W1, code))
        runs.end(step(W1))
        assert runs.messages == [f"+{code}", f"-{code}"]
        assert not runs.problems


def test_a_refused_login_in_five_weeks_is_over_with_the_first_week_that_works_which_names_the_others() -> None:
    runs = Runs()
    for week in (W1, W2, W3, W4, W5):
        runs.end(step(week, "LOGIN"))
    runs.end(step(W5))
    assert runs.messages == ["+LOGIN", "-LOGIN"]
    _, (over,) = runs.said[1]
    assert (over.weeks, over.since) == ([W1, W2, W3, W4], 60)
    for week in (W1, W2, W3, W4):
        runs.end(step(week))
    assert len(runs.messages) == 2


def test_damaged_data_of_a_week_are_over_when_that_week_works_whatever_other_weeks_do_meanwhile() -> None:
    runs = Runs()
    for week in (W1, W2, W3, W2, W4, W2):
        runs.end(step(week, "DAMAGED" if week == W2 else ""))
    runs.end(step(W5))
    assert runs.messages == ["+DAMAGED"]
    runs.end(step(W2))
    assert runs.messages == ["+DAMAGED", "-DAMAGED"]


def test_several_weeks_with_damaged_data_are_over_with_the_last_of_them() -> None:
    runs = Runs()
    for week in (W1, W2, W3, W1, W4, W5):
        runs.end(step(week, "DAMAGED" if week in (W1, W3, W5) else ""))
    for week in (W3, W1):
        runs.end(step(week))
    assert runs.messages == ["+DAMAGED"]
    runs.end(step(W5))
    assert runs.messages == ["+DAMAGED", "-DAMAGED"]


def test_a_week_that_breaks_long_after_others_worked_is_another_incident_although_an_old_one_was_never_fixed() -> None:
    runs = Runs()
    runs.end(step(W1, "DAMAGED"))
    runs.end(step(W2), after=7 * DAY)
    runs.end(step(W3), after=7 * DAY)
    runs.end(step(W1, "DAMAGED"))
    runs.end(step(W4), after=7 * DAY)
    assert runs.messages == ["+DAMAGED"]
    runs.end(step(W5, "DAMAGED"), after=7 * DAY)
    assert runs.messages == ["+DAMAGED", "+DAMAGED"]


def test_a_week_that_breaks_while_an_old_one_still_does_is_the_same_incident() -> None:
    runs = Runs()
    runs.end(step(W1, "DAMAGED"))
    runs.end(step(W2), after=7 * DAY)
    runs.end(step(W1, "DAMAGED"), after=7 * DAY)
    runs.end(step(W3, "DAMAGED"))
    assert runs.messages == ["+DAMAGED"]


def test_weeks_that_all_break_one_after_the_other_are_one_incident() -> None:
    runs = Runs()
    for week in (W1, W2, W3, W4, W5):
        runs.end(step(week, "DAMAGED"), after=7 * DAY)
    assert runs.messages == ["+DAMAGED"]


def test_a_second_restaurant_that_breaks_while_the_first_is_broken_is_news_and_each_recovers_by_itself() -> None:
    runs = Runs()
    runs.end(check(W1, "403 a"))
    runs.end(check(W1, "403 a", "403 b"))
    runs.end(check(W2, "403 a", "403 b"))
    runs.end(check(W3, "403 b"))
    runs.end(check(W3))
    assert runs.messages == ["+403,a", "+403,b", "-403,a", "-403,b"]
    (_, (first,)), (_, (second,)) = runs.said[2:]
    assert (first.weeks, first.others, second.weeks, second.since) == ([W1, W2], 1, [W1, W2], 120)


def test_another_cause_at_the_same_check_is_news_and_ends_the_one_that_it_replaces() -> None:
    runs = Runs()
    runs.end(check(W1, "403 a"))
    runs.end(check(W1, "DAMAGED a"))
    assert runs.messages == ["+403,a", "+DAMAGED,a -403,a"]


def test_a_step_that_fails_otherwise_says_nothing_of_what_failed_it_before() -> None:
    runs = Runs()
    runs.end(step(W1, "LOGIN"))
    runs.end(step(W1, "DAMAGED"))
    runs.end(step(W1, "LOGIN"))
    runs.end(step(W1))
    assert runs.messages == ["+LOGIN", "+DAMAGED", "-LOGIN -DAMAGED"]


def test_what_a_run_did_not_come_to_stays_as_it_was() -> None:
    runs = Runs()
    runs.end(check(W1, "403 a"), step(W1))
    runs.end(step(W1, "LOGIN"))
    runs.end(step(W1))
    assert runs.messages == ["+403,a", "+LOGIN", "-LOGIN"]


def test_a_check_of_stored_orders_says_nothing_of_other_weeks() -> None:
    runs = Runs()
    runs.end(check(W2, "403 a"))
    runs.end(check(W1, stored=True))
    assert runs.messages == ["+403,a"]
    runs.end(check(W2, stored=True))
    assert runs.messages == ["+403,a", "-403,a"]


def test_a_crowd_of_restaurants_is_one_problem_and_what_is_left_of_it_is_no_news() -> None:
    crowd = [f"403 r-{number:04}" for number in range(1000)]
    runs = Runs()
    runs.end(check(W1, crowd[0]))
    runs.end(check(W1, *crowd))
    runs.end(check(W2, *crowd[100:]))
    assert len(msgspec.json.encode(runs.problems)) < 300
    ((first,), _), ((second,), _) = runs.said
    assert (first.restaurants, len(second.restaurants)) == (["r-0000"], 1000)
    runs.end(check(W3, *crowd[:3]))
    _, (over,) = runs.said[2]
    assert (over.restaurants, over.others, over.weeks) == ([], 3, [W1, W2])
    runs.end(check(W3, *crowd[:3]))
    runs.end(check(W4))
    assert runs.messages[3:] == ["-403,r-0000,r-0001,r-0002"]


def test_the_state_stays_small_however_much_is_broken() -> None:
    runs = Runs()
    for number in range(300):
        weeks = [f"{2000 + number}-01-03"]
        causes = [f"DAMAGED {restaurant:036}" for restaurant in range(MOST_RESTAURANTS)]
        runs.end(
            *(check(week, *causes) for week in weeks), Evaluation(f"step {number}", W1, [("LOGIN", "")], "", False)
        )
    assert len(msgspec.json.encode(runs.problems)) < 60_000
