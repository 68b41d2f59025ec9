"""A restaurant's clock: moments in its local time."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError


@lru_cache(maxsize=1024)
def zone(name: str | None) -> ZoneInfo | None:
    """The time zone of an IANA name; ``None`` where there is none of that name."""
    if not name:
        return None
    try:
        return ZoneInfo(name)
    # zoneinfo opens a file of that name: a directory or a path with a null in it fails in its own way.
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def local(moment: datetime, clock: ZoneInfo) -> datetime:
    """``moment`` (aware) as the restaurant's clock showed it, without an offset."""
    return moment.astimezone(clock).replace(tzinfo=None)
