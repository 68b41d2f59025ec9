"""A brand's restaurants at a Toast that never rests: orders are sold, tipped, voided and arrive late while it is read.

Times are milliseconds since 1970, UTC.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Literal

import httpx

from toast_assets.orders.raw import RawOrder
from toast_assets.orders.times import format_time
from toast_assets.toast.client import ORDERS_PATH, RESTAURANT_HEADER, ToastClient
from toast_assets.toast.page import Window
from toast_assets_tests.support.services.scripted import MemoryToast, page_reply
from toast_assets_tests.support.services.simulated import SimulatedToast, at_random, by_guid

Version = tuple[str, int, bytes]
"""One version of an order: its GUID, modified time and JSON."""
Fault = Literal["503", "429", "html", "cut", "empty", "short"]
FAULTS: tuple[Fault, ...] = ("503", "429", "html", "cut", "empty", "short")

_SECOND = 1000


def version_of(order: RawOrder) -> Version:
    """The version that an order is."""
    return order.guid, order.modified_ms, order.body


@dataclass
class Brand:
    """``now`` is Toast's clock. ``happens`` and ``faults`` are what comes at the n-th call for orders of a pull.

    ``ever`` holds every version there was, by restaurant; ``forbidden`` restaurants answer 403. ``toast`` is the
    transport that answers.
    """

    guids: Sequence[str]
    now: int
    happens: dict[int, Callable[[], object]] = field(default_factory=dict)
    faults: dict[int, Fault] = field(default_factory=dict)
    forbidden: set[str] = field(default_factory=set)
    ever: dict[str, set[Version]] = field(init=False)
    calls: int = field(init=False, default=0)
    toast: MemoryToast = field(init=False)
    _toasts: dict[str, SimulatedToast] = field(init=False)
    _versions: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self._toasts = {
            guid: SimulatedToast(by_guid if number % 2 else at_random, seed=number)
            for number, guid in enumerate(self.guids)
        }
        self.ever = {guid: set() for guid in self.guids}
        self.toast = MemoryToast(self._orders, self._page, self._answer)

    def visible(self, restaurant: str, window: Window) -> set[Version]:
        """What Toast shows of a window now."""
        return {version_of(order) for order in self._toasts[restaurant].within(window)}

    def sell(self, restaurant: str, times: Sequence[int]) -> None:
        """New orders with these modified times; one of the past is an order from a device that was offline."""
        for time in times:
            self._put(restaurant, f"{restaurant}-{len(self._toasts[restaurant].orders)}", time)

    def touch(self, restaurant: str, rng: Random, *, voided: bool = False, late: bool = False) -> None:
        """An order is edited: its newest version is of now, or of a ``late`` moment since its last version."""
        order = self._any_order(restaurant, rng)
        if order is not None and order.modified_ms < self.now:
            at = rng.randrange(order.modified_ms, self.now) + 1 if late else self.now
            self._put(restaurant, order.guid, at, voided=voided)

    def rewrite(self, restaurant: str, rng: Random) -> None:
        """An order's content changes and its modified time does not."""
        order = self._any_order(restaurant, rng)
        if order is not None:
            self._put(restaurant, order.guid, order.modified_ms)

    def begin_pull(self, happens: Mapping[int, Callable[[], object]], faults: Mapping[int, Fault]) -> None:
        """Count calls from zero."""
        self.calls, self.happens, self.faults = 0, dict(happens), dict(faults)

    def client(self) -> ToastClient:
        """A client of this Toast that waits for nothing."""
        # One restaurant after the other: the n-th call is then the same one each time.
        return self.toast.client(self.guids, lambda: self.now / 1000, TOAST_CONCURRENT_RESTAURANTS="1")

    def _answer(self, request: httpx.Request) -> httpx.Response | None:
        if request.url.path != ORDERS_PATH:
            return None
        self.calls += 1
        self.now += _SECOND
        self.happens.pop(self.calls, lambda: None)()
        forbidden = request.headers[RESTAURANT_HEADER] in self.forbidden
        return httpx.Response(403, json={"message": "No access."}) if forbidden else None

    def _orders(self, restaurant: str, window: Window) -> list[bytes]:
        return self._toasts[restaurant].view(window)

    def _page(self, orders: Sequence[bytes], more: bool) -> httpx.Response:
        match self.faults.pop(self.calls, None):
            case "503" | "429" as status:
                return httpx.Response(int(status), json={"message": "Later."})
            case "html":
                return httpx.Response(200, text="<html>Sign in</html>")
            case "cut":
                body = page_reply(orders, more).content
                return httpx.Response(200, content=body[: len(body) // 2])
            case "empty":
                return page_reply([], False)
            case "short" if len(orders) > 1:
                return page_reply(orders[: len(orders) // 2], True)
            case _:
                return page_reply(orders, more)

    def _put(self, restaurant: str, guid: str, at: int, *, voided: bool = False) -> None:
        self._versions += 1
        flag = "true" if voided else "false"
        order = f'{{"guid":"{guid}","modifiedDate":"{format_time(at)}","voided":{flag},"edit":{self._versions}}}'
        body = order.encode()
        self._toasts[restaurant].put(guid, at, body)
        self.ever[restaurant].add((guid, at, body))

    def _any_order(self, restaurant: str, rng: Random) -> RawOrder | None:
        orders = self._toasts[restaurant].orders
        return orders[rng.choice(list(orders))] if orders else None
