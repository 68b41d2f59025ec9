"""Toast's ways of writing a moment and a day, read."""

from __future__ import annotations

from datetime import UTC, date, datetime
from functools import lru_cache


def instant(text: str | None) -> datetime | None:
    """The moment a timestamp names, aware and in UTC; ``None`` for null and empty text.

    Toast writes ``2025-09-19T14:30:00.000+0000``; ``Z``, another offset and a missing fraction are read as well,
    and a timestamp without an offset is taken as UTC.

    Raises:
        ValueError: the text is no timestamp. The message does not repeat it.
    """
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC) if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise ValueError("a timestamp is not ISO-8601") from None


@lru_cache(maxsize=4096)
def business_day(number: int | None) -> date | None:
    """The local business date in Toast's ``20250919``; ``None`` for null and 0.

    Raises:
        ValueError: the number is no date.
    """
    if not number:
        return None
    return date(number // 10000, number // 100 % 100, number % 100)
