"""Posts a message to a webhook: one address, which is a secret, with a few retries and within a bounded time."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx

from toast_assets.errors import AlertError
from toast_assets.http.retry import retry_after_seconds
from toast_assets.http.service import Route

_ATTEMPTS = 3
# Of an answer, and of a pause: a webhook that asks for more is asked again by a later tick.
_LONGEST_WAIT = 10.0
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

    def post(self, text: str, patience: float) -> None:
        """Post one message; retries begin within ``patience`` seconds.

        Raises:
            AlertError: the webhook is out of reach, or refuses the message.
            SettingsError: the environment names a proxy or certificates that cannot be used.
        """
        route = Route.to(self.url, self.setting)
        end = time.monotonic() + patience
        timeout = min(_LONGEST_WAIT, patience / _ATTEMPTS)
        for attempt in range(1, _ATTEMPTS + 1):
            wait, hint = 2.0 ** (attempt - 1), f"Check {self.setting}."
            try:
                reply = route.ask("POST", self.url, timeout, json={"text": text})
            except (httpx.HTTPError, OSError, ValueError) as error:
                cause = route.cause(error)
                problem, hint, may_pass = f"could not be reached: {cause.text}", cause.hint, not cause.is_permanent
            else:
                if reply.is_success:
                    return
                problem = f"answered {reply.status_code}"
                may_pass = reply.status_code >= 500 or reply.status_code in _TRANSIENT
                wait = retry_after_seconds(reply.headers.get("Retry-After"), time.time()) or wait
            if not may_pass or attempt == _ATTEMPTS or wait > min(_LONGEST_WAIT, end - time.monotonic()):
                raise AlertError(f"The alert webhook ({route.host}) {problem}.", hint=hint)
            self.sleep(wait)
