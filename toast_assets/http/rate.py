"""Limits on calls per second, one class for both services: counted in sliding windows, paused and slowed on request."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Sequence

from toast_assets.http.retry import Sleep

# One overload is answered by many 429s at once; they count as one.
_REACTION_SECONDS = 1.0
# Down to what the service took lately, but by no more than a quarter at a time nor to less than a thirtieth in all;
# then up by a tenth each second.
_STEEPEST, _GENTLEST, _SLOWEST, _RECOVERY = 4.0, 1.25, 30.0, 0.9


class RateLimiter:
    """At most ``calls`` in any ``seconds`` on end, in the order in which they asked.

    A call counts from its departure. With ``until_answered`` it counts until ``seconds`` after its ``release``:
    whenever within that time the server counts it, the server never sees more, however calls are delayed or bunched on
    the way. ``catch_up`` is the share of ``calls`` that may leave at once after a delay, 1 for all of them.
    """

    def __init__(
        self,
        calls: int,
        seconds: float,
        *,
        until_answered: bool = False,
        catch_up: float = 1.0,
        sleep: Sleep = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._calls, self._seconds = calls, seconds
        self._until_answered = until_answered
        self._catch_up = seconds * catch_up
        self._sleep, self._clock = sleep, clock
        self._queue = asyncio.Lock()
        self._released = asyncio.Event()
        self._open = 0
        self._is_closed = False
        self._counted: deque[float] = deque()
        self._accepted: deque[float] = deque(maxlen=calls)
        self._next = self._paused_until = self._slowed_at = float("-inf")
        self._slowed_to = 1.0

    async def acquire(self) -> None:
        """Wait until the next call may leave. With ``until_answered``, ``release`` has to follow."""
        async with self._queue:
            while (wait := self._seconds_to_wait()) is None or wait > 0:
                if wait is None:
                    self._released.clear()
                    await self._released.wait()
                else:
                    await self._sleep(wait)
            now = self._clock()
            if self._until_answered:
                self._open += 1
            else:
                self._counted.append(now)
            spacing = self._seconds / self._calls * self._slowness(now)
            self._next = max(self._next, now - self._catch_up) + spacing

    async def drain(self) -> None:
        """Let nothing leave any more, and wait for the release of what has left."""
        self._is_closed = True
        while self._open:
            self._released.clear()
            await self._released.wait()

    def release(self) -> None:
        """A call is over: answered, failed or given up."""
        self._open -= 1
        self._counted.append(self._clock())
        self._released.set()

    def pause(self, seconds: float) -> None:
        """Let nothing leave for ``seconds`` from now."""
        self._paused_until = max(self._paused_until, self._clock() + seconds)

    def on_success(self) -> None:
        """A call was accepted."""
        self._accepted.append(self._clock())

    def on_throttled(self, retry_after: float | None) -> None:
        """A call was answered 429: slow down, and pause for ``retry_after`` seconds if that is given."""
        now = self._clock()
        if now - self._slowed_at >= _REACTION_SECONDS:
            slowness = self._slowness(now)
            accepted = max(1, sum(at > now - self._seconds for at in self._accepted))
            slower = min(slowness * _STEEPEST, max(slowness * _GENTLEST, self._calls / accepted))
            self._slowed_to = min(_SLOWEST, slower)
            self._slowed_at = now
        self.pause(retry_after or 0.0)

    def _slowness(self, now: float) -> float:
        """How many times the usual time lies between two calls: back to full speed step by step after a push."""
        passed = max(0.0, now - max(self._slowed_at, self._paused_until))
        return max(1.0, self._slowed_to * math.pow(_RECOVERY, passed))

    def _seconds_to_wait(self) -> float | None:
        """How long nothing may leave; None: until a release."""
        if self._is_closed:
            return None
        now = self._clock()
        while self._counted and self._counted[0] + self._seconds <= now:
            self._counted.popleft()
        free_at = now
        if self._open + len(self._counted) >= self._calls:
            if not self._counted:
                return None
            free_at = self._counted[0] + self._seconds
        return max(free_at, self._next, self._paused_until) - now


async def acquire_all(limiters: Sequence[RateLimiter]) -> None:
    """Wait until a call may leave by all ``limiters``; the last one is kept most exactly."""
    while True:
        for limiter in limiters:
            await limiter.acquire()
        # A pause may have begun while the last one was waited for. Whoever waited through it queues again: else all of
        # them would leave at once when it ends.
        if all(limiter._paused_until <= limiter._clock() for limiter in limiters):
            return
