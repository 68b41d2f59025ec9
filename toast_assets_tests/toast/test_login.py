"""The token: fetched once, kept, renewed once. Time is virtual."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Awaitable, Callable

import httpx
import pytest

from toast_assets.errors import ToastLoginError, ToastRefusedError
from toast_assets.toast.client import ORDERS_PATH, ToastClient
from toast_assets.toast.login import LOGIN_PATH, read_grant
from toast_assets.toast.page import Window
from toast_assets_tests.support.services.scripted import ScriptedToast, login_reply
from toast_assets_tests.support.services.virtual_time import run_virtual

WINDOW = Window(1_757_908_800_000, 1_757_908_900_000)
OK = httpx.Response(200, json=[])


class TokenBoundToast(ScriptedToast):
    """Answers 401 to every token that is not in ``valid``; a login makes ``issue(n)`` valid if ``renews``."""

    def __init__(self, *, renews: bool = True, same: bool = False) -> None:
        super().__init__(orders=self._orders, logins=self._logins, latency=lambda: 0.05)
        self.valid: set[str] = set()
        self.renews = renews
        self.same = same
        self.forbidden: set[str] = set()

    def _logins(self, number: int) -> httpx.Response:
        token = "token" if self.same else f"token-{number}"
        if self.renews or number == 1:
            self.valid.add(token)
        return login_reply(token)

    def _orders(self, number: int) -> httpx.Response:
        call = [each for each in self.asked if each.path == ORDERS_PATH][number - 1]
        return httpx.Response(
            200 if call.token in self.valid and call.restaurant not in self.forbidden else 401, json=[]
        )


def run(toast: ScriptedToast, use: Callable[[ToastClient], Awaitable[object]]) -> ToastClient:
    async def main() -> ToastClient:
        async with toast.client() as client:
            await use(client)
            return client

    return run_virtual(main())


async def page(client: ToastClient, restaurant: str = "one") -> None:
    await client.orders_page(restaurant, WINDOW)


def test_one_login_serves_all_calls() -> None:
    toast = ScriptedToast()

    async def use(client: ToastClient) -> None:
        await asyncio.gather(*(page(client, f"r{number}") for number in range(20)))
        await page(client)

    client = run(toast, use)
    assert client.logins == 1
    assert len(toast.times(LOGIN_PATH)) == 1


def test_another_login_is_sent_on_request_and_changes_no_call() -> None:
    toast = ScriptedToast(logins=lambda number: login_reply(f"token-{number}"))

    async def use(client: ToastClient) -> None:
        await page(client)
        assert await client.log_in_again() == "token-2"
        await page(client)

    run(toast, use)
    assert [each.token for each in toast.asked if each.path == ORDERS_PATH] == ["token-1", "token-1"]


def test_a_token_is_renewed_shortly_before_it_expires() -> None:
    toast = ScriptedToast(logins=lambda number: login_reply(f"token-{number}", 600))

    async def use(client: ToastClient) -> None:
        await page(client)
        await asyncio.sleep(530)
        await page(client)
        await asyncio.sleep(15)
        await page(client)

    run(toast, use)
    assert [each.token for each in toast.asked if each.path == ORDERS_PATH] == ["token-1", "token-1", "token-2"]


def test_a_token_that_is_about_to_expire_when_it_comes_is_used_all_the_same() -> None:
    toast = ScriptedToast(logins=lambda _: login_reply(seconds=20))

    async def use(client: ToastClient) -> None:
        for _ in range(10):
            await page(client)

    assert run(toast, use).logins == 1


def test_a_401_leads_to_one_new_login_and_the_call_is_repeated() -> None:
    toast = TokenBoundToast()

    async def use(client: ToastClient) -> None:
        await page(client)
        toast.valid.clear()
        await page(client)

    client = run(toast, use)
    assert client.logins == 2
    assert client.stats["one"].retries == 0


@pytest.mark.parametrize("same", [False, True], ids=["another-token", "the-same-token"])
def test_many_401s_at_once_lead_to_one_login(same: bool) -> None:
    toast = TokenBoundToast(same=same)

    async def use(client: ToastClient) -> None:
        await page(client)
        toast.valid.clear()
        await asyncio.gather(*(page(client, f"r{number}") for number in range(30)))

    assert run(toast, use).logins == 2


def test_a_second_401_with_the_new_token_is_final_and_says_what_to_check() -> None:
    toast = TokenBoundToast()
    toast.forbidden.add("one")
    with pytest.raises(ToastRefusedError, match=r"401.*for restaurant one.*scopes.* \[TOAST-401\]$") as caught:
        run(toast, page)
    assert caught.value.status == 401
    assert len(toast.times(LOGIN_PATH)) == 2


def test_restaurants_that_always_answer_401_do_not_cost_a_login_each() -> None:
    toast = TokenBoundToast()
    toast.forbidden |= {f"bad-{number}" for number in range(30)}

    async def use(client: ToastClient) -> None:
        for number in range(30):
            await page(client, "good")
            with pytest.raises(ToastRefusedError):
                await page(client, f"bad-{number}")

    assert run(toast, use).logins == 3


def test_later_a_token_that_has_ended_is_renewed_in_spite_of_such_restaurants() -> None:
    toast = TokenBoundToast()
    toast.forbidden |= {"bad-1", "bad-2"}

    async def use(client: ToastClient) -> None:
        for guid in ("bad-1", "bad-2"):
            await page(client)
            with pytest.raises(ToastRefusedError):
                await page(client, guid)
        await page(client)
        await asyncio.sleep(3600)
        toast.valid.clear()
        await page(client)

    assert run(toast, use).logins == 4


def test_where_no_call_at_all_is_allowed_two_logins_are_enough() -> None:
    toast = TokenBoundToast(renews=False)
    toast.forbidden |= {f"r{number}" for number in range(10)}

    async def use(client: ToastClient) -> None:
        for number in range(10):
            with pytest.raises(ToastRefusedError):
                await page(client, f"r{number}")

    assert run(toast, use).logins == 2


@pytest.mark.parametrize(
    "body",
    [
        {"sessionToken": "of-the-guide", "status": "SUCCESS"},
        {"token": None, "sessionToken": "of-the-guide"},
        {"token": {"accessToken": "of-the-guide", "expiresIn": "86400"}},
        {"token": {"accessToken": "of-the-guide", "expiresIn": None}},
        {"token": {"accessToken": "of-the-guide"}, "sessionToken": "another"},
    ],
)
def test_the_documented_reply_and_the_guides_are_understood(body: dict[str, object]) -> None:
    toast = ScriptedToast(logins=lambda _: httpx.Response(200, json=body))
    run(toast, page)
    assert toast.asked[-1].token == "of-the-guide"


@pytest.mark.parametrize("lifetime", ["", ',"expiresIn":null', ',"expiresIn":"soon"', ',"expiresIn":0'])
def test_a_token_that_does_not_say_how_long_it_is_valid_is_renewed_after_an_hour(lifetime: str) -> None:
    assert read_grant(b'{"token":{"accessToken":"t"%s}}' % lifetime.encode()) == ("t", 3600.0)


def test_a_login_that_is_down_twice_is_waited_for() -> None:
    toast = ScriptedToast(logins=lambda number: httpx.Response(503) if number < 3 else login_reply())
    assert run(toast, page).logins == 1
    assert len(toast.times(LOGIN_PATH)) == 3


def test_a_gateways_page_with_200_instead_of_a_login_is_waited_for_as_well() -> None:
    toast = ScriptedToast(
        logins=lambda number: httpx.Response(200, html="<h1>Hi</h1>") if number < 3 else login_reply()
    )
    assert run(toast, page).logins == 1


def test_a_login_that_stays_down_names_the_host_and_ends() -> None:
    toast = ScriptedToast(logins=lambda _: httpx.Response(503))
    with pytest.raises(
        ToastLoginError, match=r"https://toast.test stayed down.*503.*TOAST_API_URL.* \[TOAST-UNAVAILABLE\]$"
    ):
        run(toast, page)
    assert not toast.times()


def test_a_login_without_a_token_names_the_host_and_ends() -> None:
    toast = ScriptedToast(logins=lambda _: httpx.Response(200, html="<h1>Sign in</h1>"))
    with pytest.raises(
        ToastLoginError, match=r"https://toast.test answered 200 without a token.*proxy.* \[TOAST-TOKEN\]$"
    ):
        run(toast, page)


@pytest.mark.parametrize("token", ["SECRETabc\n", "SECRET\r\nX-Evil: 1", "SECRÉT", "SECRET😀", "SECRET\0x", "SECRET x"])
def test_a_token_that_no_header_can_carry_is_told_at_once_and_not_repeated(token: str) -> None:
    toast = ScriptedToast(logins=lambda _: login_reply(token))
    with pytest.raises(ToastLoginError, match=r"no header can carry.* \[TOAST-TOKEN\]$") as caught:
        run(toast, page)
    assert "SECR" not in "".join(traceback.format_exception(caught.value))
    assert len(toast.asked) == 1


@pytest.mark.parametrize(
    "body", [b'{"token":' + b"[" * 5000 + b"]" * 5000 + b"}", b'{"sessionToken":"\xff"}', b'{"sessionToken":""}', b"[]"]
)
def test_a_login_whose_reply_cannot_be_read_is_one_without_a_token(body: bytes) -> None:
    toast = ScriptedToast(logins=lambda _: httpx.Response(200, content=body))
    with pytest.raises(ToastLoginError, match="without a token"):
        run(toast, page)


def test_wrong_credentials_are_told_at_once_without_the_secret() -> None:
    toast = ScriptedToast(logins=lambda _: httpx.Response(401, json={"message": "Wrong credentials."}))
    with pytest.raises(
        ToastLoginError, match=r"refused the login.*401.*TOAST_CLIENT_SECRET.* \[TOAST-LOGIN\]$"
    ) as caught:
        run(toast, page)
    assert len(toast.asked) == 1
    assert "hush" not in str(caught.value)


def test_a_redirect_is_told_as_one_and_not_as_wrong_credentials() -> None:
    toast = ScriptedToast(logins=lambda _: httpx.Response(307, headers={"Location": "https://sso.test"}))
    with pytest.raises(ToastLoginError, match=r"307 .*TOAST_API_URL.*proxy.* \[TOAST-REFUSED\]$") as caught:
        run(toast, page)
    assert "TOAST_CLIENT_SECRET" not in str(caught.value)


def test_a_login_that_fails_half_way_reaches_the_caller() -> None:
    toast = TokenBoundToast()

    async def use(client: ToastClient) -> None:
        await page(client)
        toast.valid.clear()
        toast.logins = lambda _: httpx.Response(401)
        await page(client)

    with pytest.raises(ToastLoginError):
        run(toast, use)
