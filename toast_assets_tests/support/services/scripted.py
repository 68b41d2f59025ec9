"""Toast in memory, as transports of httpx: one that answers from a script, in virtual time, and one that has orders."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from toast_assets.http.retry import RetryPolicy
from toast_assets.orders.times import parse_time_ms
from toast_assets.toast.client import (
    ORDER_LIST_PATH,
    ORDERS_PATH,
    PAYMENT_LIST_PATH,
    RESTAURANT_HEADER,
    ToastClient,
)
from toast_assets.toast.configuration import CONFIGURATION_PATH
from toast_assets.toast.login import LOGIN_PATH
from toast_assets.toast.page import Window
from toast_assets.toast.settings import ToastSettings
from toast_assets_tests.support.services.clients import QUICK, UNLIMITED, SkippedTime
from toast_assets_tests.support.services.virtual_time import virtual_clock, virtual_now

Answer = Callable[[int], httpx.Response]
Orders = Callable[[str, Window], Sequence[bytes]]
"""A restaurant's orders of a window, in the order in which they are paged."""
ENVIRONMENT = {
    "TOAST_API_URL": "https://toast.test",
    "TOAST_CLIENT_ID": "client",
    "TOAST_CLIENT_SECRET": "hush",
    "TOAST_RESTAURANT_GUID": "one",
}
_PAGE = 100
_STRICT_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+0000")


def empty_page(_number: int) -> httpx.Response:
    """No orders."""
    return httpx.Response(200, json=[])


def login_reply(token: str = "token", seconds: float = 86_400) -> httpx.Response:  # noqa: S107 - opens nothing
    """Toast's documented reply to a login."""
    return httpx.Response(200, json={"token": {"accessToken": token, "expiresIn": seconds}, "status": "SUCCESS"})


def page_reply(orders: Sequence[bytes], more: bool) -> httpx.Response:
    """A page of ``ordersBulk``."""
    links = {"Link": '<https://toast.test/next>; rel="next"'} if more else {}
    return httpx.Response(200, headers=links, content=b"[%s]" % b",".join(orders))


@dataclass(frozen=True)
class Asked:
    """One request: when, by which path, for which restaurant, with which token."""

    at: float
    path: str
    restaurant: str | None
    token: str | None


@dataclass
class ScriptedToast:
    """``orders`` answers the n-th call for orders, ``logins`` the n-th login; ``latency`` is what each call takes."""

    orders: Answer = empty_page
    logins: Answer = lambda _: login_reply()
    others: Answer = empty_page
    latency: Callable[[], float] = lambda: 0.0
    asked: list[Asked] = field(default_factory=list)

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer one request."""
        path = request.url.path
        token = request.headers.get("Authorization", "").removeprefix("Bearer ") or None
        self.asked.append(Asked(virtual_now(), path, request.headers.get(RESTAURANT_HEADER), token))
        number = sum(each.path == path for each in self.asked)
        await asyncio.sleep(self.latency())
        answers = {ORDERS_PATH: self.orders, LOGIN_PATH: self.logins}
        return answers.get(path, self.others)(number)

    def client(
        self,
        changes: dict[str, str] | None = None,
        *,
        retry: RetryPolicy | None = None,
        spacing: float = 0.0,
        transport: httpx.MockTransport | None = None,
    ) -> ToastClient:
        """A client of this Toast, or another ``transport``, in virtual time; ``changes`` are environment variables."""
        clocks: dict[str, Any] = {"now": virtual_now, "clock": virtual_clock}
        transport = transport or httpx.MockTransport(self)
        settings = ToastSettings.parse(ENVIRONMENT | (changes or {}))
        return ToastClient(settings, spacing_seconds=spacing, retry=retry, transport=transport, **clocks)

    def times(self, path: str = ORDERS_PATH, restaurant: str | None = None) -> list[float]:
        """When calls of a path came, all or those for one restaurant."""
        return [each.at for each in self.asked if each.path == path and restaurant in (None, each.restaurant)]


@dataclass
class MemoryToast(httpx.AsyncBaseTransport):
    """``orders`` are what the restaurants have, ``page`` makes a reply of at most ``page_size`` of them. ``answer`` may
    give another answer to a request; None means the usual one. ``headers`` are in every reply, ``listed`` is the
    partners' list."""

    orders: Orders
    page: Callable[[Sequence[bytes], bool], httpx.Response] = page_reply
    answer: Callable[[httpx.Request], httpx.Response | None] = lambda _: None
    headers: Mapping[str, str] = field(default_factory=dict)
    listed: tuple[str, ...] = ()
    page_size: int = _PAGE

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer one request."""
        reply = self.answer(request)
        if reply is None:
            reply = self._usual(request.url, request.headers.get(RESTAURANT_HEADER, ""))
        reply.headers.update(self.headers)
        return reply

    def _usual(self, url: httpx.URL, guid: str) -> httpx.Response:
        if url.path == LOGIN_PATH:
            return login_reply()
        if url.path.startswith("/partners/"):
            return httpx.Response(200, json=[{"restaurantGuid": each} for each in self.listed])
        if url.path.startswith((CONFIGURATION_PATH, ORDER_LIST_PATH, PAYMENT_LIST_PATH)) and url.path != ORDERS_PATH:
            return httpx.Response(200, json=[])
        if url.path != ORDERS_PATH:
            general = {"name": "Pier 9", "timeZone": "America/New_York", "closeoutHour": 4, "currencyCode": "USD"}
            return httpx.Response(200, json={"guid": guid, "general": general})
        dates, page = (url.params["startDate"], url.params["endDate"]), int(url.params["page"])
        assert url.params["pageSize"] == str(_PAGE)
        assert all(_STRICT_TIME.fullmatch(date) for date in dates)
        return self.reply(guid, Window(*map(parse_time_ms, dates)), page)

    def reply(self, guid: str, window: Window, page: int) -> httpx.Response:
        """The reply that has one page of a window."""
        found, end = self.orders(guid, window), page * self.page_size
        return self.page(found[end - self.page_size : end], len(found) > end)

    def client(self, guids: Iterable[str], now: Callable[[], float] | None = None, /, **changes: str) -> ToastClient:
        """A client that waits for nothing; ``now`` gives Unix seconds, ``changes`` are environment variables."""
        environment = {
            "TOAST_RESTAURANT_GUID": ",".join(guids),
            "TOAST_REQUESTS_PER_SECOND": UNLIMITED,
            "TOAST_HISTORICAL_SPACING_SECONDS": "0",
        }
        time = SkippedTime()
        return ToastClient(
            ToastSettings.parse(ENVIRONMENT | environment | changes),
            retry=QUICK,
            sleep=time.sleep,
            clock=time.clock,
            now=now or time.now,
            transport=self,
        )
