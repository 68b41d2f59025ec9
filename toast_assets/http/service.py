"""One service over HTTP: the way to it, and every fault on that way as one of the service's errors."""

from __future__ import annotations

import asyncio
import re
import ssl
from dataclasses import dataclass, field
from typing import Any, Self

import httpx

from toast_assets.errors import SettingsError, ToastAssetsError, TransientError
from toast_assets.http.bodies import MOST_BYTES, TooLargeBodyError, UnreadableBodyError, read_reply
from toast_assets.http.causes import Cause, aiohttp, cause_of, proxy_refusal
from toast_assets.http.network import FoundProxy, as_httpx, find_proxy, tls_context

# Names with labels of the usual length, or an IPv6 address.
_HOST = re.compile(r"(?:[A-Za-z0-9_-]{1,63}\.)*[A-Za-z0-9_-]{1,63}\.?|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(?:%[A-Za-z0-9]+)?")


@dataclass
class CallStats:
    """Counts of calls (``throttled``: answered 429), and the bytes of bodies."""

    requests: int = 0
    retries: int = 0
    throttled: int = 0
    bytes: int = 0


@dataclass(frozen=True)
class Route:
    """The way to one host, with the proxy and the certificates on it. ``setting`` names the variable with the service's
    address; texts hold no more of that than the ``host``.

    What is made of it reads nothing else of the environment (``.netrc`` for one).
    """

    setting: str
    host: str
    found_proxy: FoundProxy | None
    tls: ssl.SSLContext = field(repr=False)

    @classmethod
    def to(cls, url: str, setting: str) -> Self:
        """The way to ``url``, by the environment.

        Raises:
            SettingsError: the address, a proxy on the way or a file of certificates cannot be used.
        """
        try:
            parsed = httpx.URL(url)
        except (httpx.InvalidURL, ValueError):
            parsed = httpx.URL()
        # httpx takes hosts that no name server knows, such as one with a blank.
        if parsed.scheme not in ("http", "https") or not _HOST.fullmatch(parsed.raw_host.decode("ascii")):
            raise SettingsError([f"{setting} is no address that can be used; write https://host"])
        origin = f"{parsed.scheme}://{parsed.netloc.decode('ascii')}"
        return cls(setting, parsed.host, find_proxy(origin), tls_context())

    @property
    def proxy(self) -> httpx.Proxy | None:
        """The proxy as httpx takes it."""
        return as_httpx(self.found_proxy)

    def cause(self, error: Exception) -> Cause:
        """Why a request did not get its answer."""
        return cause_of(error, self.setting, self.found_proxy.variable if self.found_proxy else None)

    def proxy_refusal(self, status: int) -> Cause | None:
        """What a 407 means, the one status that only a proxy has; None for any other."""
        variable = self.found_proxy.variable if self.found_proxy else "HTTPS_PROXY"
        return proxy_refusal(status, variable) if status == 407 else None

    def ask(self, method: str, url: str, timeout: float, **arguments: Any) -> httpx.Response:
        """Status and headers of the answer to a single request, without an event loop; ``timeout`` in seconds. The body
        is left alone, it may never end. No address gets into a log, as it would by ``httpx.get`` and its like.

        Raises:
            httpx.HTTPError, OSError, ValueError: there was no answer; ``cause`` says why.
        """
        timeouts = dict.fromkeys(("connect", "read", "write", "pool"), timeout)
        request = httpx.Request(method, url, extensions={"timeout": timeouts}, **arguments)
        with httpx.HTTPTransport(verify=self.tls, proxy=self.proxy, trust_env=False) as transport:
            response = transport.handle_request(request)
            response.close()
            return response


@dataclass(frozen=True)
class Service:
    """One host of a service, called over ``transport``: without the httpx client around it, which adds what nobody uses
    here at a tenth of a call's price. ``timeout`` is in seconds and covers a whole call; ``timeout_setting`` names its
    variable. The last three are the service's errors: worth repeating, a useless body, out of reach for good."""

    name: str
    route: Route
    transport: httpx.AsyncBaseTransport
    timeout: float
    timeout_setting: str
    transient: type[TransientError]
    unusable: type[TransientError]
    unreachable: type[ToastAssetsError]
    most_bytes: int = MOST_BYTES

    async def send(self, request: httpx.Request, where: str) -> httpx.Response:
        """The reply to ``request``, with its body; ``where`` names the target in messages.

        Raises:
            TransientError: time-out, broken connection, unreadable body.
            ToastAssetsError: no connection, by a cause that does not pass by itself.
        """
        try:
            # The libraries' time-outs concern single reads; a body that drips in for ever has to end, too.
            async with asyncio.timeout(self.timeout):
                reply = await self.transport.handle_async_request(request)
                response = await read_reply(reply, request, self.most_bytes)
        except TimeoutError:
            raise self.transient(
                f"{self.name} did not answer {where} within {self.timeout:g} s.",
                hint=f"Check {self.route.setting} and the network; {self.timeout_setting} sets the limit.",
            ) from None
        except UnreadableBodyError as error:
            # A body beyond the bound is not read seven times.
            attempts = 2 if isinstance(error, TooLargeBodyError) else None
            raise self.unusable(
                f"{self.name}'s answer to {where} cannot be used: {error}.", attempts=attempts
            ) from None
        except (httpx.HTTPError, httpx.InvalidURL, aiohttp.ClientError, OSError, ValueError) as error:
            # Its cause is in the message; the error itself may quote the headers.
            raise self._out_of_reach(where, self.route.cause(error)) from None
        if refusal := self.route.proxy_refusal(response.status_code):
            raise self._out_of_reach(where, refusal)
        return response

    def _out_of_reach(self, where: str, cause: Cause) -> ToastAssetsError:
        message = f"{self.name} ({self.route.host}) cannot be reached for {where}: {cause.text}."
        if cause.is_permanent:
            return self.unreachable(message, hint=cause.hint)
        return self.transient(message, attempts=cause.attempts, hint=cause.hint)
