"""What a broken connection is said to be, for both HTTP libraries, over real sockets."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from httpx_aiohttp import AiohttpTransport

from toast_assets.http.bodies import UnreadableBodyError, read_reply
from toast_assets.http.causes import Cause
from toast_assets.http.service import Route
from toast_assets_tests.support.services.faulty_servers import answering, certificate

SECRET_PATH = "/services/T0/s3cret"
TOO_MANY = OSError(errno.EMFILE, "Too many open files")
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]"


def httpx_transport(route: Route) -> httpx.AsyncBaseTransport:
    return httpx.AsyncHTTPTransport(verify=route.tls, proxy=route.proxy, trust_env=False)


def aiohttp_transport(route: Route) -> httpx.AsyncBaseTransport:
    return AiohttpTransport(verify=route.tls, proxy=route.proxy)


both = pytest.mark.parametrize("transport", [httpx_transport, aiohttp_transport])
MakeTransport = Callable[[Route], httpx.AsyncBaseTransport]


async def fault(transport: MakeTransport, url: str) -> Cause:
    """What a call of ``url`` ends by."""
    route = Route.to(url, "TOAST_API_URL")
    request = httpx.Request("GET", url + SECRET_PATH, extensions={"timeout": dict.fromkeys(("connect", "read"), 5.0)})
    async with transport(route) as way:
        try:
            await read_reply(await way.handle_async_request(request), request)
        except UnreadableBodyError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever the libraries raise
            cause = route.cause(error)
            assert "s3cret" not in cause.text + cause.hint
            return cause
    pytest.fail("The call succeeded.")


@both
@pytest.mark.parametrize(
    ("answer", "scheme", "said", "attempts"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "https", "does not speak TLS", 1),
        (b"garbage\r\n\r\n", "http", "is no HTTP", None),
        (b"", "http", "closed without an answer", None),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n[", "http", "answer broke off", None),
    ],
)
async def test_what_a_server_does_wrong_is_named(
    transport: MakeTransport, answer: bytes, scheme: str, said: str, attempts: int | None
) -> None:
    async with answering(answer) as place:
        cause = await fault(transport, f"{scheme}://{place}")
    assert said in cause.text
    assert "TOAST_API_URL" in cause.hint
    assert cause.attempts == attempts


@both
@pytest.mark.parametrize(
    ("address", "days", "said"),
    [("127.0.0.1", 1, "not trusted"), ("127.0.0.2", 1, "another address"), ("127.0.0.1", -1, "has expired")],
)
async def test_a_certificate_that_is_not_believed_is_final_and_says_why(
    transport: MakeTransport, address: str, days: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = certificate(tmp_path, address=address, days=days)
    if said != "not trusted":
        monkeypatch.setenv("SSL_CERT_FILE", str(file))
    async with answering(OK, file) as place:
        cause = await fault(transport, f"https://{place}")
    assert said in cause.text
    assert cause.is_permanent
    assert ("SSL_CERT_FILE" in cause.hint) == (said == "not trusted")


@both
@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "AWS_CA_BUNDLE"])
async def test_any_of_the_usual_variables_takes_an_authority_of_ones_own(
    transport: MakeTransport, variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = certificate(tmp_path)
    monkeypatch.setenv(variable, str(file))
    async with answering(OK, file) as place:
        route = Route.to(f"https://{place}", "TOAST_API_URL")
        request = httpx.Request("GET", f"https://{place}/")
        async with transport(route) as way:
            assert (await read_reply(await way.handle_async_request(request), request)).content == b"[]"


@both
@pytest.mark.parametrize(
    ("error", "said", "attempts"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "name is not known", 2),
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure"), "could not be looked up", None),
        (TOO_MANY, "too many open files", None),
    ],
)
async def test_what_this_machine_cannot_do_is_named(
    transport: MakeTransport, error: OSError, said: str, attempts: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: object, **_options: object) -> None:
        raise error

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    cause = await fault(transport, "https://ws-api.toasttab.example")
    assert said in cause.text
    assert cause.attempts == attempts


@both
async def test_a_closed_port_may_open_again(transport: MakeTransport) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    cause = await fault(transport, f"https://127.0.0.1:{port}")
    assert "nobody listens there" in cause.text
    assert cause.attempts is None


@both
@pytest.mark.parametrize(
    ("status", "said", "permanent"), [(407, "asks for a login", True), (403, "refuses", True), (502, "refuses", False)]
)
async def test_a_proxys_refusal_is_told_from_the_services(
    transport: MakeTransport, status: int, said: str, permanent: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with answering(b"HTTP/1.1 %d Odd\r\nContent-Length: 0\r\n\r\n" % status) as place:
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:hush@{place}")
        cause = await fault(transport, "https://ws-api.toasttab.example")
    assert f"the proxy {said}" in cause.text
    assert "HTTPS_PROXY" in cause.hint
    assert cause.is_permanent is permanent


@both
async def test_a_proxy_that_is_down_is_named_by_its_variable(
    transport: MakeTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("ALL_PROXY", f"127.0.0.1:{server.getsockname()[1]}")
    cause = await fault(transport, "https://ws-api.toasttab.example")
    assert "nobody listens there" in cause.text
    assert "ALL_PROXY" in cause.text + cause.hint
    assert "TOAST_API_URL" not in cause.text + cause.hint
