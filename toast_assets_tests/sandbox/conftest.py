"""Sandboxes and clients for the sandbox's own tests. Rates are unlimited unless a test is about them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from toast_assets.sandbox import Sandbox, SandboxConfig

ONE = "0b1f6a52-7c3d-4e8f-9a10-4d2c6b7e8f01"
SMALL = "2d3f8c74-9e5f-4a01-9c32-6f4e8d90a123"
DELETED = "3e409d85-af60-4b12-8d43-705f9ea1b234"
ARCHIVED = "4f51ae96-b071-4c23-9e54-8160afb2c345"
WEEK = {"startDate": "2025-09-15T04:00:00.000+0000", "endDate": "2025-09-22T04:00:00.000+0000"}
START_MS, END_MS = 1_757_908_800_000, 1_758_513_600_000
BULK = "/orders/v2/ordersBulk"
LOGIN = "/authentication/v1/authentication/login"
STREAM = "/stream/v0/data/is-toast-orders"


@dataclass
class Clock:
    """A clock that stands still until it is moved, in Unix seconds."""

    seconds: float = 1_760_000_000.0

    def __call__(self) -> float:
        return self.seconds


@dataclass
class Start:
    """Starts sandboxes that end with the test."""

    stack: ExitStack
    clock: Clock = field(default_factory=Clock)

    def __call__(self, **settings: Any) -> Caller:
        changed: dict[str, Any] = {"rate_limits": False, "now": self.clock} | settings
        config = SandboxConfig(**changed)
        sandbox = self.stack.enter_context(Sandbox(config))
        return Caller(sandbox, self.stack.enter_context(httpx.Client(timeout=600)))


@dataclass
class Caller:
    """A client of one sandbox that knows how to log in and how to ask."""

    sandbox: Sandbox
    http: httpx.Client
    token: str | None = None

    def login(self, **changes: str) -> httpx.Response:
        config = self.sandbox.config
        body = {
            "clientId": config.toast_client_id,
            "clientSecret": config.toast_client_secret,
            "userAccessType": "TOAST_MACHINE_CLIENT",
        }
        return self.http.post(self.sandbox.toast_url + LOGIN, json=body | changes)

    def toast(self, path: str = BULK, headers: dict[str, str] | None = None, **query: Any) -> httpx.Response:
        if self.token is None:
            self.token = self.login().json()["token"]["accessToken"]
        sent = {"Authorization": f"Bearer {self.token}", "Toast-Restaurant-External-ID": ONE} | (headers or {})
        sent = {name: value for name, value in sent.items() if value}
        return self.http.get(self.sandbox.toast_url + path, params=query, headers=sent)

    def week(self, restaurant: str = ONE, **query: Any) -> httpx.Response:
        return self.toast(BULK, {"Toast-Restaurant-External-ID": restaurant}, **(WEEK | query))

    def amperity(
        self,
        path: str = STREAM,
        content: bytes = b'{"guid": "a"}',
        headers: dict[str, str] | None = None,
        method: str = "POST",
    ) -> httpx.Response:
        config = self.sandbox.config
        sent = {
            "X-Amperity-Tenant": config.tenant,
            "Amperity-Tenant": config.tenant,
            "api-version": "2024-04-01",
            "Authorization": f"Bearer {config.amperity_api_key}",
            "Content-Type": "application/json",
        } | (headers or {})
        sent = {name: value for name, value in sent.items() if value}
        return self.http.request(method, self.sandbox.amperity_url + path, content=content, headers=sent)


@pytest.fixture
def start() -> Iterator[Start]:
    with ExitStack() as stack:
        yield Start(stack)


@pytest.fixture
def caller(start: Start) -> Caller:
    return start()
