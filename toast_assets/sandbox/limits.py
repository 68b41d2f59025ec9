"""Rate limits in fixed time slices, as Toast counts them [doc]: a slice begins at a whole multiple of its length."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Count:
    """One counted request: what remains after it in its slice, and when the slice ends (Unix seconds)."""

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
        used += allowed
        self._slices[key] = (number, used)
        end = (number + 1) * self.seconds
        return Count(self.name, allowed, self.requests - used, end, max(1, math.ceil(end - now)))
