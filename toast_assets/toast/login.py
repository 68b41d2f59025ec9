"""Toast's access token (Toast: Authentication)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import httpx

from toast_assets.errors import ToastError, ToastLoginError, ToastRefusedError, ToastReplyError, TransientError
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


class ToastLogin(Bearer):
    """One machine client's token. ``post`` sends credentials to ``LOGIN_PATH``, with retries, and returns what
    ``read_grant`` reads. Raises ToastLoginError where Toast refuses the credentials, or the login service stays
    down."""

    name = "Toast"
    refused = ToastLoginError

    def __init__(
        self,
        settings: ToastSettings,
        post: Callable[[dict[str, str]], Awaitable[tuple[str, float]]],
        *,
        clock: Callable[[], float],
    ) -> None:
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
            granted = await self._post(credentials)
        except ToastError as error:
            raise self._explained(error) from None
        self._logged_in_at = self._clock()
        self._is_valid = False
        return self.granted(*granted)

    def _explained(self, error: ToastError) -> ToastLoginError:
        login = f"login at {self._settings.api_url}"
        # What is no refusal of the credentials keeps its code.
        message, hint, code = error.message, error.hint, error.code
        if isinstance(error, ToastReplyError):
            code = "TOAST-TOKEN"
            message = f"Toast's {login} {message}"
            hint = "Check that TOAST_API_URL is Toast's API and not a proxy's sign-in page."
        elif isinstance(error, TransientError):
            # A bound on attempts belongs to a name that is not known, not to a service that is down.
            message = f"Toast's {login} stayed down: {message}" if error.attempts is None else message
            hint = hint or "Check TOAST_API_URL and Toast's status page, then repeat the run."
        elif isinstance(error, ToastRefusedError):
            message = f"Toast refused the {login}: {message}"
            # A redirect is not due to the credentials.
            if error.status >= 400:
                code = ToastLoginError.code
                hint = "Check TOAST_CLIENT_ID, TOAST_CLIENT_SECRET and TOAST_API_URL."
        return ToastLoginError(message, hint=hint, code=code)


def read_grant(body: bytes) -> tuple[str, float]:
    """The token in a reply with status 200, and the seconds of its life. Raises ToastReplyError where there is no
    token; a gateway may have answered instead of Toast."""
    reply: dict[str, Any] = {}
    with suppress(UnreadableBodyError):
        reply = decode(body, dict[str, Any])
    found = reply["token"] if isinstance(reply.get("token"), dict) else {}
    # The guide's example reads a top-level sessionToken; Toast documents token.accessToken.
    token = found.get("accessToken") or reply.get("sessionToken")
    if not isinstance(token, str) or not token:
        raise ToastReplyError("answered 200 without a token.")
    try:
        seconds = float(str(found.get("expiresIn")))
    except ValueError:
        seconds = 0.0
    return token, seconds if seconds > 0 else _UNKNOWN_LIFETIME
