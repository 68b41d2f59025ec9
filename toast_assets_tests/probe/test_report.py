"""The report: one verdict over all restaurants, changes since an earlier one, and no data in it."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toast_assets.orders.names import Name, references
from toast_assets.probe.answers import Answer, Verdict, confirmed, refuted, unseen
from toast_assets.probe.bodies import BODIES
from toast_assets.probe.questions import GROUPS, QUESTIONS
from toast_assets.probe.report import Probed, Report, compare, make_report, markdown, verdicts_in
from toast_assets.probe.run import probe
from toast_assets.sandbox import Assumption, Restaurant
from toast_assets.sandbox.order_builder import MENU
from toast_assets.store.manifest import json_for_people
from toast_assets.week import WeekCalendar
from toast_assets_tests.conftest import StartSandbox
from toast_assets_tests.probe.observing import found_in, observed, strings_of
from toast_assets_tests.support.data.invented import (
    Json,
    check,
    customer,
    gift_card,
    order,
    payment,
    selection,
    service_charge,
)
from toast_assets_tests.support.services.clients import SkippedTime, toast_settings

NOW = datetime(2025, 9, 23, 12, 30, tzinfo=UTC)
GUID = "aaaaaaaa-0000-4000-8000-000000000001"


def report_on(*answers: dict[str, Answer]) -> Report:
    return make_report([Probed(one, 90 + number) for number, one in enumerate(answers, 1)], ["2025-09-15"], NOW)


def verdict_of(report: Report, key: str) -> str:
    return verdicts_in(json_for_people(report))[key]


def texts(report: Report) -> str:
    """Both forms of a report."""
    return markdown(report) + json_for_people(report).decode()


def test_the_questions_are_those_that_the_sandbox_can_switch_off() -> None:
    assert list(QUESTIONS) == [each.value for each in Assumption]


@pytest.mark.parametrize(
    ("answers", "verdict"),
    [
        ((confirmed("a"), refuted("b"), unseen("c")), "refuted"),
        ((unseen("a"), confirmed("b"), unseen("c")), "confirmed"),
        ((unseen("a"), unseen("b")), "unseen"),
    ],
)
def test_one_refuted_answer_refutes_and_one_confirmed_confirms(answers: tuple[Answer, ...], verdict: str) -> None:
    report = report_on(*({"gzip": answer} for answer in answers))
    assert verdict_of(report, "gzip") == verdict
    assert (QUESTIONS["gzip"].otherwise in texts(report)) == (verdict == "refuted")


def test_a_question_that_was_not_asked_is_unseen() -> None:
    report = report_on({"gzip": confirmed("not packed")}, {})
    assert report.totals == {Verdict.CONFIRMED: 1, Verdict.REFUTED: 0, Verdict.UNSEEN: 33}
    assert "Restaurant 2: unseen, it was not asked" in markdown(report)


def test_machines_read_restaurants_by_number_and_what_the_product_does() -> None:
    content = json.loads(json_for_people(report_on({"gzip": confirmed("fine")}, {"gzip": refuted("packed")})))
    assert (content["made_at"], content["weeks"], content["requests"]) == (
        "2025-09-23T12:30:00.000Z",
        ["2025-09-15"],
        [91, 92],
    )
    assert content["totals"] == {"confirmed": 0, "refuted": 1, "unseen": 33}
    assert next(one for one in content["questions"] if one["key"] == "gzip") == {
        "key": "gzip",
        "statement": "Replies are packed only where it was asked for.",
        "verdict": "refuted",
        "answers": [
            {"restaurant": 1, "verdict": "confirmed", "reason": "fine"},
            {"restaurant": 2, "verdict": "refuted", "reason": "packed"},
        ],
        "otherwise": QUESTIONS["gzip"].otherwise,
    }


def test_people_read_groups_marks_and_a_summary() -> None:
    lines = markdown(report_on({"gzip": refuted("packed"), "unsorted": confirmed("3 of 3")})).splitlines()
    assert [line[3:] for line in lines if line.startswith("## ")] == list(GROUPS)
    at = lines.index("- ✗ `gzip` Replies are packed only where it was asked for. **Refuted**")
    assert lines[at + 1 : at + 3] == [
        "  - Restaurant 1: refuted, packed",
        f"  - What toast-assets does: {QUESTIONS['gzip'].otherwise}",
    ]
    assert "- ✓ `unsorted` Pages follow no order that could be relied on. **Confirmed**" in lines
    assert "- ? `names` The configuration names what orders refer to. **Unseen**" in lines
    assert lines[-1] == "1 confirmed, 1 refuted, 32 unseen."


def test_changes_are_verdicts_that_differ_and_questions_that_are_new() -> None:
    before = verdicts_in(json_for_people(report_on({"gzip": confirmed("a"), "names": confirmed("b")})))
    del before["guests"]
    after = report_on({"gzip": refuted("c"), "names": confirmed("d"), "guests": confirmed("e")})
    assert compare(before, after) == ("guests: new → confirmed", "gzip: confirmed → refuted")


def test_a_report_of_another_release_can_be_compared() -> None:
    other = {
        "release": 9,
        "questions": [{"key": "gzip", "verdict": "doubted", "reason": 7}, {"key": "x", "verdict": "y"}],
    }
    changes = compare(verdicts_in(json.dumps(other).encode()), report_on({"gzip": confirmed("a")}))
    assert len(changes) == len(QUESTIONS)
    assert "gzip: doubted → confirmed" in changes
    assert not any(change.startswith("x:") for change in changes)


@pytest.mark.parametrize("body", [b"", b"\xff", b"[]", b"{}", b'{"questions": {}}', b'{"questions": [{"key": 1}]}'])
def test_what_is_no_report_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        verdicts_in(body)


def odd(part: Any, chance: Random) -> Any:
    """A copy of a part of an order in which each text that is no enum's is another one, some fields have names of their
    own, and some values another type."""
    if isinstance(part, dict):
        return {
            (f"field {chance.random()} Date" if chance.random() < 0.02 else name): odd(value, chance)
            for name, value in part.items()
        }
    if isinstance(part, list):
        return [odd(each, chance) for each in part]
    roll = chance.random()
    if isinstance(part, str) and roll < 0.3:
        return f"secret {chance.random()}"
    strange = [None, True, -7, Decimal("0.1"), [f"listed {roll}"], {f"key {roll}": f"value {roll}"}, f"text {roll}"]
    return chance.choice(strange) if roll > 0.97 else part


def some_orders() -> list[Json]:
    bill = check(
        selection(off="1.00"),
        gift_card(),
        guest=customer(),
        payments=[payment(), payment(voided=True), payment(refund="2")],
        appliedServiceCharges=[service_charge("2", gratuity=True)],
    )
    return [order(bill, deliveryInfo={"address1": "1 Example Road"}), order(voided=True), order(excessFood=True)]


@settings(max_examples=20)
@given(st.integers(min_value=0))
def test_no_string_of_an_order_enters_the_report(seed: int) -> None:
    chance = Random(seed)
    orders = [one for _ in range(4) for each in some_orders() if isinstance(one := odd(each, chance), dict)]
    names = {pair: Name(f"name {chance.random()}", chance.choice([None, f"behavior {chance.random()}"]))
             for one in orders for pair in references(one) if chance.random() < 0.5}  # fmt: skip
    seen = observed(orders, names=names)
    report = report_on({key: question(seen) for key, question in BODIES.items()})
    named = {text for name in names.values() for text in name if text}
    assert found_in(texts(report), {*strings_of(orders), *named, seen.details.guid, "Pier 9"}) == set()


def test_a_string_of_an_order_would_be_found() -> None:
    seen = strings_of(order(check(guest=customer())))
    assert found_in("20 orders, such as Greta's", seen) == {"Greta"}
    assert found_in("businessDate, VISA, 12 orders of guest@example.com", seen) == {"guest@example.com"}


@pytest.mark.parametrize("without", [None, Assumption.DATE_FORMATS, Assumption.ORDER_LIST])
def test_a_probe_of_the_sandbox_repeats_nothing_that_it_was_served(
    start_sandbox: StartSandbox, without: Assumption | None
) -> None:
    place = Restaurant(GUID, "Harbor & Thistle, Pier 9", orders_per_week=80)
    skipped = SkippedTime()
    # Only replies of a Toast with limits carry their headers.
    sandbox = start_sandbox(without=without, restaurants=(place,), rate_limits=True, now=skipped.now)
    toast = toast_settings(sandbox)
    times: Any = {"sleep": skipped.sleep, "clock": skipped.clock, "now": skipped.now}
    probed, weeks = asyncio.run(probe(toast, WeekCalendar(), **times))
    report = texts(make_report(probed, weeks, NOW))
    assert f"{1 if without else 0} refuted" in report
    served = [json.loads(one.json) for one in sandbox.toast.orders[GUID].newest.values()]
    # What a menu's parts are called is no name on it.
    named = strings_of(MENU) - {"group", "requests"}
    secrets = {toast.client_id, toast.client_secret.get_secret_value(), toast.api_url, *sandbox.toast.tokens}
    assert len(served) > 80
    assert found_in(report, strings_of(served) | named | {GUID, place.name, place.timezone} | secrets) == set()
