"""Toast's access token: fetched when first needed, kept until it expires, renewed when Toast no longer takes it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from toast_assets.errors import (
    ToastLoginError,
    ToastRefusedError,
    ToastReplyError,
    ToastUnreachableError,
    TransientError,
)
from toast_assets.http.bodies import UnreadableBodyError, decode
from toast_assets.http.own_secrets import fits_a_header
from toast_assets.toast.settings import ToastSettings

LOGIN_PATH = "/authentication/v1/authentication/login"

# Toast hands out a new token only within the old one's last minute (Toast: Authentication).
_RENEW_BEFORE_EXPIRY = 60.0
# The guide's sessionToken comes without its lifetime.
_UNKNOWN_LIFETIME = 3600.0
# Too many logins can end access (Toast: Authentication: no more than twice an hour). A run has no good reason for
# more than these, nor for another one soon after two that did not help.
_MOST_RENEWALS = 10
_MOST_IN_VAIN = 2
_SOON = 1800.0
# Answers to a login that may be due to the credentials.
_OF_CREDENTIALS = frozenset({400, 401, 403, 404, 422})


@dataclass(frozen=True)
class Token:
    """An access token; ``number`` counts logins, because Toast may hand out the same ``value`` again."""

    value: str
    number: int


@dataclass(frozen=True)
class Granted:
    """What a login brought: a token, and how many more seconds it is valid."""

    token: str
    seconds: float


class PostLogin(Protocol):
    """Sends one login request, with retries, and returns what ``read`` makes of the body of a reply with status 200."""

    async def __call__(self, path: str, credentials: dict[str, str], read: Callable[[bytes], Granted]) -> Granted: ...


class ToastLogin:
    """One machine client's token, shared by all calls of a run."""

    def __init__(
        self, settings: ToastSettings, post: PostLogin, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings = settings
        self._post = post
        self._clock = clock
        self._lock = asyncio.Lock()
        self._token = Token("", 0)
        self._logged_in_at = self._expires_at = float("-inf")
        self._renewals = self._in_vain = 0
        self._proved = False

    @property
    def logins(self) -> int:
        """How often this client logged in."""
        return self._token.number

    async def token(self) -> Token:
        """A token that is valid now.

        Raises:
            ToastLoginError: Toast refuses the credentials, or the login service stays down.
        """
        async with self._lock:
            if self._clock() >= self._expires_at:
                await self._login()
            return self._token

    def accepted(self, token: Token) -> None:
        """A data call with ``token`` succeeded: a later 401 means that the token has ended, not that it is bad."""
        self._proved = self._proved or token.number == self._token.number

    def refused(self, token: Token) -> None:
        """A data call was answered 401 although ``token`` had just been renewed for it."""
        del token
        self._in_vain += 1

    async def renewed(self, rejected: Token) -> Token | None:
        """A newer token instead of the ``rejected`` one; None if another login would be no better.

        Raises:
            ToastLoginError: as ``token``.
        """
        async with self._lock:
            # Whoever waited here finds the token that the first one brought.
            if self._token.number != rejected.number:
                return self._token
            if not self._renewal_may_help():
                return None
            self._renewals += 1
            await self._login()
            return self._token

    def _renewal_may_help(self) -> bool:
        if self._renewals == 0:
            return True
        long_ago = self._clock() - self._logged_in_at > _SOON
        return self._renewals < _MOST_RENEWALS and self._proved and (self._in_vain < _MOST_IN_VAIN or long_ago)

    async def _login(self) -> None:
        settings = self._settings
        credentials = {
            "clientId": settings.client_id,
            "clientSecret": settings.client_secret.get_secret_value(),
            "userAccessType": "TOAST_MACHINE_CLIENT",
        }
        try:
            granted = await self._post(LOGIN_PATH, credentials, _read)
        except ToastReplyError as error:
            raise ToastLoginError(
                f"Toast's login at {settings.api_url} {error.message}",
                hint="Check that TOAST_API_URL is Toast's API and not a proxy's sign-in page.",
            ) from None
        except TransientError as error:
            down = f"Toast's login at {settings.api_url} stayed down: {error.message}"
            raise ToastLoginError(
                # What was not even tried seven times is no service that is down, but a name that is not known.
                down if error.attempts is None else error.message,
                hint=error.hint or "Check TOAST_API_URL and Toast's status page; the run can simply be repeated.",
            ) from None
        except ToastLoginError:
            raise
        except ToastUnreachableError as error:
            raise ToastLoginError(error.message, hint=error.hint) from None
        except ToastRefusedError as error:
            hint = "Check TOAST_CLIENT_ID, TOAST_CLIENT_SECRET and TOAST_API_URL."
            raise ToastLoginError(
                f"Toast refused the login at {settings.api_url}: {error.message}",
                hint=hint if error.status in _OF_CREDENTIALS else error.hint,
            ) from None
        self._token = Token(granted.token, self._token.number + 1)
        self._logged_in_at = self._clock()
        margin = min(_RENEW_BEFORE_EXPIRY, granted.seconds / 10)
        self._expires_at = self._logged_in_at + granted.seconds - margin
        self._proved = False


def _read(body: bytes) -> Granted:
    """The token in a reply with status 200.

    Raises:
        ToastReplyError: there is none; a gateway may have answered instead of Toast.
        ToastLoginError: there is one that no request can carry.
    """
    try:
        reply = decode(body, dict[str, Any])
    except UnreadableBodyError:
        reply = {}
    documented = reply.get("token")
    found = documented if isinstance(documented, dict) else {}
    # The guide's example reads a top-level sessionToken; Toast documents token.accessToken.
    token = found.get("accessToken") or reply.get("sessionToken")
    if not isinstance(token, str) or not token:
        raise ToastReplyError("answered 200 without a token.")
    if not fits_a_header(token):
        raise ToastLoginError(
            "Toast's login gave a token with characters that no header can carry.",
            hint="Check that TOAST_API_URL is Toast's API; if it is, tell Toast's support.",
        )
    return Granted(token, _seconds(found.get("expiresIn")))


def _seconds(value: object) -> float:
    try:
        seconds = float(str(value))
    except ValueError:
        return _UNKNOWN_LIFETIME
    return seconds if seconds > 0 else _UNKNOWN_LIFETIME
