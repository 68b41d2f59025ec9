"""Reads a restaurant's week so that nothing can slip through, and says for each part why that is so.

Toast's list cannot be paged safely: an order that is edited while pages are walked leaves the window, everything
behind it moves up, and the first order of the next page is never seen (Toast: ordersBulk filters on the modified
time; the sort order is undocumented). A reply that holds a whole window is atomic. So the week is cut into windows
that fit one reply each. They touch exactly, and they are read from left to right, one after the other: an edit only
ever moves an order to the right, so none can jump from the part not yet read into the part already read.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence, Set
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from toast_assets.errors import ToastIncompleteError
from toast_assets.orders.raw import RawOrder
from toast_assets.toast.density import Density
from toast_assets.toast.page import PAGE_SIZE, OrdersPage, Window

# How often a window is asked again, or walked again, before it counts as one that cannot be proved.
_MOST_ROUNDS = 12
_MOST_WALKS = 60
# Nothing at all, in a whole week or where orders were seen or expected, is hardly ever true: that many more replies
# have to say so.
_ALIKE_WHERE_NONE_IS_ODD = 3
_MOST_PAGES = 10_000


class Evidence(StrEnum):
    """Why a window counts as read whole."""

    ONE_REPLY = "one_reply"
    """A page below the page size without a next one: the reply held all of the window at one moment."""
    ASKED_AGAIN = "asked_again"
    """The reply was doubted (empty, or an order seen before was missing), and a second one said the same of it."""
    WALKS_AGREED = "walks_agreed"
    """Several pages that no cut could avoid, walked until two walks had the same orders."""


@dataclass(frozen=True)
class ProvedWindow:
    """A window that was read whole: its ``orders`` by modified time and GUID, and what it took to prove it."""

    window: Window
    orders: list[RawOrder]
    evidence: Evidence
    requests: int


class FetchPage(Protocol):
    """One page of a window of one restaurant; errors that are worth repeating were repeated already."""

    async def __call__(self, window: Window, *, page: int = 1, token: str | None = None) -> OrdersPage:
        """The page numbered ``page``, or the one that ``token`` stands for."""


async def read_week(fetch: FetchPage, week: Window, density: Density) -> AsyncIterator[ProvedWindow]:
    """The windows of a closed ``week``, from left to right, without a gap or an overlap.

    Raises:
        ToastIncompleteError: a window contradicts itself each time it is asked.
        ToastError: whatever ``fetch`` raises.
    """
    reader = _Reader(fetch, density.expects_orders)
    at, tries = week.start, 0
    window = density.next_window(at)
    while True:
        proved = await reader.prove(window)
        if not isinstance(proved, ProvedWindow):
            tries += 1
            window = density.smaller_window(window, sorted(order.modified_ms for order in proved), tries)
            continue
        density.learn(window, [order.modified_ms for order in proved.orders])
        yield proved
        if window.end >= week.end:
            return
        at, tries = window.end, 0
        window = density.next_window(at)


class _Reader:
    """Decides what a reply proves. ``expects_orders`` tells where it would be odd to find nothing."""

    def __init__(self, fetch: FetchPage, expects_orders: Callable[[Window], bool]) -> None:
        self._fetch = fetch
        self._expects_orders = expects_orders
        self._witnesses: dict[str, int] = {}
        self._requests = 0

    async def prove(self, window: Window) -> ProvedWindow | list[RawOrder]:
        """The window, proved; or some of its orders, which show that it has to be cut."""
        page = await self._page(window)
        agreed = 0
        for _ in range(_MOST_ROUNDS):
            if page.may_have_more:
                overfull = await self._overfull(window, page)
                if overfull is None:
                    return await self._walk_until_agreed(window)
                # What stands on an overfull page exists: the parts have to show it, too.
                self._witnesses |= {order.guid: order.modified_ms for order in overfull}
                return overfull
            absent = self._absent(window, page.orders)
            if page.orders and not absent:
                return self._proved(window, page.orders, Evidence.ONE_REPLY)
            again = await self._page(window)
            # What only the first reply had was edited in between: it was visible, so it is kept.
            both = _newest_sorted([*page.orders, *again.orders])
            alike = not again.may_have_more and bool(page.orders) == bool(again.orders)
            agreed = agreed + 1 if alike and absent <= self._absent(window, both) else 0
            odd = not both and bool(absent or self._expects_orders(window))
            if agreed >= (_ALIKE_WHERE_NONE_IS_ODD if odd else 1):
                return self._proved(window, both, Evidence.ASKED_AGAIN)
            page = again
        raise _contradiction(window, "answered differently each time it was asked")

    async def _page(self, window: Window, number: int = 1, token: str | None = None) -> OrdersPage:
        self._requests += 1
        return await self._fetch(window, page=number, token=token)

    async def _overfull(self, window: Window, page: OrdersPage) -> list[RawOrder] | None:
        """Orders of a window that takes several pages and can be cut; None where it has to be walked."""
        if not window.can_be_cut:
            return None
        if len(page.orders) >= PAGE_SIZE:
            return page.orders
        # A short page that names a next one: a cut helps only if there is something on that.
        following = await self._page(window, 2, page.token)
        return [*page.orders, *following.orders] if following.orders else None

    def _absent(self, window: Window, orders: Iterable[RawOrder]) -> set[str]:
        """What was seen before in this part of the week and is not among ``orders``."""
        expected = {guid for guid, time in self._witnesses.items() if window.start <= time < window.end}
        return expected - {order.guid for order in orders}

    def _proved(self, window: Window, orders: Sequence[RawOrder], evidence: Evidence) -> ProvedWindow:
        requests, self._requests = self._requests, 0
        self._witnesses = {guid: time for guid, time in self._witnesses.items() if time >= window.end}
        return ProvedWindow(window, _newest_sorted(orders), evidence, requests)

    async def _walk_until_agreed(self, window: Window) -> ProvedWindow:
        """All orders of a window that takes several pages.

        The last page of a walk tells how many orders there are at that moment: as many as the walk has rows. From then
        on orders only leave, so what later walks show is among these; once they showed that many, nothing is missing,
        whatever the sort order, and whatever was edited meanwhile. Where nothing moves, two walks are enough.
        """
        marks: list[_Mark] = []
        rows_before: int | None = None
        for _ in range(_MOST_WALKS):
            requests = self._requests
            walk = await self._walk(window)
            if walk and self._requests == requests + 1:
                return self._proved(window, walk, Evidence.ONE_REPLY)
            if walk is None:
                rows_before = None
                continue
            orders, rows = {order.guid: order for order in walk}, len(walk)
            for mark in marks:
                mark.seen |= orders
            marks = [mark for mark in marks if mark.holds(rows)]
            for mark in marks:
                if len(mark.seen) == mark.orders:
                    return self._proved(window, [*mark.seen.values()], Evidence.WALKS_AGREED)
            marks.append(_Mark(rows, rows if rows_before is None else rows_before, orders.keys()))
            rows_before = rows
        raise _contradiction(window, "holds more than one page, and its pages never came twice alike")

    async def _walk(self, window: Window) -> list[RawOrder] | None:
        """The rows of all pages, one after the other; None where a page came twice in a row, which proves nothing."""
        rows: list[RawOrder] = []
        page = OrdersPage([], has_next=True)
        for number in range(1, _MOST_PAGES):
            before, page = page, await self._page(window, number, page.token)
            if not page.orders and (before.may_have_more or page.has_next):
                # Another page was announced: an empty one is doubted.
                page = await self._page(window, number, before.token)
            if page.orders and _identity(page.orders) == _identity(before.orders):
                return None
            rows += page.orders
            # An empty page is the end, unless it names another one that is not empty.
            if not page.may_have_more or not (page.orders or before.orders or number == 1):
                return rows
        raise _contradiction(window, f"has no last page within {_MOST_PAGES}")


@dataclass
class _Mark:
    """The end of a walk: so many ``orders`` there were then, and at most ``most`` when it began. ``shown`` are those on
    its pages, ``seen`` those on the pages of all walks since."""

    orders: int
    most: int
    shown: Set[str]
    seen: dict[str, RawOrder] = field(default_factory=dict)

    def holds(self, rows: int) -> bool:
        """Whether a later walk of so many ``rows`` fits: else one of the two was cut short, or orders arrived."""
        together = len(self.shown | self.seen.keys())
        return rows <= self.orders and len(self.seen) <= self.orders and together <= self.most


def _identity(orders: Sequence[RawOrder]) -> frozenset[tuple[str, int]]:
    return frozenset((order.guid, order.modified_ms) for order in orders)


def _newest_sorted(orders: Sequence[RawOrder]) -> list[RawOrder]:
    newest: dict[str, RawOrder] = {}
    for order in orders:
        if order.guid not in newest or newest[order.guid].modified_ms <= order.modified_ms:
            newest[order.guid] = order
    return sorted(newest.values(), key=lambda order: order.sort_key)


def _contradiction(window: Window, what: str) -> ToastIncompleteError:
    return ToastIncompleteError(
        f"The window {window} {what}, so it cannot be proved complete.",
        hint="Materialize the week again later; what is whole is kept.",
    )
