"""Keeps Toast's limits: an even pace for each restaurant, and pauses that concern just who must pause.

Toast counts per client and restaurant, in fixed slices of a second (Toast: rate limiting). So no second, wherever it
begins, may have more calls than the limit; within it a call that was late may be made up for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from itertools import cycle
from typing import Self

import httpx
from aiolimiter import AsyncLimiter

from toast_assets.http.retry import Sleep, http_date, retry_after_seconds
from toast_assets.toast.settings import ToastLimits

# Calls arrive with the network's jitter; this much slack keeps them within the limit there.
_SLACK = 1.025
# So many calls may follow each other at once where the rate allows more; the rest of a second is for the others.
_MOST_TOGETHER = 50
# Toast's longest documented window. A reset further away than this, and a little more for clocks that differ, is a
# mistake, not a limit.
_LONGEST_WINDOW = 15 * 60.0
_CLOCKS_DIFFER = 60.0
# The year 5138 in seconds; a larger number of the length of a time counts milliseconds, or what is smaller still.
_MOST_SECONDS = 10**11
_LONGEST_NUMBER = 19
# Toast asks to space calls for historical pulls; what closed longer ago than this counts as historical.
_HISTORICAL_AFTER = timedelta(days=31)


class Pace:
    """Admission of calls, ``calls`` in any ``seconds`` on end; ``hold`` stops all of them for a while."""

    def __init__(
        self, seconds: float, *, calls: int = 1, sleep: Sleep, clock: Callable[[], float] = time.monotonic
    ) -> None:
        # Each admits one call in that time, and they take turns: a single limiter of several calls would let as many
        # leave at once after a rest, and the next ones while those still count.
        limiters = [AsyncLimiter(1, seconds) for _ in range(calls)] if seconds > 0 else []
        self._limiters = cycle(limiters) if limiters else None
        self._sleep = sleep
        self._clock = clock
        self._held_until = 0.0

    @classmethod
    def of(
        cls, rate: float | None, spacing: float = 0.0, *, sleep: Sleep, clock: Callable[[], float] = time.monotonic
    ) -> Self:
        """The pace of at most ``rate`` calls per second, and of ``spacing`` seconds between two where that is more."""
        if rate is None or spacing > pace_spacing(rate):
            return cls(spacing, sleep=sleep, clock=clock)
        calls = min(_MOST_TOGETHER, max(1, int(rate)))
        return cls(pace_spacing(rate) * calls, calls=calls, sleep=sleep, clock=clock)

    async def turn(self) -> None:
        """Wait until it is the next call's turn; a ``hold`` may have come in the meantime."""
        while (left := self.held) > 0:
            await self._sleep(left)
        if self._limiters is not None:
            await next(self._limiters).acquire()

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
    """Seconds for each call, on the average, that keep to ``rate`` calls per second."""
    return _SLACK / rate


def historical_spacing(settings: ToastLimits, ended: datetime, now: datetime) -> float:
    """Seconds that Toast asks for between two calls for one restaurant, of a week that ``ended`` then (both aware); 0
    where the week is recent."""
    return settings.historical_spacing_seconds if now - ended > _HISTORICAL_AFTER else 0.0


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
    now = _toasts_now(headers, now)
    waits = [
        _in_seconds(int(part)) - now
        for part in parts
        if part.isascii() and part.isdigit() and len(part) <= _LONGEST_NUMBER
    ]
    # Several scopes may be named at once: the last of them to open counts.
    waits = [wait for wait in waits if wait <= _LONGEST_WINDOW + _CLOCKS_DIFFER]
    return min(_LONGEST_WINDOW, max(0.0, *waits)) if waits else None


def _in_seconds(time: float) -> float:
    return time if time < _MOST_SECONDS else _in_seconds(time / 1000)


def _toasts_now(headers: httpx.Headers, now: float) -> float:
    # The reset is absolute, so it means nothing by a clock that is wrong. The reply's date is whole seconds only,
    # hence the local clock unless it is clearly off.
    date = http_date(headers.get("Date"))
    return now if date is None or abs(date - now) <= 3 else date
