"""Below HTTP: ASGI applications in place of a response, which end the connection instead of answering."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any, cast

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

_TRANSPORT = "toast_assets.transport"


async def reset(scope: Scope, receive: Receive, send: Send) -> None:
    """Resets the connection: the client sees no byte of an answer."""
    transport = _transport(scope)
    connection = cast(socket.socket, transport.get_extra_info("socket"))
    # Lingering for zero seconds turns the close into a TCP reset instead of an orderly end.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
    await silence(scope, receive, send)


async def silence(_scope: Scope, receive: Receive, _send: Send) -> None:
    """Answers nothing; ends when the connection has ended."""
    while (await receive())["type"] != "http.disconnect":
        pass


def cut_transfer(response: Response) -> ASGIApp:
    """Promises the whole body of ``response``, sends half of it and ends the connection."""

    async def cut(scope: Scope, receive: Receive, send: Send) -> None:
        body = bytes(response.body)
        # An empty body, too, is promised longer than it is.
        response.headers["content-length"] = str(max(2, len(body)))
        start = {"status": response.status_code, "headers": response.raw_headers}
        await send({"type": "http.response.start", **start})
        await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
        # An orderly close, because an abort would also throw away what was just written.
        _transport(scope).close()
        await silence(scope, receive, send)

    return cut


def with_transport(scope: Scope, send: Send) -> Scope:
    """The request's scope with the connection, which uvicorn does not hand to applications itself."""
    return {**scope, _TRANSPORT: cast(Any, send).__self__.transport}


def _transport(scope: Scope) -> asyncio.Transport:
    return cast(asyncio.Transport, scope[_TRANSPORT])
