"""Toast's HTTP interface: one method a call, each with its limits, time-out and retries.

A plain asynchronous client on httpx, usable alone:

    async with ToastClient(settings) as toast:
        page = await toast.orders_page("restaurant-guid", Window(start_ms, end_ms))
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import date, datetime
from functools import partial
from typing import TypeVar, Unpack
from urllib.parse import quote

import httpx
import msgspec

from toast_assets.errors import (
    ToastRefusedError,
    ToastReplyError,
    ToastTransientError,
    ToastUnreachableError,
    TransientError,
)
from toast_assets.http.bearer import claims_of
from toast_assets.http.bodies import ENCODINGS, UnreadableBodyError, decode
from toast_assets.http.own_secrets import without_secrets
from toast_assets.http.rate import RateLimiter, acquire_all
from toast_assets.http.retry import RetryPolicy, date_of
from toast_assets.http.service import CallStats, ClientOptions, Route, ServiceClient
from toast_assets.orders.raw import RawOrder, UnreadableOrder
from toast_assets.orders.times import format_time
from toast_assets.toast import limits
from toast_assets.toast.configuration import CONFIGURATION_PATH, ENTITIES, ConfigurationPage, read_page
from toast_assets.toast.guids import read_guids, read_order, read_order_guid
from toast_assets.toast.login import LOGIN_PATH, OPTIONAL, ToastLogin, read_grant
from toast_assets.toast.page import PAGE_SIZE, OrdersPage, PageReader, Window
from toast_assets.toast.restaurants import (
    PARTNERS_PATH,
    Restaurant,
    read_group_list,
    read_partner_list,
    read_restaurant,
)
from toast_assets.toast.settings import ToastSettings

ORDERS_PATH = "/orders/v2/ordersBulk"
ORDER_LIST_PATH = "/orders/v2/orders"
PAYMENT_LIST_PATH = "/orders/v2/payments"
RESTAURANT_HEADER = "Toast-Restaurant-External-ID"

T = TypeVar("T")

_ADDRESS = "TOAST_API_URL"
# As httpx's client names itself; gateways may refuse a request without.
_HEADERS = {
    "Accept": "application/json",
    "Accept-Encoding": ENCODINGS,
    "User-Agent": f"python-httpx/{httpx.__version__}",
}


class _ErrorBody(msgspec.Struct):
    message: str | None = None
    requestId: str | None = None


class ToastClient(ServiceClient):
    """Asynchronous client of one Toast machine client; ``options`` are those of ``ServiceClient``. ``spacing_seconds``
    lies between two calls for the orders of one restaurant, where it is more than the limit asks for.

    Raises (a call):
        ToastRefusedError: 400, 401 after a new login, 403, 404, 422: repeating it does not help.
        ToastUnreachableError: no connection, by a cause that does not pass by itself.
        ToastTransientError: the retry budget is used up (the last attempt's error).
        ToastLoginError: Toast refuses the credentials, or the login service stays down.

    Raises (the constructor):
        SettingsError: the environment names a proxy or certificates that cannot be used.
    """

    name = "Toast"
    transient, unusable, unreachable = ToastTransientError, ToastReplyError, ToastUnreachableError

    def __init__(
        self, settings: ToastSettings, *, spacing_seconds: float = 0.0, **options: Unpack[ClientOptions]
    ) -> None:
        super().__init__(settings.timeout_seconds, **options)
        self.settings = settings
        self.stats: defaultdict[str, CallStats] = defaultdict(CallStats)
        """By restaurant, all calls but those that the next two count: for its configuration, and for orders and
        payments by business day or GUID."""
        self.configuration_stats: defaultdict[str, CallStats] = defaultdict(CallStats)
        self.census_stats: defaultdict[str, CallStats] = defaultdict(CallStats)
        self.spacing_seconds = max(spacing_seconds, limits.pace_spacing(settings.requests_per_second))
        self.server_time: datetime | None = None
        """The moment (UTC) of the newest reply by Toast's clock; None where no reply had a date that can be read."""
        limiter = partial(limits.rate_limiter, sleep=self._sleep, clock=self._clock)
        self._everyone = limiter(settings.total_requests_per_second)
        self._limiters = defaultdict[str, RateLimiter](
            lambda: limiter(settings.requests_per_second, self.spacing_seconds)
        )
        self._restaurant_limiters = defaultdict[str, RateLimiter](
            lambda: limiter(max(limits.MOST_PER_RESTAURANT, settings.requests_per_second))
        )
        self._login = ToastLogin(settings, self._log_in, clock=self._clock)
        self.way(settings.api_url, _ADDRESS)

    def open_transport(self, route: Route) -> httpx.AsyncBaseTransport:
        """Connections as many as are needed."""
        pool = httpx.Limits(max_connections=None, max_keepalive_connections=100)
        return httpx.AsyncHTTPTransport(limits=pool, verify=route.tls, proxy=route.proxy, trust_env=False)

    @property
    def logins(self) -> int:
        """How often this client logged in."""
        return self._login.fetched

    async def login(self) -> str:
        """The access token. The first call logs in, so that wrong credentials show before all else."""
        return (await self._login.token()).value

    async def log_in_again(self) -> str:
        """The access token that another login brings while the first one is valid."""
        return (await self._login.fetch()).value

    async def orders_page(
        self, restaurant_guid: str, window: Window, *, page: int = 1, token: str | None = None
    ) -> OrdersPage:
        """One page of the orders last modified within ``window`` (Toast: Orders API, ordersBulk)."""
        dates = {"startDate": format_time(window.start), "endDate": format_time(window.end)}
        reader = PageReader(window, restaurant_guid)
        return await self._get(
            ORDERS_PATH,
            lambda response: reader.read(response, int(self._now() * 1000)),
            restaurant_guid=restaurant_guid,
            parameters={**dates, "pageSize": PAGE_SIZE, **({"pageToken": token} if token else {"page": page})},
        )

    async def restaurant(self, guid: str, *, essential: bool = False) -> Restaurant:
        """Name, time zone and closeout hour of one restaurant (Toast: Restaurants API; needs restaurants:read). A call
        that is not ``essential`` is repeated only once and renews no login."""
        return await self._get(
            f"/restaurants/v1/restaurants/{guid}",
            lambda response: read_restaurant(response.content, guid),
            restaurant_guid=guid,
            essential=essential,
        )

    async def configuration_page(self, restaurant_guid: str, kind: str, token: str | None = None) -> ConfigurationPage:
        """A page of a restaurant's entities of one kind, the first one or the one that ``token`` stands for (Toast:
        Configuration API; needs config:read). A call is repeated only once and renews no login."""
        return await self._get(
            CONFIGURATION_PATH + ENTITIES[kind],
            lambda response: read_page(response, kind),
            restaurant_guid=restaurant_guid,
            parameters={"pageToken": token} if token else None,
            essential=False,
        )

    async def order_guids(self, restaurant_guid: str, day: date) -> list[str]:
        """The GUIDs of all orders of a business day (Toast: Orders API, orders; listed as deprecated). Like
        the next three, a call is repeated only once and renews no login."""
        return await self._guids(ORDER_LIST_PATH, restaurant_guid, businessDate=f"{day:%Y%m%d}")

    async def payment_guids(self, restaurant_guid: str, day: date) -> list[str]:
        """The GUIDs of all payments of a business day, complete some six hours after closeout (Toast: Orders API,
        payments)."""
        return await self._guids(PAYMENT_LIST_PATH, restaurant_guid, paidBusinessDate=f"{day:%Y%m%d}")

    async def order(self, restaurant_guid: str, guid: str) -> RawOrder | UnreadableOrder:
        """One order (Toast: Orders API, orders)."""
        return await self._get(
            f"{ORDER_LIST_PATH}/{quote(guid, safe='')}",
            lambda response: read_order(response, restaurant_guid, int(self._now() * 1000)),
            restaurant_guid=restaurant_guid,
            essential=False,
        )

    async def order_of_payment(self, restaurant_guid: str, guid: str) -> str:
        """The GUID of the order that a payment belongs to (Toast: Orders API, payments)."""
        return await self._get(
            f"{PAYMENT_LIST_PATH}/{quote(guid, safe='')}",
            lambda response: read_order_guid(response.content),
            restaurant_guid=restaurant_guid,
            essential=False,
        )

    async def partner_restaurants(self) -> dict[str, bool]:
        """All restaurants that the client may read: by GUID, whether it is deleted (Toast: Partners API)."""
        return await self._get(PARTNERS_PATH, lambda response: read_partner_list(response.content))

    async def group_members(self, group_guid: str, member_guid: str) -> list[str]:
        """The restaurants of a management group, asked for in the name of one of them (Toast: Restaurants API)."""
        return await self._get(
            f"/restaurants/v1/groups/{group_guid}/restaurants",
            lambda response: read_group_list(response.content),
            restaurant_guid=member_guid,
        )

    async def _guids(self, path: str, restaurant_guid: str, **parameters: str) -> list[str]:
        return await self._get(
            path,
            lambda response: read_guids(response.content),
            restaurant_guid=restaurant_guid,
            parameters=parameters,
            essential=False,
        )

    async def _get(
        self,
        path: str,
        read: Callable[[httpx.Response], T],
        *,
        restaurant_guid: str | None = None,
        parameters: Mapping[str, str | int] | None = None,
        headers: Mapping[str, str] | None = None,
        essential: bool = True,
    ) -> T:
        stats = self.stats
        if path.startswith(CONFIGURATION_PATH):
            stats = self.configuration_stats
        elif path != ORDERS_PATH and path.startswith((ORDER_LIST_PATH, PAYMENT_LIST_PATH)):
            stats = self.census_stats
        calls = stats[restaurant_guid or ""]
        limiters = [self._everyone]
        if restaurant_guid:
            limiters.append(self._restaurant_limiters[restaurant_guid])
            if path == ORDERS_PATH:
                limiters.append(self._limiters[restaurant_guid])
        own = {RESTAURANT_HEADER: restaurant_guid} if restaurant_guid else {}
        request = httpx.Request(
            "GET",
            self.settings.api_url + path,
            params=parameters,
            headers={**_HEADERS, **own, **(headers or {})},
            extensions={} if essential else {OPTIONAL: True},
        )

        async def exchange(request: httpx.Request) -> httpx.Response:
            await acquire_all(limiters)
            calls.requests += 1
            response = await self._send(request)
            calls.bytes += len(response.content)
            self._obey(response, restaurant_guid)
            return response

        # What is only for display may not hold up a pull for long.
        policy = self._retry if essential else replace(self._retry, attempts=2, throttled_for=60.0)
        return await self._repeat(lambda: self._login.send(request, exchange), read, policy, calls)

    async def _log_in(self, credentials: dict[str, str]) -> tuple[str, float]:
        request = httpx.Request("POST", self.settings.api_url + LOGIN_PATH, headers=_HEADERS, json=credentials)
        return await self._repeat(
            lambda: self._send(request), lambda response: read_grant(response.content), self._retry, CallStats()
        )

    async def _repeat(
        self,
        send: Callable[[], Awaitable[httpx.Response]],
        read: Callable[[httpx.Response], T],
        policy: RetryPolicy,
        stats: CallStats,
    ) -> T:
        async def attempt() -> T:
            response = await send()
            self._raise_for_status(response)
            return read(response)

        def on_retry(error: TransientError, wait: float) -> None:
            stats.retries += 1
            stats.throttled += error.throttled
            self._log.warning("%s Asking again in %.1f s.", error.message, wait)

        return await policy.call(attempt, sleep=self._sleep, on_retry=on_retry)

    async def _send(self, request: httpx.Request) -> httpx.Response:
        response = await self.exchange(request, _where(request), _ADDRESS)
        self.server_time = date_of(response.headers.get("Date")) or self.server_time
        return response

    def _obey(self, response: httpx.Response, restaurant_guid: str | None) -> None:
        """Pause what the reply's limit headers apply to: the restaurant or the account."""
        seconds = limits.exhausted_for(response.headers, self._now())
        if response.status_code == 429:
            seconds = min(limits.retry_after(response.headers, self._now()) or 0.0, limits.LONGEST_WINDOW)
        if limits.is_account_wide(response.headers):
            self._everyone.pause(seconds)
        elif restaurant_guid is not None:
            self._limiters[restaurant_guid].pause(seconds)
            self._restaurant_limiters[restaurant_guid].pause(seconds)

    def _raise_for_status(self, response: httpx.Response) -> None:
        status = response.status_code
        if status == 200:
            return
        message = f"Toast answered {status} to {_where(response.request)}{self._details(response)}."
        if status == 429:
            seconds = limits.retry_after(response.headers, self._now())
            raise ToastTransientError(message, throttled=True, retry_after=seconds)
        if status >= 500 or status in (408, 425):
            raise ToastTransientError(message)
        code, hint = _WAYS_OUT.get(status, (ToastRefusedError.code, _OTHER_HINT))
        path = response.request.url.path
        if path.startswith(CONFIGURATION_PATH):
            code, hint = _CONFIGURATION_WAYS_OUT.get(status, (code, hint))
        elif path in (ORDER_LIST_PATH, PAYMENT_LIST_PATH):
            code, hint = _NO_LIST
        elif status == 403 and (scope := _missing_scope(response.request)):
            code, hint = "TOAST-403-SCOPE", f"The client lacks the scope {scope}: ask Toast to add it."
        raise ToastRefusedError(message, status=status, hint=hint, code=code)

    def _details(self, response: httpx.Response) -> str:
        """Toast's message and request id, for its support; never more of a body than these (Toast: error body)."""
        try:
            body = decode(response.content, _ErrorBody)
        except UnreadableBodyError:
            return ""
        token = response.request.headers.get("Authorization", "").removeprefix("Bearer ")
        own = (token, self.settings.client_secret.get_secret_value())
        said = filter(None, (body.message, body.requestId and f"request id {body.requestId}"))
        text = ", ".join(without_secrets(" ".join(part.split()), own)[:200] for part in said)
        return f" ({text})" if text else ""


# The code and the way out by status.
_WAYS_OUT = {
    400: ("TOAST-400", "Toast calls the request malformed; check TOAST_RESTAURANT_GUID."),
    401: (
        "TOAST-401",
        "Toast takes the credentials but not for this call; check the client's scopes and restaurants.",
    ),
    403: (
        "TOAST-403-RESTAURANT",
        "The client may not read this restaurant; check its scopes (orders:read) and TOAST_RESTAURANT_GUID.",
    ),
    404: ("TOAST-404-RESTAURANT", "Toast does not know it; check TOAST_RESTAURANT_GUID and TOAST_API_URL."),
}
_CONFIGURATION_WAYS_OUT = {
    403: (
        "TOAST-403-CONFIG",
        "The client lacks the scope config:read, so dining options, menu items, discounts, … have no names. Ask Toast"
        " to add it, then materialize the week again; or set TOAST_NAMES=off.",
    ),
    409: (
        "TOAST-409-CONFIG",
        "The configuration was published again and again while it was read; the next pull of the week reads it again.",
    ),
}
_NO_LIST = (
    "TOAST-LIST",
    "Without this list nothing but ordersBulk says that a week is whole. TOAST_CENSUS=off ends the question.",
)
_OTHER_HINT = "Toast does not answer like this: check TOAST_API_URL, and whether a proxy answered in Toast's place."
_SCOPES = {"orders": "orders:read", "restaurants": "restaurants:read"}


def _missing_scope(request: httpx.Request) -> str | None:
    """The scope that the call needs and the token does not name; None where the token names it, or names none."""
    scope = claims_of(request.headers.get("Authorization", "").removeprefix("Bearer ")).get("scope")
    needed = _SCOPES.get(request.url.path.split("/")[1])
    return needed if isinstance(scope, str) and needed not in scope.split() else None


def _where(request: httpx.Request) -> str:
    restaurant_guid = request.headers.get(RESTAURANT_HEADER)
    return request.url.path + (f" for restaurant {restaurant_guid}" if restaurant_guid else "")
