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

from itertools import count

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from toast_assets.sandbox.calls import Call
from toast_assets.sandbox.config import Restaurant, SandboxConfig
from toast_assets.sandbox.faults import Faults
from toast_assets.sandbox.limits import Count, Limit, Limits
from toast_assets.sandbox.service import Answer, Service
from toast_assets.sandbox.templates import toast_time
from toast_assets.sandbox.toast_auth import ToastTokens
from toast_assets.sandbox.toast_books import ToastBooks, ToastCall
from toast_assets.sandbox.toast_pages import OrderPages
from toast_assets.sandbox.toast_query import QueryError, read_hour

_CREATED_MS = 1_700_000_000_000
_GROUP = "9a8b7c6d-5e4f-4a3b-8c2d-1e0f9a8b7c6d"


class ToastService(Service):
    """Toast's HTTP API on the orders of ``books``."""

    name = "toast"

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

    def routes(self) -> list[Route]:
        """Login, orders in both forms, restaurants in three."""
        return [
            self._get("/orders/v2/ordersBulk", "orders", self._orders),
            self._get("/orders/v2/orders", "order_guids", self._order_guids),
            self._get("/partners/v1/restaurants", "restaurants", self._partner_list, names_restaurant=False),
            self._get("/restaurants/v1/groups/{group}/restaurants", "restaurants", self._group_members),
            self._get("/restaurants/v1/restaurants/{guid}", "restaurants", self._restaurant),
            self.route("POST", "/authentication/v1/authentication/login", "login", self._login),
        ]

    def target(self, request: Request) -> str | None:
        """The restaurant that the header names."""
        return ", ".join(request.headers.getlist("toast-restaurant-external-id")) or None

    def revoke(self) -> None:
        """Makes every token issued so far worthless."""
        self.tokens.revoke_all()

    def error(self, status: int, message: str, field: str | None = None) -> Response:
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
        return JSONResponse(body, status)

    def record(self, call: Call, status: int) -> None:
        """Writes the call into Toast's books."""
        page = call.parameter("page", "1") if call.path == "orders" else "1"
        number = int(page) if page.isascii() and page.isdigit() else 0
        self.books.write(ToastCall(self.config.now(), call.path, call.target, status, call.window, number, call.orders))

    def _login(self, call: Call) -> Response:
        self.books.logins += 1
        if call.media_type != "application/json":
            return self.error(415, "The body must be application/json.")
        try:
            reply = self.tokens.login(call.body)
        except msgspec.DecodeError:
            return self.error(400, "The body must be a JSON object with clientId, clientSecret, userAccessType.")
        return self.error(401, "Wrong credentials.") if reply is None else JSONResponse(reply)

    def _get(self, path: str, kind: str, answer: Answer, *, names_restaurant: bool = True) -> Route:
        """A data call's route: ``answer`` comes after the checks that all data calls share."""

        def judged(call: Call) -> Response:
            if not self.tokens.valid(call.bearer):
                return self.error(401, "The access token is missing, unknown or has expired.")
            refusal = self._restaurant_refusal(call) if names_restaurant else None
            return refusal or self._limited(call, answer)

        return self.route("GET", path, kind, judged)

    def _limited(self, call: Call, answer: Answer) -> Response:
        limited = self._take(call)
        if limited is None:
            return self._scoped(call, answer)
        response = self._scoped(call, answer) if limited.allowed else self.error(429, "Too many requests.")
        response.headers["x-toast-ratelimit-by"] = limited.name
        response.headers["x-toast-ratelimit-remaining"] = str(limited.remaining)
        response.headers["x-toast-ratelimit-reset"] = str(limited.reset)
        if not limited.allowed:
            response.headers["retry-after"] = str(limited.retry_after)
        return response

    def _restaurant_refusal(self, call: Call) -> Response | None:
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

    def _scoped(self, call: Call, answer: Answer) -> Response:
        """Judges the scope: reading orders and restaurants each needs its own (a 403 without is a judgement)."""
        scopes = self.config.scopes.split()
        needed = ["restaurants:read"] if call.path == "restaurants" else ["orders:read", "orders.channel:read"]
        if not any(scope in scopes for scope in needed):
            return self.error(403, f"The scope {needed[0]} is missing.")
        try:
            return answer(call)
        except QueryError as problem:
            return self.error(400, str(problem), problem.field)

    def _orders(self, call: Call) -> Response:
        return self._pages.answer(call)

    def _order_guids(self, call: Call) -> Response:
        if self.config.guide_orders:
            return self._pages.answer(call)
        call.window = read_hour(call)
        orders = self.books.view(call.target or "", *call.window)
        return JSONResponse([order.guid for order in orders])

    def _partner_list(self, _call: Call) -> Response:
        """All connected restaurants, deleted ones marked [doc]; a 403 for others than partners [conflict].

        Partners list them without naming one [doc].
        """
        if not self.config.partner:
            return self.error(403, "Only partners may list restaurants.")
        known = self.books.restaurants.values()
        return JSONResponse([_partner_entry(each) for each in known if not each.forbidden])

    def _group_members(self, call: Call) -> Response:
        """GUIDs only [doc]; deleted members are not listed (judgement)."""
        if call.path_value("group") != _GROUP:
            return self.error(404, "No such group.")
        return JSONResponse([{"guid": each.guid} for each in self.books.restaurants.values() if not each.deleted])

    def _restaurant(self, call: Call) -> Response:
        restaurant = self.books.restaurants.get(call.path_value("guid"))
        if restaurant is None or restaurant.deleted:
            return self.error(404, "No such restaurant.")
        return JSONResponse(_restaurant_details(restaurant))


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
