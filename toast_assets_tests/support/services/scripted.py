"""A Toast that answers from a script, in memory: for what depends on time, which then is virtual."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

from toast_assets.http.retry import RetryPolicy
from toast_assets.toast.client import ORDERS_PATH, RESTAURANT_HEADER, ToastClient
from toast_assets.toast.login import LOGIN_PATH
from toast_assets.toast.settings import ToastSettings
from toast_assets_tests.support.services.virtual_time import virtual_clock, virtual_now

Answer = Callable[[int], httpx.Response]


def empty_page(_number: int) -> httpx.Response:
    """No orders."""
    return httpx.Response(200, json=[])


def login_reply(token: str = "token", seconds: float = 86_400) -> httpx.Response:  # noqa: S107 - opens nothing
    """Toast's documented reply to a login."""
    return httpx.Response(200, json={"token": {"accessToken": token, "expiresIn": seconds}, "status": "SUCCESS"})


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
        environment = {
            "TOAST_API_URL": "https://toast.test",
            "TOAST_CLIENT_ID": "client",
            "TOAST_CLIENT_SECRET": "hush",
            "TOAST_RESTAURANT_GUID": "one",
        }
        clocks: dict[str, Any] = {"now": virtual_now, "clock": virtual_clock}
        transport = transport or httpx.MockTransport(self)
        settings = ToastSettings.parse(environment | (changes or {}))
        return ToastClient(settings, spacing_seconds=spacing, retry=retry, transport=transport, **clocks)

    def times(self, path: str = ORDERS_PATH, restaurant: str | None = None) -> list[float]:
        """When calls of a path came, all or those for one restaurant."""
        return [each.at for each in self.asked if each.path == path and restaurant in (None, each.restaurant)]
