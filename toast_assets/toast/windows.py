"""Reads a restaurant's week without losing an order, and records for each part why it is complete.

Toast's list cannot be paged safely: an order that is edited while pages are walked leaves the window, everything
behind it moves up, and the first order of the next page is never seen (Toast: ordersBulk filters on the modified
time; the sort order is undocumented). A reply that holds a whole window is atomic. So the week is cut into windows
that fit one reply each. They touch exactly and are read from left to right: an edit only ever moves an order to the
right, so none can jump from the part not yet read into the part already read.

An order that cannot be read counts on its page like any other. It is known by its bytes and has no time, so no later
reply is expected to show it. A reply with nothing else is doubted like an empty one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from operator import attrgetter

from toast_assets.errors import ToastIncompleteError, ToastRefusedError
from toast_assets.orders.raw import RawOrder, version_of
from toast_assets.toast.density import Density
from toast_assets.toast.page import PAGE_SIZE, OrdersPage, Window

# Rounds and walks before a window counts as one that cannot be proved.
_MOST_ROUNDS = 12
_MOST_WALKS = 60
# More replies that have to show no order where that is odd: in a whole week, or where orders were seen or expected.
_ALIKE_WHERE_NONE_IS_ODD = 3
_MOST_PAGES = 10_000
# Unreadable orders of the same bytes on several pages look alike. If nothing moved in this number of walks, each is
# an order of its own: whatever left between two pages would be missing from the next walk.
_ALIKE_WHERE_BYTES_REPEAT = 3
# What a page that does not exist may be answered with (Toast does not document it).
_PAST_THE_END = (400, 404)


class Evidence(StrEnum):
    """Why a window is complete."""

    ONE_REPLY = "one_reply"
    """A page below the page size without a next one: the reply held all of the window at one moment."""
    ASKED_AGAIN = "asked_again"
    """The reply was doubted (empty, or an order seen before was missing), and a second one said the same of it."""
    WALKS_AGREED = "walks_agreed"
    """Several pages that no cut could avoid, walked until two walks had the same orders."""
    OUTSIDE_WINDOW = "outside_window"
    """Proved like the others, with orders that were modified outside by their own account; they came three times."""


@dataclass(frozen=True)
class ProvedWindow:
    """A window that was read whole: its ``orders`` by modified time and GUID, those that Toast returned for it although
    they were modified ``outside``, how many are ``unreadable``, and what it took to prove it."""

    window: Window
    orders: list[RawOrder]
    evidence: Evidence
    requests: int
    outside: list[RawOrder] = field(default_factory=list)
    unreadable: int = 0


FetchPage = Callable[..., Awaitable[OrdersPage]]
"""``(window, *, page=1, token=None)``: the page numbered ``page`` of one restaurant's window, or the one that ``token``
stands for; errors that are worth repeating were repeated already."""


async def read_week(fetch: FetchPage, week: Window, density: Density) -> AsyncIterator[ProvedWindow]:
    """The windows of a closed ``week``, from left to right, without a gap or an overlap.

    Raises:
        ToastIncompleteError: a window contradicts itself each time it is asked.
        ToastError: whatever ``fetch`` raises.
    """
    reader = _Reader(fetch, density.expects_orders)
    at = week.start
    while at < week.end:
        window = density.next_window(at)
        proved = await reader.prove(window)
        if proved is None:
            density.cut(window)
            continue
        unplaced = [window.start] * (len(proved.outside) + proved.unreadable)
        density.learn(window, unplaced + [order.modified_ms for order in proved.orders])
        yield proved
        at = window.end


class _Reader:
    """Decides what a reply proves. ``expects_orders`` says where it would be odd to find nothing."""

    def __init__(self, fetch: FetchPage, expects_orders: Callable[[Window], bool]) -> None:
        self._fetch = fetch
        self._expects_orders = expects_orders
        self._previously_seen: dict[str, int] = {}
        self._requests = 0

    async def prove(self, window: Window) -> ProvedWindow | None:
        """The window, proved; None where it has to be cut."""
        page = await self._page(window)
        agreed = 0
        for _ in range(_MOST_ROUNDS):
            if page.may_have_more:
                return None if await self._has_to_be_cut(window, page) else await self._walk_until_agreed(window)
            absent = self._absent(window, page.orders)
            if page.orders and not absent:
                return self._proved(window, page.orders, Evidence.ONE_REPLY, len(page.unreadable))
            again = await self._page(window)
            # What only the first reply had was edited in between: it was visible, so it is kept.
            both = _newest_sorted([*page.orders, *again.orders])
            alike = not again.may_have_more and bool(page.orders) == bool(again.orders)
            alike = alike and _unreadable_keys(page) == _unreadable_keys(again)
            agreed = agreed + 1 if alike and absent <= self._absent(window, both) else 0
            odd = not both and bool(absent or self._expects_orders(window))
            if agreed >= (_ALIKE_WHERE_NONE_IS_ODD if odd else 1):
                return self._proved(window, both, Evidence.ASKED_AGAIN, len(again.unreadable))
            page = again
        raise _contradiction(window, "answered differently each time it was asked")

    async def _page(self, window: Window, number: int = 1, token: str | None = None) -> OrdersPage:
        self._requests += 1
        return await self._fetch(window, page=number, token=token)

    async def _has_to_be_cut(self, window: Window, page: OrdersPage) -> bool:
        """Whether a window of several pages, the first of which is ``page``, has to be cut; else it is walked."""
        # Toast's times have milliseconds.
        if window.end - window.start == 1:
            return False
        orders = page.orders
        if page.rows < PAGE_SIZE:
            # A short page that names a next one: a cut helps only if there is something on that.
            following = await self._page(window, 2, page.token)
            if not following.rows:
                return False
            orders = [*orders, *following.orders]
        # What an overfull page shows exists, so the parts have to show it, too.
        self._previously_seen |= {order.guid: order.modified_ms for order in orders if window.holds(order.modified_ms)}
        return True

    def _absent(self, window: Window, orders: Iterable[RawOrder]) -> set[str]:
        """What was seen before in this part of the week and is not among ``orders``."""
        expected = {guid for guid, time in self._previously_seen.items() if window.holds(time)}
        return expected - {order.guid for order in orders}

    def _proved(self, window: Window, orders: Sequence[RawOrder], evidence: Evidence, unreadable: int) -> ProvedWindow:
        requests, self._requests = self._requests, 0
        self._previously_seen = {guid: time for guid, time in self._previously_seen.items() if time >= window.end}
        found = _newest_sorted(orders)
        inside = [order for order in found if window.holds(order.modified_ms)]
        outside = [order for order in found if not window.holds(order.modified_ms)]
        if outside:
            evidence = Evidence.OUTSIDE_WINDOW
        return ProvedWindow(window, inside, evidence, requests, outside, unreadable)

    async def _walk_until_agreed(self, window: Window) -> ProvedWindow:
        """All orders of a window of several pages.

        The last page of a walk shows how many orders there are at that moment: as many as the walk has rows. From then
        on orders only leave, so what later walks show is among these. Once they have shown that many, nothing is
        missing, whatever the sort order and whatever was edited meanwhile. Where nothing moves, two walks are enough.
        """
        walks: list[_Walk] = []
        before: _Walk | None = None
        alike = endless = 0
        for _ in range(_MOST_WALKS):
            requests = self._requests
            walk = await self._walk(window)
            if walk is None:
                before = None
                continue
            if walk.rows and self._requests == requests + 1:
                return self._proved(window, [*walk.orders.values()], Evidence.ONE_REPLY, walk.unreadable)
            if walk.is_endless:
                endless, before = endless + 1, None
                if endless == _MOST_ROUNDS:
                    raise _contradiction(window, "has no orders, and yet each of its pages names a next one")
                continue
            alike = alike + 1 if before is not None and walk.pages == before.pages else 1
            if alike == _ALIKE_WHERE_BYTES_REPEAT and walk.repeats_unreadable_only:
                return self._proved(window, [*walk.orders.values()], Evidence.WALKS_AGREED, walk.unreadable)
            walk.most = walk.rows if before is None else before.rows
            before = walk
            walks.append(walk)
            for number, first in enumerate(walks[:-1], 1):
                if first.is_shown_by(walks[number:]):
                    orders = {guid: order for later in walks[number:] for guid, order in later.orders.items()}
                    return self._proved(window, [*orders.values()], Evidence.WALKS_AGREED, first.rows - len(orders))
        raise _contradiction(window, "holds more than one page, and its pages never came twice alike")

    async def _walk(self, window: Window) -> _Walk | None:
        """All pages, one after the other; None where a page came twice in a row, which proves nothing."""
        pages: list[OrdersPage] = []
        page = OrdersPage([], has_next=True)
        for number in range(1, _MOST_PAGES):
            before = page
            try:
                page = await self._page(window, number, before.token)
            except ToastRefusedError as error:
                if before.has_next or error.status not in _PAST_THE_END:
                    raise
                return _Walk(pages)
            if not page.rows and (before.may_have_more or page.has_next):
                # Another page was announced: an empty one is doubted.
                page = await self._page(window, number, before.token)
            if page.rows and _keys(page) == _keys(before):
                # Where no next page was named, it is the last one once more.
                return None if before.has_next else _Walk(pages)
            pages.append(page)
            # An empty page is the end, unless it names another one that is not empty.
            if not page.may_have_more or not (page.rows or before.rows or number == 1):
                return _Walk(pages)
        raise _contradiction(window, f"has no last page within {_MOST_PAGES}")


_Key = tuple[str, int]
"""What a row is known by: GUID and modified time, or the hash of its bytes and which of several alike on its page."""


class _Walk:
    """What a walk of all ``pages`` showed. ``keys`` are what its rows are known by, whatever their modified time. There
    were ``rows`` at its end, and at most ``most`` when it began."""

    def __init__(self, pages: Sequence[OrdersPage]) -> None:
        readable = [order for page in pages for order in page.orders]
        unreadable = frozenset().union(*map(_unreadable_keys, pages))
        self.rows = self.most = sum(page.rows for page in pages)
        self.pages = [_keys(page) for page in pages]
        self.orders = {order.guid: order for order in readable}
        self.keys: frozenset[_Key | str] = frozenset(self.orders.keys() | unreadable)
        self.unreadable = self.rows - len(self.orders)
        self.repeats_unreadable_only = len(self.orders) == len(readable) and len(self.keys) < self.rows
        self.is_endless = not self.rows and pages[-1].has_next

    def is_shown_by(self, later: Sequence[_Walk]) -> bool:
        """Whether the walks since have shown all that was there at its end. Those with more rows, or with more keys
        than there can be, do not fit: one of them was cut short, or orders arrived."""
        seen = frozenset().union(*(walk.keys for walk in later))
        fits = all(walk.rows <= self.rows for walk in later) and len(self.keys | seen) <= self.most
        return fits and len(seen) == self.rows


def _keys(page: OrdersPage) -> frozenset[_Key]:
    return frozenset((order.guid, order.modified_ms) for order in page.orders) | _unreadable_keys(page)


def _unreadable_keys(page: OrdersPage) -> frozenset[_Key]:
    """Of equal bytes on one page each counts, for a reply shows one moment; on several pages they may be the same."""
    counts = Counter(version_of(order.body) for order in page.unreadable)
    return frozenset((sha256, number) for sha256, count in counts.items() for number in range(count))


def _newest_sorted(orders: Sequence[RawOrder]) -> list[RawOrder]:
    by_time = attrgetter("sort_key")
    newest = {order.guid: order for order in sorted(orders, key=by_time)}
    return sorted(newest.values(), key=by_time)


def _contradiction(window: Window, what: str) -> ToastIncompleteError:
    return ToastIncompleteError(
        f"The window {window} {what}, so it cannot be proved complete.",
        hint="Materialize the week again later; what is whole is kept.",
    )
