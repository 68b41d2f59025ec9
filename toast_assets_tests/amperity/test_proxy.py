"""Amperity is reached through the proxy that the environment names, as Toast is."""

from __future__ import annotations

import pytest

from toast_assets.amperity.proxy import environment_proxy
from toast_assets.errors import AmperityError
from toast_assets_tests.support.counting import amperity_client, counting_server, toast_client

# Nobody listens there.
UNREACHABLE = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def no_other_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


async def test_records_go_through_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    async with counting_server(202) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        async with amperity_client(UNREACHABLE) as client:
            receipt = await client.send_record("is-zz", "request", b"{}")

    assert receipt.state == "accepted"
    assert proxy.calls == [f"post {UNREACHABLE}/stream/v0/data/is-zz http/1.1"]


async def test_toast_is_reached_through_it_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    async with counting_server(200) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        async with toast_client(UNREACHABLE) as client:
            await client.login()

    assert proxy.calls == [f"post {UNREACHABLE}/authentication/v1/authentication/login http/1.1"]


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


def test_a_proxy_of_another_kind_is_named_without_its_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://user:secret@proxy:1080")
    with pytest.raises(AmperityError, match=r"a socks5 proxy for socktown\.amperity\.com") as error:
        environment_proxy("https://socktown.amperity.com")
    assert "secret" not in str(error.value)
