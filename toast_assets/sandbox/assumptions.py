"""The assumptions about Toast that the pipeline relies on, and how the stand-in behaves where one does not hold.

At most one is switched off at a time. ``Switch`` has a method for each place where that changes an answer; with all
assumptions kept, the method returns what it is given.
"""

from __future__ import annotations

import gzip
import math
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from random import Random
from typing import TYPE_CHECKING, NamedTuple, Self
from zlib import crc32
from zoneinfo import ZoneInfo

from starlette.exceptions import HTTPException
from starlette.responses import Response

from toast_assets.sandbox.order_builder import DAY_MS, Json, decode, encode, toast_time
from toast_assets.week import epoch_ms

if TYPE_CHECKING:
    from toast_assets.sandbox.orders import Facts, RestaurantOrders, StoredOrder


class Assumption(StrEnum):
    """What the pipeline takes for granted. ``statement`` is the assumption in words."""

    START_INCLUSIVE = "start_inclusive", "startDate is inclusive"
    END_EXCLUSIVE = "end_exclusive", "endDate is exclusive"
    MILLISECONDS = "milliseconds", "the filter honours milliseconds"
    FILTER_TIME = "filter_time", "the filter goes by modifiedDate"
    TIMES_IN_WINDOW = "times_in_window", "each order's modifiedDate lies in the window that returned it"
    PAGE_LIMIT = "page_limit", "a page has at most 100 orders"
    PAGE_DEFAULT = "page_default", "without pageSize a page has 100 orders"
    LAST_PAGE_ENDS = "last_page_ends", "a last page that is not full names no next one"
    FULL_PAGE_ENDS = "full_page_ends", "a full last page names no next one"
    PAST_THE_END = "past_the_end", "a page past the end is empty"
    UNSORTED = "unsorted", "pages follow no order that could be relied on"
    STABLE_PAGES = "stable_pages", "a closed window asked again at once gives the same page"
    LONGEST_WINDOW = "longest_window", "a window longer than a month is refused"
    EARLIEST_DATE = "earliest_date", "a start before 2015-12 is refused"
    OPEN_WINDOW = "open_window", "a window that ends in the future is answered"
    DELETED_ORDERS = "deleted_orders", "ordersBulk returns deleted orders"
    VOIDED_ORDERS = "voided_orders", "ordersBulk returns voided orders"
    TEST_ORDERS = "test_orders", "ordersBulk returns orders created in test mode"
    BUSINESS_DATE = "business_date", "lists by businessDate go by the order's own businessDate"
    ORDER_LIST = "order_list", "ordersBulk returns every order that the order list names"
    PAYMENT_LIST = "payment_list", "the orders hold every payment that the payment list names"
    LIMIT_HEADERS = "limit_headers", "replies carry the limit headers"
    RESET_IN_SECONDS = "reset_in_seconds", "the reset is an absolute time in seconds"
    PARTNER_LIST = "partner_list", "this client may list its restaurants"
    GROUP_LIST = "group_list", "this client may list the management group"
    GUESTS = "guests", "takeout and delivery orders name guests"
    SAME_TOKEN = "same_token", "a second login brings the same token"
    TOTAL_AMOUNT = "total_amount", "one formula gives totalAmount"
    CHECK_AMOUNT = "check_amount", "check.amount is items less discounts plus service charges"
    NO_BACKDATED_ORDERS = "no_backdated_orders", "no order enters a window that has closed"
    SETTLEMENT = "settlement", "settlement leaves modifiedDate as it is"
    DATE_FORMATS = "date_formats", "all times have three fraction digits and an offset"
    GZIP = "gzip", "replies are packed only where it was asked for"
    NAMES = "names", "the configuration names what orders refer to"

    statement: str

    def __new__(cls, key: str, statement: str = "") -> Self:
        member = str.__new__(cls, key)
        member._value_, member.statement = key, statement
        return member


class Limits(NamedTuple):
    """Numbers that assumptions are about: sizes in orders, times in milliseconds (since 1970, UTC) unless named."""

    largest_page: int = 100
    # A judgement.
    usual_page: int = 100
    # [doc]; the forum knows no maximum.
    longest_ms: int = 31 * DAY_MS
    # Toast says that startDate must lie after it [doc]; that an earlier one is a 400 is [inferred].
    earliest_ms: int = epoch_ms(datetime(2015, 12, 1, tzinfo=UTC))
    open_windows: bool = True
    # Of a token's last seconds a login issues a new one [doc].
    renewal_seconds: float = 60


_LIMITS: dict[Assumption | None, Limits] = {
    Assumption.PAGE_LIMIT: Limits(largest_page=1000),
    Assumption.PAGE_DEFAULT: Limits(usual_page=25),
    Assumption.LONGEST_WINDOW: Limits(longest_ms=sys.maxsize),
    Assumption.EARLIEST_DATE: Limits(earliest_ms=0),
    Assumption.OPEN_WINDOW: Limits(open_windows=False),
    Assumption.SAME_TOKEN: Limits(renewal_seconds=math.inf),
}
_FLAGS: dict[Assumption | None, str] = {
    Assumption.DELETED_ORDERS: "deleted",
    Assumption.VOIDED_ORDERS: "voided",
    Assumption.TEST_ORDERS: "createdInTestMode",
}
_REFUSALS = {
    # What production answered to a client that is no partner's [3p].
    Assumption.PARTNER_LIST: (401, "partnerGuid must be supplied in token"),
    Assumption.GROUP_LIST: (403, "These credentials may not list the group."),
}


class Switch:
    """``without`` is the assumption that does not hold, if any; it can be set at any time."""

    def __init__(self, without: Assumption | None = None) -> None:
        self.without = without
        self._rng = Random(1)

    @property
    def without(self) -> Assumption | None:
        return self._without

    @without.setter
    def without(self, assumption: Assumption | None) -> None:
        self._without = assumption
        self._listed: set[str] = set()

    @property
    def limits(self) -> Limits:
        return _LIMITS.get(self.without, Limits())

    def check(self, assumption: Assumption) -> None:
        """Refuses a call that only this assumption permits."""
        if self.without is assumption:
            raise HTTPException(*_REFUSALS[assumption])

    # Which orders a window holds.

    def filter_ms(self, orders: RestaurantOrders, order: StoredOrder) -> int:
        """The time that windows go by."""
        match self.without:
            case Assumption.FILTER_TIME:
                created = orders.facts(order).created
                return epoch_ms(datetime.fromisoformat(created)) if created else order.modified_ms
            case Assumption.SETTLEMENT if (facts := orders.facts(order)).captured and facts.business_date:
                place = orders.restaurant
                closeout_ms = _closeout_ms(facts.business_date, place.timezone, place.closeout_hour)
                return max(order.modified_ms, closeout_ms)
        return order.modified_ms

    def window(self, orders: RestaurantOrders, start_ms: int, end_ms: int) -> list[StoredOrder]:
        """The orders that a window returns, sorted by modified time."""
        found = orders.between(start_ms, end_ms)
        match self.without:
            case Assumption.START_INCLUSIVE:
                return [order for order in found if order.modified_ms > start_ms]
            case Assumption.END_EXCLUSIVE:
                end_ms += 1
            case Assumption.MILLISECONDS:
                start_ms, end_ms = start_ms // 1000 * 1000, end_ms // 1000 * 1000
            case Assumption.FILTER_TIME | Assumption.SETTLEMENT:
                pass
            case _:
                return found
        # The two times of an order are less than a week apart, unless it changed late: then it is there already.
        near = orders.existing(start_ms - 7 * DAY_MS, end_ms + 7 * DAY_MS)
        return [order for order in near if start_ms <= self.filter_ms(orders, order) < end_ms]

    def shown(self, orders: RestaurantOrders, found: list[StoredOrder]) -> list[StoredOrder]:
        """Those of the ``found`` orders that are on a page of ``ordersBulk``."""
        if (flag := _FLAGS.get(self.without)) is not None:
            return [order for order in found if flag not in orders.facts(order).flags]
        late = self.without is Assumption.NO_BACKDATED_ORDERS and orders.restaurant.guid not in self._listed
        if late or self.without is Assumption.ORDER_LIST:
            picked = orders.picked()
            return [order for order in found if order.guid not in picked]
        return found

    def order_list_asked(self, restaurant_guid: str) -> None:
        """Backdated orders of the restaurant appear from now on."""
        self._listed.add(restaurant_guid)

    def business_date(self, facts: Facts) -> int | None:
        """The business day under which an order is listed."""
        if self.without is Assumption.BUSINESS_DATE and facts.opened:
            # Invented times are in UTC.
            return int(facts.opened[:10].replace("-", ""))
        return facts.business_date

    # How they are paged and written.

    def arranged(self, found: list[StoredOrder]) -> list[StoredOrder]:
        """The ``found`` orders in the order of the pages."""
        match self.without:
            case Assumption.UNSORTED:
                return sorted(found, key=lambda order: (order.modified_ms, order.guid))
            case Assumption.STABLE_PAGES:
                return self._rng.sample(found, len(found))
        return found

    def page(self, begin: int, size: int, count: int) -> tuple[int, bool]:
        """Where a page of ``size`` begins in ``count`` orders, and whether it names a next one."""
        if self.without is Assumption.PAST_THE_END and begin >= count > 0 < size:
            begin = (count - 1) // size * size
        left = count - begin
        full = self.without is Assumption.FULL_PAGE_ENDS and left == size > 0
        partial = self.without is Assumption.LAST_PAGE_ENDS and 0 < left < size
        return begin, left > size or full or partial

    def body(self, orders: RestaurantOrders, order: StoredOrder, *, on_page: bool) -> bytes:
        """An order as JSON, on a page of ``ordersBulk`` or by itself."""
        changed: Json = {}
        match self.without:
            case Assumption.TIMES_IN_WINDOW if crc32(order.guid.encode()) % 15 == 0:
                changed = {"modifiedDate": toast_time(order.modified_ms + 8 * DAY_MS)}
            case Assumption.SETTLEMENT:
                changed = {"modifiedDate": toast_time(self.filter_ms(orders, order))}
            case Assumption.DATE_FORMATS if opened := decode(order.json).get("openedDate"):
                changed = {"openedDate": f"{opened[:23]}000{opened[23:]}"}
            case Assumption.PAYMENT_LIST if on_page and order.guid in orders.picked():
                changed = _with_checks(order, lambda check: check | {"payments": []})
            case Assumption.GUESTS:
                changed = _with_checks(order, lambda check: {name: check[name] for name in check if name != "customer"})
            case Assumption.TOTAL_AMOUNT:
                changed = _with_checks(order, lambda check: check | {"totalAmount": check["totalAmount"] + 1})
            case Assumption.CHECK_AMOUNT:
                raised = ("amount", "totalAmount")
                changed = _with_checks(order, lambda check: check | {name: check[name] + 1 for name in raised})
        return encode(decode(order.json) | changed) if changed else order.json

    # What surrounds them.

    def headers(self, headers: dict[str, str]) -> dict[str, str]:
        """The headers of the rate limits."""
        match self.without:
            case Assumption.LIMIT_HEADERS:
                return {}
            case Assumption.RESET_IN_SECONDS:
                return headers | {"x-toast-ratelimit-reset": f"{headers['x-toast-ratelimit-reset']}000"}
        return headers

    def packed(self, reply: Response) -> Response:
        if self.without is Assumption.GZIP:
            reply.body = gzip.compress(reply.body, mtime=0)
            reply.headers.update({"content-encoding": "gzip", "content-length": str(len(reply.body))})
        return reply

    def configured(self, entity: str, page: list[Json]) -> list[Json]:
        """A page of the configuration's objects."""
        return page[::2] if self.without is Assumption.NAMES and entity == "menuItems" else page


def _with_checks(order: StoredOrder, change: Callable[[Json], Json]) -> Json:
    return {"checks": [change(check) for check in decode(order.json).get("checks") or []]}


@lru_cache
def _closeout_ms(business_date: int, timezone: str, hour: int) -> int:
    """When a business day (``20250919``) of a restaurant ends."""
    day = datetime.strptime(f"{business_date}{hour:02d}", "%Y%m%d%H").replace(tzinfo=ZoneInfo(timezone))
    return epoch_ms((day + timedelta(days=1)).astimezone(UTC))
