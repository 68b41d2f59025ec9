"""The client against the sandbox over real HTTP: what is repeated, what is final, what is counted."""

from __future__ import annotations

import base64
import gzip
import json
import logging
import traceback
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from toast_assets.errors import (
    SettingsError,
    ToastError,
    ToastLoginError,
    ToastRefusedError,
    ToastReplyError,
    ToastTransientError,
)
from toast_assets.http.bodies import read_reply
from toast_assets.http.retry import RetryPolicy
from toast_assets.orders.raw import cut_orders
from toast_assets.sandbox import Kind, Sandbox
from toast_assets.toast.client import ToastClient
from toast_assets.toast.login import LOGIN_PATH
from toast_assets.toast.page import Window
from toast_assets.week import Week
from toast_assets_tests.support.services.clients import SkippedTime, toast_client, toast_settings
from toast_assets_tests.support.services.guide_dialect import GuideDialect
from toast_assets_tests.support.services.scripted import ScriptedToast, login_reply
from toast_assets_tests.support.services.toast_orders import replace_all
from toast_assets_tests.support.services.virtual_time import run_virtual

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
    truth = sandbox.toast.orders[guid].between(window.start, window.end)
    assert {order.guid: order.body for order in page.orders} == {order.guid: order.json for order in truth}
    assert not page.has_next


async def test_the_pages_of_a_window_follow_each_other(sandbox: Sandbox, make_toast: MakeToast, window: Window) -> None:
    guid = sandbox.restaurant_guids[0]
    async with make_toast() as toast:
        pages = [await toast.orders_page(guid, window, page=number) for number in range(1, 5)]
    assert [(len(page.orders), page.has_next) for page in pages] == [(100, True), (100, True), (100, True), (20, False)]


async def test_the_guides_dialect_is_followed_by_its_tokens(sandbox: Sandbox, window: Window) -> None:
    guid = sandbox.restaurant_guids[1]
    seen: set[str] = set()
    token = None
    async with toast_client(sandbox, transport=GuideDialect()) as toast:
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
    ("kind", "settings", "error", "message"),
    [
        (Kind.STATUS, {"status": 500}, ToastTransientError, "500 .*request id sandbox-"),
        (Kind.RESET, {}, ToastTransientError, r"Toast \(127.0.0.1\) cannot be reached for /orders/.* closed"),
        (Kind.HTML, {}, ToastReplyError, "200 .*no JSON array"),
    ],
)
async def test_a_fault_that_stays_is_told_after_seven_attempts(
    kind: Kind,
    settings: dict[str, Any],
    error: type[Exception],
    message: str,
    sandbox: Sandbox,
    make_toast: MakeToast,
    window: Window,
) -> None:
    armed = sandbox.faults.arm(kind, "orders", last=None, **settings)
    async with make_toast() as toast:
        with pytest.raises(error, match=message):
            await toast.orders_page(sandbox.restaurant_guids[2], window)
    assert armed.fired == 7


async def test_an_order_from_outside_the_window_is_believed_the_third_time(
    sandbox: Sandbox, make_toast: MakeToast, window: Window
) -> None:
    armed = sandbox.faults.arm(Kind.STRAY_ORDER, "orders", last=None)
    async with make_toast() as toast:
        page = await toast.orders_page(sandbox.restaurant_guids[2], window)
    assert armed.fired == 3
    assert [order.modified_ms for order in page.orders if not window.holds(order.modified_ms)] == [window.end]


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


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "TOAST-400"),
        (403, "TOAST-403-RESTAURANT"),
        (404, "TOAST-404-RESTAURANT"),
        (422, "TOAST-REFUSED"),
    ],
)
async def test_a_refusal_is_final_and_names_the_restaurant_and_the_code(
    status: int, code: str, sandbox: Sandbox, make_toast: MakeToast, window: Window
) -> None:
    armed = sandbox.faults.arm(Kind.STATUS, "orders", status=status, last=None)
    guid = sandbox.restaurant_guids[0]
    async with make_toast() as toast:
        with pytest.raises(ToastRefusedError, match=rf"{status} .*{guid}.* \[{code}\]$") as caught:
            await toast.orders_page(guid, window)
    assert caught.value.status == status
    assert armed.fired == 1


@pytest.mark.parametrize("claims", [None, {"scope": "orders:read restaurants:read"}, {"scope": "config:read"}])
def test_a_403_is_due_to_the_scope_where_the_token_names_its_scopes_without_it(
    claims: dict[str, str] | None, window: Window
) -> None:
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode()
    token = f"e30.{body}.signature" if claims else "opaque"
    toast = ScriptedToast(orders=lambda _: httpx.Response(403), logins=lambda _: login_reply(token))

    async def main() -> None:
        async with toast.client() as client:
            await client.orders_page("one", window)

    with pytest.raises(ToastRefusedError) as caught:
        run_virtual(main())
    lacks = claims == {"scope": "config:read"}
    assert caught.value.code == ("TOAST-403-SCOPE" if lacks else "TOAST-403-RESTAURANT")
    assert ("lacks the scope orders:read" in str(caught.value)) == lacks


@pytest.mark.parametrize("status", [429, 503])
def test_an_outage_has_one_code_whatever_is_asked_and_however_it_shows(status: int, window: Window) -> None:
    def down(_number: int) -> httpx.Response:
        return httpx.Response(status)

    async def main(call: Callable[[ToastClient], Awaitable[object]], toast: ScriptedToast) -> ToastError:
        async with toast.client(retry=RetryPolicy(attempts=2, throttled_for=1.0)) as client:
            with pytest.raises(ToastError) as caught:
                await call(client)
        return caught.value

    calls: list[tuple[Callable[[ToastClient], Awaitable[object]], ScriptedToast]] = [
        (lambda client: client.login(), ScriptedToast(logins=down)),
        (lambda client: client.orders_page("one", window), ScriptedToast(orders=down)),
        (lambda client: client.restaurant("one"), ScriptedToast(others=down)),
    ]
    assert {run_virtual(main(*call)).code for call in calls} == {"TOAST-UNAVAILABLE"}


async def test_what_does_not_pass_by_itself_is_told_at_once_with_its_cause(sandbox: Sandbox) -> None:
    skipped = SkippedTime()
    url = sandbox.toast_url.replace("http:", "https:")
    async with toast_client(sandbox, skipped=skipped, TOAST_API_URL=url) as toast:
        with pytest.raises(
            ToastLoginError, match=r"Toast \(127.0.0.1\) .* does not speak TLS .*TOAST_API_URL.* \[TOAST-UNREACHABLE\]$"
        ) as caught:
            await toast.login()
    assert caught.value.__suppress_context__
    assert not skipped.skipped


@pytest.mark.parametrize(
    "url", ["https://ws-api.toasttab.com\u200b", "https://exa mple.com", "https://ws-api..toasttab.com", "https://[::1"]
)
def test_an_address_that_cannot_be_used_is_a_setting_to_check(url: str, sandbox: Sandbox) -> None:
    with pytest.raises(SettingsError, match="TOAST_API_URL "):
        toast_settings(sandbox, TOAST_API_URL=url)


def asked_once(
    toast: ScriptedToast, call: Callable[[ToastClient], Awaitable[object]], retry: RetryPolicy | None = None
) -> ToastError:
    """The error that a call of a scripted Toast ends with."""

    async def main() -> ToastError:
        async with toast.client(retry=retry) as client:
            with pytest.raises(ToastError) as caught:
                await call(client)
            return caught.value

    return run_virtual(main())


def first_page(client: ToastClient) -> Awaitable[object]:
    return client.orders_page("one", Window(0, 1000))


@pytest.mark.parametrize(
    ("status", "hint"),
    [(302, "proxy"), (405, "proxy"), (409, "TOAST_API_URL"), (410, "proxy"), (499, "proxy"), (407, "HTTPS_PROXY")],
)
def test_a_status_that_toast_does_not_give_has_a_way_out(status: int, hint: str) -> None:
    toast = ScriptedToast(orders=lambda _: httpx.Response(status, headers={"Location": "https://elsewhere.test"}))
    error = asked_once(toast, first_page)
    assert str(status) in error.message
    assert hint in error.hint
    assert len(toast.times()) == 1


DEEP = b"[" * 5000 + b"]" * 5000


@pytest.mark.parametrize("body", [b'{"message":' + DEEP + b"}", b'{"x":' + DEEP + b"}", b'{"message":"\xff"}', DEEP])
@pytest.mark.parametrize("status", [403, 500])
def test_an_error_whose_body_cannot_be_read_is_an_error_like_any(status: int, body: bytes) -> None:
    toast = ScriptedToast(orders=lambda _: httpx.Response(status, content=body))
    assert f"Toast answered {status} to" in asked_once(toast, first_page, RetryPolicy(attempts=2)).message


@pytest.mark.parametrize("body", [DEEP, b'{"general":{"name":"\xff"}}', b'{"general":' + DEEP + b"}"])
def test_details_and_lists_that_cannot_be_read_are_an_error_of_toasts(body: bytes) -> None:
    toast = ScriptedToast(others=lambda _: httpx.Response(200, content=body))
    for call in (lambda client: client.restaurant("one"), lambda client: client.partner_restaurants()):
        assert isinstance(asked_once(toast, call, RetryPolicy(attempts=2)), ToastReplyError)


def test_a_body_that_is_larger_than_any_page_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def read_little(response: httpx.Response, request: httpx.Request) -> Awaitable[httpx.Response]:
        return read_reply(response, request, 1_000_000)

    monkeypatch.setattr("toast_assets.http.service.read_reply", read_little)
    bomb = gzip.compress(b" " * 2_000_000)
    headers = {"Content-Encoding": "gzip"}
    toast = ScriptedToast(orders=lambda _: httpx.Response(200, headers=headers, stream=httpx.ByteStream(bomb)))
    error = asked_once(toast, first_page)
    assert isinstance(error, ToastReplyError)
    assert "more than 1,000,000 bytes" in error.message
    assert len(toast.times()) == 2


def test_what_toast_quotes_of_our_secrets_is_neither_raised_nor_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    token = "eyJhbGciOi.0123456789abcdef.fedcba9876543210"
    login = ScriptedToast(
        logins=lambda _: httpx.Response(500, json={"message": "bad secret hush", "requestId": "hush"})
    )
    orders = ScriptedToast(
        logins=lambda _: login_reply(token),
        orders=lambda _: httpx.Response(500, json={"message": f"{'x' * 180} Bearer {token}"}),
    )
    errors = [asked_once(toast, first_page, RetryPolicy(attempts=2)) for toast in (login, orders)]
    said = "".join("".join(traceback.format_exception(error)) for error in errors) + caplog.text
    assert "bad secret [secret]" in said
    assert "hush" not in said
    assert "0123456789ab" not in said
    assert "eyJhbGciOi.0" not in said


def test_a_client_that_is_no_partners_is_no_reason_to_log_in_again() -> None:
    toast = ScriptedToast(
        others=lambda _: httpx.Response(401, json={"message": "partnerGuid must be supplied in token"})
    )
    error = asked_once(toast, lambda client: client.partner_restaurants())
    assert isinstance(error, ToastRefusedError)
    assert len(toast.times(LOGIN_PATH)) == 1


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
    assert sandbox.toast.log.count("orders", guid, 429) == 0


async def test_too_fast_a_client_is_throttled_and_gets_through_all_the_same(
    start_sandbox: Callable[..., Sandbox], window: Window
) -> None:
    sandbox = start_sandbox(rate_limits=True)
    guid = sandbox.restaurant_guids[2]
    async with ToastClient(toast_settings(sandbox, TOAST_REQUESTS_PER_SECOND="60"), retry=RetryPolicy()) as toast:
        for _ in range(12):
            assert len((await toast.orders_page(guid, window)).orders) == 36
    # The last good reply of each second says so: most of the waiting happens without a refusal.
    assert sandbox.toast.log.count("orders", guid, 429) <= 2


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
        token = await toast.login()
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
    replace_all(sandbox.toast.orders[guid], [odd])
    async with make_toast() as toast:
        page = await toast.orders_page(guid, window)
    assert [order.body for order in page.orders] == [odd]
    assert cut_orders(b"[" + odd + b"]", restaurant_guid=guid, pulled_ms=0)[0][0].body == odd
