"""Each assumption that the sandbox breaks is refuted, and no other one."""

from __future__ import annotations

import pytest

from toast_assets.probe.answers import Verdict
from toast_assets.probe.questions import QUESTIONS
from toast_assets.sandbox import Assumption
from toast_assets_tests.probe.probing import Probing, place, refuted

# The sandbox has no order that came from a device that was offline, so nothing shows that none came late.
WITHOUT_WITNESS = {"no_backdated_orders"}
EACH = pytest.mark.parametrize("without", list(Assumption), ids=str)


async def test_a_toast_that_keeps_all_assumptions_confirms_them(probing: Probing) -> None:
    answers = await probing.answers(probing.sandbox())
    assert answers.keys() == QUESTIONS.keys() == set(map(str, Assumption))
    assert {key for key, answer in answers.items() if answer.verdict is not Verdict.CONFIRMED} == WITHOUT_WITNESS


@EACH
async def test_the_assumption_that_does_not_hold_is_refuted_and_no_other(probing: Probing, without: Assumption) -> None:
    answers = await probing.answers(probing.sandbox(without=without))
    assert refuted(answers) == {without.value}, answers


@EACH
async def test_a_few_orders_refute_no_other_assumption(probing: Probing, without: Assumption) -> None:
    answers = await probing.answers(probing.sandbox(place(12), without=without))
    assert refuted(answers) <= {without.value}, answers
    assert answers[without].verdict is not Verdict.CONFIRMED
