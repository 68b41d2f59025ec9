"""Reads the orders of one restaurant that the questions go by: as much of a week as few requests bring."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec

from toast_assets.errors import ToastError, ToastIncompleteError, ToastLoginError
from toast_assets.orders.raw import RawOrder, UnreadableOrder
from toast_assets.orders.times import business_day, day_begins, parse_time_ms
from toast_assets.probe.answers import Answer, Verdict, unseen
from toast_assets.probe.asking import Asker, in_words
from toast_assets.probe.observed import Json, Observed
from toast_assets.toast.density import Density
from toast_assets.toast.page import OrdersPage, Window
from toast_assets.toast.restaurants import Restaurant
from toast_assets.toast.windows import ProvedWindow, read_week
from toast_assets.week import Week, epoch_ms

# The requests that read orders; the others are for the questions.
_MOST_REQUESTS = 40
# Hardly an order is changed in the night after a business day.
_NIGHT = 6 * 3_600_000
_YEAR_2100 = 4_102_444_800_000

_decode = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal).decode


class Trial(NamedTuple):
    """One reference order: the fields whose second returns it, and whether windows at its ``modifiedDate`` t do:
    [t, t+1), [t-1, t) and [t-1, t+1), in milliseconds."""

    fields: tuple[str, ...]
    from_it: bool = False
    until_it: bool = False
    around: bool = False


@dataclass
class Scene:
    """One restaurant while it is asked: what was ``observed`` and in which ``proved`` windows, or the ``problem`` that
    prevented it, and the ``answers`` so far. The rest is what a question leaves for the next ones."""

    asker: Asker
    week: Week
    observed: Observed
    proved: Sequence[ProvedWindow]
    problem: str
    answers: dict[str, Answer] = field(default_factory=dict)
    trials: Sequence[Trial] = ()
    filter_field: str = ""
    """The time that the filter goes by, where that is known."""
    small: Window | None = None
    page: OrdersPage = field(default_factory=lambda: OrdersPage([], has_next=False))
    """What Toast returned for the window ``small``."""
    listed: Mapping[date, Sequence[Json]] = field(default_factory=dict)
    """By business day, the listed orders that were read or fetched."""
    lacking: list[Json] = field(default_factory=list)
    """Listed orders that belong to what was read, and that ``ordersBulk`` does not return."""
    appeared: int = 0
    """Listed orders that ``ordersBulk`` did not return at first, and later did."""

    @property
    def guid(self) -> str:
        return self.observed.details.guid

    def spoilt(self, *keys: str) -> Answer | None:
        """The answer to a question whose witness is worth nothing where one of ``keys`` is refuted."""
        refuted = [key for key in keys if key in self.answers and self.answers[key].verdict is Verdict.REFUTED]
        return unseen(f"{refuted[0]} is refuted, so the orders prove nothing here") if refuted else None

    def whole_days(self) -> list[date]:
        """The business days that lie in what was read, first the one with the most orders; where there is none, the one
        with the most."""
        details = self.observed.details

        def begins(day: date) -> int:
            return epoch_ms(day_begins(day, details.time_zone, details.closeout_hour))

        days = [day for day, _ in Counter(filter(None, map(day_of, self.observed.orders))).most_common()]
        start, end = self.observed.window.start, self.observed.window.end + _NIGHT
        return [day for day in days if begins(day) >= start and begins(day + timedelta(1)) <= end] or days[:1]


async def read(asker: Asker, details: Restaurant, weeks: Iterable[Week]) -> Scene:
    """The first of ``weeks`` that has orders, else the last one; from its start on, as much as few requests bring."""
    for week in weeks:
        scene = await _read(asker, details, week)
        if scene.observed.orders:
            break
    return scene


async def _read(asker: Asker, details: Restaurant, week: Week) -> Scene:
    whole, before = Window(week.start_ms, week.end_ms), asker.requests[details.guid]
    proved: list[ProvedWindow] = []
    problem = "these weeks have no orders"

    async def fetch(window: Window, *, page: int = 1, token: str | None = None) -> OrdersPage:
        if asker.requests[details.guid] - before >= _MOST_REQUESTS:
            raise ToastIncompleteError("The rest of the requests is for the questions.")
        return await asker.orders_page(details.guid, window, page=page, token=token)

    try:
        async for one in read_week(fetch, whole, Density(whole)):
            proved.append(one)
    except ToastLoginError:
        raise
    except ToastError as error:
        problem = f"no orders could be read: {in_words(error)}"
    orders = decoded(order for one in proved for order in (*one.orders, *one.outside))
    window = Window(whole.start, proved[-1].window.end) if proved else whole
    observed = Observed(window, week.start.date(), details, [*{order["guid"]: order for order in orders}.values()])
    scene = Scene(asker, week, observed, proved, problem)
    observed.day = next(iter(scene.whole_days()), observed.day)
    return scene


def decoded(orders: Iterable[RawOrder | UnreadableOrder]) -> list[Json]:
    """Those of ``orders`` that can be decoded, with exact decimals."""
    found: list[Json] = []
    for order in orders:
        with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            found.append(_decode(order.body))
    return found


def time_of(order: Json, name: str) -> int | None:
    """Milliseconds since 1970 (UTC) of a field of an order; None where it holds no time, or one of no order."""
    try:
        at = parse_time_ms(order[name])
    except (KeyError, TypeError, ValueError):
        return None
    return at if 0 < at < _YEAR_2100 else None


def day_of(order: Json) -> date | None:
    """An order's business day; None where it has none."""
    try:
        return business_day(int(order["businessDate"]))
    except (KeyError, TypeError, ValueError):
        return None


def has(page: OrdersPage, guid: str) -> bool:
    return any(order.guid == guid for order in page.orders)
