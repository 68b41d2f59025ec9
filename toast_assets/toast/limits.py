"""Keeps Toast's limits: an even pace for each restaurant, and pauses that concern just who must pause.

Toast counts per client and restaurant, in fixed slices of a second (Toast: rate limiting), so calls spaced evenly
can never put more than the limit into one slice.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from email.utils import parsedate_to_datetime

import httpx
from aiolimiter import AsyncLimiter

from toast_assets.retry import Sleep, retry_after_seconds

# Calls leave evenly but arrive with the network's jitter; this much slack keeps them within the limit there.
_SLACK = 1.03
# A reset further away than Toast's longest documented window is a mistake, not a limit.
_LONGEST_WINDOW = 15 * 60.0


class Pace:
    """Admission of calls, one after the other, ``spacing`` seconds apart; ``hold`` stops all of them for a while."""

    def __init__(self, spacing: float, *, sleep: Sleep, clock: Callable[[], float] = time.monotonic) -> None:
        self._limiter = AsyncLimiter(1, spacing) if spacing > 0 else None
        self._sleep = sleep
        self._clock = clock
        self._held_until = 0.0

    async def turn(self) -> None:
        """Wait until it is the next call's turn; a ``hold`` may have come in the meantime."""
        while (left := self.held) > 0:
            await self._sleep(left)
        if self._limiter is not None:
            await self._limiter.acquire()

    @property
    def held(self) -> float:
        """For how many more seconds nothing may leave."""
        return max(0.0, self._held_until - self._clock())

    def hold(self, seconds: float) -> None:
        """Let nothing leave for ``seconds`` from now."""
        self._held_until = max(self._held_until, self._clock() + min(seconds, _LONGEST_WINDOW))


async def admit(paces: Sequence[Pace]) -> None:
    """Wait until a call may leave by all ``paces``; the last one is kept most exactly."""
    while True:
        for pace in paces:
            await pace.turn()
        # Who waited through a hold takes turns again: else all who wait would leave at once when it ends.
        if not any(pace.held for pace in paces):
            return


def pace_spacing(rate: float) -> float:
    """Seconds between two calls that keep to ``rate`` calls per second."""
    return _SLACK / rate


def seconds_to_wait(headers: httpx.Headers, now: float) -> float | None:
    """What a 429 asks for, in seconds: ``Retry-After``, else the time to ``X-Toast-RateLimit-Reset``, else None."""
    told = retry_after_seconds(headers.get("Retry-After"), now)
    return told if told is not None else _seconds_to_reset(headers, now)


def exhausted_for(headers: httpx.Headers, now: float) -> float:
    """Seconds until the next call may leave, by a good reply that says it was the last one of its window, else 0."""
    remaining = headers.get("X-Toast-RateLimit-Remaining", "")
    if "0" not in [part.strip() for part in remaining.split(",")]:
        return 0.0
    return _seconds_to_reset(headers, now) or 0.0


def concerns_everyone(headers: httpx.Headers) -> bool:
    """Whether the limit is the account's; all other scopes are counted per restaurant when its header was sent."""
    scopes = headers.get("X-Toast-RateLimit-By", "").upper()
    return "ACCOUNT" in [scope.strip() for scope in scopes.split(",")]


def _seconds_to_reset(headers: httpx.Headers, now: float) -> float | None:
    parts = [part.strip() for part in headers.get("X-Toast-RateLimit-Reset", "").split(",")]
    resets = [int(part) for part in parts if part.isascii() and part.isdigit()]
    if not resets:
        return None
    # Several scopes may be named at once: the last of them to open counts.
    return min(_LONGEST_WINDOW, max(0.0, max(resets) - _toasts_now(headers, now)))


def _toasts_now(headers: httpx.Headers, now: float) -> float:
    # The reset is absolute, so it means nothing by a clock that is wrong. The reply's date is whole seconds only,
    # hence the local clock unless it is clearly off.
    try:
        date = parsedate_to_datetime(headers["Date"]).timestamp()
    except (KeyError, ValueError):
        return now
    return date if abs(date - now) > 3 else now
