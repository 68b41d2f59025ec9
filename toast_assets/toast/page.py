"""What one reply of ``ordersBulk`` says, and whether it can be believed.

A reply with status 200 is evidence only if its body is what was asked for. HTML of a gateway, an empty or truncated
body, an object, an order from outside the window: each is an error to be retried, never an empty page.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import httpx
import msgspec

from toast_assets.errors import ToastReplyError
from toast_assets.orders.raw import MalformedOrderError, RawOrder, cut_orders, format_time

# The most that Toast hands out in one reply (Toast: ordersBulk, pageSize).
PAGE_SIZE = 100
_NEXT = re.compile(r""";\s*rel\s*=\s*["']?[^"';,]*\bnext\b""", re.IGNORECASE)


@dataclass(frozen=True, order=True)
class Window:
    """A closed interval of modified times: ``start`` inclusive, ``end`` exclusive, milliseconds since 1970, UTC."""

    start: int
    end: int

    def __str__(self) -> str:
        return f"[{format_time(self.start)}, {format_time(self.end)})"

    @property
    def can_be_cut(self) -> bool:
        """Toast's times have milliseconds; a window of one is the smallest there is."""
        return self.end - self.start > 1


@dataclass(frozen=True)
class OrdersPage:
    """One page of a window: its ``orders`` as they came, whether the reply names a next page, and that page's token.

    ``token`` is only set where the server speaks the dialect of Amperity's guide.
    """

    orders: list[RawOrder]
    has_next: bool
    token: str | None = None

    @property
    def may_have_more(self) -> bool:
        """A full page proves nothing without the absence of ``next``, and the other way round."""
        return self.has_next or len(self.orders) >= PAGE_SIZE


class _GuideEnvelope(msgspec.Struct):
    orders: msgspec.Raw
    nextPageToken: str | int | None = None


_decode_envelope = msgspec.json.Decoder(_GuideEnvelope).decode


def read_page(response: httpx.Response, window: Window, *, restaurant_guid: str, pulled_ms: int) -> OrdersPage:
    """The page in a reply with status 200.

    Raises:
        ToastReplyError: the body proves nothing; asking again is the way out.
    """
    body = response.content
    try:
        if body.lstrip()[:1] == b"{":
            envelope = _decode_envelope(body)
            orders = cut_orders(bytes(envelope.orders), restaurant_guid=restaurant_guid, pulled_ms=pulled_ms)
            token = str(envelope.nextPageToken) if envelope.nextPageToken not in (None, "") else None
            page = OrdersPage(orders, token is not None, token)
        else:
            orders = cut_orders(body, restaurant_guid=restaurant_guid, pulled_ms=pulled_ms)
            page = OrdersPage(orders, _names_next(response.headers))
    except MalformedOrderError as error:
        raise _unusable(f"{error}", window, restaurant_guid) from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise _unusable("the body is an object without orders", window, restaurant_guid) from None
    if any(not window.start <= order.modified_ms < window.end for order in page.orders):
        raise _unusable("an order lies outside the window that was asked for", window, restaurant_guid)
    return page


def _names_next(headers: httpx.Headers) -> bool:
    # Toast sends one Link header line for each relation; httpx's Response.links reads only the folded first form.
    return any(_NEXT.search(line) for line in headers.get_list("Link"))


def _unusable(reason: str, window: Window, restaurant_guid: str) -> ToastReplyError:
    return ToastReplyError(
        f"Toast answered 200 for restaurant {restaurant_guid}, window {window}, but {reason}.",
        hint="If it stays so, send Toast's support the window and the restaurant.",
    )
