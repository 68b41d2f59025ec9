"""Amperity's rate limit, kept as the server counts it, and slower for a while when Amperity pushes back.

A call counts from the moment it leaves until a second after its answer. Whenever within that time the server counts
it, there are never more than the limit in any second of the server's, however calls are delayed or bunched on the
way. A limiter that looks at departures alone cannot promise that.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

from toast_assets.http.retry import Sleep

# Two clocks that are both right still differ a little in what they call a second.
_DRIFT = 1.002
# What a loop that was late may catch up on at once, as a share of the limit. With a fiftieth, delays that were not made
# up cost a tenth of the speed. The limit itself is kept by the count of calls, not by this.
_CATCH_UP = 0.1
# One overload is answered by many 429s at once; they count as one.
_REACTION_SECONDS = 1.0
# Down to what Amperity took lately, but by no more than a quarter at a time nor to less than a thirtieth in all; then
# up by a tenth each second.
_STEEPEST, _GENTLEST, _SLOWEST, _RECOVERY = 4.0, 1.25, 30.0, 1.1


class AdaptiveRate:
    """At most ``per_second`` calls in any second, whole ones: 1.5 is 1 a second, 0.5 is 1 in two seconds.

    Calls leave evenly, in the order in which they asked. ``sleep`` and ``clock`` (seconds) are injectable.
    """

    def __init__(
        self, per_second: float, *, sleep: Sleep = asyncio.sleep, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._sleep = sleep
        self._clock = clock
        self._most = max(1, int(per_second))
        self._window = max(1.0, 1.0 / per_second) * _DRIFT
        self._spacing = self._window / self._most
        self._catch_up = self._spacing * self._most * _CATCH_UP
        self._turn = asyncio.Lock()
        self._open = 0
        self._answered: deque[float] = deque()
        self._accepted: deque[float] = deque(maxlen=self._most)
        self._answer = asyncio.Event()
        self._next = float("-inf")
        self._held_until = float("-inf")
        self._slowness = 1.0
        self._slowed_at = float("-inf")
        self._recovered_at = clock()

    async def admit(self) -> None:
        """Wait until the next call may leave; ``answered`` has to follow, whatever becomes of the call."""
        async with self._turn:
            while (wait := self._seconds_to_wait()) is None or wait > 0:
                if wait is None:
                    self._answer.clear()
                    await self._answer.wait()
                else:
                    await self._sleep(wait)
            self._open += 1
            self._next = max(self._next, self._clock() - self._catch_up) + self._spacing * self._slowness

    def answered(self) -> None:
        """A call that was admitted is over: answered, failed or given up."""
        self._open -= 1
        self._answered.append(self._clock())
        self._answer.set()

    def succeeded(self) -> None:
        """A call was taken."""
        now = self._clock()
        self._accepted.append(now)
        if self._slowness > 1:
            passed = min(now - max(self._recovered_at, self._slowed_at), 1.0)
            self._slowness = max(1.0, self._slowness / _RECOVERY**passed)
        self._recovered_at = now

    def pushed_back(self, retry_after: float | None) -> None:
        """A call was answered 429; ``retry_after`` in seconds holds everything back for so long."""
        now = self._clock()
        if now - self._slowed_at >= _REACTION_SECONDS:
            self._slowed_at = now
            taken = sum(at > now - self._window for at in self._accepted)
            slower = self._most / max(taken, 1) / self._slowness
            self._slowness = min(_SLOWEST, self._slowness * min(_STEEPEST, max(_GENTLEST, slower)))
        if retry_after is not None:
            self._held_until = max(self._held_until, now + retry_after)

    def _seconds_to_wait(self) -> float | None:
        """How long nothing may leave; None: until an answer comes."""
        now = self._clock()
        while self._answered and self._answered[0] + self._window <= now:
            self._answered.popleft()
        free_at = now
        if self._open + len(self._answered) >= self._most:
            if not self._answered:
                return None
            free_at = self._answered[0] + self._window
        return max(free_at, self._next, self._held_until) - now
