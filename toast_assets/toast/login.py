"""Toast's access token (Toast: Authentication)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import httpx

from toast_assets.errors import (
    ToastLoginError,
    ToastRefusedError,
    ToastReplyError,
    ToastUnreachableError,
    TransientError,
)
from toast_assets.http.bearer import Bearer, Token
from toast_assets.http.bodies import UnreadableBodyError, decode
from toast_assets.toast.restaurants import PARTNERS_PATH
from toast_assets.toast.settings import ToastSettings

LOGIN_PATH = "/authentication/v1/authentication/login"
OPTIONAL = "optional"
"""The extension of a request that is not worth a login."""

# The guide's sessionToken comes without its lifetime.
_UNKNOWN_LIFETIME = 3600.0
# Too many logins can end access (Toast: Authentication: no more than twice an hour). A run has no good reason for
# more than these, nor for another one soon after two that did not help.
_MOST_RENEWALS = 10
_MOST_USELESS = 2
_SOON = 1800.0
# Answers to a login that may be due to the credentials.
_OF_CREDENTIALS = frozenset({400, 401, 403, 404, 422})

# A token and the seconds of its life.
Grant = tuple[str, float]
PostLogin = Callable[[str, dict[str, str], Callable[[bytes], Grant]], Awaitable[Grant]]


class ToastLogin(Bearer):
    """One machine client's token. ``post`` sends a login with retries, and reads the body of a reply with status 200.

    Raises:
        ToastLoginError: Toast refuses the credentials, or the login service stays down.
    """

    name = "Toast"
    refused = ToastLoginError

    def __init__(self, settings: ToastSettings, post: PostLogin, *, clock: Callable[[], float]) -> None:
        super().__init__(clock)
        self._settings = settings
        self._post = post
        self._logged_in_at = float("-inf")

    def is_rejection(self, response: httpx.Response) -> bool:
        """Whether another login may change a 401. It does not for a client that is no partner's."""
        request = response.request
        asks_for_partner = request.url.path == PARTNERS_PATH and b"partnerguid" in response.content.lower()
        return response.status_code == 401 and not asks_for_partner and OPTIONAL not in request.extensions

    def may_renew(self) -> bool:
        """Once in any case; later only a token that was valid, and not soon after logins that did not help."""
        long_ago = self._clock() - self._logged_in_at > _SOON
        helps = self._is_valid and (self._useless < _MOST_USELESS or long_ago)
        return self._renewals == 0 or (self._renewals < _MOST_RENEWALS and helps)

    async def fetch(self) -> Token:
        """Log in."""
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
                hint=error.hint or "Check TOAST_API_URL and Toast's status page, then repeat the run.",
            ) from None
        except ToastUnreachableError as error:
            raise ToastLoginError(error.message, hint=error.hint) from None
        except ToastRefusedError as error:
            hint = "Check TOAST_CLIENT_ID, TOAST_CLIENT_SECRET and TOAST_API_URL."
            raise ToastLoginError(
                f"Toast refused the login at {settings.api_url}: {error.message}",
                hint=hint if error.status in _OF_CREDENTIALS else error.hint,
            ) from None
        self._logged_in_at = self._clock()
        self._is_valid = False
        return self.granted(*granted)


def _read(body: bytes) -> Grant:
    """The token in a reply with status 200.

    Raises:
        ToastReplyError: there is no token; a gateway may have answered instead of Toast.
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
    try:
        seconds = float(str(found.get("expiresIn")))
    except ValueError:
        seconds = 0.0
    return token, seconds if seconds > 0 else _UNKNOWN_LIFETIME
