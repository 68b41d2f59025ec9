"""Requests, replies, and the connection below them: the part of HTTP that both services share.

Plain ASGI without a framework, because a stand-in that takes thousands of records a second must not be the bottleneck
of what it tests, and because faults have to reach the connection itself.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, cast
from urllib.parse import parse_qsl

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

TRANSPORT = "toast_assets.transport"
JSON_TYPE = (b"content-type", b"application/json")
HTML_TYPE = (b"content-type", b"text/html; charset=utf-8")
NO_ANSWER = 0
GATEWAY_PAGE = b"<!doctype html><title>Gateway</title><h1>Temporarily unavailable</h1><p>Please try again.</p>"


@dataclass(slots=True)
class Reply:
    """A status, a body and headers (Content-Length is added); ``orders`` counts what the body holds."""

    status: int
    body: bytes = b""
    headers: Headers = field(default_factory=list)
    orders: int = 0


@dataclass
class Call:
    """One request: ``path`` is its kind (orders, login, …), ``target`` its restaurant GUID or stream id."""

    service: str
    path: str
    method: str
    url: str
    target: str | None
    # Kept out of the representation: tokens and guests do not belong in a test's output.
    headers: Sequence[tuple[bytes, bytes]] = field(repr=False)
    query_string: bytes
    body: bytes = field(repr=False)
    window: tuple[int, int] | None = None

    def header(self, name: bytes) -> str | None:
        """The header's only value, or None where it is missing; several values are joined by a comma."""
        values = [value for key, value in self.headers if key == name]
        return b", ".join(values).decode("latin-1") if values else None

    @cached_property
    def query(self) -> list[tuple[str, str]]:
        """The query's parameters in their order; a bare ``+`` is a space, as everywhere on the web."""
        return parse_qsl(self.query_string.decode("latin-1"), keep_blank_values=True)

    def parameter(self, name: str, default: str) -> str:
        """The value of one parameter, or ``default``."""
        return dict(self.query).get(name, default)

    @property
    def bearer(self) -> str | None:
        """The bearer token, or None where there is none."""
        value = self.header(b"authorization")
        return value[7:] if value and value.startswith("Bearer ") else None


def json_reply(status: int, content: object, headers: Headers | None = None) -> Reply:
    """A reply with ``content`` as JSON."""
    return Reply(status, msgspec.json.encode(content), [JSON_TYPE, *(headers or [])])


async def read_body(receive: Receive) -> bytes:
    """The request's whole body."""
    message = await receive()
    body: bytes = message.get("body", b"")
    while message.get("more_body"):
        message = await receive()
        body += message.get("body", b"")
    return body


async def send_reply(reply: Reply, send: Send) -> None:
    """Sends a whole reply."""
    headers = [*reply.headers, (b"content-length", b"%d" % len(reply.body))]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})


async def send_half(reply: Reply, scope: Scope, receive: Receive, send: Send) -> None:
    """Promises the whole body, sends half of it and ends the connection."""
    headers = [*reply.headers, (b"content-length", b"%d" % max(2, len(reply.body)))]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body[: len(reply.body) // 2], "more_body": True})
    # An orderly close, because an abort would also throw away what was just written.
    _transport(scope).close()
    await client_gone(receive)


async def reset(scope: Scope, receive: Receive) -> None:
    """Resets the connection: the client sees no byte of an answer."""
    transport = _transport(scope)
    connection = cast(socket.socket, transport.get_extra_info("socket"))
    # Lingering for zero seconds turns the close into a TCP reset instead of an orderly end.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
    await client_gone(receive)


async def client_gone(receive: Receive) -> None:
    """Returns when the connection has ended."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _transport(scope: Scope) -> asyncio.Transport:
    return cast(asyncio.Transport, scope["extensions"][TRANSPORT])


class TransportProtocol(HttpToolsProtocol):
    """Uvicorn's own protocol, which also hands the connection to the application."""

    def on_message_begin(self) -> None:
        """Adds the transport to the request's scope."""
        super().on_message_begin()
        self.scope["extensions"] = {TRANSPORT: cast(Any, self.transport)}
