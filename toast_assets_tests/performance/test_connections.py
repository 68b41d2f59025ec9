"""What a call costs beside itself: connections are used again, and replies are let go of as soon as they are read."""

from __future__ import annotations

import asyncio
import gc
import importlib.abc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from toast_assets.amperity.client import CONNECTIONS
from toast_assets.toast.page import Window
from toast_assets_tests.support.services.counting import amperity_client, counting_server, toast_client


@contextmanager
def no_reply_stays() -> Iterator[None]:
    """Replies are gone with their last use: no garbage collector is needed."""
    gc.collect()
    before = replies_in_memory()
    gc.disable()
    try:
        yield
        # What others left behind may go meanwhile.
        assert replies_in_memory() <= before
    finally:
        gc.enable()


def replies_in_memory() -> int:
    """How many replies there are, each with its body."""
    return sum(isinstance(thing, httpx.Response) for thing in gc.get_objects())


async def test_all_pages_of_a_restaurant_come_over_one_connection() -> None:
    async with counting_server(200) as counts, toast_client(counts.url) as toast:
        for number in range(40):
            await toast.orders_page("restaurant-zz", Window(number, number + 1))

    assert len(counts.calls) == 41
    assert counts.connections == 1


async def test_thousands_of_records_share_few_connections_and_take_one_request_each() -> None:
    async with counting_server(202) as counts, amperity_client(counts.url) as amperity:
        receipts = await asyncio.gather(
            *(amperity.send_record("is-zz", f"request-{number}", b"{}") for number in range(1_000))
        )

    assert {receipt.state for receipt in receipts} == {"accepted"}
    assert len(counts.calls) == 1_000
    assert counts.connections <= CONNECTIONS


async def test_replies_of_toast_are_let_go_of_at_once() -> None:
    # Bodies of half a megabyte that waited for the garbage collector made memory grow with the week.
    async with counting_server(200) as counts, toast_client(counts.url) as toast:
        with no_reply_stays():
            for number in range(5):
                await toast.orders_page("restaurant-zz", Window(number, number + 1))


async def test_answers_of_amperity_are_let_go_of_at_once() -> None:
    async with counting_server(202) as counts, amperity_client(counts.url) as amperity:
        with no_reply_stays():
            for number in range(5):
                await amperity.send_record("is-zz", f"request-{number}", b"{}")


class Searches(importlib.abc.MetaPathFinder):
    """Counts modules that are looked for and that nobody has loaded yet; finds none."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def find_spec(self, fullname: str, path: object, target: object = None) -> None:
        """Note ``fullname``."""
        self.names.append(fullname)


async def test_no_module_is_looked_for_when_a_page_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    # httpcore did so four times per request, for the lack of a package that it tells nobody of.
    async with counting_server(200) as counts, toast_client(counts.url) as toast:
        await toast.orders_page("restaurant-zz", Window(0, 1))
        searches = Searches()
        monkeypatch.setattr(sys, "meta_path", [searches, *sys.meta_path])

        await toast.orders_page("restaurant-zz", Window(1, 2))

    assert searches.names == []
