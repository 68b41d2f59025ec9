"""Why a service could not be reached, in words, and whether asking again can help.

The libraries name the outermost fault ("ConnectError"), what helps is the innermost: a certificate, a name, a port.
No text holds more of an address than its host, since the rest may be a secret, and nothing of a request.
"""

from __future__ import annotations

import errno
import os
import re
import socket
import ssl
from dataclasses import dataclass, replace
from typing import Any

import httpcore
import httpx
import urllib3

from toast_assets.errors import SettingsError
from toast_assets.http.network import certificates_in_use

try:
    import aiohttp
    from httpx_aiohttp import AiohttpTransport
except OSError as error:
    # aiohttp makes its TLS contexts when it is imported, and the file for TLS keys is opened with every context.
    raise SettingsError([f"SSLKEYLOGFILE names a file that cannot be written ({error.strerror or error})"]) from None

__all__ = ["AiohttpTransport", "Cause", "aiohttp", "cause_of"]

_NO_TLS = re.compile("WRONG_VERSION_NUMBER|RECORD_LAYER_FAILURE|HTTP_REQUEST|UNKNOWN_PROTOCOL|PACKET_LENGTH_TOO_LONG")
_REFUSED_TLS = re.compile("ALERT|UNSUPPORTED_PROTOCOL|NO_PROTOCOLS_AVAILABLE")
_UNKNOWN_NAME = {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}
_CERTIFICATES = {9: "is not valid yet", 10: "has expired", 62: "is for another name", 64: "is for another address"}


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
    # The error and what it was made of. Contexts are left out: a library may look a name up while it handles an error.
    chain = [error]
    for one in chain:
        group = one.exceptions if isinstance(one, BaseExceptionGroup) else ()
        parts: list[Any] = [one.__cause__, *one.args, *group]
        chain += [part for part in parts if isinstance(part, BaseException) and part not in chain]
    variable, proxy = proxy_variable or setting, proxy_variable or "HTTPS_PROXY"
    kinds = ((_proxy, proxy), (_tls, variable), (_connection, variable), (_protocol, setting))
    causes = (kind(one, name) for kind, name in kinds for one in reversed(chain))
    unknown = Cause(f"the connection broke ({type(chain[-1]).__name__})", f"Check {variable} and the network.")
    cause = next(filter(None, causes), unknown)
    if proxy_variable:
        return replace(cause, text=f"{cause.text}; the way is through the proxy of {proxy_variable}")
    return cause


def _proxy(error: BaseException, variable: str) -> Cause | None:
    """What a proxy's own answer means."""
    # aiohttp and httpx begin with the status, http.client (for S3) names it after its own words.
    is_proxys = isinstance(error, httpx.ProxyError | httpcore.ProxyError | aiohttp.ClientHttpProxyError)
    found = re.match(r"([1-5][0-9]{2})\b" if is_proxys else r"Tunnel connection failed: ([1-5][0-9]{2})\b", str(error))
    if not found:
        return None
    status = int(found[1])
    if status == 407:
        hint = f"Check user name and password in {variable}, or name the host in NO_PROXY."
        return Cause("the proxy asks for a login (407)", hint, 1)
    attempts = None if status >= 500 or status in (408, 429) else 1
    hint = f"Check {variable} and what the proxy allows, or name the host in NO_PROXY."
    return Cause(f"the proxy refuses the connection ({status})", hint, attempts)


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
    if _NO_TLS.fullmatch(reason):
        return Cause("it does not speak TLS on this port", f"Check scheme and port of {variable}.", 1)
    attempts = 1 if _REFUSED_TLS.search(reason) else None
    return Cause(
        f"the TLS connection failed ({reason})", f"Check {variable} and what TLS the service asks for.", attempts
    )


def _connection(error: BaseException, variable: str) -> Cause | None:
    if isinstance(error, socket.gaierror):
        is_unknown = error.errno in _UNKNOWN_NAME
        text = f"its name {'is not known' if is_unknown else 'could not be looked up'} (DNS)"
        return Cause(text, f"Check the spelling in {variable}, and the network (DNS).", 2 if is_unknown else None)
    if isinstance(error, UnicodeError | httpx.InvalidURL | httpx.UnsupportedProtocol | aiohttp.InvalidURL):
        return Cause("its address cannot be used", f"Check {variable} for characters that no address has.", 1)
    if isinstance(error, httpx.LocalProtocolError | httpcore.LocalProtocolError | ValueError):
        return Cause(
            "the request holds a character that HTTP does not allow", f"Check {variable} and the credentials.", 1
        )
    hint = f"Check {variable}, port, network and firewall."
    if isinstance(error, ConnectionRefusedError):
        text = "nobody listens there (connection refused)"
    elif isinstance(error, ConnectionError):
        text = "the connection was closed from the other side"
    elif isinstance(error, OSError) and error.errno:
        text = os.strerror(error.errno).lower()
        if error.errno in (errno.EMFILE, errno.ENFILE):
            hint = "Raise the limit of open files (ulimit -n), or lower TOAST_CONCURRENT_RESTAURANTS."
    else:
        return None
    return Cause(text, hint)


def _protocol(error: BaseException, setting: str) -> Cause | None:
    text = str(error)
    if isinstance(error, aiohttp.ServerDisconnectedError) or "without sending a response" in text:
        said = "the connection was closed without an answer"
    elif isinstance(error, aiohttp.ClientPayloadError | httpx.ReadError) or "complete message body" in text:
        said = "its answer broke off"
    elif isinstance(error, aiohttp.ClientResponseError | httpx.RemoteProtocolError):
        said = "what came back is no HTTP"
    elif isinstance(error, TimeoutError | httpx.TimeoutException | urllib3.exceptions.TimeoutError):
        said = "it did not answer in time"
    else:
        return None
    return Cause(said, f"Check {setting} (scheme and port), the network and proxies.")
