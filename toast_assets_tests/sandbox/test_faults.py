"""Every kind of fault does on the wire what it says, on the calls it was armed for."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from toast_assets.sandbox import Call, Kind
from toast_assets_tests.sandbox.conftest import BULK, END_MS, ONE, SMALL, START_MS, Caller
from toast_assets_tests.support.services.toast_orders import add, edit


def statuses(caller: Caller, count: int, restaurant: str = SMALL) -> list[int]:
    return [caller.week(restaurant).status_code for _ in range(count)]


# When a fault fires


def test_a_fault_fires_on_the_nth_to_mth_matching_call(caller: Caller) -> None:
    fault = caller.sandbox.faults.arm("status", "orders", first=2, last=3)
    assert statuses(caller, 5) == [200, 503, 503, 200, 200]
    assert (fault.matched, fault.fired) == (5, 2)


def test_a_fault_fires_on_every_kth_call_for_ever(caller: Caller) -> None:
    caller.sandbox.faults.arm("status", "orders", first=1, last=None, every=3)
    assert statuses(caller, 7) == [503, 200, 200, 503, 200, 200, 503]


def test_a_fault_for_one_restaurant_leaves_the_others_alone(caller: Caller) -> None:
    caller.sandbox.faults.arm("status", "orders", target=ONE, status=403, last=None)
    assert statuses(caller, 1) + statuses(caller, 1, ONE) == [200, 403]


def test_a_fault_for_one_page_leaves_the_others_alone(caller: Caller) -> None:
    caller.sandbox.faults.arm("status", "orders", page=2, last=None)
    assert [caller.week(page=page).status_code for page in (1, 2, 3)] == [200, 503, 200]


def test_a_fault_for_one_record_leaves_the_others_alone(caller: Caller) -> None:
    caller.sandbox.faults.arm("status", "stream", containing=b'"poison"', status=400, last=None)
    bodies = (b'{"guid": "a"}', b'{"guid": "poison"}', b'{"guid": "b"}')
    assert [caller.amperity(content=body).status_code for body in bodies] == [202, 400, 202]


def test_faults_can_be_disarmed(caller: Caller) -> None:
    caller.sandbox.faults.arm("status", "orders", last=None)
    caller.sandbox.faults.clear()
    assert statuses(caller, 1) == [200]


@pytest.mark.parametrize(("kind", "path"), [("nonsense", "orders"), ("status", "nonsense")])
def test_a_fault_that_does_not_exist_cannot_be_armed(caller: Caller, kind: str, path: str) -> None:
    with pytest.raises(ValueError, match="nonsense"):
        caller.sandbox.faults.arm(kind, path)


# What a fault does


@pytest.mark.parametrize("status", [403, 404, 429, 500, 502, 503, 504])
def test_a_status_comes_with_toasts_error_body(caller: Caller, status: int) -> None:
    caller.sandbox.faults.arm(Kind.STATUS, "orders", status=status)
    reply = caller.week()
    assert (reply.status_code, reply.json()["status"]) == (status, status)
    assert "retry-after" not in reply.headers
    assert "x-toast-ratelimit-reset" not in reply.headers


def test_a_429_can_come_with_a_retry_after_or_with_a_reset(caller: Caller) -> None:
    caller.sandbox.faults.arm(Kind.STATUS, "orders", status=429, retry_after=0)
    assert caller.week().headers["retry-after"] == "0"
    caller.sandbox.faults.arm(Kind.STATUS, "orders", status=429, reset_header=True)
    assert caller.week().headers["x-toast-ratelimit-reset"] == str(int(caller.sandbox.config.now()))


def test_a_gateways_error_is_html(caller: Caller) -> None:
    caller.sandbox.faults.arm(Kind.STATUS, "orders", status=502, html=True)
    reply = caller.week()
    assert (reply.status_code, reply.text[:9]) == (502, "<!doctype")


def test_wrong_credentials_can_be_played(caller: Caller) -> None:
    caller.sandbox.faults.arm(Kind.STATUS, "login", status=401)
    assert [caller.login().status_code for _ in range(2)] == [401, 200]


def test_a_revoked_token_is_a_401_until_the_next_login_which_gives_another(caller: Caller) -> None:
    assert statuses(caller, 1) == [200]
    old = caller.token
    caller.sandbox.faults.arm(Kind.REVOKE, "orders")
    assert statuses(caller, 2) == [401, 401]
    caller.token = None
    assert statuses(caller, 1) == [200]
    assert caller.token != old


def test_a_reset_ends_the_connection_before_the_request_is_looked_at(caller: Caller) -> None:
    caller.sandbox.faults.arm(Kind.RESET, "stream")
    with pytest.raises(httpx.ReadError):
        caller.amperity()
    assert not caller.sandbox.amperity.accepted
    assert caller.sandbox.amperity.log.count("stream", status=0) == 1
    assert caller.amperity().status_code == 202


def test_a_reset_afterwards_ends_the_connection_when_the_record_is_accepted(caller: Caller) -> None:
    caller.sandbox.faults.arm(Kind.RESET_AFTER, "stream")
    with pytest.raises(httpx.ReadError):
        caller.amperity()
    assert len(caller.sandbox.amperity.accepted) == 1


def test_a_cut_transfer_ends_before_the_promised_length(caller: Caller) -> None:
    caller.sandbox.faults.arm(Kind.CUT_TRANSFER, "orders")
    with pytest.raises(httpx.RemoteProtocolError, match="without sending complete"):
        caller.week()


def test_cut_json_has_a_fitting_length_and_cannot_be_read(caller: Caller) -> None:
    caller.sandbox.faults.arm(Kind.CUT_JSON, "orders")
    reply = caller.week()
    assert int(reply.headers["content-length"]) == len(reply.content)
    with pytest.raises(ValueError, match=r"."):
        reply.json()


@pytest.mark.parametrize(
    ("kind", "begins"), [(Kind.HTML, b"<!doctype html>"), (Kind.EMPTY_BODY, b""), (Kind.OBJECT, b'{"status"')]
)
@pytest.mark.parametrize("path", ["orders", "stream", "login"])
def test_a_gateways_200_is_not_what_was_asked_for(caller: Caller, kind: Kind, begins: bytes, path: str) -> None:
    calls: dict[str, Callable[[], httpx.Response]] = {
        "orders": caller.week,
        "stream": caller.amperity,
        "login": caller.login,
    }
    caller.login()
    caller.sandbox.faults.arm(kind, path)
    reply = calls[path]()
    assert reply.status_code == 200
    assert reply.content.startswith(begins)
    assert (not begins) is (not reply.content)
    assert not caller.sandbox.amperity.accepted


def test_a_call_that_is_never_answered_ends_when_the_client_goes_away(caller: Caller) -> None:
    caller.login()
    caller.sandbox.faults.arm(Kind.NEVER, "stream")
    caller.http.timeout = httpx.Timeout(600, read=0.05)
    with pytest.raises(httpx.ReadTimeout):
        caller.amperity()
    caller.http.timeout = httpx.Timeout(600)
    assert caller.amperity().status_code == 202
    assert len(caller.sandbox.amperity.accepted) == 1


def test_a_slow_answer_is_the_right_answer(caller: Caller) -> None:
    fault = caller.sandbox.faults.arm(Kind.SLOW, "orders", seconds=0.001)
    assert len(caller.week(SMALL).json()) == 36
    assert fault.fired == 1


def test_a_wrongly_empty_page_has_no_next_link(caller: Caller) -> None:
    caller.sandbox.faults.arm(Kind.EMPTY_PAGE, "orders")
    reply = caller.week()
    assert reply.json() == []
    assert 'rel="next"' not in reply.headers["link"]
    assert len(caller.week().json()) == 100


def test_pages_after_a_short_one_continue_where_it_stopped(caller: Caller) -> None:
    caller.sandbox.faults.arm(Kind.SHORT_PAGE, "orders", page=2, keep=3)
    pages = [caller.week(page=page) for page in range(1, 6)]
    assert [len(page.json()) for page in pages] == [100, 3, 100, 100, 17]
    assert 'rel="next"' in pages[1].headers["link"]
    assert len({order["guid"] for page in pages for order in page.json()}) == 320


def test_a_repeated_page_is_the_previous_one_again(caller: Caller) -> None:
    caller.sandbox.faults.arm(Kind.REPEATED_PAGE, "orders", page=2)
    first, second, again = caller.week(), caller.week(page=2), caller.week(page=2)
    assert second.content == first.content
    assert again.content != first.content


def test_a_stray_order_was_modified_at_the_windows_end(caller: Caller) -> None:
    caller.sandbox.faults.arm(Kind.STRAY_ORDER, "orders")
    stray, right = caller.week().json()[0], caller.week().json()[0]
    assert stray["guid"] == right["guid"]
    assert stray["modifiedDate"] == "2025-09-22T04:00:00.000+0000"


def test_data_faults_count_only_calls_that_toast_accepts(caller: Caller) -> None:
    fault = caller.sandbox.faults.arm(Kind.EMPTY_PAGE, "orders")
    assert caller.week(pageSize=1000).status_code == 400
    assert fault.matched == 0
    assert caller.week().json() == []


# Edits while a pull runs


def test_a_hook_edits_the_data_before_every_second_call(caller: Caller) -> None:
    orders = caller.sandbox.toast.orders
    edited: list[str] = []

    def leave(call: Call) -> None:
        assert call.target is not None
        guid = orders[call.target].view(START_MS, END_MS)[0].guid
        edited.append(edit(orders[call.target], guid).guid)

    caller.sandbox.faults.arm("hook", "orders", action=leave, first=2, last=None, every=2)
    sizes = [len(caller.week(SMALL).json()) for _ in range(4)]
    assert sizes == [36, 35, 35, 34]
    assert len(set(edited)) == 2


def test_a_hook_afterwards_edits_the_data_when_the_page_is_cut(caller: Caller) -> None:
    orders = caller.sandbox.toast.orders
    caller.sandbox.faults.arm(Kind.HOOK_AFTER, "orders", action=lambda _: add(orders[SMALL], START_MS))
    assert [len(caller.week(SMALL).json()) for _ in range(2)] == [36, 37]


def test_an_edited_order_is_found_in_its_new_window_with_its_new_content(caller: Caller) -> None:
    orders = caller.sandbox.toast.orders
    guid = caller.week(SMALL).json()[0]["guid"]
    edit(orders[SMALL], guid, END_MS + 5, lambda order: order.update(displayNumber="edited"))
    after = {"startDate": "2025-09-22T04:00:00.005Z", "endDate": "2025-09-22T04:00:00.006Z"}
    (order,) = caller.toast(BULK, {"Toast-Restaurant-External-ID": SMALL}, **after).json()
    assert (order["guid"], order["displayNumber"]) == (guid, "edited")
