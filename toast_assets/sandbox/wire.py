"""Below HTTP: what no framework answers, because the connection ends instead.

Each is an ASGI application that stands where a response would.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any, cast

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

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


class CutTransfer:
    """Promises the whole body of ``response``, sends half of it and ends the connection."""

    def __init__(self, response: Response) -> None:
        self._response = response

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        body = bytes(self._response.body)
        # An empty body, too, is promised longer than it is.
        self._response.headers["content-length"] = str(max(2, len(body)))
        start = {"status": self._response.status_code, "headers": self._response.raw_headers}
        await send({"type": "http.response.start", **start})
        await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
        # An orderly close, because an abort would also throw away what was just written.
        _transport(scope).close()
        await silence(scope, receive, send)


def with_transport(scope: Scope, send: Send) -> Scope:
    """The request's scope with the connection, which uvicorn does not hand to applications itself."""
    return {**scope, _TRANSPORT: cast(Any, send).__self__.transport}


def _transport(scope: Scope) -> asyncio.Transport:
    return cast(asyncio.Transport, scope[_TRANSPORT])
