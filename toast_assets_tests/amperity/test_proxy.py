"""Amperity is reached through the proxy that the environment names, as Toast is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from toast_assets.amperity.client import AmperityClient
from toast_assets.amperity.proxy import environment_proxy
from toast_assets.settings import AmperitySettings, ToastSettings
from toast_assets.toast.client import ToastClient

# Nobody listens there.
UNREACHABLE = "http://127.0.0.1:9"
TOKEN = b'{"token":{"accessToken":"t","expiresIn":86400}}'


@pytest.fixture(autouse=True)
def no_other_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@asynccontextmanager
async def proxy(status: int) -> AsyncIterator[tuple[str, list[str]]]:
    """A proxy's address and the calls that it was asked to pass on; it answers all of them with ``status``."""
    calls: list[str] = []

    async def on_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
        calls.append(lines[0])
        length = next((int(line.split(":")[1]) for line in lines if line.startswith("content-length:")), 0)
        await reader.readexactly(length)
        head = b"HTTP/1.1 %d OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % (status, len(TOKEN))
        writer.write(head + TOKEN)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(on_connection, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", calls


def amperity() -> AmperityClient:
    return AmperityClient(
        AmperitySettings.parse(
            {
                "AMPERITY_API_URL": UNREACHABLE,
                "AMPERITY_TENANT_ID": "tenant",
                "AMPERITY_API_KEY": "key",
                "AMPERITY_STREAM_ID": "is-zz",
            }
        )
    )


async def test_records_go_through_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    async with proxy(202) as (address, calls):
        monkeypatch.setenv("HTTP_PROXY", address)
        async with amperity() as client:
            receipt = await client.send_record("is-zz", "request", b"{}")

    assert receipt.state == "accepted"
    assert calls == [f"post {UNREACHABLE}/stream/v0/data/is-zz http/1.1"]


async def test_toast_is_reached_through_it_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = ToastSettings.parse(
        {
            "TOAST_API_URL": UNREACHABLE,
            "TOAST_CLIENT_ID": "client",
            "TOAST_CLIENT_SECRET": "secret",
            "TOAST_RESTAURANT_GUID": "one",
        }
    )
    async with proxy(200) as (address, calls):
        monkeypatch.setenv("HTTP_PROXY", address)
        async with ToastClient(settings) as client:
            await client.login()

    assert calls == [f"post {UNREACHABLE}/authentication/v1/authentication/login http/1.1"]


@pytest.mark.parametrize(
    ("variables", "found"),
    [
        ({}, None),
        ({"HTTPS_PROXY": "http://proxy:3128"}, "http://proxy:3128"),
        ({"https_proxy": "proxy:3128"}, "http://proxy:3128"),
        ({"ALL_PROXY": "http://proxy:3128"}, "http://proxy:3128"),
        ({"HTTP_PROXY": "http://proxy:3128"}, None),
        ({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "localhost,.amperity.com"}, None),
        ({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "localhost"}, "http://proxy:3128"),
    ],
)
def test_the_environment_tells_which_proxy_if_any(
    variables: dict[str, str], found: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    proxy = environment_proxy("https://socktown.amperity.com")
    assert (str(proxy.url) if proxy else None) == found


def test_a_proxy_keeps_its_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://user:secret@proxy:3128")
    proxy = environment_proxy("https://socktown.amperity.com")
    assert proxy is not None
    assert proxy.auth == ("user", "secret")
