"""Why a service could not be reached, in words, and whether asking again can help.

The libraries name the outermost fault ("ConnectError"), what helps is the innermost: a certificate, a name, a port.
No text holds more of an address than its host, since the rest may be a secret, and nothing of a request.
"""

from __future__ import annotations

import errno
import re
import socket
import ssl
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpcore
import httpx

from toast_assets.errors import SettingsError
from toast_assets.http.network import certificates_in_use

try:
    import aiohttp
    from httpx_aiohttp import AiohttpTransport
except OSError as error:
    # aiohttp makes its TLS contexts when it is imported, and the file for TLS keys is opened with every context.
    raise SettingsError([f"SSLKEYLOGFILE names a file that cannot be written ({error.strerror or error})"]) from None

__all__ = ["AiohttpTransport", "Cause", "aiohttp", "cause_of", "proxy_refusal"]

_NO_TLS = frozenset(
    {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "PACKET_LENGTH_TOO_LONG"}
)
_NO_COMMON_TLS = frozenset({"UNSUPPORTED_PROTOCOL", "NO_PROTOCOLS_AVAILABLE"})
_UNKNOWN_NAME = {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}
_CERTIFICATES = {
    9: "is not valid yet",
    10: "has expired",
    62: "is for another name",
    64: "is for another address",
}
_ERRNOS = {
    errno.ECONNREFUSED: ("nobody listens there (connection refused)", "port and network"),
    errno.ETIMEDOUT: ("the connection timed out", "network and firewall"),
    errno.EHOSTUNREACH: ("there is no way to it (host unreachable)", "network and firewall"),
    errno.ENETUNREACH: ("there is no way to it (network unreachable)", "network and firewall"),
    errno.EACCES: ("this machine forbids the connection", "firewall"),
    errno.EPERM: ("this machine forbids the connection", "firewall"),
    errno.EADDRNOTAVAIL: ("this machine has no free port left for the connection", "number of connections"),
    errno.ECONNRESET: ("the connection was closed from the other side", "network"),
    errno.ECONNABORTED: ("the connection was closed from the other side", "network"),
    errno.EPIPE: ("the connection was closed from the other side", "network"),
}


@dataclass(frozen=True)
class Cause:
    """``text`` is the end of a sentence, ``hint`` the way out. ``attempts``: how often asking makes sense in all; 1 for
    what does not pass by itself, None for what may."""

    text: str
    hint: str
    attempts: int | None = None

    @property
    def is_permanent(self) -> bool:
        """Whether asking again is in vain."""
        return self.attempts == 1


def cause_of(error: BaseException, setting: str, proxy_variable: str | None = None) -> Cause:
    """The cause of an error that a request was ended by. ``setting`` is the variable with the service's address,
    ``proxy_variable`` the one with the proxy on the way, if any: what cannot be connected to is then the proxy."""
    chain = list(_chain(error))
    for one in chain:
        if (status := _proxys_answer(one)) is not None:
            return proxy_refusal(status, proxy_variable or "HTTPS_PROXY")
    variable = proxy_variable or setting
    kinds = ((_tls, variable), (_name, variable), (_system, variable), (_protocol, setting))
    causes = (kind(one, name) for kind, name in kinds for one in chain)
    unknown = Cause(f"the connection broke ({type(chain[-1]).__name__})", f"Check {variable} and the network.")
    cause = next(filter(None, causes), unknown)
    if proxy_variable:
        return Cause(f"{cause.text}; the way is through the proxy of {proxy_variable}", cause.hint, cause.attempts)
    return cause


def proxy_refusal(status: int, proxy_variable: str) -> Cause:
    """What a proxy's own answer means."""
    if status == 407:
        hint = f"Check user name and password in {proxy_variable}, or name the host in NO_PROXY."
        return Cause("the proxy asks for a login (407)", hint, 1)
    attempts = None if status >= 500 or status in (408, 429) else 1
    hint = f"Check {proxy_variable} and what the proxy allows, or name the host in NO_PROXY."
    return Cause(f"the proxy refuses the connection ({status})", hint, attempts)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and what it was made of; outermost first. Contexts are left out: they may be of another attempt."""
    queue, seen = deque([error]), set[int]()
    while queue:
        one = queue.popleft()
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        group = one.exceptions if isinstance(one, BaseExceptionGroup) else ()
        parts: list[Any] = [one.__cause__, *one.args, getattr(one, "os_error", None), *group]
        queue += [part for part in parts if isinstance(part, BaseException)]


def _proxys_answer(error: BaseException) -> int | None:
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return error.status
    found = re.match(r"[1-5][0-9]{2}\b", str(error))
    return int(found[0]) if found and isinstance(error, httpx.ProxyError | httpcore.ProxyError) else None


def _tls(error: BaseException, variable: str) -> Cause | None:
    # aiohttp's own errors of TLS say that it is one, not which; their causes do.
    if not isinstance(error, ssl.SSLError) or isinstance(error, aiohttp.ClientError):
        return None
    if isinstance(error, ssl.SSLCertVerificationError):
        if fault := _CERTIFICATES.get(error.verify_code):
            return Cause(f"its certificate {fault}", f"Check {variable} and this machine's clock.", 1)
        hint = (
            f"Certificates are judged by {certificates_in_use()}. Where a proxy opens TLS, or the service is your own,"
            " put its authority's certificate (PEM) into the file that SSL_CERT_FILE names."
        )
        return Cause(f"its certificate is not trusted ({error.verify_message})", hint, 1)
    # An error that was made by hand has no reason.
    reason = getattr(error, "reason", None) or type(error).__name__
    if reason in _NO_TLS:
        return Cause("it does not speak TLS on this port", f"Check scheme and port of {variable}.", 1)
    if "ALERT" in reason or reason in _NO_COMMON_TLS:
        return Cause(
            f"it refuses the TLS handshake ({reason})", f"Check {variable} and what TLS the service asks for.", 1
        )
    return Cause(f"the TLS connection broke ({reason})", f"Check {variable} and the network.")


def _name(error: BaseException, variable: str) -> Cause | None:
    if isinstance(error, socket.gaierror):
        if error.errno in _UNKNOWN_NAME:
            return Cause("its name is not known (DNS)", f"Check the spelling in {variable}, and the network (DNS).", 2)
        return Cause("its name could not be looked up (DNS)", f"Check the network (DNS) and {variable}.")
    if isinstance(error, UnicodeError | httpx.InvalidURL | httpx.UnsupportedProtocol | aiohttp.InvalidURL):
        return Cause("its address cannot be used", f"Check {variable} for characters that no address has.", 1)
    if isinstance(error, httpx.LocalProtocolError | httpcore.LocalProtocolError | ValueError):
        return Cause("the request holds a character that HTTP does not allow", f"Check {variable} and the tokens.", 1)
    return None


def _system(error: BaseException, variable: str) -> Cause | None:
    if not isinstance(error, OSError):
        return None
    if error.errno in (errno.EMFILE, errno.ENFILE):
        hint = "Raise the limit (ulimit -n), or lower TOAST_CONCURRENT_RESTAURANTS."
        return Cause("this machine has too many open files", hint)
    number = errno.ECONNRESET if isinstance(error, ConnectionResetError) else error.errno
    if found := _ERRNOS.get(number or 0):
        return Cause(found[0], f"Check {variable}, {found[1]}.")
    return None


def _protocol(error: BaseException, setting: str) -> Cause | None:
    text = str(error)
    if isinstance(error, httpx.DecodingError):
        return Cause("its answer could not be unpacked", f"Check {setting} and proxies.")
    if isinstance(error, httpx.TimeoutException | httpcore.TimeoutException) and not isinstance(
        error.__cause__, aiohttp.ClientError
    ):
        return Cause("it did not answer in time", f"Check {setting} and the network.")
    if isinstance(error, aiohttp.ClientPayloadError | httpx.ReadError) or "complete message body" in text:
        return Cause("its answer broke off", f"Check {setting} and the network.")
    if isinstance(error, aiohttp.ServerDisconnectedError) or "without sending a response" in text:
        return Cause("the connection was closed without an answer", f"Check {setting} and the network.")
    if isinstance(error, aiohttp.ClientResponseError | httpx.RemoteProtocolError):
        return Cause("what came back is no HTTP", f"Check scheme and port of {setting}, and proxies.")
    return None
