"""Replies about orders and payments that are listed by business day, or asked for by GUID (Toast: Orders API).

Raises (all functions):
    ToastReplyError: the body is not what Toast documents; ask again.
"""

from __future__ import annotations

import httpx
import msgspec

from toast_assets.errors import ToastReplyError
from toast_assets.http.bodies import UnreadableBodyError, decode
from toast_assets.orders.raw import RawOrder, UnreadableOrder, cut_orders
from toast_assets.orders.scanner import UncuttableError


class _Payment(msgspec.Struct):
    orderGuid: str


def read_guids(body: bytes) -> list[str]:
    """The GUIDs in a list of orders or payments, each once, in Toast's order."""
    try:
        return list(dict.fromkeys(decode(body, list[str])))
    except UnreadableBodyError:
        raise ToastReplyError("Toast answered 200 with something that is no list of GUIDs.") from None


def read_order(response: httpx.Response, restaurant_guid: str, pulled_ms: int) -> RawOrder | UnreadableOrder:
    """One order, which came at ``pulled_ms`` (milliseconds since 1970, UTC), byte for byte."""
    body = response.content.strip()
    try:
        orders, unreadable = cut_orders(b"[%s]" % body, restaurant_guid=restaurant_guid, pulled_ms=pulled_ms)
    except UncuttableError:
        orders, unreadable = [], []
    found: list[RawOrder | UnreadableOrder] = [*orders, *unreadable]
    if len(found) != 1 or body[:1] != b"{":
        raise ToastReplyError("Toast answered 200 with something that is no order.")
    return found[0]


def read_order_guid(body: bytes) -> str:
    """The GUID of the order that a payment belongs to."""
    try:
        return decode(body, _Payment).orderGuid
    except UnreadableBodyError:
        raise ToastReplyError("Toast answered 200 with something that is no payment.") from None
