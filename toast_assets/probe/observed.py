"""What the probe saw of one restaurant: the input of every question that is answered from orders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from toast_assets.orders.names import NO_NAMES, Names
from toast_assets.toast.page import Window
from toast_assets.toast.restaurants import Restaurant

Json = Mapping[str, Any]


@dataclass
class Observed:
    """``orders`` are all that ``ordersBulk`` returned for ``window``, each once, decoded with exact decimals;
    ``fetched`` are orders that were asked for by GUID because a list has them and ``orders`` has not. ``day`` is the
    business day that was listed. ``names`` is empty where the configuration was not read; ``names_problem`` says why.
    """

    window: Window
    day: date
    details: Restaurant
    orders: Sequence[Json] = ()
    fetched: Sequence[Json] = ()
    names: Names = NO_NAMES
    names_problem: str | None = None
    headers: list[Mapping[str, str]] = field(default_factory=list)
