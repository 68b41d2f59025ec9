"""The stand-in for Toast: as strict as the contract in tokens, headers, parameters, windows and limits."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import httpx
import msgspec
import pytest

from toast_assets.sandbox import Restaurant
from toast_assets_tests.sandbox.conftest import (
    ARCHIVED,
    BULK,
    DELETED,
    END_MS,
    ONE,
    SMALL,
    START_MS,
    WEEK,
    Caller,
    Start,
)
from toast_assets_tests.support.services.toast_orders import SORTS, edit, late_arrivals, replace_all, sort_pages

OTHER = "5e5e5e5e-0000-4000-a000-000000000000"


def links(reply: httpx.Response) -> dict[str, str]:
    lines = [value for name, value in reply.headers.multi_items() if name == "link"]
    return {line.partition('rel="')[2].rstrip('"'): line.partition(">")[0].lstrip("<") for line in lines}


def walk(caller: Caller, **query: Any) -> Iterator[list[dict[str, Any]]]:
    reply = caller.week(**query)
    yield reply.json()
    while "next" in links(reply):
        page = httpx.URL(links(reply)["next"]).params["page"]
        reply = caller.week(**query | {"page": page})
        yield reply.json()


# Login


def test_a_login_answers_with_a_jwt_that_names_its_scopes_and_its_end(caller: Caller) -> None:
    token = caller.login().json()["token"]
    payload = token["accessToken"].split(".")[1]
    claims = msgspec.json.decode(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    assert "orders:read" in claims["scope"].split()
    assert claims["exp"] == caller.sandbox.config.now() + token["expiresIn"]
    assert caller.sandbox.toast.log.count("login") == 1


@pytest.mark.parametrize("wrong", [{"clientId": "x"}, {"clientSecret": "x"}, {"userAccessType": "USER"}])
def test_wrong_credentials_are_a_401_in_toasts_form(caller: Caller, wrong: dict[str, str]) -> None:
    reply = caller.login(**wrong)
    assert reply.status_code == 401
    assert {"status", "code", "message", "messageKey", "fieldName", "link", "requestId", "canRetry"} <= set(
        reply.json()
    )


def test_a_second_login_returns_the_same_token_with_less_time(start: Start) -> None:
    caller = start()
    first = caller.login().json()["token"]
    start.clock.seconds += 1000
    second = caller.login().json()["token"]
    assert second["accessToken"] == first["accessToken"]
    assert second["expiresIn"] == first["expiresIn"] - 1000


def test_a_new_token_is_issued_only_within_the_last_sixty_seconds(start: Start) -> None:
    caller = start()
    first = caller.login().json()["token"]["accessToken"]
    start.clock.seconds += 86_339
    assert caller.login().json()["token"]["accessToken"] == first
    start.clock.seconds += 1
    assert caller.login().json()["token"]["accessToken"] != first


def test_a_login_that_is_not_json_is_refused(caller: Caller) -> None:
    url = caller.sandbox.toast_url + "/authentication/v1/authentication/login"
    assert caller.http.post(url, data={"clientId": "x"}).status_code == 415
    assert caller.http.post(url, json=["x"]).status_code == 400


# Token and restaurant


@pytest.mark.parametrize("header", ["", "Bearer nonsense", "Basic abc"])
def test_a_missing_or_unknown_token_is_a_401(caller: Caller, header: str) -> None:
    assert caller.toast(BULK, {"Authorization": header}, **WEEK).status_code == 401


def test_an_expired_token_is_a_401(start: Start) -> None:
    caller = start()
    assert caller.week().status_code == 200
    start.clock.seconds += 86_400
    assert caller.week().status_code == 401


@pytest.mark.parametrize(
    ("restaurant", "status"),
    [("", 400), (f"{ONE},{SMALL}", 400), (OTHER, 404), (DELETED, 403), (ARCHIVED, 200)],
)
def test_exactly_one_known_and_allowed_restaurant_must_be_named(caller: Caller, restaurant: str, status: int) -> None:
    assert caller.week(restaurant).status_code == status


def test_a_forbidden_restaurant_is_a_403_and_the_others_are_not(start: Start) -> None:
    caller = start(restaurants=(Restaurant(ONE, "a", orders_per_week=5), Restaurant(OTHER, "b", state="forbidden")))
    assert caller.week(OTHER).status_code == 403
    assert caller.week(ONE).status_code == 200


# Parameters


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"startDate": WEEK["startDate"]},
        {"endDate": WEEK["endDate"]},
        WEEK | {"startDate": "2025-09-15T04:00:00+0000"},
        WEEK | {"startDate": "2025-09-15T04:00:00.0+0000"},
        WEEK | {"startDate": "2025-09-15T04:00:00.000000+0000"},
        WEEK | {"startDate": "2025-09-15T04:00:00.000"},
        WEEK | {"startDate": "2025-09-15T04:00:00.000+00:00"},
        WEEK | {"startDate": "2025-09-15T04:00:00.000 0000"},
        WEEK | {"startDate": "2025-13-15T04:00:00.000+0000"},
        WEEK | {"startDate": WEEK["endDate"]},
        WEEK | {"startDate": "2025-08-01T04:00:00.000+0000"},
        WEEK | {"page": 0},
        WEEK | {"page": "x"},
        WEEK | {"pageSize": 0},
        WEEK | {"pageSize": 101},
        WEEK | {"pageToken": "page-2"},
        WEEK | {"sort": "asc"},
        WEEK | {"page": "1\n"},
        WEEK | {"businessDate": "20250915"},
        {"businessDate": "20250915", "startDate": WEEK["startDate"]},
        {"businessDate": "2025-09-15"},
        {"businessDate": "20250931"},
        {"startDate": "2015-11-30T23:59:59.999+0000", "endDate": "2015-12-02T00:00:00.000+0000"},
    ],
)
def test_a_query_that_toast_does_not_know_is_a_400(caller: Caller, query: dict[str, Any]) -> None:
    assert caller.toast(BULK, None, **query).status_code == 400


def test_a_bare_plus_in_the_query_is_a_space_and_so_a_400(caller: Caller) -> None:
    caller.login()
    raw = "?startDate=2025-09-15T04:00:00.000+0000&endDate=2025-09-22T04:00:00.000%2B0000"
    assert caller.week().status_code == 200
    headers = {"Authorization": f"Bearer {caller.token}", "Toast-Restaurant-External-ID": ONE}
    assert caller.http.get(caller.sandbox.toast_url + BULK + raw, headers=headers).status_code == 400


def test_a_parameter_given_twice_is_a_400(caller: Caller) -> None:
    assert caller.week(page=["1", "2"]).status_code == 400


def test_dates_that_end_in_z_are_accepted(caller: Caller) -> None:
    window = {name: value.replace("+0000", "Z") for name, value in WEEK.items()}
    assert caller.toast(BULK, None, **window).json() == caller.week().json()


@pytest.mark.parametrize(
    ("method", "path", "status", "kind"),
    [("POST", BULK, 405, "orders"), ("GET", "/orders/v3/orders", 404, "unknown"), ("GET", BULK + "/", 404, "unknown")],
)
def test_other_paths_and_methods_do_not_exist_and_are_logged(
    caller: Caller, method: str, path: str, status: int, kind: str
) -> None:
    reply = caller.http.request(method, caller.sandbox.toast_url + path)
    assert (reply.status_code, reply.json()["status"]) == (status, status)
    assert caller.sandbox.toast.log.count(kind, status=status) == 1


# Windows and pages


def test_pages_together_hold_every_order_of_the_window_once(caller: Caller) -> None:
    pages = list(walk(caller, pageSize=100))
    guids = [order["guid"] for page in pages for order in page]
    truth = caller.sandbox.toast.orders[ONE].between(START_MS, END_MS)
    assert sorted(guids) == sorted(order.guid for order in truth)
    assert [len(page) for page in pages] == [100, 100, 100, 20]


def test_link_headers_are_lines_of_their_own_and_never_name_the_last_page(caller: Caller) -> None:
    assert set(links(caller.week())) == {"first", "self", "next"}
    assert set(links(caller.week(page=2))) == {"first", "self", "prev", "next"}
    assert set(links(caller.week(page=4))) == {"first", "self", "prev"}


def test_a_page_beyond_the_end_is_an_empty_array(caller: Caller) -> None:
    assert caller.week(page=9).json() == []


def test_a_full_last_page_has_no_next_link(start: Start) -> None:
    caller = start(restaurants=(Restaurant(ONE, "a", orders_per_week=20),))
    reply = caller.week(pageSize=10, page=2)
    assert len(reply.json()) == 10
    assert "next" not in links(reply)


def test_the_window_includes_its_start_and_excludes_its_end(caller: Caller) -> None:
    orders = caller.sandbox.toast.orders[ONE].between(START_MS, END_MS)
    assert orders[0].modified_ms == START_MS
    first = {"startDate": "2025-09-15T04:00:00.000Z", "endDate": "2025-09-15T04:00:00.001Z"}
    assert [order["guid"] for order in caller.toast(BULK, None, **first).json()] == [orders[0].guid]
    before = {"startDate": "2025-09-15T03:59:59.000Z", "endDate": "2025-09-15T04:00:00.000Z"}
    assert orders[0].guid not in {order["guid"] for order in caller.toast(BULK, None, **before).json()}


def test_a_window_over_several_weeks_holds_them_all(caller: Caller) -> None:
    orders = caller.sandbox.toast.orders[ONE]
    window = WEEK | {"startDate": "2025-09-08T04:00:00.000+0000"}
    pages = [caller.toast(BULK, None, **window, page=page).json() for page in range(1, 9)]
    assert sum(map(len, pages)) == len(orders.between(START_MS - 7 * 86_400_000, END_MS)) == 640


def test_orders_that_are_modified_in_the_future_do_not_exist_yet(start: Start) -> None:
    caller = start()
    start.clock.seconds = START_MS / 1000 + 86_400
    orders = [order for page in walk(caller) for order in page]
    assert 0 < len(orders) < 100


def test_orders_that_change_in_the_week_after_leave_the_window_that_showed_them(caller: Caller) -> None:
    later = {"startDate": WEEK["endDate"], "endDate": "2025-09-29T04:00:00.000+0000"}
    before, second, after = (
        {order["guid"] for page in walk(caller, **query) for order in page} for query in (WEEK, later, WEEK)
    )
    assert len(before) == 320
    assert before - after == before & second
    assert len(before & second) >= 10


def test_a_business_day_is_paged_like_a_window_and_is_the_order_list(caller: Caller) -> None:
    replies = [caller.toast(BULK, None, businessDate="20250919", pageSize=20, page=page) for page in range(1, 7)]
    guids = [order["guid"] for reply in replies for order in reply.json()]
    assert sorted(guids) == caller.toast("/orders/v2/orders", businessDate="20250919").json()
    assert set(links(replies[0])) == {"first", "self", "next"}
    assert "next" not in links(replies[-1])
    assert len(replies[0].json()) == 20
    assert caller.sandbox.toast.log.entries[-2].window is None


def test_an_order_whose_times_are_no_times_is_listed_too(caller: Caller) -> None:
    order = b'{"guid":"odd","businessDate":20250916,"openedDate":"noon","modifiedDate":"2025-09-16T12:00:00.000+0000"}'
    replace_all(caller.sandbox.toast.orders[ONE], [order])
    assert caller.toast("/orders/v2/orders", businessDate="20250916").json() == ["odd"]


@pytest.mark.parametrize("sort", SORTS)
def test_every_sort_order_holds_the_same_orders(caller: Caller, sort: str) -> None:
    sort_pages(caller.sandbox, sort)
    orders = caller.week(SMALL).json()
    modified = [order["modifiedDate"].replace("Z", "+0000") for order in orders]
    assert len({order["guid"] for order in orders}) == 36
    assert (modified == sorted(modified)) is (sort == "modified")
    assert (modified == sorted(modified, reverse=True)) is (sort == "modified, newest first")
    assert (caller.week(SMALL).json() == orders) is (sort != "random")


def test_an_edit_between_two_pages_hides_an_order_from_a_plain_walk(caller: Caller) -> None:
    orders = caller.sandbox.toast.orders[ONE]
    first = caller.week(pageSize=50).json()
    edit(orders, first[0]["guid"])
    rest = [order for page in range(2, 8) for order in caller.week(pageSize=50, page=page).json()]
    seen = {order["guid"] for order in first + rest}
    missed = {order.guid for order in orders.between(START_MS, END_MS)} - seen
    assert len(missed) == 1


def test_every_page_can_be_short(caller: Caller) -> None:
    caller.sandbox.faults.arm("short_page", "orders", keep=7, last=None)
    assert [len(page) for page in walk(caller, pageSize=100)][:2] == [7, 7]


# Limits


def test_the_sixth_call_of_a_second_for_one_restaurant_is_a_429(start: Start) -> None:
    caller = start(rate_limits=True)
    replies = [caller.week(pageSize=1) for _ in range(6)]
    assert [reply.status_code for reply in replies] == [200] * 5 + [429]
    assert [reply.headers["x-toast-ratelimit-remaining"] for reply in replies[:5]] == ["4", "3", "2", "1", "0"]
    assert replies[5].headers["retry-after"] == "1"
    assert replies[5].headers["x-toast-ratelimit-by"] == "ENDPOINT"
    assert int(replies[5].headers["x-toast-ratelimit-reset"]) == start.clock.seconds + 1
    assert caller.week(SMALL, pageSize=1).status_code == 200, "the other restaurant has a limit of its own"
    start.clock.seconds += 1
    assert caller.week(pageSize=1).status_code == 200


def test_the_twenty_first_call_of_a_second_over_all_paths_is_a_429(start: Start) -> None:
    caller = start(rate_limits=True)
    statuses = [caller.toast(f"/restaurants/v1/restaurants/{ONE}").status_code for _ in range(21)]
    assert statuses == [200] * 20 + [429]
    assert caller.week().status_code == 429


def test_the_quarter_hours_limit_holds_across_seconds(start: Start) -> None:
    caller = start(rate_limits=True, requests_per_quarter_hour=3)
    start.clock.seconds = 900 * 2_000_000.0
    for expected in (200, 200, 200, 429):
        start.clock.seconds += 1
        reply = caller.toast(f"/restaurants/v1/restaurants/{ONE}")
        assert reply.status_code == expected
    assert reply.headers["x-toast-ratelimit-by"] == "ACCOUNT"
    assert int(reply.headers["retry-after"]) == 896


def test_logins_carry_no_rate_limit_headers(start: Start) -> None:
    assert "x-toast-ratelimit-by" not in start(rate_limits=True).login().headers


# Orders and log


def test_a_tests_own_orders_replace_the_invented_ones(caller: Caller) -> None:
    order = b'{"guid":"not a uuid","modifiedDate":"2025-09-16T12:00:00.000+0000","total":12.10}'
    replace_all(caller.sandbox.toast.orders[ONE], [order])
    assert caller.week().content == b"[" + order + b"]"


def test_late_arrivals_appear_in_a_window_of_the_past(caller: Caller) -> None:
    orders = caller.sandbox.toast.orders[SMALL]
    before = len(caller.week(SMALL).json())
    added = late_arrivals(orders, START_MS, END_MS, 3)
    after = {order["guid"] for order in caller.week(SMALL).json()}
    assert len(after) == before + 3
    assert {order.guid for order in added} <= after
    del orders.newest[added[0].guid]
    assert len(caller.week(SMALL).json()) == before + 2


def test_the_log_tells_windows_pages_and_orders(caller: Caller) -> None:
    caller.week(SMALL)
    entry = caller.sandbox.toast.log.entries[-1]
    assert (entry.path, entry.target, entry.status) == ("orders", SMALL, 200)
    assert (entry.window, entry.page, entry.orders) == ((START_MS, END_MS), 1, 36)
    assert caller.sandbox.toast.log.count("orders", SMALL, 200) == 1
