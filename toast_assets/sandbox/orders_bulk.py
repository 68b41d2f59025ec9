"""``ordersBulk``: queries judged as strictly as Toast does, and pages of orders.

- ``startDate`` and ``endDate`` together, or ``businessDate=yyyymmdd``, plus ``page`` and ``pageSize`` [doc]. Any other
  parameter, and one given twice, is a 400 (judgement: nothing else exists, and silence would hide a mistake).
- Dates have exactly three fraction digits and an offset ``+0000`` or ``Z``; a bare ``+`` is a space, so a 400 [doc].
  An offset with a colon is a 400 (judgement: no example of Toast's has one).
- An empty or reversed window is a 400, and so is one longer than a month [doc; the forum knows no maximum].
- ``page`` counts from 1, ``pageSize`` is 1 to 100 [doc]; the default of 100 is a judgement.
- The reply is a bare JSON array; ``Link`` headers first, self, prev and next are lines of their own, never last [doc].
- Membership follows the latest modified time, start inclusive, end exclusive [doc]. No sort order is known [forum].
- A page is cut from what the window holds at that moment: an edit between two pages moves later orders up [inferred].
- Without ``guest.pi:read`` checks have no ``customer`` [doc], without ``delivery_info.address:read`` deliveries have no
  address (judgement: the same silence). With ``orders.channel:read`` alone there are no orders: the client submitted
  none [doc].
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from starlette.responses import Response

from toast_assets.sandbox.calls import Call
from toast_assets.sandbox.config import SandboxConfig
from toast_assets.sandbox.faults import Faults, Kind
from toast_assets.sandbox.order_builder import DAY_MS, HOUR_MS, decode, encode, toast_time
from toast_assets.sandbox.orders import RestaurantOrders, StoredOrder
from toast_assets.sandbox.service import Refusal
from toast_assets.week import epoch_ms

_LARGEST_PAGE = 100
_LONGEST_HOURS = 31 * 24
_WINDOW = ("startDate", "endDate")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}(Z|[+-]\d{4})")
# What each date must look like, and an example.
_FORMS = dict.fromkeys(_WINDOW, (_TIME, "2025-09-15T04:00:00.000+0000 (URL-encoded)"))
_FORMS["businessDate"] = (re.compile(r"\d{8}"), "20250915")
_ADDRESS = ("address1", "address2", "city", "state", "administrativeArea", "zipCode", "latitude", "longitude")


class PageQuery(NamedTuple):
    """A valid query: the window [start, end) in milliseconds, the business date if that was asked, page and size."""

    window: tuple[int, int]
    business_date: int | None
    page: int
    size: int


def read_query(call: Call) -> PageQuery:
    """The query of an ``ordersBulk`` call, or ``Refusal``."""
    given = _parameters(call, *_WINDOW, "page", "pageSize", "businessDate")
    page = _number(given, "page", 1, 10**9)
    size = _number(given, "pageSize", _LARGEST_PAGE, _LARGEST_PAGE)
    if "businessDate" not in given:
        return PageQuery(_window(given, _LONGEST_HOURS), None, page, size)
    if given.keys() & _WINDOW:
        raise Refusal(400, "businessDate and startDate/endDate exclude each other", "businessDate")
    day_ms = _moment(given, "businessDate")
    # An order of a day can be modified long after it: tips, refunds.
    return PageQuery((day_ms - DAY_MS, day_ms + 9 * DAY_MS), int(given["businessDate"]), page, size)


def read_hour(call: Call) -> tuple[int, int]:
    """The window of the deprecated ``/orders/v2/orders``, at most one hour [doc], or ``Refusal``."""
    return _window(_parameters(call, *_WINDOW), 1)


def _window(given: dict[str, str], longest_hours: int) -> tuple[int, int]:
    for name in _WINDOW:
        if name not in given:
            raise Refusal(400, f"{name} is required: startDate and endDate go together", name)
    start_ms, end_ms = (_moment(given, name) for name in _WINDOW)
    if start_ms >= end_ms:
        raise Refusal(400, "endDate must be after startDate", "endDate")
    if end_ms - start_ms > longest_hours * HOUR_MS:
        raise Refusal(400, f"the window is longer than {longest_hours} hours", "endDate")
    return start_ms, end_ms


def _parameters(call: Call, *known: str) -> dict[str, str]:
    given: dict[str, str] = {}
    for name, value in call.request.query_params.multi_items():
        if name not in known:
            raise Refusal(400, f"unknown parameter {name}", name)
        if name in given:
            raise Refusal(400, f"{name} is given twice", name)
        given[name] = value
    return given


def _number(given: dict[str, str], name: str, default: int, most: int) -> int:
    text = given.get(name, str(default))
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text) <= most:
        raise Refusal(400, f"{name} must be a whole number from 1 to {most}", name)
    return int(text)


def _moment(given: dict[str, str], name: str) -> int:
    form, example = _FORMS[name]
    if form.fullmatch(given[name]) is None:
        raise Refusal(400, f"{name} must look like {example}", name)
    try:
        moment = datetime.fromisoformat(given[name])
    except ValueError:
        raise Refusal(400, f"{name} is not a date", name) from None
    return epoch_ms(moment if moment.tzinfo else moment.replace(tzinfo=UTC))


class OrdersBulk:
    """Answers ``ordersBulk``, with the faults that only a page can have."""

    def __init__(self, config: SandboxConfig, orders: Mapping[str, RestaurantOrders], faults: Faults) -> None:
        self._config = config
        self._orders = orders
        self._faults = faults
        # Sizes of short pages by window and page size, and by page number.
        self._short: dict[tuple[str, tuple[int, int], int], dict[int, int]] = {}
        self._previous: dict[str, tuple[bytes, int]] = {}
        self._scopes = frozenset(config.scopes.split())

    def answer(self, call: Call) -> Response:
        """The page that ``call`` asks for, or ``Refusal``."""
        query = read_query(call)
        call.window = query.window
        restaurant = call.target or ""
        fault = next(iter(self._faults.take(call, "data")), None)
        kind = fault.kind if fault else None
        orders = self._orders[restaurant].view(*query.window) if "orders:read" in self._scopes else []
        if query.business_date is not None:
            orders = [order for order in orders if json.loads(order.json).get("businessDate") == query.business_date]
        size = query.size
        short = self._short.setdefault((restaurant, query.window, size), {})
        if fault is not None and kind is Kind.SHORT_PAGE:
            short[query.page] = size // 2 if fault.keep is None else min(fault.keep, size)
        # Pages after a short one continue where it stopped.
        begin = (query.page - 1) * size - sum(size - kept for page, kept in short.items() if page < query.page)
        end = begin + short.get(query.page, size)
        self._orders[restaurant].served.update(order.guid for order in orders[begin:end])
        page = [self._body(order) for order in orders[begin:end]]
        more = end < len(orders)
        if kind is Kind.EMPTY_PAGE:
            page, more = [], False
        if kind is Kind.STRAY_ORDER and page:
            page[0] = encode(decode(page[0]) | {"modifiedDate": toast_time(query.window[1])})
        body, call.orders = b"[" + b",".join(page) + b"]", len(page)
        if kind is Kind.REPEATED_PAGE:
            body, call.orders = self._previous.get(restaurant, (body, call.orders))
        self._previous[restaurant] = (body, call.orders)
        response = Response(body, media_type="application/json")
        pages = {"first": 1, "self": query.page, "prev": query.page - 1, "next": query.page + 1 if more else 0}
        for relation, number in pages.items():
            if number:
                url = call.request.url.include_query_params(page=number)
                response.headers.append("link", f'<{url}>; rel="{relation}"')
        return response

    def _body(self, order: StoredOrder) -> bytes:
        customers, addresses = (scope in self._scopes for scope in ("guest.pi:read", "delivery_info.address:read"))
        if customers and addresses:
            return order.json
        content = decode(order.json)
        if not customers:
            for check in content.get("checks") or []:
                check.pop("customer", None)
        delivery = content.get("deliveryInfo")
        if not addresses and delivery:
            content["deliveryInfo"] = {name: value for name, value in delivery.items() if name not in _ADDRESS}
        return encode(content)
