"""What the environment says about the way to a service: one reading for Toast, Amperity, alerts and S3.

Which variables count, and in which order: docs/operate.md, "Proxies and certificates". Proxies are found as curl finds
them; ``NO_PROXY`` takes networks and ports, too. boto3 replaces its built-in list by any file of certificates; httpx
does so for ``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` only.

Plain HTTP is allowed to this machine and to hosts that are named on purpose: credentials and guests' data go over every
one of these connections.
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

_HOST = re.compile(r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+(%[A-Za-z0-9]+)?\]")
_DEFAULT_PORTS = {"http": 80, "https": 443}
# By priority.
_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "AWS_CA_BUNDLE")
_S3_CERTIFICATES = ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "CURL_CA_BUNDLE")


@dataclass(frozen=True)
class FoundProxy:
    """A proxy, and the ``variable`` that names it. ``url`` holds its credentials, which no text may repeat."""

    variable: str
    url: str = field(repr=False)

    @property
    def for_httpx(self) -> httpx.Proxy:
        """The proxy with its credentials in a header: httpx and aiohttp encode those of an address differently."""
        parts = urlsplit(self.url)
        if parts.username is None:
            return httpx.Proxy(self.url)
        basic = b64encode(f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()).decode()
        address = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        return httpx.Proxy(address, headers={"Proxy-Authorization": f"Basic {basic}"})


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


def s3_proxies(endpoint_url: str) -> dict[str, str]:
    """For ``botocore.config.Config(proxies=…)``; given an empty one, botocore does not look into the environment.

    Raises:
        SettingsError: as ``find_proxy``.
    """
    proxy = find_proxy(endpoint_url)
    return {} if proxy is None else {endpoint_url.partition(":")[0].lower(): proxy.url}


def _variable(name: str) -> tuple[str, str]:
    for variable in (name, name.upper()):
        if value := os.environ.get(variable, "").strip():
            return variable, value
    return name.upper(), ""


def _is_excepted(target: SplitResult) -> bool:
    host, port = (target.hostname or "").rstrip("."), target.port or _DEFAULT_PORTS.get(target.scheme)
    entries = re.split(r"[\s,]+", _variable("no_proxy")[1].lower())
    return any(_excepts(entry.rpartition("://")[2].rstrip("/"), host, port) for entry in entries if entry)


def _excepts(entry: str, host: str, port: int | None) -> bool:
    if entry == "*":
        return True
    if named := re.fullmatch(r"(\[[^]]*\]|[^:]*):([0-9]+)", entry):
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
    credentials, _, location = rest.rpartition("@")
    if odd := re.search(r"[#?/\\\s]", credentials):
        code = f"%{ord(odd[0]):02X}"
        raise _malformed(variable, f"holds a {odd[0]!r} in its user name or password; write it as {code}")
    host, port = location.rstrip("/"), ""
    if ":" in host and not host.endswith("]"):
        host, _, port = host.rpartition(":")
    port = port or f"{_DEFAULT_PORTS[scheme]}"
    if not _HOST.fullmatch(host):
        raise _malformed(variable, "holds an address without a valid host name; write http://host:port")
    if not (port.isascii() and port.isdecimal() and len(port) <= 5 and 0 < int(port) < 65536):
        raise _malformed(variable, "holds an address whose port is no number from 1 to 65535")
    netloc = f"{host}:{int(port)}"
    if credentials:
        # What was written without its codes (p@ss) gets them here, so that all libraries read the same.
        halves = credentials.partition(":")
        netloc = f"{quote(unquote(halves[0]), safe='')}:{quote(unquote(halves[2]), safe='')}@{netloc}"
    return FoundProxy(variable, f"{scheme}://{netloc}")


def _malformed(variable: str, problem: str) -> SettingsError:
    return SettingsError([f"{variable} {problem} (or name the host in NO_PROXY)"])


def tls_context() -> ssl.SSLContext:
    """How Toast, Amperity and alerts are reached by HTTPS.

    Raises:
        SettingsError: naming the variable and what is wrong with its file.
    """
    variable = _first_set(*_CERTIFICATES)
    path = _path(variable) if variable else ""
    try:
        if variable == "SSL_CERT_FILE":
            return ssl.create_default_context(cafile=path)
        if variable == "SSL_CERT_DIR":
            return ssl.create_default_context(capath=path)
        context = httpx.create_ssl_context(trust_env=False)
        if variable:
            context.load_verify_locations(cafile=path)
    except ssl.SSLError:
        raise _no_certificates(variable, path) from None
    except OSError as error:
        # The standard library logs TLS keys where this variable says, and what was read above can be read.
        reason = error.strerror or error
        raise SettingsError([f"SSLKEYLOGFILE names a file that cannot be written ({reason})"]) from None
    return context


def certificates_in_use() -> str:
    """What ``tls_context`` goes by, for messages."""
    variable = _first_set(*_CERTIFICATES)
    return f"{variable} ({os.environ[variable].strip()})" if variable else "the built-in list of authorities"


def s3_ca_file() -> str | None:
    """The file for boto3's ``verify``; None where no variable names one, and boto3 goes by its own configuration.

    Raises:
        SettingsError: as ``tls_context``.
    """
    variable = _first_set(*_S3_CERTIFICATES)
    if not variable:
        return None
    path = _path(variable)
    try:
        # botocore would say of an odd file only that TLS failed, and not before the first request.
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
    except OSError:
        raise _no_certificates(variable, path) from None
    return path


def _first_set(*variables: str) -> str:
    return next((variable for variable in variables if os.environ.get(variable, "").strip()), "")


def _path(variable: str) -> str:
    path = Path(os.environ[variable].strip())
    try:
        if variable == "SSL_CERT_DIR":
            problem = "" if path.is_dir() else "is no folder"
        elif path.is_dir():
            problem = "is a folder; name a file of certificates (PEM)"
        else:
            problem = "" if path.read_bytes() else "is empty"
    except OSError as error:
        problem = f"cannot be read ({error.strerror or error})"
    if problem:
        raise SettingsError([f"{variable} names {path}, which {problem}"])
    return str(path)


def _no_certificates(variable: str, path: str) -> SettingsError:
    return SettingsError([f"{variable} names {path}, which holds no certificates (PEM)"])


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
