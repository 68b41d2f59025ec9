"""What the environment says about the way to a service: one reading for Toast, Amperity, alerts and S3.

Which variables count, and in which order: docs/operate.md, "Proxies and certificates". Plain HTTP is allowed to this
machine and to hosts that are named on purpose: credentials and guests' data go over every one of these connections.
"""

from __future__ import annotations

import os
import re
import ssl
from base64 import b64encode
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from pathlib import Path
from urllib.parse import SplitResult, quote, unquote, urlsplit

import httpx

from toast_assets.errors import SettingsError

_HOST_AND_PORT = re.compile(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+(?:%[A-Za-z0-9]+)?\])(?::([0-9]{1,5}))?/*")
_DEFAULT_PORTS = {"http": 80, "https": 443}
# By priority.
_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "AWS_CA_BUNDLE")
_S3_CERTIFICATES = ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "CURL_CA_BUNDLE")


@dataclass(frozen=True)
class FoundProxy:
    """A proxy, and the ``variable`` that names it. ``url`` holds its credentials, which no text may repeat;
    ``for_httpx`` has them in a header, because httpx and aiohttp encode those of an address differently."""

    variable: str
    url: str = field(repr=False)
    for_httpx: httpx.Proxy = field(repr=False)


def find_proxy(url: str) -> FoundProxy | None:
    """The proxy for a service's address; None where no variable names one or ``NO_PROXY`` excepts the host. A
    SettingsError where it is no HTTP proxy, or its address is malformed; its credentials are not repeated."""
    target = urlsplit(url)
    names = (f"{target.scheme}_proxy", "all_proxy")
    variable, address = _first_set(*(form for name in names for form in (name, name.upper())))
    return _parsed(variable, address) if address and not _is_excepted(target) else None


def _first_set(*variables: str) -> tuple[str, str]:
    """The first of the variables that is set, with its value; both empty where none is."""
    values = ((variable, os.environ.get(variable, "").strip()) for variable in variables)
    return next(((variable, value) for variable, value in values if value), ("", ""))


def _is_excepted(target: SplitResult) -> bool:
    host, port = (target.hostname or "").rstrip("."), target.port or _DEFAULT_PORTS.get(target.scheme)
    for written in re.split(r"[\s,]+", _first_set("no_proxy", "NO_PROXY")[1].lower()):
        entry = written.rpartition("://")[2].rstrip("/")
        if named := re.fullmatch(r"(\[[^]]*\]|[^:]*):([0-9]+)", entry):
            entry = named[1] if int(named[2]) == port else ""
        entry = entry.replace("[", "").replace("]", "")
        try:
            matches = ip_address(host) in ip_network(entry, strict=False)
        except ValueError:
            # A name, with all names below it.
            name = entry.removeprefix("*").strip(".")
            matches = bool(name) and (host == name or host.endswith(f".{name}"))
        if matches or entry == "*":
            return True
    return False


def _parsed(variable: str, address: str) -> FoundProxy:
    scheme, _, rest = address.rpartition("://")
    scheme = scheme.lower() or "http"
    credentials, _, location = rest.rpartition("@")
    found = _HOST_AND_PORT.fullmatch(location)
    if scheme.startswith("socks"):
        problem = "names a SOCKS proxy, and only HTTP proxies are supported"
    elif scheme not in _DEFAULT_PORTS:
        problem = "names a proxy that is no HTTP proxy; write http://host:port"
    elif odd := re.search(r"[#?/\\\s]", credentials):
        problem = f"holds a {odd[0]!r} in its user name or password; write it as %{ord(odd[0]):02X}"
    elif not found or not 0 < int(found[2] or 1) < 65536:
        problem = "holds an address without a valid host name or port; write http://host:port"
    else:
        location = f"{found[1]}:{int(found[2] or _DEFAULT_PORTS[scheme])}"
        if not credentials:
            return FoundProxy(variable, f"{scheme}://{location}", httpx.Proxy(f"{scheme}://{location}"))
        # What was written without its codes (p@ss) gets them here, so that all libraries read the same.
        user, _, password = map(unquote, credentials.partition(":"))
        basic = {"Proxy-Authorization": f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"}
        url = f"{scheme}://{quote(user, safe='')}:{quote(password, safe='')}@{location}"
        return FoundProxy(variable, url, httpx.Proxy(f"{scheme}://{location}", headers=basic))
    raise SettingsError([f"{variable} {problem} (or name the host in NO_PROXY)"])


def tls_context() -> ssl.SSLContext:
    """How Toast, Amperity and alerts are reached by HTTPS; a SettingsError where a variable's file is no use."""
    variable, path = _certificates(_CERTIFICATES)
    try:
        if variable == "SSL_CERT_FILE":
            return ssl.create_default_context(cafile=path)
        if variable == "SSL_CERT_DIR":
            return ssl.create_default_context(capath=path)
        context = httpx.create_ssl_context(trust_env=False)
    except OSError as error:
        # The standard library logs TLS keys where this variable says, and the certificates can be read.
        reason = error.strerror or error
        raise SettingsError([f"SSLKEYLOGFILE names a file that cannot be written ({reason})"]) from None
    if path:
        context.load_verify_locations(cafile=path)
    return context


def certificates_in_use() -> str:
    """What ``tls_context`` goes by, for messages."""
    variable, path = _first_set(*_CERTIFICATES)
    return f"{variable} ({path})" if path else "the built-in list of authorities"


def s3_ca_file() -> str | None:
    """The file for boto3's ``verify``; None where no variable names one, and boto3 goes by its own configuration. A
    SettingsError as by ``tls_context``: botocore would only say that TLS failed, and not before the first request."""
    return _certificates(_S3_CERTIFICATES)[1] or None


def _certificates(variables: tuple[str, ...]) -> tuple[str, str]:
    """The first of the variables that is set, and its file or folder, which can be used; both empty without any."""
    variable, value = _first_set(*variables)
    if not value:
        return "", ""
    path, problem = Path(value), ""
    try:
        if variable == "SSL_CERT_DIR":
            problem = "" if path.is_dir() else "is no folder"
        elif path.is_dir():
            problem = "is a folder; name a file of certificates (PEM)"
        else:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
    except ssl.SSLError:
        problem = "is empty or holds no certificates (PEM)"
    except OSError as error:
        problem = f"cannot be read ({error.strerror or error})"
    if problem:
        raise SettingsError([f"{variable} names {path}, which {problem}"])
    return variable, str(path)


def plain_http_problem(url: str) -> str | None:
    """Why ``url`` must not be used, as the end of a sentence; None for HTTPS, for HTTP to a loopback address, and for
    HTTP to a host that the variable ``ALLOW_HTTP_HOSTS`` names (several separated by commas)."""
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    allowed = [each.strip().lower() for each in os.environ.get("ALLOW_HTTP_HOSTS", "").split(",")]
    if parts.scheme != "http" or is_loopback(host) or (host and host in allowed):
        return None
    return (
        f"is plain HTTP to {host}: credentials and guests' data would travel unencrypted; use https://"
        f" (only for a test network: ALLOW_HTTP_HOSTS={host})"
    )


def is_loopback(host: str) -> bool:
    """Whether a host's name or address is this machine itself."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
