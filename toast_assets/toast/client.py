"""Toast's HTTP interface: one method a call, each with its limits, time-out and retries.

A plain asynchronous client on httpx, usable alone:

    async with ToastClient(settings) as toast:
        page = await toast.orders_page("restaurant-guid", Window(start_ms, end_ms))
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
import msgspec

from toast_assets.errors import (
    ToastRefusedError,
    ToastReplyError,
    ToastTransientError,
    ToastUnreachableError,
    TransientError,
)
from toast_assets.http.bodies import ENCODINGS, TooLargeBodyError, UnreadableBodyError, decode, read_reply
from toast_assets.http.own_secrets import without_secrets
from toast_assets.http.retry import RetryPolicy, Sleep, date_of
from toast_assets.http.routes import Route
from toast_assets.orders.times import format_time
from toast_assets.toast.limits import Pace, admit, concerns_everyone, exhausted_for, pace_spacing, seconds_to_wait
from toast_assets.toast.login import Granted, ToastLogin, Token
from toast_assets.toast.page import PAGE_SIZE, OrdersPage, PageReader, Window
from toast_assets.toast.restaurants import (
    PARTNERS_PATH,
    Listed,
    Restaurant,
    group_path,
    read_group_list,
    read_partner_list,
    read_restaurant,
    restaurant_path,
)
from toast_assets.toast.settings import ToastSettings

ORDERS_PATH = "/orders/v2/ordersBulk"
RESTAURANT_HEADER = "Toast-Restaurant-External-ID"

T = TypeVar("T")

_TRANSIENT = frozenset({408, 425})


@dataclass
class CallStats:
    """What was asked for one restaurant: counts of calls, and the bytes of bodies that came back."""

    requests: int = 0
    retries: int = 0
    throttled: int = 0
    bytes: int = 0


class _ErrorBody(msgspec.Struct):
    message: str | None = None
    requestId: str | None = None


class ToastClient:
    """Asynchronous client of one Toast machine client. Not shared between event loops.

    ``spacing_seconds`` lies between two calls for the orders of one restaurant, where it is more than the limit asks
    for. ``sleep``, ``now`` (Unix seconds) and ``clock`` (monotonic seconds) are injectable, so that waiting can be
    tested without waiting; ``transport`` takes the place of the network.

    Raises:
        SettingsError: the environment names a proxy or certificates that cannot be used.
    """

    def __init__(
        self,
        settings: ToastSettings,
        *,
        spacing_seconds: float = 0.0,
        retry: RetryPolicy | None = None,
        sleep: Sleep = asyncio.sleep,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
        transport: httpx.AsyncBaseTransport | None = None,
        log: logging.Logger | None = None,
    ) -> None:
        self.settings = settings
        self.stats: defaultdict[str, CallStats] = defaultdict(CallStats)
        self._retry = retry or RetryPolicy()
        self._sleep = sleep
        self._now = now
        self._clock = clock
        self._log = log or logging.getLogger(__name__)
        self.spacing_seconds = max(spacing_seconds, pace_spacing(settings.requests_per_second))
        self._everyone = Pace.of(settings.total_requests_per_second, sleep=sleep, clock=clock)
        self._paces: dict[str, Pace] = {}
        self._route = Route.to(settings.api_url, "TOAST_API_URL")
        self._server_time: datetime | None = None
        self._http = httpx.AsyncClient(
            base_url=settings.api_url,
            timeout=httpx.Timeout(settings.timeout_seconds),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=100),
            headers={"Accept": "application/json", "Accept-Encoding": ENCODINGS},
            transport=transport,
            verify=self._route.tls,
            proxy=None if transport else self._route.proxy,
            trust_env=False,
        )
        self._login = ToastLogin(settings, self._post_login, clock=clock)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    @property
    def server_time(self) -> datetime | None:
        """The moment (UTC) of the newest reply by Toast's clock, or None where no reply had a date that can be read."""
        return self._server_time

    @property
    def logins(self) -> int:
        """How often this client logged in."""
        return self._login.logins

    async def login(self) -> None:
        """Log in now, so that wrong credentials show before anything else is done.

        Raises:
            ToastLoginError: Toast refuses the credentials, or the login service stays down.
        """
        await self._login.token()

    async def access_token(self) -> str:
        """The token that Toast gave, for those who want to know what it permits.

        Raises:
            ToastLoginError: as ``login``.
        """
        return (await self._login.token()).value

    async def orders_page(
        self, restaurant_guid: str, window: Window, *, page: int = 1, token: str | None = None
    ) -> OrdersPage:
        """One page of the orders last modified within ``window`` (Toast: Orders API, ordersBulk).

        Raises:
            ToastRefusedError: 400, 401 after a new login, 403, 404, 422: repeating it does not help.
            ToastUnreachableError: no connection, by a cause that does not pass by itself.
            ToastTransientError: the retry budget is used up (the last attempt's error).
            ToastLoginError: a login that became necessary failed.
        """
        parameters: dict[str, str | int] = {
            "startDate": format_time(window.start),
            "endDate": format_time(window.end),
            "pageSize": PAGE_SIZE,
        }
        parameters |= {"pageToken": token} if token else {"page": page}

        reader = PageReader(window, restaurant_guid)

        return await self._get(
            ORDERS_PATH,
            lambda response: reader.read(response, int(self._now() * 1000)),
            restaurant_guid=restaurant_guid,
            parameters=parameters,
            paced=True,
        )

    def _pace(self, restaurant_guid: str) -> Pace:
        if restaurant_guid not in self._paces:
            rate = self.settings.requests_per_second
            self._paces[restaurant_guid] = Pace.of(rate, self.spacing_seconds, sleep=self._sleep, clock=self._clock)
        return self._paces[restaurant_guid]

    async def restaurant(self, guid: str, *, essential: bool = False) -> Restaurant:
        """Name, time zone and closeout hour of one restaurant (Toast: Restaurants API; needs restaurants:read).

        Raises:
            ToastError: as ``orders_page``; a call that is not ``essential`` is repeated only once and renews no login.
        """
        return await self._get(
            restaurant_path(guid),
            lambda response: read_restaurant(response.content, guid),
            restaurant_guid=guid,
            essential=essential,
        )

    async def partner_restaurants(self) -> list[Listed]:
        """All restaurants that the client may read, deleted ones marked (Toast: Partners API).

        Raises:
            ToastError: as ``orders_page``; standard credentials may be refused.
        """
        return await self._get(PARTNERS_PATH, lambda response: read_partner_list(response.content))

    async def group_members(self, group_guid: str, member_guid: str) -> list[str]:
        """The restaurants of a management group, asked for in the name of one of them (Toast: Restaurants API).

        Raises:
            ToastError: as ``orders_page``.
        """
        return await self._get(
            group_path(group_guid), lambda response: read_group_list(response.content), restaurant_guid=member_guid
        )

    async def _get(
        self,
        path: str,
        read: Callable[[httpx.Response], T],
        *,
        restaurant_guid: str | None = None,
        parameters: Mapping[str, str | int] | None = None,
        paced: bool = False,
        essential: bool = True,
    ) -> T:
        stats = self.stats[restaurant_guid or ""]
        paces = [self._everyone, self._pace(restaurant_guid)] if paced and restaurant_guid else [self._everyone]

        async def send(token: Token) -> httpx.Response:
            await admit(paces)
            stats.requests += 1
            headers = {"Authorization": f"Bearer {token.value}"}
            if restaurant_guid is not None:
                headers[RESTAURANT_HEADER] = restaurant_guid
            response = await self._send("GET", path, restaurant_guid, headers=headers, params=parameters)
            stats.bytes += len(response.content)
            self._obey(response, restaurant_guid)
            return response

        async def call() -> T:
            token = await self._login.token()
            response = await send(token)
            ended = response.status_code == 401 and essential and not _asks_for_a_partner(response)
            if ended and (renewed := await self._login.renewed(token)):
                token = renewed
                response = await send(token)
                if response.status_code == 401:
                    self._login.refused(token)
            self._raise_for_status(response, restaurant_guid)
            self._login.accepted(token)
            return read(response)

        def retried(error: TransientError, wait: float) -> None:
            stats.retries += 1
            stats.throttled += error.throttled
            self._log.warning("%s Asking again in %.1f s.", error.message, wait)

        # What is only for display may not hold up a pull for long.
        policy = self._retry if essential else replace(self._retry, attempts=2, throttled_for=60.0)
        return await policy.retrying(sleep=self._sleep, on_retry=retried)(call)

    async def _post_login(self, path: str, credentials: dict[str, str], read: Callable[[bytes], Granted]) -> Granted:
        async def call() -> Granted:
            response = await self._send("POST", path, None, json=credentials)
            self._raise_for_status(response, None)
            return read(response.content)

        def retried(error: TransientError, wait: float) -> None:
            self._log.warning("Toast's login failed: %s Trying again in %.1f s.", error.message, wait)

        return await self._retry.retrying(sleep=self._sleep, on_retry=retried)(call)

    async def _send(self, method: str, path: str, restaurant_guid: str | None, **arguments: Any) -> httpx.Response:
        where = _where(path, restaurant_guid)
        try:
            # httpx's own time-outs concern single reads; a body that drips in for ever has to end, too.
            async with asyncio.timeout(self.settings.timeout_seconds):
                request = self._http.build_request(method, path, **arguments)
                response = await read_reply(await self._http.send(request, stream=True), request)
        except (TimeoutError, httpx.TimeoutException):
            raise ToastTransientError(
                f"Toast did not answer {where} within {self.settings.timeout_seconds:g} s.",
                hint="TOAST_TIMEOUT_SECONDS sets the limit.",
            ) from None
        except UnreadableBodyError as error:
            # Half a gigabyte is not read seven times.
            attempts = 2 if isinstance(error, TooLargeBodyError) else None
            raise ToastReplyError(f"Toast's answer to {where} cannot be used: {error}.", attempts=attempts) from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            # Its cause is in the message; the error itself may quote the headers.
            cause = self._route.cause(error)
            message = f"Toast ({self._route.host}) cannot be reached for {where}: {cause.text}."
            if cause.is_permanent:
                raise ToastUnreachableError(message, hint=cause.hint) from None
            raise ToastTransientError(message, attempts=cause.attempts, hint=cause.hint) from None
        self._server_time = date_of(response.headers.get("Date")) or self._server_time
        return response

    def _obey(self, response: httpx.Response, restaurant_guid: str | None) -> None:
        """Pause whom the reply's limit headers concern: the restaurant, or everyone where it is the account."""
        seconds = exhausted_for(response.headers, self._now())
        if response.status_code == 429:
            seconds = seconds_to_wait(response.headers, self._now()) or 0.0
        if concerns_everyone(response.headers):
            self._everyone.hold(seconds)
        elif restaurant_guid is not None:
            self._pace(restaurant_guid).hold(seconds)

    def _raise_for_status(self, response: httpx.Response, restaurant_guid: str | None) -> None:
        status = response.status_code
        if status == 200:
            return
        what = f"Toast answered {status} to {_where(response.request.url.path, restaurant_guid)}"
        details = self._details(response)
        if status == 429:
            told = seconds_to_wait(response.headers, self._now())
            raise ToastTransientError(f"{what}{details}.", throttled=True, retry_after=told)
        if status >= 500 or status in _TRANSIENT:
            raise ToastTransientError(f"{what}{details}.")
        if refusal := self._route.proxy_refusal(status):
            raise ToastUnreachableError(f"{what}: {refusal.text}.", hint=refusal.hint)
        raise ToastRefusedError(f"{what}{details}.", status=status, hint=_HINTS.get(status, _OTHER_HINT))

    def _details(self, response: httpx.Response) -> str:
        """Toast's message and request id, for its support; never more of a body than these (Toast: error body)."""
        try:
            body = decode(response.content, _ErrorBody)
        except UnreadableBodyError:
            return ""
        token = response.request.headers.get("Authorization", "").removeprefix("Bearer ")
        own = (token, self.settings.client_secret.get_secret_value())
        message, request_id = (
            without_secrets(" ".join((part or "").split()), own) for part in (body.message, body.requestId)
        )
        text = ", ".join(filter(None, (message[:200], request_id and f"request id {request_id[:80]}")))
        return f" ({text})" if text else ""


_HINTS = {
    400: "Toast calls the request malformed; check TOAST_RESTAURANT_GUID.",
    401: "Toast takes the credentials but not for this call; check the client's scopes and restaurants.",
    403: "The client may not read this restaurant; check its scopes (orders:read) and TOAST_RESTAURANT_GUID.",
    404: "Toast does not know it; check TOAST_RESTAURANT_GUID and TOAST_API_URL.",
}
_OTHER_HINT = "Toast does not answer like this: check TOAST_API_URL, and whether a proxy answered in Toast's place."


def _where(path: str, restaurant_guid: str | None) -> str:
    return f"{path} for restaurant {restaurant_guid}" if restaurant_guid else path


def _asks_for_a_partner(response: httpx.Response) -> bool:
    """Whether this 401 says that the client is no partner's, which another login would not change."""
    return response.request.url.path == PARTNERS_PATH and b"partnerguid" in response.content.lower()
