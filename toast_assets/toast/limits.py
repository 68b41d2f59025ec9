"""Toast's limits: the rates to keep, and what the headers of a reply ask for.

Toast counts per client and restaurant, in fixed slices of a second (Toast: rate limiting). So no second, wherever it
begins, may have more calls than the limit; within it a call that was late may be made up for.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta

import httpx

from toast_assets.http.rate import RateLimiter
from toast_assets.http.retry import Sleep, date_of, retry_after_seconds
from toast_assets.toast.settings import ToastLimits

# Calls arrive with the network's jitter; this much slack keeps them within the limit there.
_SLACK = 1.025
# The most calls that follow each other at once where the rate allows more; the rest of a second is for the others.
_MOST_TOGETHER = 50
# Calls a second for one restaurant, over all APIs: Toast allows 20, and a call for orders may count here before its own
# limit lets it leave.
MOST_PER_RESTAURANT = 19.0
# Toast's longest documented window. A reset further away than this, and a little more for clocks that differ, is a
# mistake, not a limit.
LONGEST_WINDOW = 15 * 60.0
_CLOCKS_DIFFER = 60.0
_TIME = re.compile(r"[0-9]{1,19}")
# The year 5138 in seconds; a larger time counts milliseconds, or what is smaller still.
_MOST_SECONDS = 10**11
# Toast asks to space calls for historical pulls; what closed longer ago than this counts as historical.
_HISTORICAL_AFTER = timedelta(days=31)


def rate_limiter(rate: float | None, spacing: float = 0.0, *, sleep: Sleep, clock: Callable[[], float]) -> RateLimiter:
    """At most ``rate`` calls per second, and ``spacing`` seconds between two where that is more."""
    if rate is None or spacing > pace_spacing(rate):
        return RateLimiter(1, spacing, sleep=sleep, clock=clock)
    calls = min(_MOST_TOGETHER, max(1, int(rate)))
    return RateLimiter(calls, pace_spacing(rate) * calls, sleep=sleep, clock=clock)


def pace_spacing(rate: float) -> float:
    """Seconds for each call, on the average, that keep to ``rate`` calls per second."""
    return _SLACK / rate


def historical_spacing(settings: ToastLimits, ended: datetime, now: datetime) -> float:
    """Seconds that Toast asks for between two calls for one restaurant, of a week that ``ended`` then (both aware); 0
    where the week is recent."""
    return settings.historical_spacing_seconds if now - ended > _HISTORICAL_AFTER else 0.0


def retry_after(headers: httpx.Headers, now: float) -> float | None:
    """What a 429 asks for, in seconds: ``Retry-After``, else the time to ``X-Toast-RateLimit-Reset``, else None."""
    seconds = retry_after_seconds(headers.get("Retry-After"), now)
    return seconds if seconds is not None else _seconds_to_reset(headers, now)


def exhausted_for(headers: httpx.Headers, now: float) -> float:
    """Seconds until the next call may leave, by a good reply that says it was the last one of its window, else 0."""
    is_last = "0" in _parts(headers, "X-Toast-RateLimit-Remaining")
    return _seconds_to_reset(headers, now) or 0.0 if is_last else 0.0


def is_account_wide(headers: httpx.Headers) -> bool:
    """Whether the limit is the account's; all other scopes are counted per restaurant when its header was sent."""
    return "ACCOUNT" in _parts(headers, "X-Toast-RateLimit-By")


def _parts(headers: httpx.Headers, name: str) -> list[str]:
    return [part.strip().upper() for part in headers.get(name, "").split(",")]


def _seconds_to_reset(headers: httpx.Headers, now: float) -> float | None:
    # The reset is absolute, so it means nothing by a clock that is wrong. The reply's date is whole seconds only,
    # hence the local clock unless it is clearly off.
    date = date_of(headers.get("Date"))
    if date is not None and abs(date.timestamp() - now) > 3:
        now = date.timestamp()
    resets = [part for part in _parts(headers, "X-Toast-RateLimit-Reset") if _TIME.fullmatch(part)]
    waits = [_in_seconds(int(reset)) - now for reset in resets]
    # Several scopes may be named at once: the last of them to open counts.
    waits = [wait for wait in waits if wait <= LONGEST_WINDOW + _CLOCKS_DIFFER]
    return min(LONGEST_WINDOW, max(0.0, *waits)) if waits else None


def _in_seconds(time: float) -> float:
    return time if time < _MOST_SECONDS else _in_seconds(time / 1000)
