"""The way to one service: its host, the proxy and the certificates on the way, and what a fault on it means."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass, field
from typing import Any, Self

import httpx

from toast_assets.errors import SettingsError
from toast_assets.http.causes import Cause, cause_of, proxy_refusal
from toast_assets.http.certificates import tls_context
from toast_assets.http.proxies import FoundProxy, as_httpx, find_proxy

# Names with labels of the usual length, or an IPv6 address.
_HOST = re.compile(r"(?:[A-Za-z0-9_-]{1,63}\.)*[A-Za-z0-9_-]{1,63}\.?|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(?:%[A-Za-z0-9]+)?")


@dataclass(frozen=True)
class Route:
    """``setting`` names the variable with the service's address, of which texts hold no more than the ``host``.

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
