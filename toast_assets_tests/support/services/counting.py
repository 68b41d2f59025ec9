"""A server that counts what reaches it, and the product's own clients of it, which never wait for their turn."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from toast_assets.amperity.client import AmperityClient
from toast_assets.amperity.settings import AmperitySettings
from toast_assets.toast.client import ToastClient
from toast_assets.toast.settings import ToastSettings

TOKEN = b'{"token":{"accessToken":"t","expiresIn":86400}}'


@dataclass
class Counts:
    """What a server saw."""

    url: str = ""
    connections: int = 0
    calls: list[str] = field(default_factory=list)
    """The first line of each request, in lower case."""


@asynccontextmanager
async def counting_server(status: int) -> AsyncIterator[Counts]:
    """A server that counts connections and requests, and answers a login and everything else with ``status``."""
    counts = Counts()

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        counts.connections += 1
        while head := await reader.readuntil(b"\r\n\r\n") if not reader.at_eof() else b"":
            lines = head.lower().split(b"\r\n")
            counts.calls.append(lines[0].decode())
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
