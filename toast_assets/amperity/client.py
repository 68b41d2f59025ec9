"""Amperity's HTTP interfaces: one record into a stream, one notice to a URL, calls of the control plane.

A plain asynchronous client on httpx, usable alone:

    async with AmperityClient(settings) as amperity:
        receipt = await amperity.send_record("is-…", request_id, b'{"guid": …}')
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Literal, Self

import httpx

from toast_assets.amperity.answers import (
    ACCEPTED,
    NOTICED,
    explanation,
    hint_for,
    raise_if_transient,
    raise_unless_decided,
    told_to_wait,
)
from toast_assets.amperity.rate import AdaptiveRate
from toast_assets.amperity.settings import AmperitySettings
from toast_assets.amperity.token import AmperityToken, Bearer
from toast_assets.errors import (
    AmperityError,
    AmperityRefusedError,
    AmperityTransientError,
    AmperityUnreachableError,
    TransientError,
)
from toast_assets.http.aio import AiohttpTransport, aiohttp
from toast_assets.http.bodies import UnreadableBodyError, read_reply
from toast_assets.http.causes import Cause
from toast_assets.http.retry import RetryPolicy, Sleep
from toast_assets.http.routes import Route

TENANT_HEADER = "X-Amperity-Tenant"
NOTICE_TENANT_HEADER = "Amperity-Tenant"

# Many requests over few connections: each carries one at a time, and only as many are opened as the rate and the time
# of an answer ask for.
CONNECTIONS = 48
# After a 401 the token is renewed once; what is rejected again waits, as after any other fault.
_RENEWALS_AT_ONCE = 1
# Answers have no bodies to speak of, the control plane's lists some megabytes at most.
_MOST_ANSWER_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class Receipt:
    """What became of one record: ``accepted`` is not yet loaded, ``pending`` had no answer in spite of all attempts.

    ``status`` is that of the last answer, None where there was none; ``attempts`` counts the calls. ``reason`` holds
    no guest's data; ``explanation`` is Amperity's own, and may.
    """

    state: Literal["accepted", "rejected", "pending"]
    status: int | None
    attempts: int
    reason: str | None = None
    explanation: str = ""


@dataclass
class DeliveryStats:
    """Counts of calls to Amperity (``throttled``: answered 429), and bytes of bodies sent."""

    requests: int = 0
    retries: int = 0
    throttled: int = 0
    bytes: int = 0


@dataclass
class _Call:
    """One record or notice under way. ``where`` names its target in messages."""

    url: httpx.URL
    where: str
    headers: dict[str, str]
    body: bytes
    success: int
    attempts: int = 0
    status: int | None = None


@dataclass(frozen=True)
class _Way:
    """How one host of Amperity's is reached."""

    route: Route
    transport: httpx.AsyncBaseTransport


class AmperityClient:
    """Asynchronous client of one tenant. Not shared between event loops.

    ``sleep``, ``now`` (Unix seconds), ``clock`` (seconds) and ``transport`` are injectable.
    """

    def __init__(
        self,
        settings: AmperitySettings,
        *,
        retry: RetryPolicy | None = None,
        sleep: Sleep = asyncio.sleep,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
        transport: httpx.AsyncBaseTransport | None = None,
        log: logging.Logger | None = None,
    ) -> None:
        self.settings = settings
        self.stats = DeliveryStats()
        self._origin = settings.origin
        self._retry = retry or RetryPolicy()
        self._sleep = sleep
        self._now = now
        self._log = log or logging.getLogger(__name__)
        self._rate = AdaptiveRate(settings.requests_per_second, sleep=sleep, clock=clock)
        self._token = AmperityToken(settings, self._post_token, sleep=sleep, clock=clock, now=now)
        self._transport = transport
        self._ways: dict[str, _Way] = {}
        self._connections = asyncio.Semaphore(CONNECTIONS)
        self._first = asyncio.Lock()
        self._answered_once = False
        self._on_their_way = 0
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._may_leave = asyncio.Event()
        self._may_leave.set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for way in self._ways.values():
            await way.transport.aclose()

    async def access_token(self) -> str:
        """The token that calls are sent with, fetched where there is none yet.

        Raises:
            AmperityError: it cannot be fetched.
        """
        return (await self._token.token()).value

    async def send_record(self, stream_id: str, request_id: str, body: bytes) -> Receipt:
        """Send one record, ``body`` being one JSON object (Amperity: Streaming API; 202 is accepted).

        Raises:
            AmperityRefusedError: 401, 403, 404, 405, 411 or an answer that is not Amperity's: no record would pass.
            AmperityUnreachableError: no connection, by a cause that does not pass by itself.
            AmperityError: Amperity asks to wait longer than any run should, or gives no new token.
            SettingsError: the environment names a proxy or certificates that cannot be used.
        """
        url = httpx.URL(f"{self._origin}/stream/v0/data/{stream_id}")
        headers = self._headers(TENANT_HEADER, request_id)
        return await self._deliver(_Call(url, url.path, headers, body, ACCEPTED))

    async def send_notice(self, request_id: str, body: bytes) -> Receipt:
        """Post the guide's notice to exactly ``AMPERITY_API_URL``; 200 is success, 400 a validation error.

        Raises:
            AmperityError: as ``send_record``.
        """
        headers = self._headers(NOTICE_TENANT_HEADER, request_id)
        # The URL of a notice may be a secret, so it is named by its setting.
        call = _Call(httpx.URL(self.settings.api_url or ""), "the URL for notices", headers, body, NOTICED)
        return await self._deliver(call)

    async def control_call(self, method: str, url: str, headers: dict[str, str], **arguments: Any) -> bytes:
        """One call of the control plane; the body of its good reply. Only reading is repeated after a fault, because a
        repeated start is a second start.

        Raises:
            AmperityTransientError: the retry budget is used up (the last attempt's error).
            AmperityError: as ``send_record``.
        """
        where = httpx.URL(url).path

        async def send() -> tuple[httpx.Response, Bearer]:
            bearer = await self._token.token()
            request = httpx.Request(method, url, headers=headers | bearer.header, **arguments)
            return await self._exchange(request, where, "AMPERITY_CONTROL_URL"), bearer

        async def attempt() -> bytes:
            response = await self._authorized(send, where)
            if response.is_success:
                return response.content
            raise_if_transient(response, where, self._told(response, where))
            settings = "Check AMPERITY_WORKFLOW_CONFIG_ID, AMPERITY_CONTROL_URL and the key's role (DataGrid Operator)."
            # Only the key itself concerns both APIs alike; all other hints are about streams.
            hint = hint_for(401) if response.status_code == 401 else settings
            raise AmperityRefusedError(f"Amperity answered {response.status_code} to {where}.", hint=hint)

        policy = self._retry if method == "GET" else replace(self._retry, attempts=1)
        return await policy.retrying(sleep=self._sleep)(attempt)

    async def settle(self) -> None:
        """Let no record leave any more, and wait for the answers to those on their way, each a time-out at most."""
        self._may_leave.clear()
        await self._quiet.wait()

    def _headers(self, tenant_header: str, request_id: str) -> dict[str, str]:
        return {
            tenant_header: self.settings.tenant_id,
            "Content-Type": "application/json",
            "X-Request-Id": request_id,
        }

    async def _deliver(self, call: _Call) -> Receipt:
        try:
            return await self._attempt(call)
        except AmperityTransientError as error:
            return await self._deliver_after(error, call)

    async def _deliver_after(self, first_error: AmperityTransientError, call: _Call) -> Receipt:
        """Repeat a call whose first attempt failed."""
        asked = 0.0
        errors = [first_error]

        async def attempt() -> Receipt:
            # The retries' machinery costs more than a call that succeeds at once, so it comes in only now.
            if errors:
                raise errors.pop()
            return await self._attempt(call)

        def retried(error: TransientError, wait: float) -> None:
            nonlocal asked
            asked = error.retry_after or 0.0
            self.stats.retries += 1
            self._log.debug("%s Trying again in %.1f s.", error.message, max(wait, asked))

        async def pause(seconds: float) -> None:
            await self._sleep(max(seconds, asked))

        try:
            return await self._retry.retrying(sleep=pause, on_retry=retried)(attempt)
        except AmperityTransientError as error:
            if error.attempts is not None:
                raise AmperityUnreachableError(error.message, hint=error.hint) from None
            return Receipt("pending", call.status, call.attempts, error.message)

    async def _attempt(self, call: _Call) -> Receipt:
        """One attempt. The very first one goes alone: it is enough to learn that a setting is wrong."""
        if not self._answered_once:
            async with self._first:
                if not self._answered_once:
                    try:
                        return await self._attempt_now(call)
                    finally:
                        self._answered_once = True
        return await self._attempt_now(call)

    async def _attempt_now(self, call: _Call) -> Receipt:
        response = await self._authorized(lambda: self._admitted(call), call.where)
        told = self._told(response, call.where)
        if response.status_code == 429:
            self.stats.throttled += 1
            self._rate.pushed_back(told)
        raise_unless_decided(response, call.success, call.where, self.settings.tenant_id, told)
        if response.status_code == call.success:
            self._rate.succeeded()
            return Receipt("accepted", call.status, call.attempts)
        reason = f"Amperity answered {response.status_code} to this record"
        return Receipt("rejected", call.status, call.attempts, reason, explanation(response, self._secrets(call)))

    def _secrets(self, call: _Call) -> list[str]:
        given = (self.settings.api_key, self.settings.client_secret)
        token = call.headers.get("Authorization", "").removeprefix("Bearer ")
        return [token, *(secret.get_secret_value() for secret in given if secret)]

    async def _authorized(
        self, send: Callable[[], Awaitable[tuple[httpx.Response, Bearer]]], where: str
    ) -> httpx.Response:
        """The answer to a call, which is sent again where its token is rejected and another one is to be had.

        Raises:
            AmperityTransientError: the new token was rejected as well, while others were accepted lately.
        """
        renewals = 0
        while True:
            response, bearer = await send()
            if response.status_code != 401:
                if response.is_success:
                    self._token.worked()
                return response
            if not self._token.may_be_replaced(bearer):
                return response
            # A token that was replaced meanwhile was rejected for its age, which says nothing about the new one.
            renewals += self._token.is_current(bearer)
            if renewals > _RENEWALS_AT_ONCE:
                raise AmperityTransientError(
                    f"Amperity answered 401 to {where}, with a new token as well.", hint=hint_for(401)
                )
            await self._token.replace(bearer)

    async def _admitted(self, call: _Call) -> tuple[httpx.Response, Bearer]:
        """Send when a connection is free and the rate allows; nothing waits between being admitted and leaving."""
        async with self._connections:
            await self._rate.admit()
            try:
                await self._may_leave.wait()
                bearer = await self._token.token()
                call.headers |= bearer.header
                response = await self._counted(call)
            finally:
                self._rate.answered()
        call.status = response.status_code
        return response, bearer

    async def _counted(self, call: _Call) -> httpx.Response:
        request = httpx.Request("POST", call.url, headers=call.headers, content=call.body)
        call.attempts += 1
        self.stats.requests += 1
        self.stats.bytes += len(call.body)
        self._on_their_way += 1
        self._quiet.clear()
        try:
            return await self._exchange(request, call.where, self._address_setting)
        finally:
            self._on_their_way -= 1
            if not self._on_their_way:
                self._quiet.set()

    async def _post_token(self, path: str, form: dict[str, str]) -> httpx.Response:
        async def attempt() -> httpx.Response:
            headers = {TENANT_HEADER: self.settings.tenant_id}
            request = httpx.Request("POST", self._origin + path, headers=headers, data=form)
            response = await self._exchange(request, path, self._address_setting)
            if response.status_code == NOTICED:
                return response
            raise_if_transient(response, path, self._told(response, path))
            raise AmperityRefusedError(f"Amperity answered {response.status_code} to {path}.")

        return await self._retry.retrying(sleep=self._sleep)(attempt)

    def _told(self, response: httpx.Response, where: str) -> float | None:
        return told_to_wait(response, self._now(), self._retry.throttled_for, where)

    @property
    def _address_setting(self) -> str:
        return "AMPERITY_API_URL" if self.settings.api_url else "AMPERITY_TENANT_ID"

    def _way(self, url: httpx.URL, setting: str) -> _Way:
        if setting not in self._ways:
            route = Route.to(str(url), setting)
            # httpx's own connections reach about 600 records a second on one core, aiohttp's several thousand. Requests
            # are handed to the transport as they are: a client around it would add what nobody uses here, at its price.
            transport = self._transport or AiohttpTransport(
                limits=httpx.Limits(max_connections=CONNECTIONS), verify=route.tls, proxy=route.proxy
            )
            self._ways[setting] = _Way(route, transport)
        return self._ways[setting]

    async def _exchange(self, request: httpx.Request, where: str, setting: str) -> httpx.Response:
        way = self._way(request.url, setting)
        try:
            async with asyncio.timeout(self.settings.timeout_seconds):
                answer = await way.transport.handle_async_request(request)
                response = await read_reply(answer, request, _MOST_ANSWER_BYTES)
        except TimeoutError:
            raise AmperityTransientError(
                f"Amperity did not answer {where} within {self.settings.timeout_seconds:g} s.",
                hint="Check AMPERITY_API_URL and the network; AMPERITY_TIMEOUT_SECONDS sets the limit.",
            ) from None
        except UnreadableBodyError as error:
            raise AmperityTransientError(f"Amperity's answer to {where} cannot be used: {error}.") from None
        except (httpx.HTTPError, aiohttp.ClientError, OSError, ValueError) as error:
            # Its cause is in the message; the error itself may quote the headers.
            raise _unreachable(way.route, where, way.route.cause(error)) from None
        if refusal := way.route.proxy_refusal(response.status_code):
            raise _unreachable(way.route, where, refusal)
        return response


def _unreachable(route: Route, where: str, cause: Cause) -> AmperityError:
    message = f"Amperity ({route.host}) cannot be reached for {where}: {cause.text}."
    if cause.is_permanent:
        return AmperityUnreachableError(message, hint=cause.hint)
    return AmperityTransientError(message, attempts=cause.attempts, hint=cause.hint)
