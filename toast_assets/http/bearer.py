"""A service's bearer token, shared by all calls: fetched when first needed, renewed before it expires and on a 401."""

from __future__ import annotations

import asyncio
import base64
import binascii
from abc import abstractmethod
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, ClassVar

import httpx

from toast_assets.errors import ToastAssetsError
from toast_assets.http.bodies import decode
from toast_assets.http.own_secrets import fits_a_header

# Renewed this long before it ends (or a tenth of its life), so that no call leaves with a token about to expire.
_AHEAD_SECONDS = 60.0
NEVER = float("inf")


@dataclass(frozen=True, eq=False)
class Token:
    """One token as it was granted: two of them differ even where the service grants the same text again.
    ``renew_at`` is in seconds of the bearer's clock."""

    value: str = field(repr=False)
    renew_at: float


class Bearer(httpx.Auth):
    """The token as httpx's authentication flow. A service says how a token is fetched, and when renewing one that was
    rejected may help. ``clock`` counts seconds. ``fetched`` counts tokens."""

    name: ClassVar[str]
    refused: ClassVar[type[ToastAssetsError]]
    """The error for a token that cannot be used."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.fetched = 0
        self._clock = clock
        self._lock = asyncio.Lock()
        self._token = Token("", float("-inf"))
        self._renewals = self._useless = 0
        self._is_valid = False

    @abstractmethod
    async def fetch(self) -> Token:
        """A new token."""

    @abstractmethod
    def may_renew(self) -> bool:
        """Whether a new token may help where the current one was rejected."""

    def mark_valid(self, token: Token) -> None:
        """A call with ``token`` succeeded: a later rejection means that it has expired or was revoked."""
        self._is_valid = self._is_valid or token is self._token

    def is_rejection(self, response: httpx.Response) -> bool:
        """Whether a reply says that the token is not valid."""
        return response.status_code == 401

    async def token(self) -> Token:
        """A token that is valid now, as far as is known.

        Raises:
            ToastAssetsError: no token can be fetched.
        """
        async with self._lock:
            if self._clock() >= self._token.renew_at:
                await self._fetch()
            return self._token

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Send ``request`` with the token, and again after a 401 if there is a newer one."""
        rejections = 0
        while True:
            token = await self.token()
            request.headers["Authorization"] = f"Bearer {token.value}"
            response = yield request
            if response.is_success:
                self.mark_valid(token)
            if not self.is_rejection(response):
                return
            # A token that was replaced meanwhile was rejected for its age, which says nothing about the new one.
            rejections += token is self._token
            if rejections > 1:
                self._useless += 1
                return
            if not await self._renew(token):
                return

    async def send(
        self, request: httpx.Request, exchange: Callable[[httpx.Request], Awaitable[httpx.Response]]
    ) -> httpx.Response:
        """The reply to ``request``, as from an ``httpx.AsyncClient``; each sending is an ``exchange``, so that the rate
        limit counts it."""
        async with aclosing(self.async_auth_flow(request)) as flow:
            await anext(flow)
            while True:
                response = await exchange(request)
                try:
                    await flow.asend(response)
                except StopAsyncIteration:
                    return response

    def granted(self, value: str, seconds: float) -> Token:
        """A token that is valid for ``seconds`` from now.

        Raises:
            ToastAssetsError: no request can carry it.
        """
        if not fits_a_header(value):
            raise self.refused(
                f"{self.name} gave a token that is empty or has characters that no header can carry.",
                hint=f"Check {self.name.upper()}_API_URL; if it is {self.name}'s, tell {self.name}'s support.",
            )
        return Token(value, self._clock() + seconds - min(_AHEAD_SECONDS, seconds / 10))

    async def _renew(self, rejected: Token) -> bool:
        """Whether there is another token now. One call renews it, the others wait here and find it."""
        async with self._lock:
            if self._token is rejected:
                if not self.may_renew():
                    return False
                try:
                    await self._fetch()
                finally:
                    self._renewals += 1
            return True

    async def _fetch(self) -> None:
        self._token = await self.fetch()
        self.fetched += 1


def claims_of(token: str) -> dict[str, Any]:
    """The claims of a JWT; empty for anything else. Its issuer checks the signature: no permission rests on them."""
    parts = token.split(".")
    if len(parts) != 3:
        return {}
    try:
        return decode(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)), dict[str, Any])
    except (binascii.Error, ValueError):
        return {}
