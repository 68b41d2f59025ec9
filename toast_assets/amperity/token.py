"""Amperity's bearer token: the key as it was given, or one that is fetched and renewed (Amperity: OAuth 2 token)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import httpx
import msgspec

from toast_assets.errors import AmperityError, AmperityRefusedError
from toast_assets.settings import AmperitySettings

TOKEN_PATH = "/api/v0/oauth2/token"  # noqa: S105 - a path

# Renewed this long before it ends (or a tenth of its life), so that no call is sent with a token about to expire.
_AHEAD_SECONDS = 60.0


class _Reply(msgspec.Struct):
    access_token: str
    expires_in: float = 3600.0


class AmperityToken:
    """The token of one tenant, shared by all calls. ``post`` sends the token request with retries."""

    def __init__(
        self,
        settings: AmperitySettings,
        post: Callable[[str, dict[str, str]], Awaitable[httpx.Response]],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._post = post
        self._clock = clock
        self._lock = asyncio.Lock()
        self._token = settings.api_key.get_secret_value() if settings.api_key else ""
        self._expires_at = float("inf") if self._token else 0.0

    async def token(self) -> str:
        """A token that is valid now, as far as is known.

        Raises:
            AmperityRefusedError: Amperity refuses the client's credentials.
        """
        if self._clock() < self._expires_at:
            return self._token
        async with self._lock:
            if self._clock() >= self._expires_at:
                await self._renew()
            return self._token

    async def renewed(self, rejected: str) -> str | None:
        """Another token instead of the ``rejected`` one; None where there is nothing to renew it with.

        Raises:
            AmperityRefusedError: as ``token``.
        """
        async with self._lock:
            # Whoever waited here finds the token that the first one brought.
            if self._token != rejected:
                return self._token
            if self._settings.client_id is None:
                return None
            await self._renew()
            return self._token

    async def _renew(self) -> None:
        secret = self._settings.client_secret
        form = {
            "grant_type": "client_credentials",
            "client_id": self._settings.client_id or "",
            "client_secret": secret.get_secret_value() if secret else "",
        }
        try:
            response = await self._post(TOKEN_PATH, form)
            reply = msgspec.json.decode(response.content, type=_Reply)
        except (AmperityError, msgspec.DecodeError) as error:
            what = error.message if isinstance(error, AmperityError) else "the reply holds no access_token"
            raise AmperityRefusedError(
                f"Amperity gave no new token: {what}",
                hint="Check AMPERITY_CLIENT_ID, AMPERITY_CLIENT_SECRET and AMPERITY_TENANT_ID.",
            ) from None
        self._token = reply.access_token
        self._expires_at = self._clock() + reply.expires_in - min(_AHEAD_SECONDS, reply.expires_in / 10)
