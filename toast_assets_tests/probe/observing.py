"""What a probe saw, by intent: some orders at a restaurant in New York."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date
from typing import Any

from toast_assets.orders.model import known_fields
from toast_assets.orders.names import Name, Names
from toast_assets.probe.observed import Observed
from toast_assets.toast.page import Window
from toast_assets.toast.restaurants import Restaurant
from toast_assets_tests.support.data.invented import RESTAURANT, Json

WINDOW = Window(1_757_908_800_000, 1_758_513_600_000)
"""The week from Monday, 15 September 2025."""


def observed(orders: Iterable[Json] = (), names: dict[tuple[str, str], Name] | None = None, **more: Any) -> Observed:
    """``more`` is of the restaurant's details or of what was observed."""
    general = {"time_zone": "America/New_York", "closeout_hour": 4}
    details = {name: more.pop(name, value) for name, value in general.items()}
    return Observed(
        WINDOW,
        date(2025, 9, 19),
        Restaurant(RESTAURANT, name="Pier 9", **details),
        orders=[*orders],
        names=Names(names or {}),
        **more,
    )


def strings_of(part: object) -> set[str]:
    """All strings in decoded JSON, names of fields included."""
    if isinstance(part, str):
        return {part}
    if isinstance(part, dict):
        return {*part, *(text for value in part.values() for text in strings_of(value))}
    return {text for value in part for text in strings_of(value)} if isinstance(part, list | tuple) else set()


def found_in(report: str, strings: Iterable[str]) -> set[str]:
    """Which of ``strings`` a report repeats, as words of their own. Numbers are counts, and fields and values that
    Toast documents are in anyone's orders."""
    known = known_fields()
    ours = {name for path in known.fields for name in path.split(".")}.union(*known.values.values())
    words = (text for text in strings if text.strip() and not text.isdigit() and text not in ours)
    return {text for text in words if re.search(rf"(?<!\w){re.escape(text)}(?!\w)", report)}
