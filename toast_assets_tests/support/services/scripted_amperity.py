"""An Amperity that answers from a script, in memory: for what depends on time, which then is virtual."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx

from toast_assets.amperity.client import AmperityClient
from toast_assets.amperity.settings import AmperitySettings
from toast_assets.amperity.token import TOKEN_PATH
from toast_assets.http.retry import RetryPolicy
from toast_assets_tests.support.services.virtual_time import virtual_clock, virtual_now

Answer = Callable[[int, httpx.Request], httpx.Response]
STREAM_ID = "is-scripted"
ENVIRONMENT = {
    "AMPERITY_TENANT_ID": "acme",
    "AMPERITY_API_URL": "https://acme.amperity.com/ignored",
    "AMPERITY_API_KEY": "first-key",
    "AMPERITY_STREAM_ID": STREAM_ID,
}
RENEWABLE = {"AMPERITY_CLIENT_ID": "client", "AMPERITY_CLIENT_SECRET": "client-secret"}


def accept(_number: int, _request: httpx.Request) -> httpx.Response:
    """202, as a stream does."""
    return httpx.Response(202)


def token_reply(number: int, _request: httpx.Request) -> httpx.Response:
    """The documented reply: a new token that lives for an hour."""
    return httpx.Response(200, json={"access_token": f"token-{number}", "expires_in": 3600, "token_type": "Bearer"})


@dataclass
class ScriptedAmperity(httpx.AsyncBaseTransport):
    """``records`` answers the n-th record, ``tokens`` the n-th request for a token; ``there`` and ``back`` are the
    seconds on the way. ``arrivals`` are the virtual times at which records arrived."""

    records: Answer = accept
    tokens: Answer = token_reply
    there: Callable[[], float] = lambda: 0.0
    back: Callable[[], float] = lambda: 0.0
    asked: list[httpx.Request] = field(default_factory=list)
    arrivals: list[float] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """One request."""
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await asyncio.sleep(self.there())
            # Sent again with another token, a request is still the same object.
            self.asked.append(
                httpx.Request(request.method, request.url, headers=request.headers, content=request.content)
            )
            if request.url.path == TOKEN_PATH:
                response = self.tokens(len(self.of(TOKEN_PATH)), request)
            else:
                self.arrivals.append(virtual_clock())
                response = self.records(len(self.arrivals), request)
            await asyncio.sleep(self.back())
            return response
        finally:
            self.in_flight -= 1

    def of(self, path: str) -> list[httpx.Request]:
        """The requests to one path."""
        return [request for request in self.asked if request.url.path == path]

    def bearers(self) -> list[str]:
        """The tokens with which records came, in order."""
        return [
            request.headers["Authorization"].removeprefix("Bearer ")
            for request in self.asked
            if request.url.path != TOKEN_PATH
        ]

    def client(self, *, retry: RetryPolicy | None = None, **changes: str) -> AmperityClient:
        """A client of it in virtual time; ``changes`` are environment variables."""
        settings = AmperitySettings.parse(ENVIRONMENT | changes)
        return AmperityClient(
            settings, retry=retry, sleep=asyncio.sleep, now=virtual_now, clock=virtual_clock, transport=self
        )


async def send(client: AmperityClient, number: int = 1) -> str:
    """Send one record; the state in which it ends."""
    return (await client.send_record(STREAM_ID, f"request-{number}", b'{"guid":"%d"}' % number)).state
