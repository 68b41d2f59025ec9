"""The client against the sandbox over real HTTP: what is repeated, what is final, what is counted."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

from toast_assets.errors import ToastRefusedError, ToastReplyError, ToastTransientError
from toast_assets.orders.raw import cut_orders
from toast_assets.retry import RetryPolicy
from toast_assets.sandbox import Kind, Sandbox
from toast_assets.toast.client import ToastClient
from toast_assets.toast.page import Window
from toast_assets.week import Week
from toast_assets_tests.support.clients import toast_client, toast_settings
from toast_assets_tests.support.scripted import ScriptedToast
from toast_assets_tests.support.virtual_time import run_virtual

MakeToast = Callable[..., ToastClient]


@pytest.fixture
def window(week: Week) -> Window:
    return Window(week.start_ms, week.end_ms)


async def test_a_page_holds_the_orders_as_the_sandbox_has_them(
    sandbox: Sandbox, make_toast: MakeToast, window: Window
) -> None:
    guid = sandbox.restaurant_guids[2]
    async with make_toast() as toast:
        page = await toast.orders_page(guid, window)
    truth = sandbox.books.toast.orders(guid, window.start, window.end)
    assert {order.guid: order.body for order in page.orders} == {order.guid: order.json for order in truth}
    assert not page.has_next


async def test_the_pages_of_a_window_follow_each_other(sandbox: Sandbox, make_toast: MakeToast, window: Window) -> None:
    guid = sandbox.restaurant_guids[0]
    async with make_toast() as toast:
        pages = [await toast.orders_page(guid, window, page=number) for number in range(1, 5)]
    assert [(len(page.orders), page.has_next) for page in pages] == [(100, True), (100, True), (100, True), (20, False)]


async def test_the_guides_dialect_is_followed_by_its_tokens(
    start_sandbox: Callable[..., Sandbox], window: Window
) -> None:
    sandbox = start_sandbox(guide_orders=True, guide_login=True)
    guid = sandbox.restaurant_guids[1]
    seen: set[str] = set()
    token = None
    async with toast_client(sandbox) as toast:
        while True:
            page = await toast.orders_page(guid, window, token=token)
            seen |= {order.guid for order in page.orders}
            token = page.token
            if token is None:
                break
    assert len(seen) == 240


FAULTS: dict[str, tuple[Kind, dict[str, Any]]] = {
    "500": (Kind.STATUS, {"status": 500}),
    "503 three times": (Kind.STATUS, {"status": 503, "last": 3}),
    "502 with a page of HTML": (Kind.STATUS, {"status": 502, "html": True}),
    "429 eight times": (Kind.STATUS, {"status": 429, "last": 8}),
    "429 with Retry-After": (Kind.STATUS, {"status": 429, "retry_after": 3}),
    "reset": (Kind.RESET, {}),
    "reset after the answer": (Kind.RESET_AFTER, {}),
    "cut off on the way": (Kind.CUT_TRANSFER, {}),
    "cut off before": (Kind.CUT_JSON, {}),
    "html": (Kind.HTML, {}),
    "empty body": (Kind.EMPTY_BODY, {}),
    "object": (Kind.OBJECT, {}),
    "order outside": (Kind.STRAY_ORDER, {}),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_passing_fault_is_waited_for(
    fault: str, sandbox: Sandbox, make_toast: MakeToast, window: Window
) -> None:
    kind, settings = FAULTS[fault]
    armed = sandbox.faults.arm(kind, "orders", **settings)
    guid = sandbox.restaurant_guids[2]
    async with make_toast() as toast:
        page = await toast.orders_page(guid, window)
    assert len(page.orders) == 36
    assert toast.stats[guid].retries == armed.fired == settings.get("last", 1)


@pytest.mark.parametrize(
    ("kind", "settings", "error", "told"),
    [
        (Kind.STATUS, {"status": 500}, ToastTransientError, "500 .*request id sandbox-"),
        (Kind.RESET, {}, ToastTransientError, r"Toast \(127.0.0.1\) cannot be reached for /orders/.* closed"),
        (Kind.HTML, {}, ToastReplyError, "200 .*not JSON"),
        (Kind.STRAY_ORDER, {}, ToastReplyError, "outside the window"),
    ],
)
async def test_a_fault_that_stays_is_told_after_seven_attempts(
    kind: Kind,
    settings: dict[str, Any],
    error: type[Exception],
    told: str,
    sandbox: Sandbox,
    make_toast: MakeToast,
    window: Window,
) -> None:
    armed = sandbox.faults.arm(kind, "orders", last=None, **settings)
    async with make_toast() as toast:
        with pytest.raises(error, match=told):
            await toast.orders_page(sandbox.restaurant_guids[2], window)
    assert armed.fired == 7


def test_a_call_that_never_answers_is_cut_off_and_repeated(window: Window) -> None:
    # The login, the call that never answers, and its repetition.
    travelling = iter([0.0, float("inf"), 0.0])
    toast = ScriptedToast(latency=lambda: next(travelling))

    async def main() -> int:
        async with toast.client({"TOAST_TIMEOUT_SECONDS": "7"}) as client:
            await client.orders_page("one", window)
            return client.stats["one"].retries

    assert run_virtual(main()) == 1
    first, second = toast.times()
    assert second - first > 7


@pytest.mark.parametrize("status", [400, 403, 404, 422])
async def test_a_refusal_is_final_and_names_the_restaurant(
    status: int, sandbox: Sandbox, make_toast: MakeToast, window: Window
) -> None:
    armed = sandbox.faults.arm(Kind.STATUS, "orders", status=status, last=None)
    guid = sandbox.restaurant_guids[0]
    async with make_toast() as toast:
        with pytest.raises(ToastRefusedError, match=f"{status} .*{guid}") as caught:
            await toast.orders_page(guid, window)
    assert caught.value.status == status
    assert armed.fired == 1


async def test_a_revoked_token_is_renewed_in_the_middle(
    sandbox: Sandbox, make_toast: MakeToast, window: Window
) -> None:
    sandbox.faults.arm(Kind.REVOKE, "orders", first=2, last=2)
    async with make_toast() as toast:
        for _ in range(3):
            assert len((await toast.orders_page(sandbox.restaurant_guids[2], window)).orders) == 36
    assert toast.logins == 2


async def test_the_limits_of_the_sandbox_are_kept_without_a_429(
    start_sandbox: Callable[..., Sandbox], window: Window
) -> None:
    sandbox = start_sandbox(rate_limits=True)
    guid = sandbox.restaurant_guids[2]
    async with ToastClient(toast_settings(sandbox, TOAST_REQUESTS_PER_SECOND="5")) as toast:
        for _ in range(8):
            await toast.orders_page(guid, window)
    assert sandbox.books.toast.count("orders", guid, 429) == 0


async def test_too_fast_a_client_is_throttled_and_gets_through_all_the_same(
    start_sandbox: Callable[..., Sandbox], window: Window
) -> None:
    sandbox = start_sandbox(rate_limits=True)
    guid = sandbox.restaurant_guids[2]
    async with ToastClient(toast_settings(sandbox, TOAST_REQUESTS_PER_SECOND="60"), retry=RetryPolicy()) as toast:
        for _ in range(12):
            assert len((await toast.orders_page(guid, window)).orders) == 36
    # The last good reply of each second says so: most of the waiting happens without a refusal.
    assert sandbox.books.toast.count("orders", guid, 429) <= 2


async def test_requests_retries_and_bytes_are_counted_per_restaurant(
    sandbox: Sandbox, make_toast: MakeToast, window: Window
) -> None:
    sandbox.faults.arm(Kind.STATUS, "orders", status=503, target=sandbox.restaurant_guids[2])
    async with make_toast() as toast:
        for guid in sandbox.restaurant_guids[1:]:
            await toast.orders_page(guid, window)
    other, small = (toast.stats[guid] for guid in sandbox.restaurant_guids[1:])
    assert (other.requests, other.retries) == (1, 0)
    assert (small.requests, small.retries, small.throttled) == (2, 1, 0)
    assert small.bytes > 36 * 1000


async def test_neither_secret_nor_token_reaches_the_log(
    sandbox: Sandbox, make_toast: MakeToast, window: Window, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    sandbox.faults.arm(Kind.STATUS, "orders", status=503, last=2)
    async with make_toast() as toast:
        await toast.orders_page(sandbox.restaurant_guids[2], window)
        token = (await toast._login.token()).value
    text = "\n".join(f"{record.name} {record.getMessage()}" for record in caplog.records)
    assert "Asking again" in text
    assert token not in text
    assert sandbox.config.toast_client_secret not in text


# Locations


async def test_details_tell_name_zone_and_closeout_hour(sandbox: Sandbox, make_toast: MakeToast) -> None:
    async with make_toast() as toast:
        restaurant = await toast.restaurant(sandbox.restaurant_guids[2])
    assert (restaurant.name, restaurant.time_zone, restaurant.closeout_hour) == (
        "Café Ciénaga",
        "America/Los_Angeles",
        3,
    )


async def test_details_are_asked_for_twice_at_most_and_cost_no_login(sandbox: Sandbox, make_toast: MakeToast) -> None:
    armed = sandbox.faults.arm(Kind.STATUS, "restaurants", status=500, last=None)
    async with make_toast() as toast:
        with pytest.raises(ToastTransientError):
            await toast.restaurant(sandbox.restaurant_guids[0])
    assert armed.fired == 2
    sandbox.faults.clear()
    sandbox.faults.arm(Kind.STATUS, "restaurants", status=401, last=None)
    async with make_toast() as toast:
        with pytest.raises(ToastRefusedError):
            await toast.restaurant(sandbox.restaurant_guids[0])
    assert toast.logins == 1


async def test_orders_of_a_page_survive_byte_for_byte(sandbox: Sandbox, make_toast: MakeToast, window: Window) -> None:
    odd = (
        b'{ "guid" : "odd", "modifiedDate":"2025-09-16T12:00:00.000+0000", "amount": 12.10,'
        b' "big": 1234567890123456789012, "text": "caf\xc3\xa9 \\u00e9 \\/ \\ud83c\\udf55",\n'
        b' "nested": {"x": [ 1.0 , 1e5 ] } }'
    )
    guid = sandbox.restaurant_guids[0]
    sandbox.books.toast.set_orders(guid, [odd])
    async with make_toast() as toast:
        page = await toast.orders_page(guid, window)
    assert [order.body for order in page.orders] == [odd]
    assert cut_orders(b"[" + odd + b"]", restaurant_guid=guid, pulled_ms=0)[0].body == odd
