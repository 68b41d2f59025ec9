"""The stand-in for Toast: login, orders, locations, configuration.

A data call is judged in this order (judgement): token (401), restaurant header (400, 404, 403), rate limits (429),
scope (403), parameters (400). A method that a path does not have is a 405, another path a 404 (judgement).
"""

from __future__ import annotations

import base64
import math
import re
from datetime import date, datetime, timedelta
from typing import Annotated, Any
from zlib import crc32

import msgspec
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from toast_assets.sandbox.assumptions import Assumption, Switch
from toast_assets.sandbox.config import Restaurant, SandboxConfig
from toast_assets.sandbox.configuration import ENTITIES, Configuration
from toast_assets.sandbox.faults import Faults, Kind
from toast_assets.sandbox.order_builder import BLANKS, decode, encode, toast_time
from toast_assets.sandbox.orders import RestaurantOrders, StoredOrder
from toast_assets.sandbox.service import Answer, Call, Limit, Service
from toast_assets.week import epoch_ms

_FIRST_OPENING = date(2015, 1, 1)
_TOKEN_SECONDS = 86_400
# Any of them will do [doc]; locations need another.
_READ_ORDERS = ("orders:read", "orders.channel:read")
_SCOPES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("orders", "order list", "order", "payment list", "payment"), _READ_ORDERS),
    "configuration": ("config:read",),
}
_ADDRESS = ("address1", "address2", "city", "state", "administrativeArea", "zipCode", "latitude", "longitude")
# Exactly three fraction digits and an offset [doc], without a colon (judgement: no example of Toast's has one). A bare
# plus is a space, and so refused [doc].
_Time = Annotated[str, msgspec.Meta(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}(Z|[+-]\d{4})\Z")]


class _Login(msgspec.Struct):
    clientId: str
    clientSecret: str
    userAccessType: str


class _PageQuery(msgspec.Struct, forbid_unknown_fields=True):
    """The parameters of ``ordersBulk`` [doc]: both dates, or ``businessDate``, of which Toast's pages disagree what it
    means. Any other is a 400 (judgement: nothing else exists, and silence would hide a mistake)."""

    startDate: _Time | None = None
    endDate: _Time | None = None
    businessDate: str | None = None
    page: Annotated[str, msgspec.Meta(pattern=r"^[1-9][0-9]{0,8}\Z")] = "1"
    pageSize: Annotated[str, msgspec.Meta(pattern=r"^[1-9][0-9]{0,8}\Z")] | None = None


class _DayQuery(msgspec.Struct, forbid_unknown_fields=True):
    """The parameter of lists of GUIDs [doc]; the list of orders has others, which are deprecated, too."""

    businessDate: str | None = None
    paidBusinessDate: str | None = None


class _ConfigurationQuery(msgspec.Struct, forbid_unknown_fields=True):
    """The parameters of ``/config/v2`` [doc]. Any other is a 400 (judgement)."""

    pageToken: str | None = None
    lastModified: _Time | None = None


class ToastService(Service):
    """Toast's HTTP API on its ``orders`` and ``configurations``, by restaurant GUID."""

    def __init__(self, config: SandboxConfig, faults: Faults) -> None:
        super().__init__(config, faults)
        self.switch = Switch(config.without)
        self.orders = {each.guid: RestaurantOrders(each, config, self.switch) for each in config.restaurants}
        self.configurations = {each.guid: Configuration(each.guid, config) for each in config.restaurants}
        self._no_orders = RestaurantOrders(Restaurant("", "", state="phantom"), config)
        self._scopes = frozenset(config.scopes.split())
        self._token = ""
        # The limits over all APIs are shared between the paths [doc].
        self._limits = (Limit("GLOBAL", 20, 1), Limit("ACCOUNT", config.requests_per_quarter_hour, 900))
        self._order_limits = (Limit("ENDPOINT", 5, 1), *self._limits)
        # The sizes of short pages by page number, for each restaurant, window and page size.
        self._short: dict[tuple[str, date | tuple[int, int], int], dict[int, int]] = {}
        self._previous: dict[str, list[bytes]] = {}

    def routes(self) -> list[Route]:
        return [
            self.route("GET", "/orders/v2/ordersBulk", "orders", self._orders_bulk),
            self.route("GET", "/orders/v2/orders", "order list", self._order_list),
            self.route("GET", "/orders/v2/orders/{guid}", "order", self._order),
            self.route("GET", "/orders/v2/payments", "payment list", self._payment_list),
            self.route("GET", "/orders/v2/payments/{guid}", "payment", self._payment),
            self.route("GET", "/partners/v1/restaurants", "restaurants", self._partner_list),
            self.route("GET", "/restaurants/v1/groups/{group}/restaurants", "restaurants", self._group_members),
            self.route("GET", "/restaurants/v1/restaurants/{guid}", "restaurants", self._restaurant),
            self.route("GET", "/config/v2/{entity}", "configuration", self._configuration),
            self.route("POST", "/authentication/v1/authentication/login", "login", self._login),
        ]

    def route(self, method: str, path: str, kind: str, answer: Answer) -> Route:
        return super().route(method, path, kind, lambda call: self.switch.packed(answer(call)))

    def error(self, status: int, message: str) -> Response:
        """Toast's error body. ``canRetry`` is there to be ignored [doc]."""
        body = BLANKS["error"] | {"status": status, "code": 10_000 + status, "message": message}
        return JSONResponse(body | {"requestId": f"sandbox-{next(self.numbers):08d}"}, status)

    def _login(self, call: Call) -> Response:
        """The same token, with the seconds that remain, until its last sixty seconds [doc]."""
        if call.media_type != "application/json":
            raise HTTPException(415, "The body must be application/json.")
        config, now = self.config, self.config.now()
        # The statuses of a wrong login are judgements.
        if call.read(_Login) != _Login(config.toast_client_id, config.toast_client_secret, "TOAST_MACHINE_CLIENT"):
            raise HTTPException(401, "Wrong credentials.")
        if self.tokens.get(self._token, 0.0) - now <= self.switch.limits.renewal_seconds:
            expires = now + _TOKEN_SECONDS
            # A JWT whose scopes are separated by spaces [doc]; its signature is an invention.
            claims = {"scope": config.scopes, "exp": int(expires), "jti": f"token-{next(self.numbers)}"}
            self._token = ".".join((_base64({"alg": "RS256", "typ": "JWT"}), _base64(claims), _base64("sandbox")))
            self.tokens[self._token] = expires
        login = BLANKS["login"]
        token = {"expiresIn": int(self.tokens[self._token] - now), "accessToken": self._token}
        return JSONResponse(login | {"token": login["token"] | token})

    def _check(self, call: Call, *, names_restaurant: bool = True) -> None:
        """What all data calls are checked for; the statuses, except 401 and 429, are judgements."""
        self.check_token(call)
        if names_restaurant:
            # The header names exactly one restaurant [doc].
            if call.target is None or "," in call.target:
                raise HTTPException(400, "Toast-Restaurant-External-ID must name one restaurant.")
            if call.target not in self.orders:
                raise HTTPException(404, "No such restaurant.")
            if self.orders[call.target].restaurant.state in ("forbidden", "deleted"):
                raise HTTPException(403, "These credentials have no access to the restaurant.")
        if self.config.rate_limits:
            self._check_limits(call)
        needed = _SCOPES.get(call.path, ("restaurants:read",))
        if self._scopes.isdisjoint(needed):
            raise HTTPException(403, f"The scope {needed[0]} is missing.")

    def _check_limits(self, call: Call) -> None:
        """Counts the call; the limit that decides is one that refuses, else the tightest."""
        # Without a restaurant the caller's address counts; here there is only one [doc].
        key, now = call.target or "address", self.config.now()
        limits = self._order_limits if call.path == "orders" else self._limits
        remaining, decisive = min(((limit.take(key, now), limit) for limit in limits), key=lambda each: each[0])
        # Every reply to a data call has these, a 429 also Retry-After [doc].
        call.reply_headers = self.switch.headers(
            {
                "x-toast-ratelimit-by": decisive.name,
                "x-toast-ratelimit-remaining": str(max(0, remaining)),
                "x-toast-ratelimit-reset": str(decisive.end(now)),
            }
        )
        if remaining < 0:
            call.reply_headers["retry-after"] = str(max(1, math.ceil(decisive.end(now) - now)))
            raise HTTPException(429, "Too many requests.")

    def _orders_bulk(self, call: Call) -> Response:
        """A page, cut from what the window holds now: an edit between two pages moves later orders up [inferred].

        A bare JSON array; the ``Link`` headers first, self, prev and next are lines of their own, never last [doc].
        """
        self._check(call)
        wanted, call.page, size = self._read_query(call)
        restaurant, number, source = call.target or "", call.page, self._readable(call)
        fault = next(iter(self.faults.take(call, "data")), None)
        kind = fault.kind if fault else None
        if isinstance(wanted, date):
            orders = source.view_day(wanted)
        else:
            call.window = wanted
            orders = source.view(*wanted)
        short = self._short.setdefault((restaurant, wanted, size), {})
        if fault is not None and kind is Kind.SHORT_PAGE:
            short[number] = size // 2 if fault.keep is None else min(fault.keep, size)
        # Pages after a short one continue where it stopped.
        begin = (number - 1) * size - sum(size - kept for page, kept in short.items() if page < number)
        length = short.get(number, size)
        begin, more = self.switch.page(begin, length, len(orders))
        found = orders[begin : begin + length]
        self.orders[restaurant].served.update(order.guid for order in found)
        page = [self._visible(source, order, on_page=True) for order in found]
        match kind:
            case Kind.EMPTY_PAGE:
                page, more = [], False
            case Kind.STRAY_ORDER if page and call.window:
                page[0] = encode(decode(page[0]) | {"modifiedDate": toast_time(call.window[1])})
            case Kind.REPEATED_PAGE:
                page = self._previous.get(restaurant, page)
        self._previous[restaurant] = page
        call.orders = len(page)
        response = Response(b"[%s]" % b",".join(page), media_type="application/json")
        links = {"first": 1, "self": number, "prev": number - 1, "next": number + 1 if more else 0}
        for relation, linked in links.items():
            if linked:
                url = call.request.url.include_query_params(page=linked)
                response.headers.append("link", f'<{url}>; rel="{relation}"')
        return response

    def _order_list(self, call: Call) -> Response:
        """The GUIDs of all orders of a business day, without pages [doc]: the day in the order (judgement)."""
        self._check(call)
        day, orders = _read_day(call.query(_DayQuery).businessDate), self._readable(call)
        self.switch.order_list_asked(call.target or "")
        return JSONResponse(sorted(order.guid for order in orders.of_day(day)))

    def _payment_list(self, call: Call) -> Response:
        """The GUIDs of all payments of a business day [doc]."""
        self._check(call)
        day = _read_day(call.query(_DayQuery).paidBusinessDate)
        payments = (paid for _, facts in self._readable(call).since(day) for paid in facts.payments.items())
        return JSONResponse(sorted(guid for guid, paid in payments if paid == int(f"{day:%Y%m%d}")))

    def _readable(self, call: Call) -> RestaurantOrders:
        # With orders.channel:read alone a client sees the orders that it submitted: none [doc].
        return self.orders[call.target or ""] if "orders:read" in self._scopes else self._no_orders

    def _order(self, call: Call) -> Response:
        """One order [doc]: 400 for what is no GUID, 404 for one that is not known."""
        self._check(call)
        orders = self._readable(call)
        order = orders.newest.get(_read_guid(call))
        if order is None:
            raise HTTPException(404, "No such order.")
        return Response(self._visible(orders, order), media_type="application/json")

    def _payment(self, call: Call) -> Response:
        """One payment, with the GUIDs of its order and check [doc]."""
        self._check(call)
        guid = _read_guid(call)
        order = self._readable(call).of_payment(guid)
        if order is None:
            raise HTTPException(404, "No such payment.")
        payments = ((check, payment) for check in decode(order.json)["checks"] for payment in check["payments"])
        check, payment = next(each for each in payments if each[1]["guid"] == guid)
        whose = {"orderGuid": order.guid, "checkGuid": check["guid"]}
        return Response(encode(payment | whose), media_type="application/json")

    def _visible(self, orders: RestaurantOrders, order: StoredOrder, *, on_page: bool = False) -> bytes:
        """What the scopes show: guests [doc] and addresses (judgement: the same silence) are absent without theirs."""
        customers, addresses = (scope in self._scopes for scope in ("guest.pi:read", "delivery_info.address:read"))
        raw = self.switch.body(orders, order, on_page=on_page)
        if customers and addresses:
            return raw
        content = decode(raw)
        if not customers:
            for check in content.get("checks") or []:
                check.pop("customer", None)
        delivery = content.get("deliveryInfo")
        if not addresses and delivery:
            content["deliveryInfo"] = {name: value for name, value in delivery.items() if name not in _ADDRESS}
        return encode(content)

    def _partner_list(self, call: Call) -> Response:
        self._check(call, names_restaurant=False)
        # All connected restaurants, deleted ones marked, without naming one [doc]; others than partners: [conflict].
        self.switch.check(Assumption.PARTNER_LIST)
        if not self.config.partner:
            raise HTTPException(403, "Only partners may list restaurants.")
        listed = []
        for each in self.config.restaurants:
            if each.state != "forbidden":
                brand, _, location = each.name.partition(", ")
                names = {"restaurantGuid": each.guid, "restaurantName": brand, "locationName": location}
                listed.append(BLANKS["partner restaurant"] | names | {"deleted": each.state == "deleted"})
        return JSONResponse(listed)

    def _group_members(self, call: Call) -> Response:
        self._check(call)
        self.switch.check(Assumption.GROUP_LIST)
        # GUIDs only [doc]; deleted members are not listed (judgement).
        if call.request.path_params["group"] != BLANKS["partner restaurant"]["managementGroupGuid"]:
            raise HTTPException(404, "No such group.")
        return JSONResponse([{"guid": each.guid} for each in self.config.restaurants if each.state != "deleted"])

    def _restaurant(self, call: Call) -> Response:
        self._check(call)
        orders = self.orders.get(call.request.path_params["guid"])
        if orders is None or orders.restaurant.state == "deleted":
            raise HTTPException(404, "No such restaurant.")
        restaurant = orders.restaurant
        brand, _, location = restaurant.name.partition(", ")
        blank, opened = BLANKS["restaurant"], _FIRST_OPENING + timedelta(days=crc32(restaurant.guid.encode()) % 3000)
        general = {
            "name": brand,
            "locationName": location,
            "locationCode": "".join(filter(str.isalnum, location or brand)).upper()[:6],
            "timeZone": restaurant.timezone,
            "closeoutHour": restaurant.closeout_hour,
            "currencyCode": restaurant.currency,
            "firstBusinessDate": int(f"{opened:%Y%m%d}"),
            "archived": restaurant.state == "archived",
        }
        return JSONResponse(blank | {"guid": restaurant.guid, "general": blank["general"] | general})

    def _configuration(self, call: Call) -> Response:
        """A bare JSON array; the header ``Toast-Next-Page-Token`` is absent on the last page [doc]."""
        self._check(call)
        entity = call.entity
        if entity not in ENTITIES:
            raise HTTPException(404, "No such path.")
        query = call.query(_ConfigurationQuery)
        after_ms = _read_time(query.lastModified) if query.lastModified else None
        page, following = self.configurations[call.target or ""].page(entity, after_ms, query.pageToken)
        headers = {"toast-next-page-token": following} if following else None
        return Response(encode(self.switch.configured(entity, page)), headers=headers, media_type="application/json")

    def _read_query(self, call: Call) -> tuple[date | tuple[int, int], int, int]:
        """The business day or the window [start, end) in milliseconds since 1970 (UTC), the page and its size."""
        query, limits = call.query(_PageQuery), self.switch.limits
        number, size = int(query.page), int(query.pageSize or limits.usual_page)
        if size > limits.largest_page:
            raise HTTPException(400, f"A page has at most {limits.largest_page} orders.")
        if (query.startDate, query.endDate) == (None, None):
            return _read_day(query.businessDate), number, size
        if query.startDate is None or query.endDate is None or query.businessDate is not None:
            raise HTTPException(400, "Give startDate and endDate, or businessDate.")
        start_ms, end_ms = _read_time(query.startDate), _read_time(query.endDate)
        if not start_ms < end_ms <= start_ms + limits.longest_ms:
            raise HTTPException(400, "endDate must be after startDate, by at most a month.")
        if start_ms < limits.earliest_ms:
            raise HTTPException(400, "startDate must not be before 2015-12-01.")
        if end_ms > self.config.now() * 1000 and not limits.open_windows:
            raise HTTPException(400, "endDate lies in the future.")
        return (start_ms, end_ms), number, size


def _read_day(text: str | None) -> date:
    try:
        return datetime.strptime(text or "", "%Y%m%d").date()  # noqa: DTZ007 - a day has no time zone
    except ValueError:
        raise HTTPException(400, "The business day must be like 20250919.") from None


def _read_guid(call: Call) -> str:
    guid = str(call.request.path_params["guid"])
    # What Toast takes for malformed is not said (judgement).
    if not re.fullmatch("[0-9A-Za-z_-]+", guid):
        raise HTTPException(400, "The GUID is malformed.")
    return guid


def _read_time(time: str) -> int:
    """Milliseconds since 1970 (UTC)."""
    try:
        return epoch_ms(datetime.fromisoformat(time))
    except ValueError as problem:
        raise HTTPException(400, f"The parameters are wrong: {problem}") from None


def _base64(content: Any) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(content)).rstrip(b"=").decode()
