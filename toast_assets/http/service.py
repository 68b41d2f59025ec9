"""A service over HTTP: the way to it, and every fault on that way as one of the service's errors."""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self, TypedDict, Unpack

import httpx

from toast_assets.errors import ToastAssetsError, TransientError
from toast_assets.http.bodies import TooLargeBodyError, UnreadableBodyError, read_reply
from toast_assets.http.causes import Cause, aiohttp, cause_of
from toast_assets.http.network import find_proxy, tls_context
from toast_assets.http.retry import RetryPolicy, Sleep


@dataclass
class CallStats:
    """Counts of calls (``throttled``: answered 429), and the bytes of bodies."""

    requests: int = 0
    retries: int = 0
    throttled: int = 0
    bytes: int = 0


@dataclass(frozen=True)
class Route:
    """The way to one host, with the proxy and the certificates on it; nothing else of the environment is read, such as
    ``.netrc``. ``setting`` names the variable with the service's address, of which texts hold only the ``host``."""

    setting: str
    host: str
    proxy_variable: str | None
    proxy: httpx.Proxy | None = field(repr=False)
    tls: ssl.SSLContext = field(repr=False)

    @classmethod
    def to(cls, url: str, setting: str) -> Self:
        """The way to ``url``, which the settings have checked, by the environment; a SettingsError where a proxy on the
        way or a file of certificates cannot be used."""
        parsed = httpx.URL(url)
        found = find_proxy(f"{parsed.scheme}://{parsed.netloc.decode('ascii')}")
        variable, proxy = (found.variable, found.for_httpx) if found else (None, None)
        return cls(setting, parsed.host, variable, proxy, tls_context())

    def cause(self, error: Exception) -> Cause:
        """Why a request did not get its answer."""
        return cause_of(error, self.setting, self.proxy_variable)

    def ask(self, method: str, url: str, timeout: float, **arguments: Any) -> httpx.Response:
        """Status and headers of the answer to a single request, without an event loop; ``timeout`` in seconds. The body
        is left alone, it may never end. No address gets into a log, as it would by ``httpx.get`` and its like. Raises
        httpx.HTTPError, OSError or ValueError where there was no answer; ``cause`` says why."""
        timeouts = dict.fromkeys(("connect", "read", "write", "pool"), timeout)
        request = httpx.Request(method, url, extensions={"timeout": timeouts}, **arguments)
        with httpx.HTTPTransport(verify=self.tls, proxy=self.proxy, trust_env=False) as transport:
            response = transport.handle_request(request)
            response.close()
        if response.status_code == 407:
            # The one status that only a proxy has, also where it was asked without a tunnel.
            raise httpx.ProxyError("407")
        return response


class ClientOptions(TypedDict, total=False):
    """``sleep`` takes seconds, ``now`` gives Unix seconds, ``clock`` monotonic ones. ``transport`` replaces the
    network."""

    retry: RetryPolicy | None
    sleep: Sleep
    now: Callable[[], float]
    clock: Callable[[], float]
    transport: httpx.AsyncBaseTransport | None
    log: logging.Logger | None


class ServiceClient:
    """What the clients of both services share: a request ends within ``timeout`` seconds, and every fault on the way is
    one of the service's errors. Not shared between event loops."""

    name: ClassVar[str]
    # The service's errors: an attempt that is worth repeating, a useless body, out of reach for good.
    transient: ClassVar[type[TransientError]]
    unusable: ClassVar[type[TransientError]]
    unreachable: ClassVar[type[ToastAssetsError]]

    def __init__(self, timeout: float, **options: Unpack[ClientOptions]) -> None:
        self._timeout = timeout
        self._retry = options.get("retry") or RetryPolicy()
        self._sleep = options.get("sleep", asyncio.sleep)
        self._now = options.get("now", time.time)
        self._clock = options.get("clock", time.monotonic)
        self._transport = options.get("transport")
        self._log = options.get("log") or logging.getLogger(type(self).__module__)
        self._ways: dict[str, tuple[Route, httpx.AsyncBaseTransport]] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        for _, transport in self._ways.values():
            await transport.aclose()

    def open_transport(self, route: Route) -> httpx.AsyncBaseTransport:
        """Connections to one host of the service. Requests are handed to it as they are: an httpx client around it adds
        what nobody uses here, at a tenth of a call's price."""
        raise NotImplementedError

    def way(self, url: str, setting: str) -> tuple[Route, httpx.AsyncBaseTransport]:
        """The way to the host whose address is in the variable ``setting``, made once by ``Route.to``."""
        if setting not in self._ways:
            route = Route.to(url, setting)
            self._ways[setting] = route, self._transport or self.open_transport(route)
        return self._ways[setting]

    async def exchange(self, request: httpx.Request, where: str, setting: str) -> httpx.Response:
        """The reply to ``request``, with its body; ``where`` names the target in messages.

        Raises:
            TransientError: time-out, broken connection, unreadable body.
            ToastAssetsError: no connection, by a cause that does not pass by itself.
        """
        route, transport = self.way(str(request.url), setting)
        try:
            # The libraries' time-outs concern single reads; a body that drips in for ever has to end, too.
            async with asyncio.timeout(self._timeout):
                reply = await transport.handle_async_request(request)
                response = await read_reply(reply, request)
            if response.status_code == 407:
                raise httpx.ProxyError("407")
        except TimeoutError:
            raise self.transient(
                f"{self.name} did not answer {where} within {self._timeout:g} s.",
                hint=f"Check {setting} and the network; {self.name.upper()}_TIMEOUT_SECONDS sets the limit.",
            ) from None
        except UnreadableBodyError as error:
            # A body beyond the bound is not read seven times.
            attempts = 2 if isinstance(error, TooLargeBodyError) else None
            message = f"{self.name}'s answer to {where} cannot be used: {error}."
            raise self.unusable(message, attempts=attempts) from None
        except (httpx.HTTPError, httpx.InvalidURL, aiohttp.ClientError, OSError, ValueError) as error:
            cause = route.cause(error)
            message = f"{self.name} ({route.host}) cannot be reached for {where}: {cause.text}."
            # Without the error itself, which may quote the headers.
            if cause.is_permanent:
                raise self.unreachable(message, hint=cause.hint) from None
            code = "" if cause.attempts is None else self.unreachable.code
            raise self.transient(message, attempts=cause.attempts, hint=cause.hint, code=code) from None
        return response
