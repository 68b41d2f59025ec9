"""One reading of the proxy variables for all services."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest

from toast_assets.errors import SettingsError
from toast_assets.http.network import find_proxy
from toast_assets.store.client import s3_client
from toast_assets_tests.support.services.counting import amperity_client, counting_server, toast_client

# Nobody listens there.
UNREACHABLE = "http://127.0.0.1:9"


async def test_toast_and_amperity_are_reached_through_the_proxy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with counting_server(202) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        async with amperity_client(UNREACHABLE) as amperity:
            receipt = await amperity.send_record("is-zz", "request", b"{}")
        async with toast_client(UNREACHABLE) as toast:
            await toast.login()
    assert receipt.state == "accepted"
    assert proxy.calls == [
        f"post {UNREACHABLE}/stream/v0/data/is-zz http/1.1",
        f"post {UNREACHABLE}/authentication/v1/authentication/login http/1.1",
    ]


@pytest.mark.parametrize(
    ("variables", "found"),
    [
        ({}, None),
        ({"HTTPS_PROXY": "http://proxy:3128"}, "http://proxy:3128"),
        ({"https_proxy": "proxy:3128", "HTTPS_PROXY": "other:1"}, "http://proxy:3128"),
        ({"https_proxy": "", "ALL_PROXY": "proxy"}, "http://proxy:80"),
        ({"ALL_PROXY": "https://proxy"}, "https://proxy:443"),
        ({"HTTPS_PROXY": " http://[::1]:3128/ "}, "http://[::1]:3128"),
        ({"HTTP_PROXY": "http://proxy:3128"}, None),
    ],
)
def test_the_environment_names_the_proxy_if_any(
    variables: dict[str, str], found: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    proxy = find_proxy("https://socktown.amperity.com")
    assert (proxy and proxy.url) == found


@pytest.mark.parametrize(
    ("no_proxy", "direct"),
    [
        ("*", {"https://a.example.com", "https://10.1.2.3", "https://[fe80::7]:8443", "https://localhost"}),
        ("localhost,[::1]", {"https://localhost"}),
        ("10.0.0.0/8,fe80::/10", {"https://10.1.2.3", "https://[fe80::7]:8443"}),
        ("[fe80::7]:8443 LOCALHOST", {"https://[fe80::7]:8443", "https://localhost"}),
        ("[fe80::7]:443,localhost:80", set()),
        (".Example.COM", {"https://a.example.com"}),
        ("*.example.com , 10.1.2.3:443", {"https://a.example.com", "https://10.1.2.3"}),
        ("https://a.example.com/", {"https://a.example.com"}),
        ("ample.com,internal:abc,10.1.2.3/99,,[", set()),
    ],
)
def test_no_proxy_takes_every_usual_form(no_proxy: str, direct: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    # A proxy that could not be used, so that an excepted host shows that nobody looks at it.
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1080")
    monkeypatch.setenv("NO_PROXY", no_proxy)
    found = set()
    for url in ("https://a.example.com", "https://10.1.2.3", "https://[fe80::7]:8443", "https://localhost"):
        try:
            assert find_proxy(url) is None
            found.add(url)
        except SettingsError:
            pass
    assert found == direct


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("socks5h://user:hush@proxy:1080", "SOCKS"),
        ("ftp://user:hush@proxy:21", "no HTTP proxy"),
        ("http://user:hush#hush@proxy:8080", "'#' in its user name or password; write it as %23"),
        ("http://user:hush/hush@proxy:8080", "'/' in its user name or password; write it as %2F"),
        ("http://user:hush@proxy:port", "port"),
        ("http://user:hush@proxy:70000", "port"),
        ("http://user:hush@", "host name"),
        ("http://user:hush@pro xy", "host name"),
    ],
)
def test_a_proxy_that_cannot_be_used_is_one_sentence_with_its_variable_and_without_its_password(
    address: str, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", address)
    with pytest.raises(SettingsError) as caught:
        find_proxy("https://ws-api.toasttab.com")
    (said,) = caught.value.problems
    assert said.startswith("HTTPS_PROXY ")
    assert problem in said
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("password", ["s%23cret", "s@cret", "s:cret", "sécret"])
def test_a_proxy_keeps_its_credentials_and_shows_them_to_nobody(password: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://user:{password}@proxy:3128")
    found = find_proxy("https://ws-api.toasttab.com")
    assert found is not None
    proxy = found.for_httpx
    expected = b64encode(f"user:{password.replace('%23', '#')}".encode()).decode()
    assert (proxy.headers["Proxy-Authorization"], str(proxy.url)) == (f"Basic {expected}", "http://proxy:3128")
    assert "cret" not in repr(found)


def test_s3_gets_the_same_proxy_and_botocore_looks_into_no_variable_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "proxy:3128")
    monkeypatch.setenv("NO_PROXY", "minio:9000")
    for url, proxies in (
        ("https://s3.eu-west-1.amazonaws.com", {"https": "http://proxy:3128"}),
        ("http://minio:9000", {}),
    ):
        config: Any = s3_client(region_name="eu-west-1", endpoint_url=url).meta.config
        assert config.proxies == proxies
