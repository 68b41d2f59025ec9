"""Amperity's bearer token: the key as it was given, or one that is fetched and renewed (Amperity: OAuth 2 token)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress

import httpx
import msgspec

from toast_assets.amperity.settings import AmperitySettings
from toast_assets.errors import AmperityError, AmperityRefusedError, AmperityTransientError
from toast_assets.http.bearer import NEVER, Bearer, Token, claims_of
from toast_assets.http.bodies import UnreadableBodyError, decode
from toast_assets.http.retry import Sleep

TOKEN_PATH = "/api/v0/oauth2/token"  # noqa: S105 - a path

# A token can be revoked before the first answer to it is back, and the next one as well. After this many renewals in a
# row without a success the credentials are wrong; before anything was accepted at all, one is enough to know that.
_MOST_USELESS = 5
# Before another one follows a token that brought nothing yet, answers on their way get time to arrive. Doubled each
# time.
_FIRST_PAUSE_SECONDS = 0.5


class _Reply(msgspec.Struct):
    access_token: str
    expires_in: float | None = None


class AmperityToken(Bearer):
    """The token of one tenant. ``post`` sends the token request with retries; ``sleep`` and ``clock`` count seconds,
    ``now`` gives Unix seconds.

    Raises:
        AmperityRefusedError: Amperity refuses the client's credentials.
        AmperityError: the token service stays down.
    """

    name = "Amperity"
    refused = AmperityRefusedError

    def __init__(
        self,
        settings: AmperitySettings,
        post: Callable[[str, dict[str, str]], Awaitable[httpx.Response]],
        *,
        sleep: Sleep,
        clock: Callable[[], float],
        now: Callable[[], float],
    ) -> None:
        super().__init__(clock)
        self._settings = settings
        self._post = post
        self._sleep = sleep
        self._now = now
        if settings.api_key is not None:
            key = settings.api_key.get_secret_value()
            # A key that cannot be renewed is used whatever it says.
            self._token = self._lasting(key, None) if settings.client_id else Token(key, NEVER)

    def may_renew(self) -> bool:
        """With client credentials, until renewals bring nothing."""
        return self._settings.client_id is not None and self._renewals < (_MOST_USELESS if self._is_valid else 1)

    def mark_valid(self, token: Token) -> None:
        """A call succeeded, whatever became of its token since."""
        del token
        self._is_valid = True
        self._renewals = 0

    async def fetch(self) -> Token:
        """A token by client credentials."""
        if self._renewals:
            await self._sleep(_FIRST_PAUSE_SECONDS * 2 ** (self._renewals - 1))
        secret = self._settings.client_secret
        form = {
            "grant_type": "client_credentials",
            "client_id": self._settings.client_id or "",
            "client_secret": secret.get_secret_value() if secret else "",
        }
        reply = None
        try:
            response = await self._post(TOKEN_PATH, form)
        except AmperityTransientError as error:
            raise AmperityError(
                f"Amperity gave no new token: {error.message}",
                hint="The token service stays down: materialize amperity_delivery again later.",
                code=error.code,
            ) from None
        with suppress(UnreadableBodyError):
            reply = decode(response.content, _Reply, strict=False)
        if response.status_code != 200 or reply is None:
            raise AmperityRefusedError(
                f"Amperity gave no new token: it answered {response.status_code} without an access_token.",
                hint="Check AMPERITY_CLIENT_ID, AMPERITY_CLIENT_SECRET and AMPERITY_TENANT_ID.",
                code="AMPERITY-TOKEN",
            )
        token = self._lasting(reply.access_token, reply.expires_in)
        # A new token that is over at once says nothing about its life: it is used until it is rejected.
        return token if token.renew_at > self._clock() else Token(token.value, NEVER)

    def _lasting(self, value: str, seconds: float | None) -> Token:
        """A token that lasts for ``seconds``, else as long as its own claim says, else until it is rejected."""
        if seconds is None:
            try:
                seconds = msgspec.convert(claims_of(value).get("exp"), float, strict=False) - self._now()
            except msgspec.ValidationError:
                seconds = NEVER
        return self.granted(value, seconds)
