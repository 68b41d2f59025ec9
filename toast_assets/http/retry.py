"""How often and how long a failed call is repeated: one policy for both services, carried out by tenacity.

A fault (5xx, time-out, broken connection or body) is repeated a bounded number of times. Being throttled is no
fault: the budget there is time, and it outlasts the longest limit window that Toast documents (15 minutes).
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type

from toast_assets.errors import TransientError

Sleep = Callable[[float], Awaitable[None]]
_SECONDS = re.compile(r"\s*([0-9]{1,9}(\.[0-9]*)?)\s*(s|,|$)")


@dataclass(frozen=True)
class RetryPolicy:
    """``attempts`` per call for faults; seconds for everything else."""

    attempts: int = 7
    first_wait: float = 0.5
    longest_wait: float = 30.0
    throttled_for: float = 20 * 60.0

    def retrying(
        self, *, sleep: Sleep = asyncio.sleep, on_retry: Callable[[TransientError, float], None] | None = None
    ) -> AsyncRetrying:
        """An ``async for attempt in …`` for one call; the last error is raised as it was."""
        budget = _Budget(self)

        def before_sleep(state: RetryCallState) -> None:
            if on_retry is not None:
                on_retry(_error_of(state), state.upcoming_sleep)

        return AsyncRetrying(
            retry=retry_if_exception_type(TransientError),
            wait=budget.wait,
            stop=budget.spent,
            sleep=sleep,
            before_sleep=before_sleep,
            reraise=True,
        )


@dataclass
class _Budget:
    """What one call has used up. Faults and throttling are counted apart, so that neither eats the other's budget."""

    policy: RetryPolicy
    faults: int = 0
    throttles: int = 0
    throttled_seconds: float = 0.0

    def wait(self, state: RetryCallState) -> float:
        error = _error_of(state)
        if not error.throttled:
            self.faults += 1
            return self._back_off(2.0, self.faults)
        self.throttles += 1
        seconds = error.retry_after
        if seconds is None or seconds <= 0:
            # Slower growth than for faults: Toast's usual limit window is a single second.
            seconds = self._back_off(1.6, self.throttles)
        self.throttled_seconds += seconds
        return seconds

    def spent(self, state: RetryCallState) -> bool:
        error = _error_of(state)
        if error.throttled:
            return self.throttled_seconds > self.policy.throttled_for
        return self.faults >= min(self.policy.attempts, error.attempts or self.policy.attempts)

    def _back_off(self, base: float, count: int) -> float:
        longest = min(self.policy.longest_wait, self.policy.first_wait * base ** (count - 1))
        return longest * random.uniform(0.75, 1.25)  # noqa: S311 - spreads load, guards nothing


def _error_of(state: RetryCallState) -> TransientError:
    error = state.outcome.exception() if state.outcome else None
    if not isinstance(error, TransientError):  # pragma: no cover - the retry condition excludes it
        raise TypeError("retries are for transient errors only") from error
    return error


def retry_after_seconds(value: str | None, now: float) -> float | None:
    """Seconds to wait by a ``Retry-After`` header (a number or an HTTP date; ``now`` in Unix seconds), else None."""
    if not value:
        return None
    if number := _SECONDS.match(value):
        return float(number[1])
    date = http_date(value)
    return None if date is None else max(0.0, date - now)


def http_date(value: str | None) -> float | None:
    """The Unix seconds of an HTTP date, whatever a header holds; None where it is none."""
    try:
        return parsedate_to_datetime(value or "").timestamp()
    except (ValueError, OverflowError):
        return None


def date_of(header: str | None) -> datetime | None:
    """The moment (UTC) that a ``Date`` header names, or None where it names none."""
    try:
        moment = parsedate_to_datetime(header or "")
        # A date without a zone is in UTC (RFC 9110).
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
