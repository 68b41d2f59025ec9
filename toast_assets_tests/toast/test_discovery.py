"""The restaurants that ``*`` stands for, found in the sandbox over real HTTP."""

from __future__ import annotations

import logging
from collections.abc import Callable

import httpx
import pytest

from toast_assets.errors import ToastError, ToastRefusedError, ToastTransientError
from toast_assets.sandbox import Kind, Restaurant, Sandbox
from toast_assets.toast.discovery import discover_restaurants
from toast_assets_tests.support.services.clients import toast_client
from toast_assets_tests.support.services.scripted import MemoryToast

StartSandbox = Callable[..., Sandbox]
LOG = logging.getLogger(__name__)
DETAILS, GROUP = "/restaurants/v1/restaurants/", "/restaurants/v1/groups/"


async def discover(sandbox: Sandbox, member: str = "") -> list[str]:
    async with toast_client(sandbox, TOAST_RESTAURANT_GUID="*", TOAST_MEMBER_RESTAURANT_GUID=member) as toast:
        return [restaurant.guid for restaurant in await discover_restaurants(toast, LOG) if not restaurant.archived]


async def test_deleted_restaurants_are_left_out_and_archived_ones_are_marked(sandbox: Sandbox) -> None:
    async with toast_client(sandbox, TOAST_RESTAURANT_GUID="*") as toast:
        found = await discover_restaurants(toast, LOG)
    archived = [one.guid for one in sandbox.config.restaurants if one.state == "archived"]
    assert sorted(one.guid for one in found) == sorted([*sandbox.restaurant_guids, *archived])
    assert [one.guid for one in found if one.archived] == archived


async def test_what_toast_tells_of_each_is_kept(sandbox: Sandbox) -> None:
    async with toast_client(sandbox, TOAST_RESTAURANT_GUID="*") as toast:
        found = await discover_restaurants(toast, LOG)
    assert {restaurant.time_zone for restaurant in found} == {"America/New_York", "America/Los_Angeles"}


async def test_without_partner_access_a_member_names_its_group(start_sandbox: StartSandbox) -> None:
    sandbox = start_sandbox(partner=False)
    assert await discover(sandbox, sandbox.restaurant_guids[1]) == sorted(sandbox.restaurant_guids)


async def test_with_partner_access_both_lists_are_taken_together(start_sandbox: StartSandbox) -> None:
    # The partner list hides restaurants of which the credentials may not read the orders; the group's does not.
    hidden = Restaurant("hidden", "Hidden", state="forbidden")
    sandbox = start_sandbox(restaurants=(Restaurant("a", "A"), Restaurant("b", "B", state="deleted"), hidden))
    assert await discover(sandbox) == ["a"]
    assert await discover(sandbox, "a") == ["a", "hidden"]


def group_answers(status: int, path: str) -> Callable[[httpx.Request], httpx.Response | None]:
    """Calls of ``path`` are answered with ``status``; details name a management group."""

    def answer(request: httpx.Request) -> httpx.Response | None:
        if request.url.path.startswith(path):
            return httpx.Response(status)
        is_detail = request.url.path.startswith(DETAILS)
        return httpx.Response(200, json={"general": {"managementGroupGuid": "group"}}) if is_detail else None

    return answer


@pytest.mark.parametrize("path", [DETAILS, GROUP])
async def test_where_the_groups_list_is_refused_the_partners_is_enough(
    path: str, caplog: pytest.LogCaptureFixture
) -> None:
    toast = MemoryToast(lambda _guid, _window: [], answer=group_answers(403, path), listed=("a", "b"))
    async with toast.client(["*"], TOAST_MEMBER_RESTAURANT_GUID="member") as client:
        assert [one.guid for one in await discover_restaurants(client, LOG)] == ["a", "b", "member"]
        assert "Only the partner's list of restaurants is used: Toast answered 403" in caplog.text
        toast.listed = ()
        with pytest.raises(ToastRefusedError, match="403"):
            await discover_restaurants(client, LOG)


async def test_a_groups_list_that_is_down_is_an_error_although_the_partners_is_there() -> None:
    toast = MemoryToast(lambda _guid, _window: [], answer=group_answers(503, GROUP), listed=("a", "b"))
    async with toast.client(["*"], TOAST_MEMBER_RESTAURANT_GUID="member") as client:
        with pytest.raises(ToastTransientError, match="503"):
            await discover_restaurants(client, LOG)


async def test_without_either_list_the_error_says_what_to_set(start_sandbox: StartSandbox) -> None:
    sandbox = start_sandbox(partner=False)
    with pytest.raises(ToastRefusedError, match=r"403.*TOAST_RESTAURANT_GUID.*TOAST_MEMBER_RESTAURANT_GUID"):
        await discover(sandbox)


async def test_no_restaurant_at_all_is_an_error_and_no_empty_week(start_sandbox: StartSandbox) -> None:
    sandbox = start_sandbox(restaurants=(Restaurant("gone", "Gone", state="deleted"),))
    with pytest.raises(ToastError, match="lists no restaurant"):
        await discover(sandbox)


async def test_a_list_that_is_down_for_once_is_waited_for(sandbox: Sandbox) -> None:
    sandbox.faults.arm(Kind.STATUS, "restaurants", status=503, last=2)
    assert await discover(sandbox) == sorted(sandbox.restaurant_guids)


async def test_a_list_that_stays_down_is_an_error(sandbox: Sandbox) -> None:
    sandbox.faults.arm(Kind.HTML, "restaurants", last=None)
    with pytest.raises(ToastTransientError, match="list of restaurants"):
        await discover(sandbox)


@pytest.mark.parametrize("status", [403, 500])
async def test_a_restaurant_of_which_no_details_can_be_had_is_kept(sandbox: Sandbox, status: int) -> None:
    for guid in sandbox.restaurant_guids:
        sandbox.faults.arm(Kind.STATUS, "restaurants", status=status, target=guid, last=None)
    assert await discover(sandbox) == sorted(sandbox.restaurant_guids)
