"""Toast's login: credentials in, a bearer token out.

- A token lives ``token_seconds``; another login returns the same one with the seconds that remain, a new one
  only within the last sixty seconds [doc].
- The token is a JWT whose ``scope`` claim lists the scopes, separated by spaces [doc]. Its signature is an invention.
- Wrong credentials and another ``userAccessType`` are a 401, a body that is not such an object a 400 (judgement).
"""

from __future__ import annotations

import base64
import hmac
from typing import Any

import msgspec

from toast_assets.sandbox.config import SandboxConfig

_RENEWAL_SECONDS = 60


class _Credentials(msgspec.Struct):
    clientId: str
    clientSecret: str
    userAccessType: str


class ToastTokens:
    """Issues and checks Toast's tokens."""

    def __init__(self, config: SandboxConfig) -> None:
        self._config = config
        self._issued = 0
        self._token = ""
        self._expires = 0.0
        self._valid: dict[str, float] = {}

    def login(self, body: bytes) -> dict[str, Any] | None:
        """The reply to a login, or None where the credentials are wrong.

        Raises:
            msgspec.DecodeError: the body is not a JSON object with the three strings.
        """
        given = msgspec.json.decode(body, type=_Credentials)
        config = self._config
        right = (
            hmac.compare_digest(given.clientId, config.toast_client_id)
            and hmac.compare_digest(given.clientSecret, config.toast_client_secret)
            and given.userAccessType == "TOAST_MACHINE_CLIENT"
        )
        if not right:
            return None
        now = config.now()
        if self._token not in self._valid or self._expires - now <= _RENEWAL_SECONDS:
            self._issue(now)
        if config.guide_login:
            return {"sessionToken": self._token, "status": "SUCCESS"}
        token = {
            "tokenType": "Bearer",
            "scope": None,
            "expiresIn": int(self._expires - now),
            "accessToken": self._token,
            "idToken": None,
            "refreshToken": None,
        }
        return {"@class": ".SuccessfulResponse", "token": token, "status": "SUCCESS"}

    def valid(self, token: str | None) -> bool:
        """Whether the token was issued here, has not expired and was not revoked."""
        return token is not None and self._valid.get(token, 0.0) > self._config.now()

    def revoke_all(self) -> None:
        """Makes every token issued so far worthless."""
        self._valid.clear()

    def _issue(self, now: float) -> None:
        self._issued += 1
        self._expires = now + self._config.token_seconds
        claims = {
            "iss": "toast-sandbox",
            "sub": self._config.toast_client_id,
            "scope": self._config.scopes,
            "iat": int(now),
            "exp": int(self._expires),
            "jti": f"token-{self._issued}",
        }
        parts = ({"alg": "RS256", "typ": "JWT"}, claims)
        self._token = ".".join(_base64(msgspec.json.encode(part)) for part in parts) + "." + _base64(b"sandbox")
        self._valid[self._token] = self._expires


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
