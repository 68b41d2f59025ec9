"""Where plain HTTP is allowed: to this machine itself, and to hosts that are named on purpose.

Credentials and guests' data go over every one of these connections, so anything else has to be HTTPS.
"""

from __future__ import annotations

import ipaddress
import os
from urllib.parse import urlsplit

ALLOW_HTTP_HOSTS = "ALLOW_HTTP_HOSTS"


def plain_http_problem(url: str) -> str | None:
    """Why ``url`` must not be used, as the end of a sentence; None for HTTPS, for HTTP to a loopback address, and for
    HTTP to a host that the variable ``ALLOW_HTTP_HOSTS`` names (several separated by commas)."""
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    if parts.scheme != "http" or is_loopback(host) or host in _allowed():
        return None
    return (
        f"is plain HTTP to {host}: credentials and guests' data would travel unencrypted; use https://"
        f" (only for a test network: {ALLOW_HTTP_HOSTS}={host})"
    )


def is_loopback(host: str) -> bool:
    """Whether a host's name or address is this machine itself."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _allowed() -> frozenset[str]:
    return frozenset(host.strip().lower() for host in os.environ.get(ALLOW_HTTP_HOSTS, "").split(",") if host.strip())
