"""Toast's ways of writing a moment and a day, and a restaurant's clock."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from toast_assets.week import epoch_ms, from_epoch_ms


def instant(text: str | None) -> datetime | None:
    """The moment a timestamp names, aware and in UTC; ``None`` for null and empty text.

    Toast writes ``2025-09-19T14:30:00.000+0000``; a timestamp without an offset is taken as UTC. Raises ValueError,
    which does not repeat the text, where it is no timestamp.
    """
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC) if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise ValueError("a timestamp is not ISO-8601") from None


def parse_time_ms(text: str) -> int:
    """Milliseconds since 1970, UTC, of Toast's ``2025-09-19T14:30:00.000+0000`` or ``…Z``. Raises ValueError, which
    does not repeat the text, where it is no time with an offset, from year 1 to 9999 in UTC."""
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not None:
            return epoch_ms(moment.astimezone(UTC))
    except (ValueError, OverflowError):
        pass
    raise ValueError("is no ISO-8601 time with an offset, between the years 1 and 9999 in UTC")


def format_time(milliseconds: int) -> str:
    """Toast's form of a time: exactly three fraction digits and ``+0000`` (Toast: Orders API, date formats)."""
    moment = from_epoch_ms(milliseconds)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{milliseconds % 1000:03d}+0000"


def business_day(number: int | None) -> date | None:
    """The local business date in Toast's ``20250919``; ``None`` for null and 0. Raises ValueError where the number is
    no date."""
    if not number:
        return None
    return date(number // 10000, number // 100 % 100, number % 100)


def day_begins(day: date, time_zone: str | None, closeout_hour: int | None) -> datetime:
    """When a business day begins (UTC): at the local closeout hour, by default at 4 (Toast: Restaurants API); in UTC
    where the time zone is not known."""
    hour = closeout_hour if closeout_hour is not None and closeout_hour in range(24) else 4
    return datetime.combine(day, time(hour), zone(time_zone) or UTC).astimezone(UTC)


def zone(name: str | None) -> ZoneInfo | None:
    """The time zone of an IANA name; ``None`` where there is none of that name."""
    if not name:
        return None
    try:
        return ZoneInfo(name)
    # zoneinfo opens a file of that name: a directory or a path with a null in it fails in its own way.
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None
