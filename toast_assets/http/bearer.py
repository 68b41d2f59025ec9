"""A service's bearer token, shared by all calls: fetched when first needed, renewed before it expires and on a 401."""

from __future__ import annotations

import asyncio
import base64
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
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


class Bearer(ABC):
    """A service says how a token is fetched, and when renewing a rejected one may help. ``clock`` counts seconds,
    ``fetched`` tokens."""

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

    async def token(self, rejected: Token | None = None) -> Token:
        """A token that is valid now, as far as is known; another one than ``rejected`` if there is one, or may be. One
        call fetches it, the others wait here and find it; a ToastAssetsError where none can be fetched."""
        async with self._lock:
            renews = self._token is rejected and self.may_renew()
            if renews or (rejected is None and self._clock() >= self._token.renew_at):
                try:
                    self._token = await self.fetch()
                    self.fetched += 1
                finally:
                    self._renewals += renews
            return self._token

    async def send(
        self, request: httpx.Request, exchange: Callable[[httpx.Request], Awaitable[httpx.Response]]
    ) -> httpx.Response:
        """The reply to ``request`` with the token, sent again after a 401 if there is a newer one; each sending is an
        ``exchange``, so that the rate limit counts it."""
        rejections = 0
        while True:
            token = await self.token()
            request.headers["Authorization"] = f"Bearer {token.value}"
            response = await exchange(request)
            if response.is_success:
                self.mark_valid(token)
            if not self.is_rejection(response):
                return response
            # A token that was replaced meanwhile was rejected for its age, which says nothing about the new one.
            rejections += token is self._token
            if rejections > 1:
                self._useless += 1
                return response
            if await self.token(rejected=token) is token:
                return response

    def granted(self, value: str, seconds: float) -> Token:
        """A token that is valid for ``seconds`` from now; ``refused`` where no request can carry it."""
        if not fits_a_header(value):
            raise self.refused(
                f"{self.name} gave a token that is empty or has characters that no header can carry.",
                hint=f"Check {self.name.upper()}_API_URL; if it is {self.name}'s, tell {self.name}'s support.",
                code=f"{self.name.upper()}-TOKEN",
            )
        return Token(value, self._clock() + seconds - min(_AHEAD_SECONDS, seconds / 10))


def claims_of(token: str) -> dict[str, Any]:
    """The claims of a JWT; empty for anything else. Its issuer checks the signature: no permission rests on them."""
    try:
        _, claims, _ = token.split(".")
        return decode(base64.urlsafe_b64decode(f"{claims}=="), dict[str, Any])
    except ValueError:
        return {}
