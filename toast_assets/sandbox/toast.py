"""The stand-in for Toast: login, orders, locations.

A data call is judged in this order (judgement): token (401), restaurant header (400, 404, 403), rate limits (429),
scope (403), parameters (400).

- Missing, unknown, expired or revoked token: 401 [doc].
- ``Toast-Restaurant-External-ID`` names exactly one restaurant [doc]: missing or several is a 400, one that
  nobody knows a 404, one that these credentials may not read (or that is deleted) a 403 (judgements).
- A method that a path does not have is a 405, another path a 404 (judgement).
- Errors have Toast's body [doc]. Every reply to a data call carries the rate-limit headers, a 429 also
  ``Retry-After`` [doc].
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import count
from urllib.parse import unquote

import msgspec

from toast_assets.sandbox.config import Restaurant, SandboxConfig
from toast_assets.sandbox.faults import Faults
from toast_assets.sandbox.limits import Count, Limit, Limits
from toast_assets.sandbox.service import Service
from toast_assets.sandbox.templates import toast_time
from toast_assets.sandbox.toast_auth import ToastTokens
from toast_assets.sandbox.toast_books import ToastBooks, ToastCall
from toast_assets.sandbox.toast_pages import OrderPages
from toast_assets.sandbox.toast_query import QueryError, read_hour
from toast_assets.sandbox.wire import Call, Headers, Reply, Scope, json_reply

_CREATED_MS = 1_700_000_000_000
_GROUP = "9a8b7c6d-5e4f-4a3b-8c2d-1e0f9a8b7c6d"
_ROUTES: tuple[tuple[str, str, re.Pattern[str]], ...] = (
    ("login", "POST", re.compile(r"/authentication/v1/authentication/login")),
    ("orders", "GET", re.compile(r"/orders/v2/ordersBulk")),
    ("order_guids", "GET", re.compile(r"/orders/v2/orders")),
    ("restaurants", "GET", re.compile(r"/partners/v1/restaurants")),
    ("restaurants", "GET", re.compile(r"/restaurants/v1/groups/([^/]+)/restaurants")),
    ("restaurants", "GET", re.compile(r"/restaurants/v1/restaurants/([^/]+)")),
)


class ToastService(Service):
    """Toast's HTTP API on the orders of ``books``."""

    def __init__(self, config: SandboxConfig, books: ToastBooks, faults: Faults) -> None:
        super().__init__(config, faults)
        self.books = books
        self.tokens = ToastTokens(config)
        self._pages = OrderPages(config, books, faults)
        self._request_ids = count(1)
        every_api = (
            Limit("GLOBAL", config.requests_per_second, 1),
            Limit("ACCOUNT", config.requests_per_quarter_hour, 900),
        )
        self._limits = Limits(*every_api)
        # The limits over all APIs are shared between the paths: one object counts both [doc].
        self._order_limits = Limits(Limit("ENDPOINT", config.orders_per_second, 1), *every_api)

    def call(self, scope: Scope, body: bytes) -> Call:
        """Says what kind of request this is; ``unknown`` where Toast has no such path."""
        url: str = scope["path"]
        path = next((kind for kind, _, pattern in _ROUTES if pattern.fullmatch(url)), "unknown")
        call = Call("toast", path, scope["method"], url, None, scope["headers"], scope["query_string"], body)
        call.target = call.header(b"toast-restaurant-external-id")
        return call

    def revoke(self) -> None:
        """Makes every token issued so far worthless."""
        self.tokens.revoke_all()

    def error(self, status: int, message: str, field: str | None = None) -> Reply:
        """Toast's error body. ``canRetry`` is there to be ignored [doc]."""
        request_id = f"sandbox-{next(self._request_ids):08d}"
        body = {
            "status": status,
            "code": 10_000 + status,
            "message": message,
            "messageKey": None,
            "fieldName": field,
            "link": None,
            "requestId": request_id,
            "developerMessage": None,
            "errors": [],
            "canRetry": None,
        }
        return json_reply(status, body)

    def record(self, call: Call, reply: Reply) -> None:
        """Writes the call into Toast's books."""
        page = call.parameter("page", "1") if call.path == "orders" else "1"
        number = int(page) if page.isascii() and page.isdigit() else 0
        now = self.config.now()
        self.books.write(ToastCall(now, call.path, call.target, reply.status, call.window, number, reply.orders))

    def answer(self, call: Call) -> Reply:
        """Answers one request as Toast would."""
        if call.path == "unknown":
            return self.error(404, "No such path.")
        if not any(call.method == method and pattern.fullmatch(call.url) for _, method, pattern in _ROUTES):
            return self.error(405, f"{call.method} is not possible here.")
        if call.path == "login":
            return self._login(call)
        return self._data_call(call)

    def _login(self, call: Call) -> Reply:
        self.books.logins += 1
        if not (call.header(b"content-type") or "").startswith("application/json"):
            return self.error(415, "The body must be application/json.")
        try:
            reply = self.tokens.login(call.body)
        except msgspec.DecodeError:
            return self.error(400, "The body must be a JSON object with clientId, clientSecret, userAccessType.")
        return self.error(401, "Wrong credentials.") if reply is None else json_reply(200, reply)

    def _data_call(self, call: Call) -> Reply:
        if not self.tokens.valid(call.bearer):
            return self.error(401, "The access token is missing, unknown or has expired.")
        # Partners list their restaurants without naming one [doc].
        refusal = self._restaurant_refusal(call) if call.url != "/partners/v1/restaurants" else None
        if refusal is not None:
            return refusal
        limited = self._take(call)
        headers = _rate_headers(limited) if limited else []
        if limited is not None and not limited.allowed:
            reply = self.error(429, "Too many requests.")
            headers.append((b"retry-after", b"%d" % limited.retry_after))
        else:
            reply = self._scoped(call)
        reply.headers += headers
        return reply

    def _restaurant_refusal(self, call: Call) -> Reply | None:
        if call.target is None or "," in call.target or not call.target.strip():
            return self.error(400, "Toast-Restaurant-External-ID must name one restaurant.", "restaurant")
        restaurant = self.books.restaurants.get(call.target)
        if restaurant is None:
            return self.error(404, "No such restaurant.")
        if restaurant.forbidden or restaurant.deleted:
            return self.error(403, "These credentials have no access to the restaurant.")
        return None

    def _take(self, call: Call) -> Count | None:
        if not self.config.rate_limits:
            return None
        limits = self._order_limits if call.path == "orders" else self._limits
        # Without a restaurant the caller's address counts; here there is only one [doc].
        return limits.take(call.target or "address", self.config.now())

    def _scoped(self, call: Call) -> Reply:
        """Judges the scope: reading orders and restaurants each needs its own (a 403 without is a judgement)."""
        scopes = self.config.scopes.split()
        if call.path == "restaurants":
            if "restaurants:read" not in scopes:
                return self.error(403, "The scope restaurants:read is missing.")
            return self._restaurants(call)
        if "orders:read" not in scopes and "orders.channel:read" not in scopes:
            return self.error(403, "The scope orders:read is missing.")
        try:
            return self._order_guids(call) if call.path == "order_guids" else self._pages.answer(call)
        except QueryError as problem:
            return self.error(400, str(problem), problem.field)

    def _order_guids(self, call: Call) -> Reply:
        if self.config.guide_orders:
            return self._pages.answer(call)
        call.window = read_hour(call)
        orders = self.books.view(call.target or "", *call.window)
        return json_reply(200, [order.guid for order in orders])

    def _restaurants(self, call: Call) -> Reply:
        shapes: dict[str, Callable[[str], Reply]] = {
            "groups": self._group_members,
            "restaurants": self._restaurant,
        }
        if call.url == "/partners/v1/restaurants":
            return self._partner_list()
        _, _, _, kind, guid, *_ = call.url.split("/")
        return shapes[kind](unquote(guid))

    def _partner_list(self) -> Reply:
        """All connected restaurants, deleted ones marked [doc]; a 403 for others than partners [conflict]."""
        if not self.config.partner:
            return self.error(403, "Only partners may list restaurants.")
        return json_reply(200, [_partner_entry(each) for each in self.books.restaurants.values() if not each.forbidden])

    def _group_members(self, group: str) -> Reply:
        """GUIDs only [doc]; deleted members are not listed (judgement)."""
        if group != _GROUP:
            return self.error(404, "No such group.")
        return json_reply(200, [{"guid": each.guid} for each in self.books.restaurants.values() if not each.deleted])

    def _restaurant(self, guid: str) -> Reply:
        restaurant = self.books.restaurants.get(guid)
        if restaurant is None or restaurant.deleted:
            return self.error(404, "No such restaurant.")
        return json_reply(200, _restaurant_details(restaurant))


def _rate_headers(limited: Count) -> Headers:
    return [
        (b"x-toast-ratelimit-by", limited.name.encode()),
        (b"x-toast-ratelimit-remaining", b"%d" % limited.remaining),
        (b"x-toast-ratelimit-reset", b"%d" % limited.reset),
    ]


def _partner_entry(restaurant: Restaurant) -> dict[str, object]:
    brand, _, location = restaurant.name.partition(", ")
    moment = toast_time(_CREATED_MS)
    return {
        "restaurantGuid": restaurant.guid,
        "managementGroupGuid": _GROUP,
        "restaurantName": brand,
        "locationName": location,
        "deleted": restaurant.deleted,
        "externalGroupRef": None,
        "externalRestaurantRef": None,
        "modifiedDate": _CREATED_MS,
        "createdDate": _CREATED_MS,
        "isoModifiedDate": moment,
        "isoCreatedDate": moment,
    }


def _restaurant_details(restaurant: Restaurant) -> dict[str, object]:
    brand, _, location = restaurant.name.partition(", ")
    general = {
        "name": brand,
        "locationName": location,
        "locationCode": restaurant.guid[:4],
        "description": "",
        "timeZone": restaurant.timezone,
        "closeoutHour": restaurant.closeout_hour,
        "managementGroupGuid": _GROUP,
        "currencyCode": "USD",
        "firstBusinessDate": 20240102,
        "archived": restaurant.archived,
    }
    rest = ("urls", "location", "schedules", "delivery", "onlineOrdering", "prepTimes")
    return {"guid": restaurant.guid, "general": general, **{name: {} for name in rest}}
