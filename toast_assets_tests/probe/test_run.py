"""A whole probe: what it costs, which restaurants and weeks it takes, and what one failure means for the others."""

from __future__ import annotations

from typing import Any

import pytest

from toast_assets.errors import SettingsError, ToastLoginError, ToastRefusedError, WeekError
from toast_assets.probe import run
from toast_assets.probe.answers import Answer, Verdict
from toast_assets.probe.asking import MOST_REQUESTS
from toast_assets.probe.reading import Scene
from toast_assets.probe.run import probe
from toast_assets.sandbox import Kind, Restaurant
from toast_assets.sandbox.config import invent_restaurants
from toast_assets.week import WeekCalendar
from toast_assets_tests.probe.probing import GUID, WEEK, Probing, place, refuted
from toast_assets_tests.support.services.clients import toast_settings


async def test_a_probe_sends_few_requests_and_changes_nothing(probing: Probing) -> None:
    sandbox = probing.sandbox()
    [found] = await probing.run(sandbox)
    log = sandbox.toast.log
    assert found.requests == log.count(target=GUID) < 70
    assert log.count("login") == 2
    assert log.count() == found.requests + 3
    assert sandbox.amperity.log.count() == 0


async def test_a_large_restaurant_is_read_in_part_and_answered_for(probing: Probing) -> None:
    sandbox = probing.sandbox(place(6000))
    [found] = await probing.run(sandbox)
    assert found.requests == sandbox.toast.log.count(target=GUID) <= MOST_REQUESTS
    assert {key for key, one in found.answers.items() if one.verdict is not Verdict.CONFIRMED} == {
        "no_backdated_orders"
    }


async def test_a_used_up_budget_leaves_questions_unseen_and_refutes_nothing(probing: Probing) -> None:
    sandbox = probing.sandbox()
    # Each reply of these comes with three repetitions.
    sandbox.faults.arm(Kind.STATUS, "configuration", status=503, last=None)
    sandbox.faults.arm(Kind.STATUS, "orders", status=503, last=None, every=2)
    [found] = await probing.run(sandbox)
    assert found.requests == sandbox.toast.log.count(target=GUID) <= MOST_REQUESTS
    assert refuted(dict(found.answers)) == set()


@pytest.mark.parametrize("state", ["", "phantom", "archived", "forbidden"])
async def test_a_restaurant_without_orders_is_unseen_where_orders_are_needed(probing: Probing, state: Any) -> None:
    answers = await probing.answers(probing.sandbox(place(0, state=state)), restaurants=[GUID])
    assert refuted(answers) == set()
    reason = (
        "no orders could be read: Toast answered 403 [TOAST-403-RESTAURANT]"
        if state == "forbidden"
        else "these weeks have no orders"
    )
    assert answers["filter_time"] == answers["order_list"] == answers["names"] == (Verdict.UNSEEN, reason)
    assert answers["same_token"].verdict is Verdict.CONFIRMED


async def test_the_week_before_is_read_where_the_newest_has_no_orders(probing: Probing) -> None:
    sandbox = probing.sandbox(place(0))
    times: Any = {"sleep": probing.time.sleep, "clock": probing.time.clock, "now": probing.time.now}
    _, weeks = await probe(toast_settings(sandbox), WeekCalendar(), **times)
    assert weeks == ["2025-09-08"]
    asked = {entry.window for entry in sandbox.toast.log.entries if entry.window}
    both = [WeekCalendar().week(key) for key in (WEEK, "2025-09-08")]
    assert {(week.start_ms, week.end_ms) for week in both} <= asked


@pytest.mark.parametrize("path", ["order list", "order", "payment list", "payment", "restaurants", "configuration"])
@pytest.mark.parametrize("status", [403, 503])
async def test_a_refused_endpoint_leaves_its_own_questions_unseen(probing: Probing, path: str, status: int) -> None:
    sandbox = probing.sandbox(place(150))
    sandbox.faults.arm(Kind.STATUS, path, status=status, last=None)
    answers = await probing.answers(sandbox, restaurants=[GUID])
    assert refuted(answers) == ({"partner_list"} if (path, status) == ("restaurants", 403) else set())
    assert answers["start_inclusive"].verdict is answers["page_default"].verdict is Verdict.CONFIRMED


async def test_of_a_brand_with_thousands_of_restaurants_three_are_asked(probing: Probing) -> None:
    places = invent_restaurants(3000, 5)
    first = sorted(each.guid for each in places)[:3]
    archived = tuple(Restaurant(each.guid, each.name, state="archived") for each in places if each.guid == first[0])
    sandbox = probing.sandbox(*archived, *(each for each in places if each.guid != first[0]))
    found = await probing.run(sandbox, changes={"TOAST_RESTAURANT_GUID": "*"})
    asked = {entry.target for entry in sandbox.toast.log.entries if entry.path == "orders"}
    assert asked == set(sorted(each.guid for each in places)[1:4])
    assert len(found) == 3


async def test_without_a_list_the_member_is_asked(probing: Probing) -> None:
    sandbox = probing.sandbox(place(0), partner=False)
    [found] = await probing.run(sandbox, changes={"TOAST_RESTAURANT_GUID": "*", "TOAST_MEMBER_RESTAURANT_GUID": GUID})
    assert found.answers["partner_list"].verdict is Verdict.REFUTED
    with pytest.raises(ToastRefusedError):
        await probing.run(sandbox, changes={"TOAST_RESTAURANT_GUID": "*"})


async def test_revoked_tokens_end_no_probe_and_bring_no_third_login(probing: Probing) -> None:
    sandbox = probing.sandbox(place(50))
    sandbox.faults.arm(Kind.REVOKE, "order list")
    answers = await probing.answers(sandbox)
    assert sandbox.toast.log.count("login") == 2
    assert answers["order_list"] == (Verdict.UNSEEN, "Toast answered 401 [TOAST-LIST]")
    assert "start_inclusive" not in refuted(answers)


async def test_an_error_of_one_question_is_its_answer(probing: Probing, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_scene: Scene) -> Answer:
        raise ZeroDivisionError(GUID)

    monkeypatch.setitem(run._ABOUT_ORDERS, "unsorted", fail)
    answers = await probing.answers(probing.sandbox(place(50)))
    assert answers["unsorted"] == (Verdict.UNSEEN, "an order has an unexpected form (ZeroDivisionError)")
    assert answers["start_inclusive"].verdict is answers["order_list"].verdict is Verdict.CONFIRMED


async def test_wrong_credentials_end_the_probe(probing: Probing) -> None:
    with pytest.raises(ToastLoginError):
        await probing.run(probing.sandbox(place(0)), changes={"TOAST_CLIENT_SECRET": "wrong"})


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"restaurants": ["a", "b", "c", "d"]}, SettingsError, "at most 3 restaurants"),
        ({"weeks": [WEEK] * 3}, SettingsError, "2 weeks"),
        ({"weeks": ["2025-09-22"]}, WeekError, "has not closed"),
        ({"weeks": ["2025-09-16"]}, WeekError, "begin on a Monday"),
    ],
)
async def test_wrong_arguments_are_named_before_a_login(
    probing: Probing, wrong: dict[str, Any], error: type[Exception], message: str
) -> None:
    sandbox = probing.sandbox(place(0))
    with pytest.raises(error, match=message):
        await probing.run(sandbox, **wrong)
    assert sandbox.toast.log.count() == 0
