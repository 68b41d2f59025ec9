"""Asks Toast in small numbers: each request counts, and leaves at least a second after the one before."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import NamedTuple, Unpack

import httpx

from toast_assets.errors import (
    ToastError,
    ToastIncompleteError,
    ToastRefusedError,
    ToastReplyError,
    ToastTransientError,
)
from toast_assets.http.bodies import PACKED
from toast_assets.http.rate import RateLimiter
from toast_assets.http.retry import RetryPolicy
from toast_assets.http.service import ClientOptions
from toast_assets.orders.scanner import UncuttableError
from toast_assets.orders.times import format_time
from toast_assets.toast.client import ORDERS_PATH, RESTAURANT_HEADER, ToastClient
from toast_assets.toast.login import OPTIONAL
from toast_assets.toast.page import PAGE_SIZE, OrdersPage, Window, read_page
from toast_assets.toast.settings import ToastSettings

MOST_REQUESTS = 120
_SECONDS_BETWEEN = 1.0
_LOGINS, _MOST_LOGINS = "logins", 2
# One attempt more than it takes until orders from outside a window count.
_RETRY = RetryPolicy(attempts=4, throttled_for=120.0)
_NO_PAGE = OrdersPage([], has_next=False)


class BudgetUsedUpError(ToastError):
    """All requests that a probe may send for a restaurant were sent."""

    code = "TOAST-BUDGET"


class Reply(NamedTuple):
    """The status of a reply of ``ordersBulk``, and its page, which is empty unless the status is 200."""

    status: int
    page: OrdersPage = _NO_PAGE

    @property
    def is_refusal(self) -> bool:
        """Whether Toast calls the question itself wrong; other statuses say nothing of it."""
        return 400 <= self.status < 500 and self.status not in (401, 403, 404)


class Asker(ToastClient):
    """Toast's client as a probe uses it: GET only, besides logins; at most ``MOST_REQUESTS`` for each restaurant,
    repetitions included; one request a second for all restaurants together; and no 401 brings another login.

    Raises (a call):
        BudgetUsedUpError: the restaurant's requests are used up.
    """

    def __init__(self, settings: ToastSettings, **options: Unpack[ClientOptions]) -> None:
        options.setdefault("retry", _RETRY)
        super().__init__(settings, **options)
        self.requests = Counter[str]()
        """By restaurant; those that name none are under '', and logins under a name of their own."""
        self.order_headers = defaultdict[str, list[httpx.Headers]](list)
        """Of all good replies of ``ordersBulk``, by restaurant."""
        self.packed = 0
        """How many replies were packed."""
        self._pace = RateLimiter(1, _SECONDS_BETWEEN, sleep=self._sleep, clock=self._clock)

    def now_ms(self) -> int:
        """Milliseconds since 1970, UTC."""
        return int(self._now() * 1000)

    def left(self, restaurant_guid: str) -> int:
        """The number of requests that may still be sent."""
        return MOST_REQUESTS - self.requests[restaurant_guid]

    async def exchange(self, request: httpx.Request, where: str, setting: str) -> httpx.Response:
        """As every client's, within the budget and the pace."""
        guid, most = request.headers.get(RESTAURANT_HEADER, ""), MOST_REQUESTS
        if request.method != "GET":
            guid, most = _LOGINS, _MOST_LOGINS
        if self.requests[guid] == most:
            raise BudgetUsedUpError(f"A probe logs in twice, and asks {MOST_REQUESTS} times for a restaurant, at most.")
        self.requests[guid] += 1
        # A 401 is an answer, and no reason to log in.
        request.extensions[OPTIONAL] = True
        await self._pace.acquire()
        response = await super().exchange(request, where, setting)
        self.packed += bool(response.extensions.get(PACKED))
        if response.status_code == 200 and request.url.path == ORDERS_PATH:
            self.order_headers[guid].append(response.headers)
        return response

    async def reply(
        self, path: str, restaurant_guid: str | None = None, *, headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """The reply, whatever its status, without the body of a refusal; faults and 429s were repeated."""
        try:
            return await self._get(path, lambda response: response, restaurant_guid=restaurant_guid, headers=headers)
        except ToastRefusedError as error:
            return httpx.Response(error.status)

    async def orders(self, restaurant_guid: str, window: Window | None, **parameters: str | int | None) -> Reply:
        """The reply of ``ordersBulk``, believed as it is; a parameter that is None is left out."""
        dates = {"startDate": format_time(window.start), "endDate": format_time(window.end)} if window else {}
        given = {**dates, "pageSize": PAGE_SIZE, **parameters}

        def read(response: httpx.Response) -> OrdersPage:
            try:
                return read_page(response, restaurant_guid, self.now_ms())
            except UncuttableError:
                raise ToastReplyError("Toast answered 200 without orders.") from None

        try:
            page = await self._get(
                ORDERS_PATH,
                read,
                restaurant_guid=restaurant_guid,
                parameters={name: value for name, value in given.items() if value is not None},
            )
        except ToastRefusedError as error:
            return Reply(error.status)
        return Reply(200, page)


def in_words(error: Exception) -> str:
    """Why a question has no answer, without anything that an error quotes, and the code of an error of Toast."""
    if isinstance(error, ToastRefusedError):
        return f"Toast answered {error.status} [{error.code}]"
    if isinstance(error, ToastError):
        words = next(words for kind, words in _WORDS.items() if isinstance(error, kind))
        return f"{words} [{error.code}]"
    return f"an order has an unexpected form ({type(error).__name__})"


_WORDS: dict[type[ToastError], str] = {
    BudgetUsedUpError: f"the {MOST_REQUESTS} requests for this restaurant are used up",
    ToastReplyError: "Toast's reply cannot be read",
    ToastTransientError: "Toast failed or answered 429 several times",
    ToastIncompleteError: "a window could not be read completely",
    ToastError: "Toast cannot be reached",
}
