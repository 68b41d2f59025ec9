"""How a probe asks: a budget, a pace, GET alone, two logins."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import Any, TypeVar

import httpx
import pytest

from toast_assets.errors import (
    ToastIncompleteError,
    ToastLoginError,
    ToastRefusedError,
    ToastReplyError,
    ToastTransientError,
    ToastUnreachableError,
)
from toast_assets.http.bodies import PACKED
from toast_assets.probe.asking import MOST_REQUESTS, Asker, BudgetUsedUpError, in_words
from toast_assets.sandbox import Assumption, Kind, Sandbox
from toast_assets.toast.login import LOGIN_PATH
from toast_assets.toast.page import Window
from toast_assets.toast.settings import ToastSettings
from toast_assets_tests.probe.probing import GUID, FixedTime, Probing
from toast_assets_tests.support.services.clients import QUICK, toast_settings
from toast_assets_tests.support.services.scripted import ENVIRONMENT, ScriptedToast, login_reply
from toast_assets_tests.support.services.virtual_time import run_virtual, virtual_clock, virtual_now

T = TypeVar("T")
WINDOW = Window(1_757_908_800_000, 1_758_513_600_000)


def asker_of(sandbox: Sandbox, time: FixedTime) -> Asker:
    times: dict[str, Any] = {"sleep": time.sleep, "clock": time.clock, "now": time.now}
    return Asker(toast_settings(sandbox), retry=QUICK, **times)


def run(toast: ScriptedToast, use: Callable[[Asker], Awaitable[T]]) -> T:
    clocks: dict[str, Any] = {"now": virtual_now, "clock": virtual_clock}

    async def main() -> T:
        async with Asker(ToastSettings.parse(ENVIRONMENT), transport=httpx.MockTransport(toast), **clocks) as asker:
            return await use(asker)

    return run_virtual(main())


def test_requests_leave_a_second_apart_over_all_restaurants_and_logins() -> None:
    toast = ScriptedToast()

    async def use(asker: Asker) -> None:
        for number in range(20):
            await asker.orders(f"r{number % 3}", WINDOW)
        await asker.log_in_again()

    run(toast, use)
    assert len(toast.asked) == 22
    assert min(after.at - before.at for before, after in pairwise(toast.asked)) >= 1


def test_repetitions_leave_a_second_apart_too() -> None:
    toast = ScriptedToast(orders=lambda number: httpx.Response(503 if number < 4 else 200, json=[]))
    assert run(toast, lambda asker: asker.orders("one", WINDOW)).status == 200
    assert min(after - before for before, after in pairwise(toast.times())) >= 1


def test_a_restaurant_is_asked_at_most_120_times_repetitions_included() -> None:
    toast = ScriptedToast(orders=lambda number: httpx.Response(200 if number % 3 == 0 else 503, json=[]))

    async def use(asker: Asker) -> int:
        for _ in range(MOST_REQUESTS // 3):
            await asker.orders("one", WINDOW)
        with pytest.raises(BudgetUsedUpError):
            await asker.orders("one", WINDOW)
        return (await asker.reply("/restaurants/v1/restaurants/another", "another")).status_code

    assert run(toast, use) == 200
    assert len(toast.times(restaurant="one")) == MOST_REQUESTS


def test_a_401_is_an_answer_and_brings_no_login() -> None:
    toast = ScriptedToast(orders=lambda _: httpx.Response(401))

    async def use(asker: Asker) -> int:
        return (await asker.orders("one", WINDOW)).status

    assert run(toast, use) == 401
    assert len(toast.times(LOGIN_PATH)) == 1


def test_tokens_that_end_at_once_bring_no_third_login() -> None:
    toast = ScriptedToast(logins=lambda _: login_reply(seconds=0.5))

    async def use(asker: Asker) -> None:
        for _ in range(5):
            await asker.orders("one", WINDOW)

    with pytest.raises(ToastLoginError, match="logs in twice"):
        run(toast, use)
    assert len(toast.times(LOGIN_PATH)) == 2


def test_a_429_is_waited_for_but_not_for_long() -> None:
    toast = ScriptedToast(orders=lambda _: httpx.Response(429, headers={"Retry-After": "50"}))
    with pytest.raises(ToastTransientError):
        run(toast, lambda asker: asker.orders("one", WINDOW))
    assert len(toast.times()) == 3


async def test_a_reply_tells_whether_it_was_packed(probing: Probing) -> None:
    sandbox = probing.sandbox(without=Assumption.GZIP)
    async with asker_of(sandbox, probing.time) as asker:
        reply = await asker.reply(f"/restaurants/v1/restaurants/{GUID}", GUID)
    assert (reply.extensions[PACKED], asker.packed) == (True, 2)
    assert reply.json()["guid"] == GUID


async def test_an_answer_without_orders_is_no_page(probing: Probing) -> None:
    sandbox = probing.sandbox()
    sandbox.faults.arm(Kind.HTML, "orders", last=None)
    async with asker_of(sandbox, probing.time) as asker:
        with pytest.raises(ToastReplyError):
            await asker.orders(GUID, WINDOW)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (BudgetUsedUpError("x"), "the 120 requests for this restaurant are used up [TOAST-BUDGET]"),
        (ToastRefusedError(f"no {GUID}", status=404), "Toast answered 404 [TOAST-REFUSED]"),
        (ToastReplyError(GUID), "Toast's reply cannot be read [TOAST-REPLY]"),
        (ToastTransientError(GUID), "Toast failed or answered 429 several times [TOAST-UNAVAILABLE]"),
        (ToastIncompleteError(GUID), "a window could not be read completely [TOAST-INCOMPLETE]"),
        (ToastUnreachableError(GUID), "Toast cannot be reached [TOAST-UNREACHABLE]"),
        (KeyError(GUID), "an order has an unexpected form (KeyError)"),
    ],
)
def test_an_error_in_words_quotes_nothing(error: Exception, words: str) -> None:
    assert in_words(error) == words
