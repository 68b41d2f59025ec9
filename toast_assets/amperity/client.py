"""Amperity's HTTP interfaces: one record into a stream, one notice to a URL.

A plain asynchronous client on httpx, usable alone:

    async with AmperityClient(settings) as amperity:
        receipt = await amperity.send_record("is-…", request_id, b'{"guid": …}')
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, Self

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from toast_assets.amperity.rate import AdaptiveRate
from toast_assets.amperity.token import AmperityToken
from toast_assets.errors import AmperityRefusedError, AmperityTransientError, TransientError
from toast_assets.retry import RetryPolicy, Sleep, retry_after_seconds
from toast_assets.settings import AmperitySettings

TENANT_HEADER = "X-Amperity-Tenant"
NOTICE_TENANT_HEADER = "Amperity-Tenant"

# Many requests over few connections: a record takes one round trip, and each connection carries one at a time.
CONNECTIONS = 32

_TRANSIENT = frozenset({408, 429, 500, 502, 503, 504})
# These concern the one record; anything else that is no success concerns them all (Amperity: Streaming API).
_RECORD_REFUSED = frozenset({400, 413, 422})

_HINTS = {
    401: "Check AMPERITY_API_KEY, it may have expired; with AMPERITY_CLIENT_ID and _CLIENT_SECRET it is renewed.",
    403: "Check AMPERITY_TENANT_ID, and that the key has Streaming Ingest Write Access.",
    404: "Check AMPERITY_API_URL.",
    405: "Check AMPERITY_API_URL.",
    411: "A proxy seems to remove Content-Length; check AMPERITY_API_URL.",
}
_OTHER_HINT = "Check AMPERITY_API_URL: this is not how Amperity answers."


@dataclass(frozen=True)
class Receipt:
    """Amperity's answer to one record: ``accepted`` is not yet loaded. ``attempts`` counts the calls it took;
    ``status`` is None for a record that was not even sent."""

    accepted: bool
    status: int | None
    attempts: int
    reason: str | None = None


@dataclass
class DeliveryStats:
    """Counts of calls to Amperity, and bytes of bodies sent."""

    requests: int = 0
    retries: int = 0
    throttled: int = 0
    bytes: int = 0


@dataclass
class _Call:
    method: str
    url: str
    headers: dict[str, str]
    body: bytes
    attempts: int = field(default=0)


class AmperityClient:
    """Asynchronous client of one tenant. Not shared between event loops. ``sleep`` and ``now`` are injectable."""

    def __init__(
        self,
        settings: AmperitySettings,
        *,
        retry: RetryPolicy | None = None,
        sleep: Sleep = asyncio.sleep,
        now: Callable[[], float] = time.time,
        log: logging.Logger | None = None,
    ) -> None:
        self.settings = settings
        self.stats = DeliveryStats()
        self._retry = retry or RetryPolicy()
        self._sleep = sleep
        self._now = now
        self._log = log or logging.getLogger(__name__)
        self._rate = AdaptiveRate(settings.requests_per_second, sleep=sleep)
        timeout = httpx.Timeout(settings.timeout_seconds)
        limits = httpx.Limits(max_connections=CONNECTIONS)
        # httpx's own connections reach about 600 records a second on one core, aiohttp's several thousand.
        self._http = httpx.AsyncClient(transport=AiohttpTransport(limits=limits), timeout=timeout)
        self._token = AmperityToken(settings, self._post_token)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def send_record(self, stream_id: str, request_id: str, body: bytes) -> Receipt:
        """Send one record, ``body`` being one JSON object (Amperity: Streaming API; 202 is accepted).

        Raises:
            AmperityRefusedError: 401, 403, 404, 405, 411 or an answer that is not Amperity's: no record would pass.
            AmperityTransientError: the retry budget is used up (the last attempt's error).
        """
        url = f"{self.settings.origin}/stream/v0/data/{stream_id}"
        headers = {
            TENANT_HEADER: self.settings.tenant_id,
            "Content-Type": "application/json",
            "X-Request-Id": request_id,
        }
        return await self._deliver(_Call("POST", url, headers, body), success=202)

    async def send_notice(self, request_id: str, body: bytes) -> Receipt:
        """Post the guide's notice to exactly ``AMPERITY_API_URL``; 200 is success, 400 a validation error.

        Raises:
            AmperityError: as ``send_record``.
        """
        headers = {
            NOTICE_TENANT_HEADER: self.settings.tenant_id,
            "Content-Type": "application/json",
            "X-Request-Id": request_id,
        }
        return await self._deliver(_Call("POST", self.settings.api_url or "", headers, body), success=200)

    async def control_call(self, method: str, url: str, headers: dict[str, str], **arguments: Any) -> bytes:
        """One call of the control plane; the body of its good reply. Only reading is repeated after a fault, because a
        repeated start is a second start.

        Raises:
            AmperityError: as ``send_record``.
        """

        async def attempt() -> bytes:
            token = await self._token.token()
            response = await self._send(method, url, headers=headers | _bearer(token), **arguments)
            if response.status_code == 401 and (renewed := await self._token.renewed(token)):
                response = await self._send(method, url, headers=headers | _bearer(renewed), **arguments)
            if response.is_success:
                return response.content
            self._raise_unless_decided(response, 200)
            raise AmperityRefusedError(
                f"Amperity answered {response.status_code} to {response.request.url.path}.",
                hint="Check AMPERITY_WORKFLOW_CONFIG_ID, AMPERITY_CONTROL_URL and the key's role (DataGrid Operator).",
            )

        policy = self._retry if method == "GET" else replace(self._retry, attempts=1)
        return await policy.retrying(sleep=self._sleep)(attempt)

    async def _deliver(self, call: _Call, success: int) -> Receipt:
        def retried(error: TransientError, wait: float) -> None:
            self.stats.retries += 1
            self.stats.throttled += error.throttled
            self._log.debug("%s Trying again in %.1f s.", error.message, wait)

        async def attempt() -> Receipt:
            response = await self._authorized(call)
            self._raise_unless_decided(response, success)
            if response.status_code == success:
                self._rate.succeeded()
                return Receipt(True, success, call.attempts)
            reason = f"Amperity answered {response.status_code} to this record"
            return Receipt(False, response.status_code, call.attempts, reason)

        return await self._retry.retrying(sleep=self._sleep, on_retry=retried)(attempt)

    async def _authorized(self, call: _Call) -> httpx.Response:
        token = await self._token.token()
        response = await self._admitted(call, token)
        if response.status_code == 401 and (renewed := await self._token.renewed(token)):
            response = await self._admitted(call, renewed)
        return response

    async def _admitted(self, call: _Call, token: str) -> httpx.Response:
        await self._rate.admit()
        call.attempts += 1
        self.stats.requests += 1
        self.stats.bytes += len(call.body)
        headers = call.headers | _bearer(token)
        response = await self._send(call.method, call.url, headers=headers, content=call.body)
        if response.status_code == 429:
            self._rate.pushed_back(retry_after_seconds(response.headers.get("Retry-After"), self._now()))
        return response

    async def _post_token(self, path: str, form: dict[str, str]) -> httpx.Response:
        async def attempt() -> httpx.Response:
            headers = {TENANT_HEADER: self.settings.tenant_id}
            response = await self._send("POST", self.settings.origin + path, headers=headers, data=form)
            self._raise_unless_decided(response, 200)
            if response.status_code != 200:
                raise AmperityRefusedError(f"Amperity answered {response.status_code} to {path}.")
            return response

        return await self._retry.retrying(sleep=self._sleep)(attempt)

    async def _send(self, method: str, url: str, **arguments: Any) -> httpx.Response:
        path = httpx.URL(url).path
        try:
            async with asyncio.timeout(self.settings.timeout_seconds):
                return await self._http.request(method, url, **arguments)
        except (TimeoutError, httpx.TimeoutException) as error:
            raise AmperityTransientError(
                f"Amperity did not answer {path} within {self.settings.timeout_seconds:g} s.",
                hint="Check AMPERITY_API_URL and the network; AMPERITY_TIMEOUT_SECONDS sets the limit.",
            ) from error
        except (httpx.HTTPError, aiohttp.ClientError, OSError) as error:
            raise AmperityTransientError(
                f"The connection to Amperity broke at {path} ({type(error).__name__}).",
                hint="Check AMPERITY_API_URL and the network.",
            ) from error

    def _raise_unless_decided(self, response: httpx.Response, success: int) -> None:
        """Pass what decides about this one record; raise what is worth repeating or concerns all records."""
        status = response.status_code
        if status == success or status in _RECORD_REFUSED:
            return
        what = f"Amperity answered {status} to {response.request.url.path}"
        if status in _TRANSIENT or status > 500:
            told = retry_after_seconds(response.headers.get("Retry-After"), self._now())
            raise AmperityTransientError(f"{what}.", throttled=status == 429, retry_after=told)
        raise AmperityRefusedError(
            f"{what} for tenant {self.settings.tenant_id}.", hint=_HINTS.get(status, _OTHER_HINT)
        )


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}
