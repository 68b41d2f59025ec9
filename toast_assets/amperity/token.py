"""Amperity's bearer token: the key as it was given, or one that is fetched and renewed (Amperity: OAuth 2 token)."""

from __future__ import annotations

import asyncio
import base64
import binascii
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import httpx
import msgspec

from toast_assets.amperity.settings import AmperitySettings
from toast_assets.errors import (
    AmperityError,
    AmperityRefusedError,
    AmperityTransientError,
    AmperityUnreachableError,
)
from toast_assets.http.bodies import UnreadableBodyError, decode
from toast_assets.http.own_secrets import fits_a_header
from toast_assets.http.retry import Sleep

TOKEN_PATH = "/api/v0/oauth2/token"  # noqa: S105 - a path

# Renewed this long before it ends (or a tenth of its life), so that no call is sent with a token about to expire.
_AHEAD_SECONDS = 60.0
_NEVER = float("inf")
# A token can be revoked before the first answer to it is back, and the next one as well. But tokens of which so many
# in a row brought nothing will not do; before anything was accepted at all, one is enough to know that.
_MOST_IN_VAIN = 5
# Before another one follows a token that brought nothing yet, answers on their way get time to arrive. Doubled each
# time.
_FIRST_PAUSE_SECONDS = 0.5


class _Reply(msgspec.Struct):
    access_token: str
    expires_in: float | None = None


class _Claims(msgspec.Struct):
    exp: float


@dataclass(frozen=True, eq=False)
class Bearer:
    """One token as it was obtained: two of them are different even where the server gives the same text again."""

    value: str

    @property
    def header(self) -> dict[str, str]:
        """The header that carries it."""
        return {"Authorization": f"Bearer {self.value}"}


class AmperityToken:
    """The token of one tenant, shared by all calls. ``post`` sends the token request with retries; ``sleep`` and
    ``clock`` count seconds, ``now`` gives Unix seconds."""

    def __init__(
        self,
        settings: AmperitySettings,
        post: Callable[[str, dict[str, str]], Awaitable[httpx.Response]],
        *,
        sleep: Sleep = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._post = post
        self._sleep = sleep
        self._clock = clock
        self._now = now
        self._lock = asyncio.Lock()
        self._current = Bearer(settings.api_key.get_secret_value() if settings.api_key else "")
        self._expires_at = self._end_of(self._current.value) if self._current.value else float("-inf")
        self._in_vain = 0
        self._was_rejected = False
        self._proved = False

    async def token(self) -> Bearer:
        """A token that is valid now, as far as is known.

        Raises:
            AmperityRefusedError: Amperity refuses the client's credentials.
            AmperityError: the token service stays down.
        """
        if self._clock() < self._expires_at:
            return self._current
        async with self._lock:
            if self._clock() >= self._expires_at:
                if self._in_vain:
                    await self._sleep(_FIRST_PAUSE_SECONDS * 2 ** (self._in_vain - 1))
                await self._renew()
            return self._current

    def may_be_replaced(self, rejected: Bearer) -> bool:
        """Whether there is, or may be had, another token instead of the ``rejected`` one that is worth trying."""
        if self._current is not rejected:
            return True
        return self._settings.client_id is not None and self._in_vain < (_MOST_IN_VAIN if self._proved else 1)

    async def replace(self, rejected: Bearer) -> None:
        """Renew the ``rejected`` token, unless that was done meanwhile.

        Raises:
            AmperityError: as ``token``.
        """
        if self._current is not rejected:
            return
        # At once, not when it is this call's turn: nobody else is to leave with it, only to be rejected, too.
        self._expires_at = float("-inf")
        self._was_rejected = True
        await self.token()

    def is_current(self, bearer: Bearer) -> bool:
        """Whether ``bearer`` is the newest token."""
        return bearer is self._current

    def worked(self) -> None:
        """A call was taken: a token that is rejected later on has expired or was revoked."""
        self._proved = True
        self._in_vain = 0

    async def _renew(self) -> None:
        secret = self._settings.client_secret
        form = {
            "grant_type": "client_credentials",
            "client_id": self._settings.client_id or "",
            "client_secret": secret.get_secret_value() if secret else "",
        }
        try:
            response = await self._post(TOKEN_PATH, form)
            reply = decode(response.content, _Reply, strict=False)
        except AmperityTransientError as error:
            raise AmperityError(
                f"Amperity gave no new token: {error.message}",
                hint="The token service stays down: materialize amperity_delivery again later.",
            ) from None
        except AmperityUnreachableError:
            raise
        except (AmperityError, UnreadableBodyError) as error:
            what = error.message if isinstance(error, AmperityError) else "the reply holds no access_token."
            raise AmperityRefusedError(
                f"Amperity gave no new token: {what}",
                hint="Check AMPERITY_CLIENT_ID, AMPERITY_CLIENT_SECRET and AMPERITY_TENANT_ID.",
            ) from None
        if not fits_a_header(reply.access_token):
            raise AmperityRefusedError(
                "Amperity gave a new token that is empty or has characters that no header can carry.",
                hint="Check AMPERITY_API_URL; if it is Amperity's, tell Amperity's support.",
            )
        self._current = Bearer(reply.access_token)
        self._in_vain += self._was_rejected
        self._was_rejected = False
        end = self._end_of(reply.access_token, reply.expires_in)
        # A new token that is over at once says nothing about its life: it is used until it is rejected.
        self._expires_at = end if end > self._clock() else _NEVER

    def _end_of(self, token: str, left: float | None = None) -> float:
        """When to renew a token that has so many seconds ``left``, or as many as its own claim says; never where it
        cannot be renewed or does not say."""
        if left is None and self._settings.client_id is not None:
            expires = _expiry_claim(token)
            left = None if expires is None else expires - self._now()
        return _NEVER if left is None else self._clock() + left - min(_AHEAD_SECONDS, left / 10)


def _expiry_claim(token: str) -> float | None:
    """``exp`` of a JWT in Unix seconds. The signature is Amperity's to check; nothing is decided by this but a time."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))
        return decode(claims, _Claims, strict=False).exp
    except (binascii.Error, ValueError):
        return None
