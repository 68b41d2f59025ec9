"""How often and how long a failed call is repeated. A fault (5xx, time-out, broken connection or body) is repeated a
bounded number of times. Being throttled is no fault: the budget there is time, and it outlasts the longest limit window
that Toast documents (15 minutes)."""

from __future__ import annotations

import random
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

from toast_assets.errors import TransientError

T = TypeVar("T")
Sleep = Callable[[float], Awaitable[None]]
_SECONDS = re.compile(r"\s*([0-9]{1,9}(\.[0-9]*)?)\s*(s|,|$)")


@dataclass(frozen=True)
class RetryPolicy:
    """``attempts`` per call for faults; seconds for everything else."""

    attempts: int = 7
    first_wait: float = 0.5
    longest_wait: float = 30.0
    throttled_for: float = 20 * 60.0

    async def call(
        self,
        attempt: Callable[[], Awaitable[T]],
        *,
        sleep: Sleep,
        on_retry: Callable[[TransientError, float], None] = lambda _error, _wait: None,
    ) -> T:
        """The result of the first ``attempt`` that succeeds. ``on_retry`` gets each error that is followed by another
        attempt, and the seconds until then. Raises TransientError, that of the last attempt, once the budget is used
        up."""
        repeats, faults, throttled_seconds = 0, 0, 0.0
        while True:
            try:
                return await attempt()
            except TransientError as caught:
                error = caught
                wait = min(self.longest_wait, self.first_wait * 2 ** min(repeats, 16))
                wait *= random.uniform(0.75, 1.25)  # noqa: S311 - spreads load, guards nothing
                # Neither eats the other's budget.
                if error.throttled:
                    wait = error.retry_after or wait
                    throttled_seconds += wait
                    is_final = throttled_seconds > self.throttled_for
                else:
                    wait = max(wait, error.retry_after or 0.0)
                    faults += 1
                    is_final = faults >= min(self.attempts, error.attempts or self.attempts)
                if is_final:
                    raise
            repeats += 1
            on_retry(error, wait)
            await sleep(wait)


def retry_after_seconds(value: str | None, now: float) -> float | None:
    """Seconds to wait by a ``Retry-After`` header (a number or an HTTP date; ``now`` in Unix seconds), else None."""
    if number := _SECONDS.match(value or ""):
        return float(number[1])
    date = date_of(value)
    return None if date is None else max(0.0, date.timestamp() - now)


def date_of(header: str | None) -> datetime | None:
    """The moment (UTC) that an HTTP date names, or None for anything else."""
    try:
        moment = parsedate_to_datetime(header or "")
        # A date without a zone is in UTC (RFC 9110).
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
