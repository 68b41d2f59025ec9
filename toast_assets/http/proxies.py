"""The proxy on the way to a service, by the usual variables, read in one way for Toast, Amperity, alerts and S3.

``HTTPS_PROXY`` or ``HTTP_PROXY`` by the address's scheme, else ``ALL_PROXY``; in lower case they count first, and an
empty one counts as not set. ``NO_PROXY`` names hosts to reach directly, separated by commas or blanks: ``*``,
``example.com`` and ``.example.com`` (each with all names below it), an address, a network such as ``10.0.0.0/8``, any
of them with a port.
"""

from __future__ import annotations

import os
import re
from base64 import b64encode
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from urllib.parse import SplitResult, quote, unquote, urlsplit

import httpx

from toast_assets.errors import SettingsError

_HOST = re.compile(r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+(%[A-Za-z0-9]+)?\]")
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class FoundProxy:
    """A proxy, and the ``variable`` that names it. ``url`` holds its credentials, which no text may repeat."""

    variable: str
    url: str = field(repr=False)


def find_proxy(url: str) -> FoundProxy | None:
    """The proxy for a service's address; None where no variable names one or ``NO_PROXY`` excepts the host.

    Raises:
        SettingsError: it is no HTTP proxy, or its address is malformed; its credentials are not repeated.
    """
    target = urlsplit(url)
    for name in (f"{target.scheme}_proxy", "all_proxy"):
        variable, address = _variable(name)
        if address:
            return None if _is_excepted(target) else _parsed(variable, address)
    return None


def as_httpx(proxy: FoundProxy | None) -> httpx.Proxy | None:
    """The form that httpx takes."""
    if proxy is None:
        return None
    parts = urlsplit(proxy.url)
    credentials, _, place = parts.netloc.rpartition("@")
    if not credentials:
        return httpx.Proxy(proxy.url)
    user, _, password = credentials.partition(":")
    # As a header, because httpx and aiohttp encode credentials that are handed over as such differently.
    basic = b64encode(f"{unquote(user)}:{unquote(password)}".encode()).decode()
    return httpx.Proxy(f"{parts.scheme}://{place}", headers={"Proxy-Authorization": f"Basic {basic}"})


def _variable(name: str) -> tuple[str, str]:
    for variable in (name, name.upper()):
        if value := os.environ.get(variable, "").strip():
            return variable, value
    return name.upper(), ""


def _is_excepted(target: SplitResult) -> bool:
    host = (target.hostname or "").rstrip(".")
    port = target.port or _DEFAULT_PORTS.get(target.scheme)
    entries = re.split(r"[\s,]+", _variable("no_proxy")[1].lower())
    return any(_excepts(entry.rpartition("://")[2].rstrip("/"), host, port) for entry in entries if entry)


def _excepts(entry: str, host: str, port: int | None) -> bool:
    if entry == "*":
        return True
    named = re.fullmatch(r"(\[[^]]*\]|[^:]*):([0-9]+)", entry)
    if named:
        entry = named[1]
        if int(named[2]) != port:
            return False
    entry = entry.replace("[", "").replace("]", "")
    try:
        address = ip_address(host)
    except ValueError:
        name = entry.removeprefix("*").strip(".")
        return bool(name) and (host == name or host.endswith(f".{name}"))
    try:
        return address in ip_network(entry, strict=False)
    except ValueError:
        return False


def _parsed(variable: str, address: str) -> FoundProxy:
    scheme, _, rest = address.rpartition("://")
    scheme = scheme.lower() or "http"
    if scheme.startswith("socks"):
        raise _malformed(variable, "names a SOCKS proxy, and only HTTP proxies are supported")
    if scheme not in _DEFAULT_PORTS:
        raise _malformed(variable, "names a proxy that is no HTTP proxy; write http://host:port")
    credentials, _, place = rest.rpartition("@")
    if odd := re.search(r"[#?/\\\s]", credentials):
        code = f"%{ord(odd[0]):02X}"
        raise _malformed(variable, f"holds a {odd[0]!r} in its user name or password; write it as {code}")
    host, port = _place(variable, place.rstrip("/"))
    netloc = f"{host}:{port or _DEFAULT_PORTS[scheme]}"
    if credentials:
        # What was written without its codes (p@ss) gets them here, so that all libraries read the same.
        halves = credentials.partition(":")
        netloc = f"{quote(unquote(halves[0]), safe='')}:{quote(unquote(halves[2]), safe='')}@{netloc}"
    return FoundProxy(variable, f"{scheme}://{netloc}")


def _place(variable: str, place: str) -> tuple[str, int | None]:
    host, port = place, ""
    if not place.endswith("]") and ":" in place:
        host, _, port = place.rpartition(":")
    if not _HOST.fullmatch(host):
        raise _malformed(variable, "holds an address without a valid host name; write http://host:port")
    if port and not (port.isascii() and port.isdecimal() and len(port) <= 5 and 0 < int(port) < 65536):
        raise _malformed(variable, "holds an address whose port is no number from 1 to 65535")
    return host, int(port) if port else None


def _malformed(variable: str, problem: str) -> SettingsError:
    return SettingsError([f"{variable} {problem} (or name the host in NO_PROXY)"])
