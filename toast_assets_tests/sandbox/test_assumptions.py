"""Each assumption about Toast can be switched off, and then the stand-in breaks this one and no other."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any
from zlib import crc32
from zoneinfo import ZoneInfo

import httpx
import pytest
from click.testing import CliRunner

from toast_assets.cli import main
from toast_assets.sandbox import Assumption, SandboxConfig
from toast_assets.sandbox.order_builder import decode, toast_time
from toast_assets.sandbox.orders import StoredOrder
from toast_assets.week import epoch_ms
from toast_assets_tests.sandbox.conftest import BULK, END_MS, ONE, SMALL, START_MS, Caller, Clock, Start
from toast_assets_tests.sandbox.test_status import token_on_the_page
from toast_assets_tests.sandbox.test_toast import links
from toast_assets_tests.support.services.browser import CHROMIUM, HOW_TO_GET_IT, open_browser

Json = dict[str, Any]
LIST, PAYMENTS = "/orders/v2/orders", "/orders/v2/payments"
SWITCH = "/_sandbox/assumption"
DAY = "20250917"
# Friday at noon in New York, and twelve hours later.
NOON_MS, MIDNIGHT_MS = START_MS + 108 * 3_600_000, START_MS + 120 * 3_600_000
DAY_MS = 86_400_000


class Ticking(Clock):
    """A clock that goes on by a second whenever it is read, so that no limit is reached."""

    def __call__(self) -> float:
        self.seconds += 1
        return self.seconds


def asked(start_ms: int, end_ms: int) -> dict[str, Any]:
    return {"startDate": toast_time(start_ms), "endDate": toast_time(end_ms)}


def exact(reply: httpx.Response) -> Any:
    return json.loads(reply.content, parse_float=Decimal)


def time_ms(text: str) -> int:
    return epoch_ms(datetime.fromisoformat(text))


def closeout_ms(order: Json) -> int:
    """Four o'clock in New York after the order's business day."""
    day = datetime.strptime(f"{order['businessDate']}04", "%Y%m%d%H").replace(tzinfo=ZoneInfo("America/New_York"))
    return epoch_ms(day + timedelta(days=1))


def payments(order: Json) -> Iterator[Json]:
    return (payment for check in order["checks"] for payment in check["payments"])


def is_captured(order: Json) -> bool:
    return any((each["type"], each["paymentStatus"]) == ("CREDIT", "CAPTURED") for each in payments(order))


def is_flagged(order: Json) -> bool:
    return bool(order["deleted"] or order["voided"] or order["createdInTestMode"])


def charges(check: Json, *, gratuity: bool) -> Any:
    return sum(each["chargeAmount"] for each in check["appliedServiceCharges"] if each["gratuity"] is gratuity)


def amount(check: Json) -> Any:
    items = sum(line["price"] for line in check["selections"] if not line["voided"])
    return items + charges(check, gratuity=False) - sum(each["discountAmount"] for each in check["appliedDiscounts"])


@dataclass
class Look:
    """What a client sees of one restaurant's week, before and after it asks for the order list of a day."""

    caller: Caller

    def __post_init__(self) -> None:
        self.before = {order["guid"] for order in self.week()}
        self.listed = set(self.caller.toast(LIST, businessDate=DAY).json())
        self.orders = self.week()
        self.known = {order["guid"]: order for order in self.orders}
        self.checks = [check for order in self.orders for check in order["checks"]]

    def week(self) -> list[Json]:
        """In windows that fit on a page each: pages that are shuffled between two requests lose orders."""
        windows = range(START_MS, END_MS, DAY_MS // 2)
        return [order for begin in windows for order in exact(self.rows(begin, begin + DAY_MS // 2, pageSize=100))]

    def rows(self, start_ms: int, end_ms: int, **query: Any) -> httpx.Response:
        return self.caller.toast(BULK, **asked(start_ms, end_ms), **query)

    def sees(self, start_ms: int, end_ms: int) -> bool:
        return self.reference.guid in {order["guid"] for order in self.rows(start_ms, end_ms).json()}

    def some_hours(self, **query: Any) -> httpx.Response:
        return self.rows(NOON_MS, MIDNIGHT_MS, **({"pageSize": 100} | query))

    def order(self, guid: str) -> Json:
        order: Json = exact(self.caller.toast(f"{LIST}/{guid}"))
        return order

    @cached_property
    def reference(self) -> StoredOrder:
        """An ordinary order, paid in cash, that has its second to itself."""
        held = self.caller.sandbox.toast.orders[ONE]
        orders = held.between(NOON_MS, END_MS)
        seconds = [order.modified_ms // 1000 for order in orders]
        picked = held.picked()
        return next(
            order
            for order in orders
            if seconds.count(order.modified_ms // 1000) == 1
            and 0 < order.modified_ms % 1000 < 999
            and order.guid not in picked
            and crc32(order.guid.encode()) % 15
            and not is_captured(decode(order.json))
            and not is_flagged(decode(order.json))
        )

    @property
    def at(self) -> int:
        return self.reference.modified_ms

    @cached_property
    def count(self) -> int:
        return len(self.some_hours().json())

    def created(self) -> bool:
        second = time_ms(decode(self.reference.json)["createdDate"]) // 1000 * 1000
        return self.sees(second, second + 1000)

    def outside(self) -> bool:
        times = [time_ms(order["modifiedDate"]) for order in self.some_hours().json()]
        return any(not NOON_MS <= time < MIDNIGHT_MS for time in times)

    def sorted(self) -> bool:
        times = [time_ms(order["modifiedDate"]) for order in self.some_hours().json()]
        assert len(times) >= 10
        return times == sorted(times)

    def by_day(self) -> tuple[bool, bool]:
        listed = [self.known.get(guid) or self.order(guid) for guid in self.listed]
        paged = [order for page in range(1, 4) for order in self.caller.toast(BULK, businessDate=DAY, page=page).json()]
        assert paged
        first, second = (all(str(each["businessDate"]) == DAY for each in orders) for orders in (listed, paged))
        return first, second

    def not_on_pages(self) -> int:
        return sum(not is_flagged(self.order(guid)) for guid in self.listed - self.known.keys())

    def without_payment(self) -> bool:
        held = {payment["guid"] for order in self.orders for payment in payments(order)}
        lacking = set(self.caller.toast(PAYMENTS, paidBusinessDate=DAY).json()) - held
        return any(self.caller.toast(f"{PAYMENTS}/{guid}").json()["orderGuid"] in self.known for guid in lacking)

    def headers(self) -> tuple[bool, bool]:
        names = ("remaining", "reset")
        first, second = (f"x-toast-ratelimit-{name}" in self.some_hours().headers for name in names)
        return first, second

    def reset_digits(self) -> int:
        return len(self.some_hours().headers.get("x-toast-ratelimit-reset", ""))

    def partners(self) -> tuple[int, str | None]:
        reply = self.caller.toast("/partners/v1/restaurants", {"Toast-Restaurant-External-ID": ""})
        return reply.status_code, None if reply.is_success else reply.json()["message"]

    def group(self) -> int:
        general = self.caller.toast(f"/restaurants/v1/restaurants/{ONE}").json()["general"]
        return self.caller.toast(f"/restaurants/v1/groups/{general['managementGroupGuid']}/restaurants").status_code

    def token(self) -> str:
        return str(self.caller.login().json()["token"]["accessToken"])

    def total(self, check: Json) -> bool:
        gratuities = charges(check, gratuity=True)
        return bool(check["totalAmount"] == check["amount"] + check["taxAmount"] + gratuities)

    def settled(self) -> bool:
        cards = [order for order in self.orders if is_captured(order)]
        assert len(cards) >= 10
        return all(time_ms(order["modifiedDate"]) >= closeout_ms(order) for order in cards)

    def named(self) -> bool:
        lines = [line for check in self.checks for line in check["selections"]]
        used = {line["item"]["guid"] for line in lines if line["item"]}
        return used <= {each["guid"] for each in self.caller.toast("/config/v2/menuItems").json()}


# What a client observes, as long as the assumption holds and where it does not.
OBSERVED: dict[Assumption, tuple[Callable[[Look], Any], Any, Any]] = {
    Assumption.START_INCLUSIVE: (lambda look: look.sees(look.at, look.at + 1), True, False),
    Assumption.END_EXCLUSIVE: (
        lambda look: [look.sees(look.at - 2, look.at - past) for past in (0, 1)],
        *([False, False], [True, False]),
    ),
    Assumption.MILLISECONDS: (lambda look: look.sees(look.at - 1, look.at + 1), True, False),
    Assumption.FILTER_TIME: (lambda look: look.created(), False, True),
    Assumption.TIMES_IN_WINDOW: (lambda look: look.outside(), False, True),
    Assumption.PAGE_LIMIT: (lambda look: look.rows(START_MS, END_MS, pageSize=101).status_code, 400, 200),
    Assumption.PAGE_DEFAULT: (lambda look: len(look.rows(START_MS, END_MS).json()), 100, 25),
    Assumption.LAST_PAGE_ENDS: (
        lambda look: "next" in links(look.some_hours(pageSize=look.count - 1, page=2)),
        *(False, True),
    ),
    Assumption.FULL_PAGE_ENDS: (lambda look: "next" in links(look.some_hours(pageSize=look.count)), False, True),
    Assumption.PAST_THE_END: (lambda look: len(look.some_hours(pageSize=look.count - 1, page=9).json()), 0, 1),
    Assumption.UNSORTED: (lambda look: look.sorted(), False, True),
    Assumption.STABLE_PAGES: (lambda look: look.some_hours().content == look.some_hours().content, True, False),
    Assumption.LONGEST_WINDOW: (
        lambda look: look.rows(START_MS, START_MS + 40 * DAY_MS, pageSize=1).status_code,
        *(400, 200),
    ),
    Assumption.EARLIEST_DATE: (
        lambda look: look.rows(time_ms("2015-11-10T12:00Z"), time_ms("2015-11-10T13:00Z")).status_code,
        *(400, 200),
    ),
    Assumption.OPEN_WINDOW: (
        lambda look: look.rows(1_760_000_000_000, 1_760_400_000_000, pageSize=1).status_code,
        *(200, 400),
    ),
    Assumption.DELETED_ORDERS: (lambda look: any(order["deleted"] for order in look.orders), True, False),
    Assumption.VOIDED_ORDERS: (lambda look: any(order["voided"] for order in look.orders), True, False),
    Assumption.TEST_ORDERS: (lambda look: any(order["createdInTestMode"] for order in look.orders), True, False),
    Assumption.BUSINESS_DATE: (lambda look: look.by_day(), (True, True), (False, False)),
    Assumption.ORDER_LIST: (lambda look: look.not_on_pages(), 0, 1),
    Assumption.PAYMENT_LIST: (lambda look: look.without_payment(), False, True),
    Assumption.LIMIT_HEADERS: (lambda look: look.headers(), (True, True), (False, False)),
    Assumption.RESET_IN_SECONDS: (lambda look: look.reset_digits(), 10, 13),
    Assumption.PARTNER_LIST: (
        lambda look: look.partners(),
        *((200, None), (401, "partnerGuid must be supplied in token")),
    ),
    Assumption.GROUP_LIST: (lambda look: look.group(), 200, 403),
    Assumption.GUESTS: (lambda look: any("customer" in check for check in look.checks), True, False),
    Assumption.SAME_TOKEN: (lambda look: look.token() == look.token(), True, False),
    Assumption.TOTAL_AMOUNT: (lambda look: {look.total(check) for check in look.checks}, {True}, {False}),
    Assumption.CHECK_AMOUNT: (
        lambda look: {amount(check) - check["amount"] for check in look.checks if not check["voided"]},
        *({0}, {-1}),
    ),
    Assumption.NO_BACKDATED_ORDERS: (lambda look: len(look.known.keys() - look.before) >= 7, False, True),
    Assumption.SETTLEMENT: (lambda look: look.settled(), False, True),
    Assumption.DATE_FORMATS: (
        lambda look: bool(re.search(rb'Date":"[-0-9:T]{19}\.\d{6}(\+0000|Z)"', look.some_hours().content)),
        *(False, True),
    ),
    Assumption.GZIP: (lambda look: look.caller.week(page=4).headers.get("content-encoding"), None, "gzip"),
    Assumption.NAMES: (lambda look: look.named(), True, False),
}
# What else follows from a broken one: with bounds that are cut to seconds a window of a millisecond is empty.
FOLLOWS: dict[Assumption | None, dict[Assumption, Any]] = {
    Assumption.MILLISECONDS: {Assumption.START_INCLUSIVE: False},
    Assumption.FILTER_TIME: {
        Assumption.START_INCLUSIVE: False,
        Assumption.MILLISECONDS: False,
        Assumption.TIMES_IN_WINDOW: True,
    },
    Assumption.LIMIT_HEADERS: {Assumption.RESET_IN_SECONDS: 0},
}


def observe(start: Start, without: Assumption | None) -> dict[Assumption, Any]:
    limits = {"rate_limits": True, "requests_per_quarter_hour": 1_000_000, "now": Ticking()}
    caller = start(without=without, late_changes=False, **limits)
    look = Look(caller)
    return {key: observed(look) for key, (observed, _, _) in OBSERVED.items()}


def test_every_assumption_is_observed() -> None:
    assert list(OBSERVED) == list(Assumption)


@pytest.mark.parametrize("without", [None, *Assumption])
def test_a_switch_breaks_its_assumption_and_no_other(start: Start, without: Assumption | None) -> None:
    expected = {key: kept for key, (_, kept, _) in OBSERVED.items()} | FOLLOWS.get(without, {})
    if without is not None:
        expected[without] = OBSERVED[without][2]
    assert observe(start, without) == expected


def test_an_assumption_holds_again_once_the_switch_is_off(caller: Caller) -> None:
    plain = caller.week(SMALL).content
    for assumption in Assumption:
        caller.sandbox.switch.without = assumption
        caller.week(SMALL)
        caller.sandbox.switch.without = None
        assert caller.week(SMALL).content == plain


@pytest.mark.parametrize("without", [Assumption.STABLE_PAGES, Assumption.ORDER_LIST, Assumption.TIMES_IN_WINDOW])
def test_the_same_questions_get_the_same_answers_from_another_sandbox(start: Start, without: Assumption) -> None:
    first, second = ([caller.week(page=page).content for page in (1, 1, 2)] for caller in (start(), start()))
    assert first == second
    first, second = (
        [caller.week(page=page).content for page in (1, 1, 2)]
        for caller in (start(without=without), start(without=without))
    )
    assert first == second


def test_backdated_orders_wait_for_the_order_list_of_their_own_restaurant_whenever_it_is_switched(
    caller: Caller,
) -> None:
    everything = len(caller.week(SMALL).json())
    for _ in range(2):
        caller.sandbox.switch.without = Assumption.NO_BACKDATED_ORDERS
        caller.toast(LIST, businessDate=DAY)
        assert len(caller.week(SMALL).json()) < everything
        caller.toast(LIST, {"Toast-Restaurant-External-ID": SMALL}, businessDate=DAY)
        assert len(caller.week(SMALL).json()) == everything


@pytest.mark.parametrize(
    ("without", "size"),
    [(Assumption.LAST_PAGE_ENDS, 35), (Assumption.LAST_PAGE_ENDS, 50), (Assumption.FULL_PAGE_ENDS, 36)],
)
def test_a_page_that_should_be_the_last_names_an_empty_one(start: Start, without: Assumption, size: int) -> None:
    caller = start(without=without)
    last = caller.week(SMALL, pageSize=size, page=-(-36 // size))
    number = httpx.URL(links(last)["next"]).params["page"]
    following = caller.week(SMALL, pageSize=size, page=number)
    assert (following.json(), "next" in links(following)) == ([], False)


def test_payments_are_missing_on_pages_only(start: Start) -> None:
    caller = start(without=Assumption.PAYMENT_LIST)
    lacking = [order for order in caller.week(SMALL).json() if not list(payments(order))]
    fetched = [
        caller.toast(f"{LIST}/{order['guid']}", {"Toast-Restaurant-External-ID": SMALL}).json() for order in lacking
    ]
    assert sum(bool(list(payments(order))) for order in fetched) >= 5


# By hand


def switch(caller: Caller, body: bytes, **headers: str) -> httpx.Response:
    url = caller.sandbox.toast_url + SWITCH
    return caller.http.post(url, content=body, headers={"X-Sandbox-Token": token_on_the_page(caller)} | headers)


def test_an_assumption_can_be_switched_by_http(caller: Caller) -> None:
    reply = switch(caller, b'{"without": "partner_list"}')
    assert (reply.status_code, reply.json()) == (200, {"without": "partner_list"})
    assert caller.toast("/partners/v1/restaurants").status_code == 401
    url = caller.sandbox.toast_url
    assert caller.http.get(f"{url}/_sandbox/books.json").json()["without"] == "partner_list"
    page = caller.http.get(url).text
    assert 'value="">partner_list does not hold</button>' in page
    reply = caller.http.delete(url + SWITCH, headers={"X-Sandbox-Token": token_on_the_page(caller)})
    assert (reply.status_code, reply.json()) == (200, {"without": None})
    assert caller.toast("/partners/v1/restaurants").status_code == 200
    assert caller.http.get(f"{url}/_sandbox/books.json").json()["without"] is None


def test_the_page_has_a_button_for_each_assumption_that_says_what_it_is(caller: Caller) -> None:
    page = html.unescape(caller.http.get(caller.sandbox.toast_url).text)
    for each in Assumption:
        assert f'title="{each.statement}" value="{each}">{each}</button>' in page
    assert "does not hold</button>" not in page


@pytest.mark.parametrize("wrong", [b'{"without": "gravity"}', b"gzip", b"{}", b'{"without": "gzip", "also": 1}'])
def test_a_switch_that_does_not_exist_is_explained_and_changes_nothing(caller: Caller, wrong: bytes) -> None:
    caller.sandbox.switch.without = Assumption.GZIP
    reply = switch(caller, wrong)
    assert reply.status_code == 400
    assert "without is one of start_inclusive, " in reply.json()["help"]
    assert caller.sandbox.switch.without is Assumption.GZIP


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_a_page_of_another_site_switches_nothing(caller: Caller, method: str) -> None:
    caller.sandbox.switch.without = Assumption.GZIP
    reply = caller.http.request(method, caller.sandbox.toast_url + SWITCH, content=b'{"without": "names"}')
    assert reply.status_code == 403
    assert caller.sandbox.switch.without is Assumption.GZIP


@pytest.mark.skipif(CHROMIUM is None, reason=HOW_TO_GET_IT)
def test_an_assumption_can_be_clicked(caller: Caller, tmp_path: Path) -> None:
    with open_browser(tmp_path) as page:
        page.goto(caller.sandbox.toast_url)
        page.get_by_role("button", name="gzip").click()
        page.get_by_role("button", name="gzip does not hold").wait_for()
        assert caller.sandbox.switch.without is Assumption.GZIP
        page.get_by_role("button", name="gzip does not hold").click()
        page.get_by_role("button", name="gzip", exact=True).wait_for()
        assert caller.sandbox.switch.without is None


def test_the_command_takes_one_by_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    served: list[SandboxConfig] = []
    monkeypatch.setattr("toast_assets.cli.serve.serve", lambda config, _ui: served.append(config))
    for options in ([], ["--without", "page_limit"]):
        assert CliRunner().invoke(main, ["sandbox", *options]).exit_code == 0
    assert [config.without for config in served] == [None, Assumption.PAGE_LIMIT]
    reply = CliRunner().invoke(main, ["sandbox", "--without", "gravity"])
    assert reply.exit_code == 2
    assert "'gravity' is not one of 'start_inclusive', " in reply.stderr


# What the order list is a witness of


def test_a_census_that_is_refused_leaves_the_pages_alone(caller: Caller) -> None:
    caller.sandbox.faults.arm("status", "order list", status=403, last=None)
    assert [caller.toast(LIST, businessDate=DAY).status_code for _ in range(2)] == [403, 403]
    assert caller.week().status_code == 200


def test_a_lost_order_is_on_no_page_and_else_like_all_others(caller: Caller) -> None:
    lost = caller.week(SMALL).json()[0]
    day = {"businessDate": str(lost["businessDate"])}
    caller.sandbox.toast.orders[SMALL].lost.add(lost["guid"])
    here = {"Toast-Restaurant-External-ID": SMALL}
    assert lost["guid"] not in {order["guid"] for order in caller.week(SMALL).json()}
    assert lost["guid"] not in {order["guid"] for order in caller.toast(BULK, here, **day).json()}
    assert lost["guid"] in caller.toast(LIST, here, **day).json()
    assert caller.toast(f"{LIST}/{lost['guid']}", here).json()["guid"] == lost["guid"]
