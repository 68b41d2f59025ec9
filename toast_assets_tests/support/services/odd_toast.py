"""A Toast in memory whose orders are any bytes: for replies that no well-made server gives."""

from __future__ import annotations

import logging

from toast_assets.orders.times import format_time
from toast_assets.pull.week import PullReport, WeekPull
from toast_assets.store.order_store import OrderStore
from toast_assets.toast.page import Window
from toast_assets.week import Week
from toast_assets_tests.support.services.scripted import MemoryToast


def plain_order(guid: str, modified_ms: int, **texts: str) -> bytes:
    """An order that has what every order has, and some texts."""
    more = "".join(f',"{name}":"{text}"' for name, text in texts.items())
    return f'{{"guid":"{guid}","modifiedDate":"{format_time(modified_ms)}"{more}}}'.encode()


class OddToast(MemoryToast):
    """``stored`` by restaurant: the bytes of each order with the time (milliseconds since 1970, UTC) that Toast filters
    by."""

    def __init__(self, stored: dict[str, list[tuple[int, bytes]]]) -> None:
        super().__init__(self._within)
        self.stored = stored

    def add(self, guid: str, *orders: bytes, at: int) -> None:
        """Add orders that Toast takes for modified at ``at``."""
        self.stored.setdefault(guid, []).extend((at, order) for order in orders)

    def _within(self, guid: str, window: Window) -> list[bytes]:
        # Toast's header ignores case.
        found = [order for each in self.stored if each.lower() == guid.lower() for order in self.stored[each]]
        found.sort(key=lambda order: order[0])
        return [body for at, body in found if window.start <= at < window.end]


async def pull_from(
    toast: OddToast,
    store: OrderStore,
    week: Week,
    *,
    refresh: bool | None = None,
    guids: str = "",
    **changes: str,
) -> PullReport:
    """One run's pull of ``guids`` (default: all that ``toast`` has) into a store; ``changes`` are
    environment variables."""
    async with toast.client(guids.split(",") if guids else toast.stored, **changes) as client:
        return await WeekPull(week, client, store, refresh=refresh, log=logging.getLogger(__name__)).run()
