"""The bearer token: used until it is about to end, renewed once when it is rejected. Time is virtual."""

from __future__ import annotations

import asyncio
import base64
import json
import traceback
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest

from toast_assets.amperity.client import CONNECTIONS, AmperityClient
from toast_assets.amperity.token import TOKEN_PATH
from toast_assets.errors import AmperityError, AmperityRefusedError
from toast_assets_tests.support.services.scripted_amperity import RENEWABLE, ScriptedAmperity, send, token_reply
from toast_assets_tests.support.services.virtual_time import START, run_virtual


def jwt(expires: float) -> str:
    claims = base64.urlsafe_b64encode(json.dumps({"exp": expires}).encode()).rstrip(b"=").decode()
    return f"header.{claims}.signature"


def run(
    amperity: ScriptedAmperity, use: Callable[[AmperityClient], Awaitable[object]], **changes: Any
) -> AmperityClient:
    async def main() -> AmperityClient:
        async with amperity.client(**changes) as client:
            await use(client)
            return client

    return run_virtual(main())


class Strict(ScriptedAmperity):
    """Answers 401 to every token that is not in ``valid``; each new token is put there unless ``useless``."""

    def __init__(self, *valid: str, useless: bool = False) -> None:
        super().__init__(records=self._judge, tokens=self._issue)
        self.valid = set(valid)
        self._useless = useless

    def _judge(self, _number: int, request: httpx.Request) -> httpx.Response:
        bearer = request.headers["Authorization"].removeprefix("Bearer ")
        return httpx.Response(202 if bearer in self.valid else 401)

    def _issue(self, number: int, request: httpx.Request) -> httpx.Response:
        if not self._useless:
            self.valid.add(f"token-{number}")
        return token_reply(number, request)


def test_the_key_is_used_as_it_is_and_nothing_is_renewed() -> None:
    amperity = ScriptedAmperity()
    run(amperity, send, **RENEWABLE)
    assert (amperity.bearers(), amperity.of(TOKEN_PATH)) == (["first-key"], [])


def test_without_a_key_the_first_token_is_fetched_as_documented() -> None:
    amperity = ScriptedAmperity()
    run(amperity, send, **RENEWABLE, AMPERITY_API_KEY="")
    (request,) = amperity.of(TOKEN_PATH)
    assert parse_qs(request.content.decode()) == {
        "grant_type": ["client_credentials"],
        "client_id": ["client"],
        "client_secret": ["client-secret"],
    }
    assert request.headers["X-Amperity-Tenant"] == "acme"
    assert request.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert str(request.url) == "https://acme.amperity.com/api/v0/oauth2/token"
    assert amperity.bearers() == ["token-1"]


@pytest.mark.parametrize(("later", "token"), [(3530.0, "token-1"), (3545.0, "token-2")])
def test_a_token_is_renewed_a_minute_ahead_of_its_end(later: float, token: str) -> None:
    amperity = ScriptedAmperity()

    async def use(client: AmperityClient) -> None:
        await send(client)
        await asyncio.sleep(later)
        await send(client, 2)

    run(amperity, use, **RENEWABLE, AMPERITY_API_KEY="")
    assert amperity.bearers() == ["token-1", token]


def test_a_key_that_says_when_it_ends_is_renewed_ahead_of_that() -> None:
    amperity = ScriptedAmperity()
    run(amperity, send, **RENEWABLE, AMPERITY_API_KEY=jwt(START + 3))
    run(amperity, send, **RENEWABLE, AMPERITY_API_KEY=jwt(START - 3))
    assert amperity.bearers() == [jwt(START + 3), "token-1"]


def test_without_a_client_a_key_is_used_although_it_seems_to_have_ended() -> None:
    amperity = ScriptedAmperity()
    run(amperity, send, AMPERITY_API_KEY=jwt(START - 3))
    assert amperity.bearers() == [jwt(START - 3)]


def test_a_rejected_token_is_renewed_once_and_the_record_arrives() -> None:
    amperity = Strict()
    client = run(amperity, send, **RENEWABLE)
    assert amperity.bearers() == ["first-key", "token-1"]
    assert len(amperity.of(TOKEN_PATH)) == 1
    assert client.stats.retries == 0


def test_many_records_that_are_rejected_at_once_share_one_renewal() -> None:
    amperity = Strict("first-key")
    amperity.back = lambda: 0.05

    async def use(client: AmperityClient) -> None:
        await send(client)
        amperity.valid.clear()
        states = await asyncio.gather(*(send(client, number) for number in range(2, 200)))
        assert set(states) == {"accepted"}

    run(amperity, use, **RENEWABLE)
    assert len(amperity.of(TOKEN_PATH)) == 1


class SlowToRenew(Strict):
    """Takes its time for a new token, while records are answered at once."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == TOKEN_PATH:
            await asyncio.sleep(5)
        return await super().handle_async_request(request)


def test_while_a_token_is_renewed_no_record_leaves_with_the_rejected_one() -> None:
    amperity = SlowToRenew("first-key")
    amperity.back = lambda: 0.01

    async def use(client: AmperityClient) -> None:
        await send(client)
        amperity.valid.clear()
        assert await asyncio.gather(*(send(client, number) for number in range(2, 502))) == ["accepted"] * 500

    run(amperity, use, **RENEWABLE)
    # One was taken; those on their way when the first rejection came back are the others.
    assert amperity.bearers().count("first-key") <= 1 + CONNECTIONS
    assert len(amperity.of(TOKEN_PATH)) == 1


def test_tokens_that_end_again_and_again_are_renewed_again_and_again() -> None:
    amperity = Strict("first-key")

    async def use(client: AmperityClient) -> None:
        for number in range(12):
            if number % 3 == 2:
                amperity.valid.clear()
            assert await send(client, number) == "accepted"

    run(amperity, use, **RENEWABLE)
    assert len(amperity.of(TOKEN_PATH)) == 4


class RevokesOften(Strict):
    """Revokes the token with every ``uses``-th record. A rejection is back at once while an acceptance takes its time,
    so that no token is known to work when the first call with it is rejected."""

    def __init__(self, uses: int) -> None:
        super().__init__("first-key")
        self._uses = uses
        self._seconds = 0.0
        self.records = self._revoking
        self.back = lambda: self._seconds

    def _revoking(self, number: int, request: httpx.Request) -> httpx.Response:
        if number % self._uses == 0:
            self.valid.clear()
        response = self._judge(number, request)
        self._seconds = 1.0 if response.is_success else 0.0
        return response


@pytest.mark.parametrize("uses", [CONNECTIONS + 2, 60, 2 * CONNECTIONS])
def test_a_token_that_is_revoked_again_before_its_first_answer_is_back_stops_no_delivery(uses: int) -> None:
    amperity = RevokesOften(uses)

    async def use(client: AmperityClient) -> None:
        await send(client)
        states = await asyncio.gather(*(send(client, number) for number in range(2, 302)))
        assert set(states) == {"accepted"}

    run(amperity, use, **RENEWABLE)
    assert len(amperity.of(TOKEN_PATH)) > 2


def test_tokens_that_all_stop_working_end_the_delivery_after_a_few_renewals() -> None:
    amperity = Strict("first-key")

    async def use(client: AmperityClient) -> None:
        await send(client)
        amperity.valid.clear()
        amperity._useless = True
        await asyncio.gather(*(send(client, number) for number in range(2, 202)))

    with pytest.raises(AmperityRefusedError, match=r"401 .*AMPERITY_API_KEY"):
        run(amperity, use, **RENEWABLE)
    assert len(amperity.of(TOKEN_PATH)) == 5


def test_a_single_record_that_no_token_will_do_for_stays_pending_and_holds_up_no_other() -> None:
    amperity = Strict("first-key")

    def judge(number: int, request: httpx.Request) -> httpx.Response:
        return httpx.Response(401) if b'"3"' in request.content else amperity._judge(number, request)

    amperity.records = judge

    async def use(client: AmperityClient) -> None:
        await send(client)
        states = await asyncio.gather(
            *(send(client, number) for number in range(2, 22)), *(later(client) for _ in range(9))
        )
        assert states.count("pending") == 1
        assert states.count("accepted") == len(states) - 1

    async def later(client: AmperityClient) -> str:
        for number in range(100, 200):
            await asyncio.sleep(0.3)
            assert await send(client, number) == "accepted"
        return "accepted"

    run(amperity, use, **RENEWABLE)


@pytest.mark.parametrize("token", ["SECRET\n", "SECRET\r\nX-Evil: 1", "SECRÉT", ""])
def test_a_new_token_that_no_header_can_carry_is_refused_and_not_repeated(token: str) -> None:
    amperity = ScriptedAmperity(tokens=lambda _number, _request: httpx.Response(200, json={"access_token": token}))
    with pytest.raises(AmperityRefusedError, match=r"no header can carry.* \[AMPERITY-TOKEN\]$") as caught:
        run(amperity, send, **RENEWABLE, AMPERITY_API_KEY="")
    assert "SECR" not in "".join(traceback.format_exception(caught.value))
    assert len(amperity.of(TOKEN_PATH)) == 1


def test_a_new_token_that_is_rejected_too_is_no_reason_for_a_third() -> None:
    amperity = Strict(useless=True)
    with pytest.raises(AmperityRefusedError, match=r"401 .*AMPERITY_API_KEY"):
        run(amperity, send, **RENEWABLE)
    assert amperity.bearers() == ["first-key", "token-1"]


def test_without_a_client_a_rejected_key_stops_at_once() -> None:
    amperity = Strict()
    with pytest.raises(AmperityRefusedError, match=r"AMPERITY_API_KEY.* \[AMPERITY-401\]$"):
        run(amperity, send)
    assert amperity.bearers() == ["first-key"]


@pytest.mark.parametrize(
    "reply",
    [
        httpx.Response(401),
        httpx.Response(400),
        httpx.Response(200, json={"token": "elsewhere"}),
        httpx.Response(200, content=b'{"access_token": ' + b"[" * 20_000 + b"]" * 20_000 + b"}"),
        httpx.Response(200, content=b'{"access_token": "\xff"}'),
    ],
)
def test_a_client_that_gets_no_token_is_told_which_settings_to_check(reply: httpx.Response) -> None:
    amperity = ScriptedAmperity(tokens=lambda _number, _request: reply)
    with pytest.raises(
        AmperityRefusedError, match=r"AMPERITY_CLIENT_ID, AMPERITY_CLIENT_SECRET.* \[AMPERITY-TOKEN\]$"
    ) as caught:
        run(amperity, send, **RENEWABLE, AMPERITY_API_KEY="")
    assert "client-secret" not in str(caught.value)
    assert not amperity.bearers()


def test_a_token_service_that_is_down_for_a_moment_is_waited_for() -> None:
    amperity = ScriptedAmperity(tokens=lambda n, request: httpx.Response(503) if n < 4 else token_reply(n, request))
    run(amperity, send, **RENEWABLE, AMPERITY_API_KEY="")
    assert amperity.bearers() == ["token-4"]


def test_a_token_service_that_stays_down_is_no_wrong_setting() -> None:
    amperity = ScriptedAmperity(tokens=lambda _number, _request: httpx.Response(503))
    with pytest.raises(AmperityError, match=r"stays down.* \[AMPERITY-UNAVAILABLE\]$") as caught:
        run(amperity, send, **RENEWABLE, AMPERITY_API_KEY="")
    assert not isinstance(caught.value, AmperityRefusedError)


@pytest.mark.parametrize("expires_in", [0, -5])
def test_a_token_that_claims_to_be_over_at_once_is_used_until_it_is_rejected(expires_in: int) -> None:
    amperity = ScriptedAmperity(
        tokens=lambda n, _request: httpx.Response(200, json={"access_token": f"token-{n}", "expires_in": expires_in})
    )

    async def use(client: AmperityClient) -> None:
        for number in range(3):
            await send(client, number)

    run(amperity, use, **RENEWABLE, AMPERITY_API_KEY="")
    assert amperity.bearers() == ["token-1"] * 3
