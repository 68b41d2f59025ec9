"""Pages of orders: what ``ordersBulk`` answers to a valid request.

- A bare JSON array; ``Link`` headers first, self, prev and next as header lines of their own, never last [doc].
- Membership follows the latest modified time, start inclusive, end exclusive [doc]; the sort order is a
  setting, because none is documented [forum].
- Every page is cut from what the window holds at that moment: an edit between two pages moves later orders up
  [inferred].
- Without the scope ``guest.pi:read`` checks have no ``customer`` [doc]; without
  ``delivery_info.address:read`` deliveries have no address (judgement: the same silence). With
  ``orders.channel:read`` alone there are no orders, because the sandbox's orders were not submitted by its
  client [doc].
- The guide's dialect is ``{"orders": [...], "nextPageToken": ...}`` without Link headers [conflict].
"""

from __future__ import annotations

import msgspec
from starlette.responses import Response

from toast_assets.sandbox.calls import Call
from toast_assets.sandbox.checks import Json
from toast_assets.sandbox.config import SandboxConfig
from toast_assets.sandbox.faults import Fault, Faults, Kind, Phase
from toast_assets.sandbox.orders import StoredOrder
from toast_assets.sandbox.templates import decode, encode, toast_time
from toast_assets.sandbox.toast_books import ToastBooks
from toast_assets.sandbox.toast_query import PageQuery, read_query

_ADDRESS = ("address1", "address2", "city", "state", "administrativeArea", "zipCode", "latitude", "longitude")
_Window = tuple[str, int, int, int]


class _Dated(msgspec.Struct):
    businessDate: int | None = None


class OrderPages:
    """Cuts windows into pages, with the faults that only a page can have."""

    def __init__(self, config: SandboxConfig, books: ToastBooks, faults: Faults) -> None:
        self._config = config
        self._books = books
        self._faults = faults
        self._short: dict[_Window, dict[int, int]] = {}
        self._previous: dict[str, tuple[bytes, int]] = {}
        self._scopes = frozenset(config.scopes.split())

    def answer(self, call: Call) -> Response:
        """The page that ``call`` asks for.

        Raises:
            QueryError: Toast would answer 400.
        """
        guide = self._config.guide_orders
        query = read_query(call, longest_days=self._config.longest_window_days, guide=guide)
        call.window = (query.start_ms, query.end_ms)
        restaurant = call.target or ""
        fired = self._faults.take(call, Phase.DATA) if self._faults.armed else []
        fault = fired[0] if fired else None
        orders = self._orders(restaurant, query)
        begin, end = self._cut(restaurant, query, fault)
        self._books.guids_served[restaurant].update(order.guid for order in orders[begin:end])
        page = [self._body(order) for order in orders[begin:end]]
        more = end < len(orders)
        if fault is not None and fault.kind is Kind.EMPTY_PAGE:
            page, more = [], False
        if fault is not None and fault.kind is Kind.STRAY_ORDER and page:
            page[0] = _moved(page[0], query.end_ms)
        body, call.orders = b"[" + b",".join(page) + b"]", len(page)
        if fault is not None and fault.kind is Kind.REPEATED_PAGE:
            body, call.orders = self._previous.get(restaurant, (body, call.orders))
        self._previous[restaurant] = (body, call.orders)
        if guide:
            body = _guide_body(body, f"page-{query.page + 1}" if more else None)
        response = Response(body, media_type="application/json")
        if not guide:
            for link in _links(call, query.page, more=more):
                response.headers.append("link", link)
        return response

    def _orders(self, restaurant: str, query: PageQuery) -> list[StoredOrder]:
        if "orders:read" not in self._scopes:
            return []
        orders = self._books.view(restaurant, query.start_ms, query.end_ms)
        if query.business_date is None:
            return orders
        wanted = query.business_date
        return [order for order in orders if msgspec.json.decode(order.json, type=_Dated).businessDate == wanted]

    def _cut(self, restaurant: str, query: PageQuery, fault: Fault | None) -> tuple[int, int]:
        """Where the page begins and ends; pages after a short one continue where it stopped."""
        size = min(query.size, self._config.page_cap)
        short = self._short.setdefault((restaurant, query.start_ms, query.end_ms, size), {})
        if fault is not None and fault.kind is Kind.SHORT_PAGE:
            short[query.page] = size // 2 if fault.keep is None else min(fault.keep, size)
        begin = sum(short.get(page, size) for page in range(1, query.page)) if short else (query.page - 1) * size
        return begin, begin + short.get(query.page, size)

    def _body(self, order: StoredOrder) -> bytes:
        customers, addresses = (
            "guest.pi:read" in self._scopes,
            "delivery_info.address:read" in self._scopes,
        )
        if customers and addresses:
            return order.json
        content = decode(order.json)
        if not customers:
            _drop_customers(content)
        delivery = content.get("deliveryInfo")
        if not addresses and delivery:
            content["deliveryInfo"] = {name: value for name, value in delivery.items() if name not in _ADDRESS}
        return encode(content)


def _drop_customers(order: Json) -> None:
    for check in order.get("checks") or []:
        check.pop("customer", None)


def _moved(order: bytes, modified_ms: int) -> bytes:
    content = decode(order)
    content["modifiedDate"] = toast_time(modified_ms)
    return encode(content)


def _guide_body(page: bytes, token: str | None) -> bytes:
    return b'{"orders":' + page + b',"nextPageToken":' + msgspec.json.encode(token) + b"}"


def _links(call: Call, page: int, *, more: bool) -> list[str]:
    pages = {"first": 1, "self": page}
    if page > 1:
        pages["prev"] = page - 1
    if more:
        pages["next"] = page + 1
    url = call.request.url
    return [f'<{url.include_query_params(page=number)}>; rel="{relation}"' for relation, number in pages.items()]
