"""Amperity's HTTP interfaces: one record into a stream, one notice to a URL, calls of the control plane.

A plain asynchronous client, usable alone:

    async with AmperityClient(settings) as amperity:
        receipt = await amperity.send_record("is-…", request_id, b'{"guid": …}')
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import date, datetime
from functools import partial
from typing import Any, Literal, TypeVar, Unpack

import httpx
import msgspec

from toast_assets.amperity.settings import AmperitySettings
from toast_assets.amperity.token import AmperityToken
from toast_assets.errors import (
    AmperityError,
    AmperityRefusedError,
    AmperityTransientError,
    AmperityUnreachableError,
    TransientError,
)
from toast_assets.http.bodies import UnreadableBodyError, decode
from toast_assets.http.causes import AiohttpTransport
from toast_assets.http.own_secrets import without_secrets
from toast_assets.http.rate import RateLimiter
from toast_assets.http.retry import retry_after_seconds
from toast_assets.http.service import CallStats, ClientOptions, Route, ServiceClient
from toast_assets.week import iso_ms

T = TypeVar("T")

TENANT_HEADER = "X-Amperity-Tenant"
# Of notices and of the control plane.
_OTHER_TENANT_HEADER = "Amperity-Tenant"

# Many requests over few connections: each carries one at a time, and only as many are opened as the rate and the time
# of an answer ask for.
CONNECTIONS = 48
# Two clocks that are both right still differ a little in what they call a second.
_DRIFT = 1.002
# What a loop that was late may catch up on at once, as a share of the limit. With a fiftieth, delays that were not made
# up cost a tenth of the speed. The limit itself is kept by the count of calls, not by this.
_CATCH_UP = 0.1

# What the status of an answer means (Amperity: Streaming API). A stream accepts with 202, not yet loaded, and with
# nothing else; a notice with 200, by the guide, and not with 202.
_ACCEPTED, _NOTICED = 202, 200
# These concern the one record; what is neither this nor worth repeating concerns them all.
_RECORD_REFUSED = frozenset({400, 413, 422})
_TRANSIENT = frozenset({408, 429, 500})
_HINTS = {
    401: "Check AMPERITY_API_KEY, it may have expired; with AMPERITY_CLIENT_ID and AMPERITY_CLIENT_SECRET it is"
    " renewed by itself.",
    403: "Check AMPERITY_TENANT_ID, and that the key has Streaming Ingest Write Access.",
    404: "Check AMPERITY_API_URL and AMPERITY_STREAM_ID.",
    405: "Check AMPERITY_API_URL.",
    411: "A proxy seems to remove Content-Length; check AMPERITY_API_URL.",
}
_CODES = {401: "AMPERITY-401", 403: "AMPERITY-403", 404: "AMPERITY-404"}
_OTHER_HINT = "Check AMPERITY_API_URL: this is not how Amperity answers."
_CONTROL_HINT = "Check AMPERITY_WORKFLOW_CONFIG_ID, AMPERITY_CONTROL_URL and the key's role (DataGrid Operator)."
# The documentation names no closed list of an ingest job's states; these are the ones that end it.
_GOOD_ENDS = frozenset({"succeeded", "success", "completed", "complete", "done", "finished"})
_BAD_ENDS = frozenset({"failed", "failure", "error", "errored", "cancelled", "canceled", "killed", "stopped"})


class _Explanation(msgspec.Struct):
    message: str


@dataclass(frozen=True)
class Receipt:
    """What became of one record: ``accepted`` is not yet loaded, ``pending`` had no answer in spite of all attempts. A
    ``superseded`` one was not handed to the client.

    ``status`` is that of the last answer, None where there was none; ``attempts`` counts the calls. ``reason`` holds
    no guest's data; ``explanation`` is Amperity's own, and may.
    """

    state: Literal["accepted", "rejected", "pending", "superseded"]
    status: int | None
    attempts: int
    reason: str | None = None
    explanation: str = ""


class TableLoad(msgspec.Struct, frozen=True):
    """What one table of an ingest job reports; counts of rows."""

    table_name: str = ""
    state: str = ""
    read: int | None = None
    inserted: int | None = None
    updated: int | None = None
    rejected: int | None = None
    errors: Any = None


@dataclass(frozen=True)
class Load:
    """All tables of a workflow run's ingest jobs, as far as they are known: whether there is one at all and all of them
    have ``ended``, and whether all are ``loaded``, having ended well."""

    tables: tuple[TableLoad, ...] = ()
    ended: bool = False
    loaded: bool = False


class _Run(msgspec.Struct):
    id: str


class _Job(msgspec.Struct):
    workflow_id: str | None = None
    tables: tuple[TableLoad, ...] = ()


class _Jobs(msgspec.Struct):
    data: tuple[_Job, ...] = ()
    next_token: str | None = None


@dataclass
class _Call:
    """One record or notice under way. ``where`` names its target in messages."""

    request: httpx.Request
    where: str
    success: int
    attempts: int = 0
    status: int | None = None


class AmperityClient(ServiceClient):
    """Asynchronous client of one tenant; ``options`` are those of ``ServiceClient``.

    Raises (a call):
        AmperityRefusedError: 401, 403, 404, 405, 411 or an answer that is not Amperity's: no record would pass.
        AmperityUnreachableError: no connection, by a cause that does not pass by itself.
        AmperityError: Amperity asks to wait longer than any run should, or gives no new token.
        SettingsError: the environment names a proxy or certificates that cannot be used.
    """

    name = "Amperity"
    transient, unusable, unreachable = AmperityTransientError, AmperityTransientError, AmperityUnreachableError

    def __init__(self, settings: AmperitySettings, **options: Unpack[ClientOptions]) -> None:
        super().__init__(settings.timeout_seconds, **options)
        self.settings = settings
        self.stats = CallStats()
        self.is_settled = False
        """Once it is, a call would wait for ever."""
        rate = settings.requests_per_second
        # Whole calls: 1.5 a second is 1 a second, 0.5 is 1 in two seconds.
        calls, seconds = max(1, int(rate)), max(1.0, 1.0 / rate) * _DRIFT
        self._limiter = RateLimiter(
            calls, seconds, until_answered=True, catch_up=_CATCH_UP, sleep=self._sleep, clock=self._clock
        )
        self.token = AmperityToken(settings, self._post_token, sleep=self._sleep, clock=self._clock, now=self._now)
        self._address = "AMPERITY_API_URL" if settings.api_url else "AMPERITY_TENANT_ID"
        # The very first attempt goes alone: it is enough to learn that a setting is wrong.
        self._connections, self._more_connections = asyncio.Semaphore(1), CONNECTIONS - 1

    def open_transport(self, route: Route) -> httpx.AsyncBaseTransport:
        """httpx's own connections reach about 600 records a second on one core, aiohttp's several thousand."""
        limits = httpx.Limits(max_connections=CONNECTIONS)
        return AiohttpTransport(limits=limits, verify=route.tls, proxy=route.proxy)

    async def send_record(self, stream_id: str, request_id: str, body: bytes) -> Receipt:
        """Send one record, ``body`` being one JSON object (Amperity: Streaming API; 202 is accepted)."""
        url = f"{self.settings.origin}/stream/v0/data/{stream_id}"
        return await self._deliver(url, TENANT_HEADER, request_id, body, _ACCEPTED)

    async def send_notice(self, request_id: str, body: bytes) -> Receipt:
        """Post the guide's notice to exactly ``AMPERITY_API_URL``; 200 is success, 400 a validation error."""
        return await self._deliver(self.settings.api_url or "", _OTHER_TENANT_HEADER, request_id, body, _NOTICED)

    async def start_workflow(self, config_id: str, first: date, end: date) -> str:
        """Start the courier group ``config_id`` for the days from ``first`` until before ``end``; the run's id. The key
        needs the role DataGrid Operator, as for ``load``. Raises AmperityTransientError without a good answer to the
        one call: a repeated start is a second start."""
        body = {"config_id": config_id, "range_from": f"{first}", "range_to": f"{end}", "run_mode": "full"}
        return (await self._control("POST", "/workflow/runs", _Run, content=msgspec.json.encode(body))).id

    async def load(self, run_id: str, started: datetime, now: datetime) -> Load:
        """What the ingest jobs of a run report that was started at ``started`` (aware, at most seven days ago). Raises
        AmperityTransientError, that of the last attempt, once the retry budget is used up."""
        parameters = {"created_from": iso_ms(started), "created_to": iso_ms(now)}
        tables: list[TableLoad] = []
        while True:
            jobs = await self._control("GET", "/ingest/jobs", _Jobs, params=parameters)
            tables += [table for job in jobs.data if job.workflow_id == run_id for table in job.tables]
            if not jobs.next_token:
                states = {table.state.lower() for table in tables} or {"unknown"}
                return Load(tuple(tables), states <= _GOOD_ENDS | _BAD_ENDS, states <= _GOOD_ENDS)
            parameters = parameters | {"next_token": jobs.next_token}

    async def _control(self, method: str, path: str, form: type[T], **arguments: Any) -> T:
        """The reply to a call of the control plane. Only reading is repeated after a fault."""
        url = self.settings.control_url + path
        where = httpx.URL(url).path
        headers = {_OTHER_TENANT_HEADER: self.settings.tenant_id, "api-version": "2024-04-01"}
        exchange = partial(self.exchange, where=where, setting="AMPERITY_CONTROL_URL")

        async def attempt() -> T:
            request = httpx.Request(method, url, headers=headers | {"Content-Type": "application/json"}, **arguments)
            response = await self._authorized(request, exchange, where)
            if not response.is_success:
                # Only the key itself concerns both APIs alike; all other hints are about streams.
                is_key = response.status_code == 401
                hint, code = (_HINTS[401], _CODES[401]) if is_key else (_CONTROL_HINT, "AMPERITY-CONTROL")
                text = f"Amperity answered {response.status_code} to {where}."
                raise AmperityRefusedError(text, hint=hint, code=code)
            try:
                return decode(response.content, form)
            except UnreadableBodyError:
                text, hint = f"Amperity's reply to {path} cannot be read.", "Check AMPERITY_CONTROL_URL."
                raise AmperityError(text, hint=hint, code="AMPERITY-CONTROL") from None

        policy = self._retry if method == "GET" else replace(self._retry, attempts=1)
        return await policy.call(attempt, sleep=self._sleep)

    async def settle(self) -> None:
        """Let no record leave any more, and wait for the answers to those on their way, each a time-out at most. The
        client is at its end then."""
        self.is_settled = True
        await self._limiter.drain()

    async def _deliver(self, url: str, tenant_header: str, request_id: str, body: bytes, success: int) -> Receipt:
        headers = {tenant_header: self.settings.tenant_id, "X-Request-Id": request_id}
        request = httpx.Request("POST", url, headers=headers | {"Content-Type": "application/json"}, content=body)
        # The URL of a notice may be a secret.
        call = _Call(request, request.url.path if success == _ACCEPTED else "the URL for notices", success)

        def on_retry(error: TransientError, wait: float) -> None:
            self.stats.retries += 1
            self._log.debug("%s Trying again in %.1f s.", error.message, wait)

        try:
            return await self._retry.call(lambda: self._attempt(call), sleep=self._sleep, on_retry=on_retry)
        except AmperityTransientError as error:
            if error.attempts is not None:
                raise AmperityUnreachableError(error.message, hint=error.hint) from None
            return Receipt("pending", call.status, call.attempts, error.message)

    async def _attempt(self, call: _Call) -> Receipt:
        async with self._connections:
            try:
                response = await self._authorized(call.request, partial(self._send, call), call.where)
            finally:
                while self._more_connections:
                    self._more_connections -= 1
                    self._connections.release()
        status = response.status_code
        if status == call.success:
            return Receipt("accepted", status, call.attempts)
        if status in _RECORD_REFUSED:
            reason = f"Amperity answered {status} to this record"
            return Receipt("rejected", status, call.attempts, reason, self._explanation(response))
        what = f"Amperity answered {status} to {call.where}"
        if call.success == _ACCEPTED and response.is_success:
            # A gateway's page in place of an answer to a record: sending it again does no harm, its request id is the
            # same. A notice has no such safety.
            raise AmperityTransientError(f"{what}.", hint=_OTHER_HINT)
        hint = _HINTS.get(status, _OTHER_HINT)
        raise AmperityRefusedError(
            f"{what} for tenant {self.settings.tenant_id}.", hint=hint, code=_CODES.get(status, "")
        )

    async def _send(self, call: _Call, request: httpx.Request) -> httpx.Response:
        """Send when the rate allows; nothing waits between that and leaving."""
        await self._limiter.acquire()
        call.attempts += 1
        self.stats.requests += 1
        self.stats.bytes += len(request.content)
        try:
            response = await self.exchange(request, call.where, self._address)
        finally:
            self._limiter.release()
        call.status = response.status_code
        if call.status == call.success:
            self._limiter.on_success()
        elif call.status == 429:
            self.stats.throttled += 1
            self._limiter.on_throttled(self._retry_after(response))
        return response

    async def _post_token(self, path: str, form: dict[str, str]) -> httpx.Response:
        async def attempt() -> httpx.Response:
            headers = {TENANT_HEADER: self.settings.tenant_id}
            request = httpx.Request("POST", self.settings.origin + path, headers=headers, data=form)
            response = await self.exchange(request, path, self._address)
            self._raise_if_transient(response, path)
            return response

        return await self._retry.call(attempt, sleep=self._sleep)

    async def _authorized(
        self, request: httpx.Request, exchange: Callable[[httpx.Request], Awaitable[httpx.Response]], where: str
    ) -> httpx.Response:
        """The answer to a call with a token, unless another attempt may succeed."""
        response = await self.token.send(request, exchange)
        if response.status_code == 401 and self.token.may_renew():
            # Others were accepted lately.
            message = f"Amperity answered 401 to {where}, with a new token as well."
            raise AmperityTransientError(message, hint=_HINTS[401], code=_CODES[401])
        self._raise_if_transient(response, where)
        return response

    def _raise_if_transient(self, response: httpx.Response, where: str) -> None:
        """Raise ``AmperityTransientError`` where another attempt may succeed, ``AmperityError`` where Amperity asks to
        wait longer than any run should."""
        status, seconds = response.status_code, self._retry_after(response)
        if status not in _TRANSIENT and status <= 500:
            return
        if seconds is not None and seconds > self._retry.throttled_for:
            raise AmperityError(
                f"Amperity answered {status} to {where} and asks to wait {seconds:.0f} s.",
                hint="Materialize amperity_delivery again after that; what was not answered is sent then.",
                code=AmperityTransientError.code,
            )
        raise AmperityTransientError(
            f"Amperity answered {status} to {where}.",
            throttled=status == 429,
            retry_after=seconds,
            hint="Amperity may be down: materialize amperity_delivery again later.",
        )

    def _retry_after(self, response: httpx.Response) -> float | None:
        return retry_after_seconds(response.headers.get("Retry-After"), self._now())

    def _explanation(self, response: httpx.Response) -> str:
        """What Amperity says about a refused record, for the rejects only: it may quote the record, but no secrets."""
        try:
            text = decode(response.content, _Explanation).message
        except UnreadableBodyError:
            return ""
        token = response.request.headers.get("Authorization", "").removeprefix("Bearer ")
        given = filter(None, (self.settings.api_key, self.settings.client_secret))
        secrets = [token, *(secret.get_secret_value() for secret in given)]
        return without_secrets(" ".join(text.split()), secrets)[:200]
