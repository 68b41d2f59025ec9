"""Posts a message to a webhook: one address, which is a secret, with a few retries and within a bounded time."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx

from toast_assets.errors import AlertError, TransientError
from toast_assets.http.retry import retry_after_seconds
from toast_assets.http.service import Route

_ATTEMPTS = 3
_FIRST_WAIT = 1.0
# A webhook that asks for more is asked again by a later tick.
_LONGEST_WAIT = 10.0
_TIMEOUT_SECONDS = 10.0
_TRANSIENT = frozenset({408, 425, 429})


@dataclass(frozen=True)
class Webhook:
    """Takes a POST of ``{text}``, as Slack's incoming webhooks do. ``setting`` names the variable with the ``url``, of
    which texts and logs hold no more than the host. ``sleep`` takes seconds."""

    url: str = field(repr=False)
    setting: str
    sleep: Callable[[float], None] = time.sleep

    @property
    def digest(self) -> str:
        """Identifies the address without showing it."""
        return hashlib.sha256(self.url.encode()).hexdigest()[:16]

    def post(self, text: str, patience: float = 30.0) -> None:
        """Post one message; retries begin within ``patience`` seconds.

        Raises:
            AlertError: the webhook is out of reach, or refuses the message.
            SettingsError: the environment names a proxy or certificates that cannot be used.
        """
        route = Route.to(self.url, self.setting)
        end = time.monotonic() + patience
        timeout = min(_TIMEOUT_SECONDS, patience / _ATTEMPTS)
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return self._attempt(route, text, timeout)
            except TransientError as error:
                wait = error.retry_after or _FIRST_WAIT * 2 ** (attempt - 1)
                if attempt == _ATTEMPTS or wait > _LONGEST_WAIT or time.monotonic() + wait > end:
                    raise AlertError(error.message, hint=error.hint) from None
            self.sleep(wait)
        return None

    def _attempt(self, route: Route, text: str, timeout: float) -> None:
        what = f"The alert webhook ({route.host})"
        try:
            reply = route.ask("POST", self.url, timeout, json={"text": text})
        except (httpx.HTTPError, OSError, ValueError) as error:
            cause = route.cause(error)
            kind = AlertError if cause.is_permanent else TransientError
            raise kind(f"{what} could not be reached: {cause.text}.", hint=cause.hint) from None
        status = reply.status_code
        if refusal := route.proxy_refusal(status):
            raise AlertError(f"{what} could not be reached: {refusal.text}.", hint=refusal.hint)
        message, hint = f"{what} answered {status}.", f"Check {self.setting}."
        if status >= 500 or status in _TRANSIENT:
            wait = retry_after_seconds(reply.headers.get("Retry-After"), time.time())
            raise TransientError(message, retry_after=wait, hint=hint)
        if not reply.is_success:
            raise AlertError(message, hint=hint)
