"""The status page and the sandbox's own JSON tell what happened; faults can be armed by hand."""

from __future__ import annotations

import html
import re

import httpx
import pytest

from toast_assets.sandbox import invent_restaurants
from toast_assets_tests.sandbox.conftest import ONE, SMALL, Caller, Start
from toast_assets_tests.sandbox.test_server import bucket

FAULTS = "/_sandbox/faults"


def arm(caller: Caller, **fault: object) -> httpx.Response:
    headers = {"X-Sandbox-Token": token_on_the_page(caller)}
    return caller.http.post(caller.sandbox.toast_url + FAULTS, json=fault, headers=headers)


def token_on_the_page(caller: Caller) -> str:
    shown = re.findall("X-Sandbox-Token: ([^']+)'", html.unescape(caller.http.get(caller.sandbox.toast_url).text))
    assert len(set(shown)) == 1
    return str(shown[0])


def test_the_numbers_as_json_count_requests_orders_records_and_logins(caller: Caller) -> None:
    caller.week(SMALL)
    caller.amperity()
    caller.amperity("/stream/v0/data/is-typing-error")
    caller.amperity(content=b"[]")
    numbers = caller.http.get(caller.sandbox.toast_url + "/_sandbox/books.json").json()
    assert numbers["toast"]["logins"] == 1
    assert {"path": "orders", "target": SMALL, "status": 200, "count": 1} in numbers["toast"]["requests"]
    assert {each["restaurant"]: each["orders"] for each in numbers["toast"]["orders_served"]}[SMALL] == 36
    assert numbers["amperity"]["accepted"] == {"is-toast-orders": 1}
    assert numbers["amperity"]["dropped"] == {"is-typing-error": 1}
    assert numbers["amperity"]["rejected"] == 1


def test_repeats_are_told_apart_on_both_sides(caller: Caller) -> None:
    for body in (b'{"guid": "a", "modifiedDate": "1"}',) * 2 + (b'{"guid": "a", "modifiedDate": "2"}', b"{}", b"{}"):
        caller.amperity(content=body)
    for _ in range(2):
        caller.week(SMALL)
    numbers = caller.http.get(caller.sandbox.toast_url + "/_sandbox/books.json").json()
    assert (numbers["amperity"]["accepted"], numbers["amperity"]["sent_again"]) == ({"is-toast-orders": 5}, 1)
    (small,) = (each for each in numbers["toast"]["orders_served"] if each["restaurant"] == SMALL)
    assert (small["orders"], small["distinct_orders"]) == (72, 36)


def test_the_bucket_is_counted(caller: Caller) -> None:
    bucket(caller.sandbox).put_object(Key="toast-orders/raw/a", Body=b"four")
    bucket(caller.sandbox).put_object(Key="toast-orders/raw/a", Body=b"fives")
    bucket(caller.sandbox).put_object(Key="toast-orders/b", Body=b"")
    url = caller.sandbox.toast_url
    numbers = caller.http.get(url + "/_sandbox/books.json").json()
    assert numbers["s3"] == {"bucket": caller.sandbox.bucket, "objects": 2, "bytes": 5}
    page = caller.http.get(url).text
    assert "<code>toast-orders/</code>" in page
    assert "<code>toast-orders/raw/</code>" in page


def test_the_page_shows_a_large_brands_head(start: Start) -> None:
    caller = start(restaurants=invent_restaurants(100, orders_per_week=1))
    page = caller.http.get(caller.sandbox.toast_url).text
    assert "the busiest 40 of 100" in page


def test_the_page_shows_calls_that_were_refused_or_not_answered(caller: Caller) -> None:
    caller.sandbox.faults.arm("reset", "orders")
    with pytest.raises(httpx.ReadError):
        caller.week()
    caller.week(page="x")
    page = caller.http.get(caller.sandbox.toast_url).text
    assert '<span class="tag bad">no answer</span>' in page
    assert '<span class="tag bad">400</span>' in page


def test_the_page_needs_nothing_from_elsewhere_and_escapes_what_it_shows(caller: Caller) -> None:
    caller.amperity("/stream/v0/data/is-<script>")
    reply = caller.http.get(caller.sandbox.toast_url)
    assert reply.headers["content-type"].startswith("text/html")
    assert "Harbor &amp; Thistle, Pier 9" in reply.text
    assert "<script" not in reply.text
    assert "src=" not in reply.text
    assert 'http-equiv="refresh"' in reply.text


def test_a_fault_can_be_armed_and_disarmed_by_hand(caller: Caller) -> None:
    assert arm(caller, kind="status", path="orders", status=502, target=ONE, last=None).status_code == 201
    assert caller.week().status_code == 502
    numbers = caller.http.get(caller.sandbox.toast_url + "/_sandbox/books.json").json()
    assert numbers["faults"][0]["fired"] == 1
    headers = {"X-Sandbox-Token": token_on_the_page(caller)}
    assert caller.http.delete(caller.sandbox.toast_url + FAULTS, headers=headers).status_code == 200
    assert caller.week().status_code == 200


def test_a_fault_that_cannot_be_armed_is_explained(caller: Caller) -> None:
    for wrong in ({"kind": "x", "path": "orders"}, {"kind": "reset", "path": "x"}, {"kind": "reset", "action": 1}):
        reply = arm(caller, **wrong)
        assert reply.status_code == 400
        assert "path is one of" in reply.json()["help"]
    assert caller.week().status_code == 200


@pytest.mark.parametrize("token", [None, "", "x", "ü"])
@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_a_page_of_another_site_arms_and_disarms_nothing(caller: Caller, method: str, token: str | None) -> None:
    caller.sandbox.faults.arm("reset", "login")
    headers = {"Content-Type": "text/plain", "Origin": "https://evil.example"}
    if token is not None:
        headers["X-Sandbox-Token"] = token
    fault = b'{"kind":"status","path":"orders","status":503,"last":null}'
    sent = [(name.encode(), value.encode()) for name, value in headers.items()]
    reply = caller.http.request(method, caller.sandbox.toast_url + FAULTS, content=fault, headers=sent)
    assert reply.status_code == 403
    assert "X-Sandbox-Token" in reply.json()["help"]
    assert caller.sandbox.page_token not in reply.text
    assert [each.path for each in caller.sandbox.faults.armed] == ["login"]


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1.evil.example:{port}", "127.0.0.1:1"]
)
@pytest.mark.parametrize("path", ["/", "/_sandbox/books.json"])
def test_a_foreign_name_that_points_here_reads_no_page(caller: Caller, host: str, path: str) -> None:
    port = caller.sandbox.toast_url.rsplit(":", 1)[1]
    reply = caller.http.get(caller.sandbox.toast_url + path, headers={"Host": host.format(port=port)})
    assert reply.status_code == 403
    assert caller.sandbox.page_token not in reply.text
    headers = {"Host": host.format(port=port), "X-Sandbox-Token": caller.sandbox.page_token}
    assert caller.http.delete(caller.sandbox.toast_url + FAULTS, headers=headers).status_code == 403


@pytest.mark.parametrize("host", ["localhost:{port}", "LOCALHOST:{port}", "[::1]:{port}", "127.0.0.1:{port}"])
def test_every_loopback_name_shows_the_page(caller: Caller, host: str) -> None:
    port = caller.sandbox.toast_url.rsplit(":", 1)[1]
    reply = caller.http.get(caller.sandbox.toast_url, headers={"Host": host.format(port=port)})
    assert reply.status_code == 200
