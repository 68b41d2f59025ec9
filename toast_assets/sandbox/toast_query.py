"""The query of ``ordersBulk``, judged as strictly as Toast does.

- ``startDate`` and ``endDate`` together, or ``businessDate=yyyymmdd``, plus ``page`` and ``pageSize`` [doc]. Any other
  parameter, and one given twice, is a 400 (judgement: nothing else exists, and silence would hide a mistake).
- Dates have exactly three fraction digits and an offset ``+0000`` or ``Z`` [doc]; a bare ``+`` arrives as a
  space and is a 400 [doc]. An offset with a colon is a 400 (judgement: none of Toast's examples has one).
- An empty or reversed window is a 400, and so is one longer than a month [doc for the month; the forum knows no
  maximum, so it is a setting].
- ``page`` counts from 1, ``pageSize`` is 1 to 100 [doc]; the default of 100 is a judgement.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from toast_assets.sandbox.calls import Call
from toast_assets.sandbox.templates import DAY_MS
from toast_assets.week import epoch_ms

LARGEST_PAGE = 100
_DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}(Z|[+-]\d{4})")
_TOKEN = re.compile(r"page-(\d+)")
_WINDOW = {"startDate", "endDate"}
_PAGING = {"page", "pageSize"}


class QueryError(Exception):
    """A parameter that Toast refuses: the message for the 400, and the field it is about."""

    def __init__(self, field: str, message: str) -> None:
        self.field = field
        super().__init__(message)


@dataclass(frozen=True)
class PageQuery:
    """A valid query: the window [start, end) in milliseconds, the business date if that was asked, page and size."""

    start_ms: int
    end_ms: int
    business_date: int | None
    page: int
    size: int


def read_query(call: Call, *, longest_days: float, guide: bool = False) -> PageQuery:
    """The query of an ``ordersBulk`` call; ``guide`` also takes ``pageToken``, as Amperity's example sends it.

    Raises:
        QueryError: Toast would answer 400.
    """
    given = _parameters(call, _WINDOW | _PAGING | {"businessDate"} | ({"pageToken"} if guide else set()))
    page = _number(given, "page", 1, 1, 10**9)
    if "pageToken" in given:
        token = _TOKEN.fullmatch(given["pageToken"])
        if token is None:
            raise QueryError("pageToken", "unknown page token")
        page = int(token[1])
    size = _number(given, "pageSize", LARGEST_PAGE, 1, LARGEST_PAGE)
    if "businessDate" in given:
        if _WINDOW & given.keys():
            raise QueryError("businessDate", "businessDate and startDate/endDate exclude each other")
        day_ms = _business_day(given["businessDate"])
        # An order of a day can be modified long after it: tips, refunds.
        return PageQuery(day_ms - DAY_MS, day_ms + 9 * DAY_MS, int(given["businessDate"]), page, size)
    start_ms, end_ms = read_window(given, longest_days)
    return PageQuery(start_ms, end_ms, None, page, size)


def read_hour(call: Call) -> tuple[int, int]:
    """The window of the deprecated ``/orders/v2/orders``: at most one hour [doc].

    Raises:
        QueryError: Toast would answer 400.
    """
    return read_window(_parameters(call, _WINDOW), 1 / 24)


def read_window(given: dict[str, str], longest_days: float) -> tuple[int, int]:
    """``startDate`` and ``endDate`` in milliseconds since 1970.

    Raises:
        QueryError: one is missing or malformed, or the window is empty or too long.
    """
    for name in ("startDate", "endDate"):
        if name not in given:
            raise QueryError(name, f"{name} is required: startDate and endDate go together")
    start_ms, end_ms = (_moment(name, given[name]) for name in ("startDate", "endDate"))
    if start_ms >= end_ms:
        raise QueryError("endDate", "endDate must be after startDate")
    if end_ms - start_ms > longest_days * DAY_MS:
        raise QueryError("endDate", f"the window is longer than {longest_days * 24:.0f} hours")
    return start_ms, end_ms


def _parameters(call: Call, known: set[str]) -> dict[str, str]:
    given: dict[str, str] = {}
    for name, value in call.query:
        if name not in known:
            raise QueryError(name, f"unknown parameter {name}")
        if name in given:
            raise QueryError(name, f"{name} is given twice")
        given[name] = value
    return given


def _number(given: dict[str, str], name: str, default: int, least: int, most: int) -> int:
    text = given.get(name, str(default))
    if not (text.isascii() and text.isdigit()) or not least <= int(text) <= most:
        raise QueryError(name, f"{name} must be a whole number from {least} to {most}")
    return int(text)


def _moment(name: str, text: str) -> int:
    if _DATE.fullmatch(text) is None:
        raise QueryError(name, f"{name} must look like 2025-09-15T04:00:00.000+0000 (URL-encoded)")
    try:
        return epoch_ms(datetime.fromisoformat(text))
    except ValueError:
        raise QueryError(name, f"{name} is not a date") from None


def _business_day(text: str) -> int:
    if re.fullmatch(r"\d{8}", text) is None:
        raise QueryError("businessDate", "businessDate must look like 20250915")
    try:
        return epoch_ms(datetime.strptime(text, "%Y%m%d").replace(tzinfo=UTC))
    except ValueError:
        raise QueryError("businessDate", "businessDate is not a date") from None
