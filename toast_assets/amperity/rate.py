"""Amperity's rate limit: a steady rate just below the setting, slower for a while when Amperity pushes back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from aiolimiter import AsyncLimiter

from toast_assets.retry import Sleep

# A bucket of B that refills at R lets at most R + B pass in any second; both together stay below the limit.
_STEADY_SHARE, _BURST_SHARE = 0.97, 0.02
_SLOWER, _FASTER = 1.5, 0.995
# One overload is answered by many 429s at once; they count as one.
_REACTION_SECONDS = 1.0


class AdaptiveRate:
    """At most ``per_second`` calls in any second; each push-back slows down, each success speeds up a little."""

    def __init__(
        self, per_second: float, *, sleep: Sleep = asyncio.sleep, clock: Callable[[], float] = time.monotonic
    ) -> None:
        burst = max(1.0, per_second * _BURST_SHARE)
        self._limiter = AsyncLimiter(burst, burst / (per_second * _STEADY_SHARE))
        self._dearest = burst
        self._cost = 1.0
        self._sleep = sleep
        self._clock = clock
        self._held_until = 0.0
        self._slowed_at = float("-inf")

    async def admit(self) -> None:
        """Wait until the next call may leave."""
        while (left := self._held_until - self._clock()) > 0:
            await self._sleep(left)
        await self._limiter.acquire(min(self._cost, self._dearest))

    def succeeded(self) -> None:
        """A call was taken."""
        self._cost = max(1.0, self._cost * _FASTER)

    def pushed_back(self, retry_after: float | None) -> None:
        """A call was answered 429; ``retry_after`` in seconds holds everything back for so long."""
        now = self._clock()
        if now - self._slowed_at >= _REACTION_SECONDS:
            self._slowed_at = now
            self._cost = min(self._dearest, self._cost * _SLOWER)
        if retry_after:
            self._held_until = max(self._held_until, now + retry_after)
