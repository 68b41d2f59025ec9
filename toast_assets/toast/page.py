"""What one reply of ``ordersBulk`` says, and whether it can be believed.

A reply with status 200 is evidence only if its body is what was asked for. HTML of a gateway, an empty or truncated
body, an object: each is an error to be retried, never an empty page. So is an order from outside the window, until the
same ones came three times.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import httpx
import msgspec

from toast_assets.errors import ToastReplyError
from toast_assets.orders.raw import RawOrder, UnreadableOrder, cut_orders
from toast_assets.orders.scanner import UncuttableError, members
from toast_assets.orders.times import format_time

# The most that Toast hands out in one reply (Toast: ordersBulk, pageSize).
PAGE_SIZE = 100
# Times that the same orders from outside a window have to come before they count: Toast does not document whether the
# time in an order is the one that it filters by.
_ALIKE_OUTSIDE = 3
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_NEXT = re.compile(r""";\s*rel\s*=\s*["']?[^"';,]*\bnext\b""", re.IGNORECASE)


@dataclass(frozen=True, order=True)
class Window:
    """A closed interval of modified times: ``start`` inclusive, ``end`` exclusive, milliseconds since 1970, UTC."""

    start: int
    end: int

    def __str__(self) -> str:
        return f"[{format_time(self.start)}, {format_time(self.end)})"

    def holds(self, time: int) -> bool:
        """Whether a modified time (milliseconds since 1970, UTC) lies in it."""
        return self.start <= time < self.end


@dataclass(frozen=True)
class OrdersPage:
    """One page of a window: its ``orders`` as they came, whether the reply names a next page, and that page's token.

    ``unreadable`` orders are on the page at an unknown time of the window. Only the dialect of Amperity's guide has a
    ``token``.
    """

    orders: list[RawOrder]
    has_next: bool
    token: str | None = None
    unreadable: list[UnreadableOrder] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """How many orders Toast counted on this page."""
        return len(self.orders) + len(self.unreadable)

    @property
    def may_have_more(self) -> bool:
        """A full page proves nothing without the absence of ``next``, and the other way round."""
        return self.has_next or self.rows >= PAGE_SIZE


@dataclass
class PageReader:
    """Reads the replies to one call for a page of ``window``, and to its repetitions."""

    window: Window
    restaurant_guid: str
    _outside: frozenset[str] = frozenset()
    _alike: int = 0

    def read(self, response: httpx.Response, pulled_ms: int) -> OrdersPage:
        """The page in a reply with status 200, which came at ``pulled_ms`` (milliseconds since 1970, UTC). Raises
        ToastReplyError where the body proves nothing; ask again."""
        try:
            page = read_page(response, self.restaurant_guid, pulled_ms)
        except UncuttableError as error:
            raise self._unusable(f"the body cannot be cut into orders: {error}") from None
        outside = frozenset(order.version for order in page.orders if not self.window.holds(order.modified_ms))
        self._alike = self._alike + 1 if outside == self._outside else 1
        self._outside = outside
        if outside and self._alike < _ALIKE_OUTSIDE:
            raise self._unusable(
                f"{len(outside)} orders in it were modified outside the window that was asked for, by their own account"
            )
        return page

    def _unusable(self, reason: str) -> ToastReplyError:
        return ToastReplyError(
            f"Toast answered 200 for restaurant {self.restaurant_guid}, window {self.window}, but {reason}.",
            hint="If it stays so, send Toast's support the window and the restaurant.",
        )


def read_page(response: httpx.Response, restaurant_guid: str, pulled_ms: int) -> OrdersPage:
    """What a reply with status 200 holds, whether it can be believed or not; it came at ``pulled_ms`` (milliseconds
    since 1970, UTC).

    Raises:
        UncuttableError: the body holds no orders.
    """
    array = response.content.removeprefix(_BYTE_ORDER_MARK)
    if array.lstrip()[:1] == b"{":
        array, token = _opened(array)
        has_next = token is not None
    else:
        # One Link header line for each relation; httpx's Response.links reads only the folded first form.
        token, has_next = None, any(_NEXT.search(line) for line in response.headers.get_list("Link"))
    orders, unreadable = cut_orders(array, restaurant_guid=restaurant_guid, pulled_ms=pulled_ms)
    return OrdersPage(orders, has_next, token, unreadable)


def _opened(envelope: bytes) -> tuple[bytes, str | None]:
    """The orders and the next page's token in the object of Amperity's guide. It is cut, not decoded: one of the orders
    may be what cannot be decoded."""
    try:
        fields = {each.name: each.value for each in members(envelope)}
        token = msgspec.json.decode(fields.get("nextPageToken", b"null"), type=str | int | None)
        return fields["orders"], None if token is None else str(token) or None
    except (UncuttableError, KeyError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise UncuttableError("it is an object without orders") from None
