"""Toast's access token: fetched when first needed, kept until it expires, renewed when Toast no longer takes it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import httpx
import msgspec

from toast_assets.errors import ToastError, ToastLoginError, TransientError
from toast_assets.settings import ToastSettings

LOGIN_PATH = "/authentication/v1/authentication/login"

# Toast hands out a new token only within the old one's last minute (Toast: Authentication).
_RENEW_BEFORE_EXPIRY = 60.0
# Too many logins can end access (Toast: Authentication); one run has no good reason for more than this.
_MOST_RENEWALS = 10


class _Token(msgspec.Struct):
    accessToken: str
    expiresIn: float | None = None


class _Reply(msgspec.Struct):
    token: _Token | None = None
    sessionToken: str | None = None


class ToastLogin:
    """One machine client's token, shared by all calls of a run.

    ``post`` sends one login request with retries and returns the reply with status 200.
    """

    def __init__(
        self,
        settings: ToastSettings,
        post: Callable[[str, dict[str, str]], Awaitable[httpx.Response]],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._post = post
        self._clock = clock
        self._lock = asyncio.Lock()
        self._token = ""
        self._expires_at = 0.0
        self._renewals = 0
        self._proved = False
        self.logins = 0

    async def token(self) -> str:
        """A token that is valid now.

        Raises:
            ToastLoginError: Toast refuses the credentials, or the login service stays down.
        """
        async with self._lock:
            if self._clock() >= self._expires_at:
                await self._login()
            return self._token

    def accepted(self, token: str) -> None:
        """A data call with ``token`` succeeded: a later 401 means that the token has ended, not that it is bad."""
        self._proved = self._proved or token == self._token

    async def renewed(self, rejected: str) -> str | None:
        """Another token instead of the ``rejected`` one; None if a new one would be no better.

        Raises:
            ToastLoginError: as ``token``.
        """
        async with self._lock:
            # Whoever waited here finds the token that the first one brought.
            if self._token != rejected:
                return self._token
            if self._renewals >= _MOST_RENEWALS or (self._renewals and not self._proved):
                return None
            self._renewals += 1
            await self._login()
            return self._token

    async def _login(self) -> None:
        settings = self._settings
        credentials = {
            "clientId": settings.client_id,
            "clientSecret": settings.client_secret.get_secret_value(),
            "userAccessType": "TOAST_MACHINE_CLIENT",
        }
        try:
            response = await self._post(LOGIN_PATH, credentials)
        except TransientError as error:
            raise ToastLoginError(
                f"Toast's login at {settings.api_url} stayed down: {error.message}",
                hint="Check TOAST_API_URL and Toast's status page; the run can simply be repeated.",
            ) from error
        except ToastError as error:
            raise ToastLoginError(
                f"Toast refused the login at {settings.api_url}: {error.message}",
                hint="Check TOAST_CLIENT_ID, TOAST_CLIENT_SECRET and TOAST_API_URL.",
            ) from None
        self._keep(response)

    def _keep(self, response: httpx.Response) -> None:
        try:
            reply = msgspec.json.decode(response.content, type=_Reply)
        except msgspec.DecodeError:
            reply = _Reply()
        # The guide's example reads a top-level sessionToken; Toast documents token.accessToken.
        token = reply.token.accessToken if reply.token else reply.sessionToken
        if not token:
            raise ToastLoginError(
                f"Toast's login at {self._settings.api_url} answered 200 without a token.",
                hint="Check that TOAST_API_URL is Toast's API and not a proxy's sign-in page.",
            )
        lifetime = reply.token.expiresIn if reply.token and reply.token.expiresIn else 3600.0
        self._token = token
        self._expires_at = self._clock() + max(0.0, lifetime - min(_RENEW_BEFORE_EXPIRY, lifetime / 10))
        self._proved = False
        self.logins += 1
