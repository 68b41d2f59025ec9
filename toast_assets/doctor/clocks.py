"""Whether this machine's clock is right, by the Date headers of the services."""

from __future__ import annotations

from collections.abc import Callable
from email.utils import parsedate_to_datetime

import httpx

from toast_assets.doctor.findings import Finding, failed, ok, unknown
from toast_assets.http.routes import Route

# A week's end and a token's are compared with this clock; S3 refuses requests that are off by a quarter of an hour.
_MOST_SECONDS = 60


def clock_of(area: str, url: str, timeout: float, now: Callable[[], float]) -> Finding:
    """This machine's clock by any answer of the service at ``url``; nothing is sent to it but the request line.
    ``timeout`` is in seconds, ``now`` gives Unix seconds.

    Raises:
        SettingsError: a proxy or certificates that the environment names cannot be used.
    """
    route = Route.to(url, f"{area.upper()}_API_URL")
    try:
        reply = route.ask("GET", url, timeout)
    except (httpx.HTTPError, OSError, ValueError) as error:
        return unknown(area, "clock", f"the service was not reached: {route.cause(error).text}")
    return clock_skew(area, reply.headers.get("Date"), now())


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
