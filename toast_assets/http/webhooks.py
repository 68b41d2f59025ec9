"""Posts a message to a webhook: one address, which is a secret, with a few retries and within a bounded time."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx

from toast_assets.errors import AlertError
from toast_assets.http.routes import Route
from toast_assets.retry import retry_after_seconds

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
        """Tells addresses apart without showing them."""
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
        # Not by httpx.post, which logs the whole address.
        with route.transport() as transport:
            for attempt in range(1, _ATTEMPTS + 1):
                problem, wait = self._attempt(route, transport, text, timeout)
                if problem is None:
                    return
                wait = wait if wait else _FIRST_WAIT * 2 ** (attempt - 1)
                if problem.is_final or attempt == _ATTEMPTS or wait > _LONGEST_WAIT or time.monotonic() + wait > end:
                    raise AlertError(f"The alert webhook ({route.host}) {problem.text}.", hint=problem.hint)
                self.sleep(wait)

    def _attempt(
        self, route: Route, transport: httpx.HTTPTransport, text: str, timeout: float
    ) -> tuple[_Problem | None, float | None]:
        """What went wrong, if anything, and how long the webhook asks to wait."""
        timeouts = dict.fromkeys(("connect", "read", "write", "pool"), timeout)
        request = httpx.Request("POST", self.url, json={"text": text}, extensions={"timeout": timeouts})
        try:
            reply = transport.handle_request(request)
            # Its body is of no interest, and may never end.
            reply.close()
        except (httpx.HTTPError, OSError, ValueError) as error:
            cause = route.cause(error)
            return _Problem(f"could not be reached: {cause.text}", cause.hint, cause.is_permanent), None
        status = reply.status_code
        if reply.is_success:
            return None, None
        if refusal := route.proxy_refusal(status):
            return _Problem(f"could not be reached: {refusal.text}", refusal.hint, is_final=True), None
        passing = status >= 500 or status in _TRANSIENT
        problem = _Problem(f"answered {status}", f"Check {self.setting}.", is_final=not passing)
        return problem, retry_after_seconds(reply.headers.get("Retry-After"), time.time())


@dataclass(frozen=True)
class _Problem:
    text: str
    hint: str
    is_final: bool
