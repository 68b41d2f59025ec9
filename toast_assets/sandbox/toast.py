"""The stand-in for Toast: login, orders, locations.

- A login returns the same token, with the seconds that remain, until its last sixty seconds [doc]. It is a JWT whose
  ``scope`` claim lists the scopes, separated by spaces [doc]; its signature is an invention.
- Wrong credentials and another ``userAccessType`` are a 401, a body that is not such an object a 400 (judgement).

A data call is judged in this order (judgement): token (401), restaurant header (400, 404, 403), rate limits (429),
scope (403), parameters (400).

- Missing, unknown, expired or revoked token: 401 [doc].
- ``Toast-Restaurant-External-ID`` names exactly one restaurant [doc]: missing or several is a 400, an unknown one a
  404, one that these credentials may not read (or that is deleted) a 403 (judgements).
- A method that a path does not have is a 405, another path a 404 (judgement). Errors have Toast's body [doc].
- Every reply to a data call carries the rate-limit headers, a 429 also ``Retry-After`` [doc].
"""

from __future__ import annotations

import base64
import hmac
import math
from itertools import count
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from toast_assets.sandbox.calls import Call
from toast_assets.sandbox.config import SandboxConfig
from toast_assets.sandbox.faults import Faults
from toast_assets.sandbox.order_builder import BLANKS
from toast_assets.sandbox.orders import RestaurantOrders
from toast_assets.sandbox.orders_bulk import OrdersBulk, read_hour
from toast_assets.sandbox.service import Answer, Limit, Refusal, Service

_RENEWAL_SECONDS = 60
_ORDERS_PER_SECOND = 5
_REQUESTS_PER_SECOND = 20


class ToastService(Service):
    """Toast's HTTP API on its ``orders``, by restaurant GUID."""

    def __init__(self, config: SandboxConfig, faults: Faults) -> None:
        super().__init__(config, faults)
        self.orders = {each.guid: RestaurantOrders(each, config) for each in config.restaurants}
        self._restaurants = {each.guid: each for each in config.restaurants}
        self._bulk = OrdersBulk(config, self.orders, faults)
        self._token = ""
        self._issued = count(1)
        self._request_ids = count(1)
        # The limits over all APIs are shared between the paths [doc].
        self._limits = (
            Limit("GLOBAL", _REQUESTS_PER_SECOND, 1),
            Limit("ACCOUNT", config.requests_per_quarter_hour, 900),
        )
        self._order_limits = (Limit("ENDPOINT", _ORDERS_PER_SECOND, 1), *self._limits)

    def routes(self) -> list[Route]:
        return [
            self._get("/orders/v2/ordersBulk", "orders", self._bulk.answer),
            self._get("/orders/v2/orders", "order_guids", self._order_guids),
            self._get("/partners/v1/restaurants", "restaurants", self._partner_list, names_restaurant=False),
            self._get("/restaurants/v1/groups/{group}/restaurants", "restaurants", self._group_members),
            self._get("/restaurants/v1/restaurants/{guid}", "restaurants", self._restaurant),
            self.route("POST", "/authentication/v1/authentication/login", "login", self._login),
        ]

    def target(self, request: Request) -> str | None:
        return ", ".join(request.headers.getlist("toast-restaurant-external-id")) or None

    def error(self, status: int, message: str, field: str | None = None) -> Response:
        """Toast's error body. ``canRetry`` is there to be ignored [doc]."""
        body = BLANKS["error"] | {"status": status, "code": 10_000 + status, "message": message, "fieldName": field}
        return JSONResponse(body | {"requestId": f"sandbox-{next(self._request_ids):08d}"}, status)

    def _login(self, call: Call) -> Response:
        if call.media_type != "application/json":
            raise Refusal(415, "The body must be application/json.")
        try:
            content = msgspec.json.decode(call.body, type=dict[str, str])
            given = [content[name].encode() for name in ("clientId", "clientSecret", "userAccessType")]
        except (msgspec.DecodeError, KeyError):
            raise Refusal(400, "The body must be an object with clientId, clientSecret, userAccessType.") from None
        config = self.config
        wanted = (config.toast_client_id, config.toast_client_secret, "TOAST_MACHINE_CLIENT")
        if not all(hmac.compare_digest(one, other.encode()) for one, other in zip(given, wanted, strict=True)):
            raise Refusal(401, "Wrong credentials.")
        now = config.now()
        if self.tokens.get(self._token, 0.0) - now <= _RENEWAL_SECONDS:
            expires = now + config.token_seconds
            claims = {
                "iss": "toast-sandbox",
                "sub": config.toast_client_id,
                "scope": config.scopes,
                "iat": int(now),
                "exp": int(expires),
                "jti": f"token-{next(self._issued)}",
            }
            self._token = ".".join((_base64({"alg": "RS256", "typ": "JWT"}), _base64(claims), _base64("sandbox")))
            self.tokens[self._token] = expires
        login = BLANKS["login"]
        token = {"expiresIn": int(self.tokens[self._token] - now), "accessToken": self._token}
        return JSONResponse(login | {"token": login["token"] | token})

    def _get(self, path: str, kind: str, answer: Answer, *, names_restaurant: bool = True) -> Route:
        """A data call's route: ``answer`` comes after the checks that all data calls share."""

        def judged(call: Call) -> Response:
            self.check_token(call)
            if names_restaurant:
                self._check_restaurant(call)
            if self.config.rate_limits:
                self._check_limits(call)
            # A 403 without the scope is a judgement.
            needed = ("restaurants:read",) if kind == "restaurants" else ("orders:read", "orders.channel:read")
            if not any(scope in self.config.scopes.split() for scope in needed):
                raise Refusal(403, f"The scope {needed[0]} is missing.")
            return answer(call)

        return self.route("GET", path, kind, judged)

    def _check_restaurant(self, call: Call) -> None:
        if call.target is None or "," in call.target or not call.target.strip():
            raise Refusal(400, "Toast-Restaurant-External-ID must name one restaurant.", "restaurant")
        restaurant = self._restaurants.get(call.target)
        if restaurant is None:
            raise Refusal(404, "No such restaurant.")
        if restaurant.state in ("forbidden", "deleted"):
            raise Refusal(403, "These credentials have no access to the restaurant.")

    def _check_limits(self, call: Call) -> None:
        """Counts the call; the limit that decides is one that refuses, else the tightest."""
        # Without a restaurant the caller's address counts; here there is only one [doc].
        key, now = call.target or "address", self.config.now()
        limits = self._order_limits if call.path == "orders" else self._limits
        remaining, decisive = min(((limit.take(key, now), limit) for limit in limits), key=lambda each: each[0])
        call.reply_headers = {
            "x-toast-ratelimit-by": decisive.name,
            "x-toast-ratelimit-remaining": str(max(0, remaining)),
            "x-toast-ratelimit-reset": str(decisive.end(now)),
        }
        if remaining < 0:
            call.reply_headers["retry-after"] = str(max(1, math.ceil(decisive.end(now) - now)))
            raise Refusal(429, "Too many requests.")

    def _order_guids(self, call: Call) -> Response:
        call.window = read_hour(call)
        return JSONResponse([order.guid for order in self.orders[call.target or ""].view(*call.window)])

    def _partner_list(self, _call: Call) -> Response:
        # All connected restaurants, deleted ones marked, without naming one [doc]; others than partners: [conflict].
        if not self.config.partner:
            raise Refusal(403, "Only partners may list restaurants.")
        listed = []
        for each in self.config.restaurants:
            if each.state != "forbidden":
                brand, _, location = each.name.partition(", ")
                names = {"restaurantGuid": each.guid, "restaurantName": brand, "locationName": location}
                listed.append(BLANKS["partner restaurant"] | names | {"deleted": each.state == "deleted"})
        return JSONResponse(listed)

    def _group_members(self, call: Call) -> Response:
        # GUIDs only [doc]; deleted members are not listed (judgement).
        if call.request.path_params["group"] != BLANKS["partner restaurant"]["managementGroupGuid"]:
            raise Refusal(404, "No such group.")
        return JSONResponse([{"guid": each.guid} for each in self.config.restaurants if each.state != "deleted"])

    def _restaurant(self, call: Call) -> Response:
        restaurant = self._restaurants.get(call.request.path_params["guid"])
        if restaurant is None or restaurant.state == "deleted":
            raise Refusal(404, "No such restaurant.")
        brand, _, location = restaurant.name.partition(", ")
        blank = BLANKS["restaurant"]
        general = {
            "name": brand,
            "locationName": location,
            "locationCode": restaurant.guid[:4],
            "timeZone": restaurant.timezone,
            "closeoutHour": restaurant.closeout_hour,
            "archived": restaurant.state == "archived",
        }
        return JSONResponse(blank | {"guid": restaurant.guid, "general": blank["general"] | general})


def _base64(content: Any) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(content)).rstrip(b"=").decode()
