"""What a call costs beside itself: connections are used again, and replies are let go of as soon as they are read."""

from __future__ import annotations

import asyncio
import gc
import importlib.abc
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

import httpx
import pytest

from toast_assets.amperity.client import CONNECTIONS, AmperityClient
from toast_assets.settings import AmperitySettings, ToastSettings
from toast_assets.toast.client import ToastClient
from toast_assets.toast.page import Window

TOKEN = b'{"token":{"accessToken":"t","expiresIn":86400}}'


@dataclass
class Counts:
    """What a server saw."""

    url: str = ""
    connections: int = 0
    requests: int = 0


@asynccontextmanager
async def counting_server(status: int) -> AsyncIterator[Counts]:
    """A server that counts connections and requests, and answers a login and everything else with ``status``."""
    counts = Counts()

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        counts.connections += 1
        while head := await reader.readuntil(b"\r\n\r\n") if not reader.at_eof() else b"":
            counts.requests += 1
            lines = head.lower().split(b"\r\n")
            length = next((int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length:")), 0)
            await reader.readexactly(length)
            login = b"/login" in lines[0]
            body = TOKEN if login else b"[]"
            writer.write(b"HTTP/1.1 %d OK\r\nContent-Length: %d\r\n\r\n" % (200 if login else status, len(body)) + body)
            await writer.drain()

    async def on_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await converse(reader, writer)
        except asyncio.IncompleteReadError:
            pass  # the client is gone
        finally:
            writer.close()

    server = await asyncio.start_server(on_connection, "127.0.0.1", 0)
    counts.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield counts
    finally:
        server.close()


def toast_client(url: str) -> ToastClient:
    """A client without a limit of its own."""
    return ToastClient(
        ToastSettings.parse(
            {
                "TOAST_API_URL": url,
                "TOAST_CLIENT_ID": "client",
                "TOAST_CLIENT_SECRET": "secret",
                "TOAST_RESTAURANT_GUID": "restaurant-zz",
                "TOAST_REQUESTS_PER_SECOND": "100000",
            }
        )
    )


def amperity_client(url: str) -> AmperityClient:
    """A client without a limit of its own."""
    return AmperityClient(
        AmperitySettings.parse(
            {
                "AMPERITY_API_URL": url,
                "AMPERITY_TENANT_ID": "tenant",
                "AMPERITY_API_KEY": "key",
                "AMPERITY_STREAM_ID": "is-zz",
                "AMPERITY_REQUESTS_PER_SECOND": "100000",
            }
        )
    )


@contextmanager
def no_reply_stays() -> Iterator[None]:
    """Replies are gone with their last use: no garbage collector is needed."""
    gc.collect()
    before = replies_in_memory()
    gc.disable()
    try:
        yield
        assert replies_in_memory() == before
    finally:
        gc.enable()


def replies_in_memory() -> int:
    """How many replies there are, each with its body."""
    return sum(isinstance(thing, httpx.Response) for thing in gc.get_objects())


async def test_all_pages_of_a_restaurant_come_over_one_connection() -> None:
    async with counting_server(200) as counts, toast_client(counts.url) as toast:
        for number in range(40):
            await toast.orders_page("restaurant-zz", Window(number, number + 1))

    assert counts.requests == 41
    assert counts.connections == 1


async def test_thousands_of_records_share_few_connections_and_take_one_request_each() -> None:
    async with counting_server(202) as counts, amperity_client(counts.url) as amperity:
        receipts = await asyncio.gather(
            *(amperity.send_record("is-zz", f"request-{number}", b"{}") for number in range(1_000))
        )

    assert {receipt.state for receipt in receipts} == {"accepted"}
    assert counts.requests == 1_000
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
