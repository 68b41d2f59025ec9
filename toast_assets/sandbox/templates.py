"""Orders as templates: encoded once, then filled with an order's own id and times in microseconds.

A template is an order's JSON in which three things are open: the last twelve digits of the order's own GUIDs, the
last twelve digits of the restaurant's GUIDs, and every time, written as its distance from the last modification.
That is what makes a week of 100,000 orders a matter of seconds, and lets an order exist as a few numbers until
somebody asks for its bytes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any

import msgspec

from toast_assets.week import from_epoch_ms

ORDER_ID = "OOOOOOOOOOOO"
RESTAURANT_ID = "RRRRRRRRRRRR"
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS

_TOKEN = re.compile(rb'"@([DZB])(-?\d+)@"')
_DAY_FORMAT = "%Y-%m-%d"


@lru_cache(maxsize=4096)
def _day(day: int, form: str) -> str:
    return from_epoch_ms(day * DAY_MS).strftime(form)


def toast_time(epoch_ms: int, suffix: str = "+0000") -> str:
    """Milliseconds since 1970 (UTC) as Toast writes times: ``2025-09-19T14:30:00.000+0000``."""
    day, rest = divmod(epoch_ms, DAY_MS)
    hours, rest = divmod(rest, HOUR_MS)
    minutes, rest = divmod(rest, 60_000)
    seconds, millis = divmod(rest, 1000)
    return f"{_day(day, _DAY_FORMAT)}T{hours:02d}:{minutes:02d}:{seconds:02d}.{millis:03d}{suffix}"


def business_date(epoch_ms: int, utc_offset_hours: int = -5, closeout_hour: int = 4) -> int:
    """The restaurant's business day as Toast writes it, ``20250919``: it ends at the close-out hour, local time."""
    return int(_day((epoch_ms + (utc_offset_hours - closeout_hour) * HOUR_MS) // DAY_MS, "%Y%m%d"))


def time_token(offset_ms: int, *, zulu: bool = False) -> str:
    """Stands in a template for the time ``offset_ms`` after the last modification."""
    return f"@{'Z' if zulu else 'D'}{offset_ms}@"


def business_token(offset_ms: int) -> str:
    """Stands in a template for the business date of the time ``offset_ms`` after the last modification."""
    return f"@B{offset_ms}@"


def encode(order: dict[str, Any]) -> bytes:
    """An order as JSON; decimals keep their digits (``12.10``), whole amounts are given as integers."""
    return _ENCODER.encode(order)


def decode(order: bytes) -> dict[str, Any]:
    """The inverse of ``encode``: numbers with a point become decimals that keep their digits."""
    return _DECODER.decode(order)


_ENCODER = msgspec.json.Encoder(decimal_format="number")
_DECODER = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal)


@dataclass(frozen=True)
class Template:
    """One order, cut at its times; ``head`` is the order's GUID but for its last twelve digits."""

    head: str
    created_offset_ms: int
    parts: tuple[bytes | tuple[str, int], ...]

    @classmethod
    def of(cls, order: dict[str, Any], created_offset_ms: int) -> Template:
        """Cuts an order whose times and ids are tokens; it was opened ``created_offset_ms`` after its modification."""
        raw = encode(order)
        parts: list[bytes | tuple[str, int]] = []
        position = 0
        for token in _TOKEN.finditer(raw):
            parts.append(raw[position : token.start()])
            parts.append((token[1].decode(), int(token[2])))
            position = token.end()
        parts.append(raw[position:])
        return cls(order["guid"].removesuffix(ORDER_ID), created_offset_ms, tuple(parts))

    def render(self, order_id: str, restaurant_id: str, modified_ms: int, utc_offset_hours: int) -> bytes:
        """The order's JSON: ids are twelve hexadecimal digits, times are milliseconds since 1970 (UTC)."""
        filled: list[bytes] = []
        for part in self.parts:
            if isinstance(part, bytes):
                filled.append(part)
            elif part[0] == "B":
                filled.append(b"%d" % business_date(modified_ms + part[1], utc_offset_hours))
            else:
                suffix = "Z" if part[0] == "Z" else "+0000"
                filled.append(f'"{toast_time(modified_ms + part[1], suffix)}"'.encode())
        raw = b"".join(filled)
        return raw.replace(ORDER_ID.encode(), order_id.encode()).replace(RESTAURANT_ID.encode(), restaurant_id.encode())
