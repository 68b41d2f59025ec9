"""What the probe saw of one restaurant: the input of every question that is answered from orders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from toast_assets.orders.names import NO_NAMES, Names
from toast_assets.toast.page import Window
from toast_assets.toast.restaurants import Restaurant

Json = Mapping[str, Any]


@dataclass
class Observed:
    """``orders`` are all that ``ordersBulk`` returned for ``window``, each once, decoded with exact decimals. ``day``
    is a business day of them. ``names`` is empty where the configuration was not read; ``names_problem`` says why."""

    window: Window
    day: date
    details: Restaurant
    orders: Sequence[Json] = ()
    names: Names = NO_NAMES
    names_problem: str | None = None
