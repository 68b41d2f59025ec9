"""Whether a service is reached at all, and this machine's clock is right, by the Date header of any answer."""

from __future__ import annotations

from collections.abc import Callable
from email.utils import parsedate_to_datetime

import httpx

from toast_assets.doctor.findings import Finding, failed, ok, unknown
from toast_assets.http.causes import Cause
from toast_assets.http.service import Route

# A week's end and a token's are compared with this clock; S3 refuses requests that are off by a quarter of an hour.
_MOST_SECONDS = 60


def first_answer(url: str, setting: str, timeout: float) -> httpx.Headers | Cause:
    """The headers of any answer of the service at ``url``, to which nothing is sent but the request line; else why
    there is none. ``setting`` is the variable with the address, ``timeout`` is in seconds.

    Raises:
        SettingsError: a proxy or certificates on the way cannot be used.
    """
    route = Route.to(url, setting)
    try:
        return route.ask("GET", url, timeout).headers
    except (httpx.HTTPError, OSError, ValueError) as error:
        return route.cause(error)


def clock_of(area: str, url: str, setting: str, timeout: float, now: Callable[[], float]) -> Finding:
    """This machine's clock by the service at ``url``; ``now`` gives Unix seconds.

    Raises:
        SettingsError: as ``first_answer``.
    """
    answer = first_answer(url, setting, timeout)
    if isinstance(answer, Cause):
        return unknown(area, "clock", f"the service was not reached: {answer.text}", answer.hint)
    return clock_skew(area, answer.get("Date"), now())


def clock_skew(area: str, date: str | None, now: float) -> Finding:
    """The service's ``date`` against ``now`` (Unix seconds)."""
    try:
        seconds = now - parsedate_to_datetime(date or "").timestamp()
    except ValueError:
        return unknown(area, "clock", "the service sends no Date")
    if abs(seconds) > _MOST_SECONDS:
        direction = "ahead of" if seconds > 0 else "behind"
        return failed(
            area, "clock", f"this machine is {abs(seconds):.0f} s {direction} the service", "Set its clock (NTP)."
        )
    return ok(area, "clock", f"within {max(1, abs(round(seconds)))} s")
