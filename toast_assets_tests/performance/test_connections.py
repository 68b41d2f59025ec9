"""Connections are used again: a connection per call costs more than the call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

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


async def test_all_pages_of_a_restaurant_come_over_one_connection() -> None:
    async with counting_server(200) as counts:
        settings = ToastSettings.parse(
            {
                "TOAST_API_URL": counts.url,
                "TOAST_CLIENT_ID": "client",
                "TOAST_CLIENT_SECRET": "secret",
                "TOAST_RESTAURANT_GUID": "restaurant-zz",
                "TOAST_REQUESTS_PER_SECOND": "100000",
            }
        )
        async with ToastClient(settings) as toast:
            for number in range(40):
                await toast.orders_page("restaurant-zz", Window(number, number + 1))

    assert counts.requests == 41
    assert counts.connections == 1


async def test_thousands_of_records_share_few_connections_and_take_one_request_each() -> None:
    async with counting_server(202) as counts:
        settings = AmperitySettings.parse(
            {
                "AMPERITY_API_URL": counts.url,
                "AMPERITY_TENANT_ID": "tenant",
                "AMPERITY_API_KEY": "key",
                "AMPERITY_STREAM_ID": "is-zz",
                "AMPERITY_REQUESTS_PER_SECOND": "100000",
            }
        )
        async with AmperityClient(settings) as amperity:
            receipts = await asyncio.gather(
                *(amperity.send_record("is-zz", f"request-{number}", b"{}") for number in range(1_000))
            )

    assert {receipt.state for receipt in receipts} == {"accepted"}
    assert counts.requests == 1_000
    assert counts.connections <= CONNECTIONS
