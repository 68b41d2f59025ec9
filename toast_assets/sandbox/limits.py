"""Rate limits in fixed time slices, as Toast counts them [doc]: a slice begins at a whole multiple of its length."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Count:
    """Where a caller stands in one slice: what remains after this request, when the slice ends (Unix seconds)."""

    name: str
    allowed: bool
    remaining: int
    reset: int
    retry_after: int


class Limit:
    """At most ``requests`` per slice of ``seconds`` for each key; a refused request does not count (judgement)."""

    def __init__(self, name: str, requests: int, seconds: int) -> None:
        self.name = name
        self.requests = requests
        self.seconds = seconds
        self._slices: dict[str, tuple[int, int]] = {}

    def take(self, key: str, now: float) -> Count:
        """Counts one request of ``key`` at ``now`` (Unix seconds)."""
        number = int(now // self.seconds)
        begun, used = self._slices.get(key, (number, 0))
        used = used if begun == number else 0
        allowed = used < self.requests
        if allowed:
            used += 1
        self._slices[key] = (number, used)
        end = (number + 1) * self.seconds
        return Count(self.name, allowed, self.requests - used, end, max(1, math.ceil(end - now)))


class Limits:
    """Several limits on the same calls."""

    def __init__(self, *limits: Limit) -> None:
        self.limits = limits

    def take(self, key: str, now: float) -> Count:
        """Counts one request and gives the limit that decides: one that refuses, else the tightest."""
        counts = [limit.take(key, now) for limit in self.limits]
        return min(counts, key=lambda count: (count.allowed, count.remaining))
