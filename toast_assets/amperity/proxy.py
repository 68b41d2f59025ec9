"""The proxy that calls of Amperity go through, as httpx and boto3 find theirs for Toast and S3."""

from __future__ import annotations

from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx

from toast_assets.errors import AmperityError


def environment_proxy(url: str) -> httpx.Proxy | None:
    """The HTTP proxy that the environment names for ``url`` (``HTTPS_PROXY``, ``HTTP_PROXY``, ``ALL_PROXY``); None
    where it names none or excepts the host (``NO_PROXY``).

    aiohttp's own search is not used: it reads the environment for every request, and ``.netrc``, too.

    Raises:
        AmperityError: it is a proxy of another kind.
    """
    target, proxies = urlsplit(url), getproxies()
    address = proxies.get(target.scheme) or proxies.get("all")
    if not address or proxy_bypass(target.hostname or ""):
        return None
    proxy = httpx.URL(address if "://" in address else f"http://{address}")
    if proxy.scheme not in ("http", "https"):
        raise AmperityError(
            f"The environment names a {proxy.scheme} proxy for {target.hostname}, and only HTTP proxies will do.",
            hint="Set HTTPS_PROXY to an HTTP proxy, or add the host to NO_PROXY.",
        )
    return httpx.Proxy(proxy)
