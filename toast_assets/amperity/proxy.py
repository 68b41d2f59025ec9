"""The proxy that calls of Amperity go through, as httpx and boto3 find theirs for Toast and S3."""

from __future__ import annotations

from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx


def environment_proxy(url: str) -> httpx.Proxy | None:
    """The HTTP proxy that the environment names for ``url`` (``HTTPS_PROXY``, ``HTTP_PROXY``, ``ALL_PROXY``); None
    where it names none or excepts the host (``NO_PROXY``).

    aiohttp's own search is not used: it reads the environment for every request, and ``.netrc``, too.
    """
    target, proxies = urlsplit(url), getproxies()
    address = proxies.get(target.scheme) or proxies.get("all")
    if not address or proxy_bypass(target.hostname or ""):
        return None
    return httpx.Proxy(address if "://" in address else f"http://{address}")
