"""A restaurant's configuration, page by page: tokens, a configuration that is published meanwhile, odd entities."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from toast_assets.errors import ToastError, ToastReplyError
from toast_assets.http.retry import RetryPolicy
from toast_assets.toast.client import ToastClient
from toast_assets.toast.configuration import CONFIGURATION_PATH, ENTITIES, Entity, read_names, read_page
from toast_assets.toast.login import LOGIN_PATH
from toast_assets.toast.page import Window
from toast_assets_tests.support.services.scripted import ScriptedToast, login_reply
from toast_assets_tests.support.services.virtual_time import run_virtual

Pages = Callable[[str, str | None], httpx.Response]
"""The answer to a request for a kind's page, by Toast's name of the kind and the token."""


def page(*names: str, token: str | None = None) -> httpx.Response:
    headers = {"Toast-Next-Page-Token": token} if token else {}
    return httpx.Response(200, headers=headers, json=[{"guid": f"guid-{name}", "name": name} for name in names])


def read(
    pages: Pages, asked: list[tuple[str, str | None]] | None = None, problems: list[ToastError] | None = None
) -> list[Entity]:
    """All names of the restaurant ``one``; ``asked`` gets the requests for them, ``problems`` the first error."""
    requests: list[tuple[str, str | None]] = [] if asked is None else asked

    def answer(request: httpx.Request) -> httpx.Response:
        if not request.url.path.startswith(CONFIGURATION_PATH):
            return login_reply()
        assert request.headers["Toast-Restaurant-External-ID"] == "one"
        assert set(request.url.params) <= {"pageToken"}
        requests.append((request.url.path.removeprefix(CONFIGURATION_PATH), request.url.params.get("pageToken")))
        return pages(*requests[-1])

    async def work() -> tuple[list[Entity], ToastError | None]:
        async with ScriptedToast().client(transport=httpx.MockTransport(answer), retry=RetryPolicy()) as toast:
            return await read_names(toast, "one")

    found, problem = run_virtual(work())
    if problems is not None and problem is not None:
        problems.append(problem)
    else:
        assert problem is None
    return found


def test_each_kind_is_asked_for_once_and_each_further_page_by_its_token() -> None:
    asked: list[tuple[str, str | None]] = []

    def pages(kind: str, token: str | None) -> httpx.Response:
        if kind == "menuItems":
            return {None: page("a", token="2/+ "), "2/+ ": page(token="3"), "3": page("b")}[token]
        return page(kind)

    found = read(pages, asked)
    assert len(asked) == 13 + 2
    assert [token for kind, token in asked if kind == "menuItems"] == [None, "2/+ ", "3"]
    assert [one.name for one in found if one.kind == "menu_item"] == ["a", "b"]
    assert {one.kind for one in found} == ENTITIES.keys()


def test_a_configuration_that_is_published_meanwhile_is_read_from_its_first_page_again() -> None:
    versions = iter([page("old", token="1"), httpx.Response(409), page("new 1", token="2"), page("new 2")])
    asked: list[tuple[str, str | None]] = []
    found = read(lambda kind, _: next(versions) if kind == "tables" else page(), asked)
    assert [one.name for one in found] == ["new 1", "new 2"]
    assert [token for kind, token in asked if kind == "tables"] == [None, "1", None, "2"]
    assert len(asked) == 13 + 3


def test_a_list_that_is_published_again_and_again_is_given_up_and_the_others_are_read() -> None:
    asked: list[tuple[str, str | None]] = []
    problems: list[ToastError] = []
    found = read(lambda kind, _: httpx.Response(409) if kind == "tables" else page(kind), asked, problems)
    assert len(asked) == 12 + 5
    assert [one.kind for one in found] == [kind for kind in ENTITIES if kind != "table"]
    assert "409" in problems[0].message
    assert "published again and again" in problems[0].hint


@pytest.mark.parametrize("tokens", [lambda token: "same", lambda token: f"{token}1"], ids=["the same", "new ones"])
def test_pages_without_an_end_are_given_up_and_the_other_lists_are_read(tokens: Callable[[str | None], str]) -> None:
    problems: list[ToastError] = []

    def pages(kind: str, token: str | None) -> httpx.Response:
        return page(token=tokens(token)) if kind == "diningOptions" else page(kind)

    assert len(read(pages, problems=problems)) == 12
    assert "pages of diningOptions for restaurant one do not end" in problems[0].message


@pytest.mark.parametrize(
    "reply", [httpx.Response(404), httpx.Response(400), httpx.Response(200, json={"results": []})], ids=str
)
def test_a_list_that_cannot_be_read_leaves_the_others(reply: httpx.Response) -> None:
    problems: list[ToastError] = []
    found = read(lambda kind, _: reply if kind == "menuGroups" else page(kind), problems=problems)
    assert len(found) == 12
    assert "menuGroups" in problems[0].message


@pytest.mark.parametrize("status", [401, 403])
def test_without_access_no_other_list_is_asked_for(status: int) -> None:
    asked: list[tuple[str, str | None]] = []
    problems: list[ToastError] = []
    assert read(lambda *_: httpx.Response(status), asked, problems) == []
    assert len(asked) == 1
    assert f"{status} to /config/v2/diningOptions" in problems[0].message


def test_without_the_scope_the_error_names_it_and_the_way_out() -> None:
    problems: list[ToastError] = []
    read(lambda *_: httpx.Response(403), problems=problems)
    assert "config:read" in problems[0].hint
    assert "TOAST_NAMES=off" in problems[0].hint


def test_a_fault_is_asked_for_once_more_and_then_toast_counts_as_out_of_reach() -> None:
    asked: list[tuple[str, str | None]] = []
    replies = iter([httpx.Response(500)])
    assert read(lambda *_: next(replies, page()), asked) == []
    assert len(asked) == 14
    asked.clear()
    problems: list[ToastError] = []
    found = read(lambda kind, _: httpx.Response(500) if kind == "tables" else page(kind), asked, problems)
    assert len(found) == 4, "what was read before stays"
    assert len(asked) == 4 + 2
    assert "500" in problems[0].message


def test_all_calls_for_a_restaurant_keep_toasts_limit_together_and_names_are_counted_apart() -> None:
    toast = ScriptedToast(others=lambda number: page(token=str(number) if number < 30 else None))

    async def work() -> tuple[int, int]:
        async def read_orders(client: ToastClient) -> None:
            for start in range(1_757_908_800_000, 1_757_908_800_020):
                await client.orders_page("one", Window(start, start + 1))

        async with toast.client() as client:
            await asyncio.gather(read_names(client, "one"), read_orders(client))
            return client.configuration_stats["one"].requests, client.stats["one"].requests

    assert run_virtual(work()) == (13 * 30, 20)
    times = sorted(each.at for each in toast.asked if each.path != LOGIN_PATH)
    assert len(times) == 13 * 30 + 20
    assert all(later - earlier >= 1 for earlier, later in zip(times, times[20:], strict=False))
    # The orders wait for no name: they leave as fast as they may.
    assert max(toast.times(restaurant="one")) - times[0] < 5


def test_calls_for_names_wait_with_those_for_orders_where_the_restaurants_limit_is_used_up() -> None:
    toast = ScriptedToast(orders=lambda _: httpx.Response(429, headers={"Retry-After": "30"}), others=lambda _: page())

    async def work() -> None:
        async with toast.client(retry=RetryPolicy(throttled_for=0.0)) as client:
            with pytest.raises(ToastError):
                await client.orders_page("one", Window(1_757_908_800_000, 1_758_513_600_000))
            await read_names(client, "one")

    run_virtual(work())
    (refused,) = toast.times(restaurant="one")
    times = [each.at for each in toast.asked if each.path.startswith(CONFIGURATION_PATH)]
    assert len(times) == 13
    assert min(times) >= refused + 30


def test_an_odd_entity_is_left_out_and_the_others_stay() -> None:
    odd: list[Any] = [
        {"guid": "a", "name": " Dine In ", "behavior": "DINE_IN", "new": {}},
        *(None, 7, [], {}, {"guid": None, "name": "x"}, {"guid": " "}, {"guid": True}),
        {"guid": "b", "name": 12},
        {"guid": "c", "name": {"en": "Bar"}, "behavior": 5.5},
        {"guid": "d", "name": ""},
    ]
    found = read_page(httpx.Response(200, json=odd), "dining_option")
    assert found.token is None
    assert found.entities == [
        Entity("dining_option", "a", "Dine In", "DINE_IN"),
        Entity("dining_option", "b", "12", None),
        Entity("dining_option", "c", None, None),
        Entity("dining_option", "d", None, None),
    ]


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"results":[]}', b"[", b'[{"guid":"\xff"}]', b"[" * 100_000])
def test_a_body_that_is_no_array_is_an_error_to_be_retried(body: bytes) -> None:
    with pytest.raises(ToastReplyError, match="list of menuItems"):
        read_page(httpx.Response(200, content=body), "menu_item")
