"""What both stand-ins have in common: calls, tokens, refusals, rate limits, faults, and a log of all requests."""

from __future__ import annotations

import asyncio
import socket
import struct
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, cast

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from toast_assets.sandbox.calls import Call, Refusal, RequestLog
from toast_assets.sandbox.config import SandboxConfig
from toast_assets.sandbox.faults import Fault, Faults, Kind

_TRANSPORT = "toast_assets.transport"
_GATEWAY_PAGE = "<!doctype html><title>Gateway</title><h1>Temporarily unavailable</h1><p>Please try again.</p>"

# Below HTTP: ASGI applications in place of a response, which end the connection instead of answering.


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


# What these faults put in place of the service's answer.
_INSTEAD: dict[Kind, ASGIApp] = {
    Kind.RESET: reset,
    Kind.NEVER: silence,
    Kind.HTML: HTMLResponse(_GATEWAY_PAGE),
    Kind.EMPTY_BODY: Response(),
    Kind.OBJECT: JSONResponse({"status": "ok", "served_by": "gateway"}),
}

Answer = Callable[[Call], Response]


class Limit:
    """At most ``requests`` of a key in each time slice of ``seconds``, which begins at a whole multiple of its length
    [doc]; a refused request does not count (judgement). Moments are Unix seconds."""

    def __init__(self, name: str, requests: int, seconds: int) -> None:
        self.name = name
        self._requests = requests
        self._seconds = seconds
        self._slices: dict[str, tuple[int, int]] = {}

    def take(self, key: str, now: float) -> int:
        """Counts one request; returns the number that remains in its slice, -1 if it is refused."""
        end = self.end(now)
        counted, used = self._slices.get(key, (end, 0))
        used = used if counted == end else 0
        if used < self._requests:
            self._slices[key] = (end, used + 1)
        return self._requests - used - 1

    def end(self, now: float) -> int:
        """When the slice of ``now`` ends."""
        return (int(now // self._seconds) + 1) * self._seconds


class Service(ABC):
    """One of the two services: its routes, its errors, its tokens (with the Unix second of their end), its log."""

    def __init__(self, config: SandboxConfig, faults: Faults) -> None:
        self.config = config
        self.faults = faults
        self.log = RequestLog()
        self.tokens: dict[str, float] = {}
        self._kinds: dict[Any, str] = {}

    @abstractmethod
    def routes(self) -> list[Route]:
        """The paths that the service has, made with ``route``."""

    @abstractmethod
    def target(self, request: Request) -> str | None:
        """What a request is about: a restaurant's GUID, a stream's id."""

    @abstractmethod
    def error(self, status: int, message: str) -> Response:
        """An error in the service's own form."""

    def app(self, also: Sequence[BaseRoute] = ()) -> Starlette:
        """The service as an application; ``also`` are routes that share its port."""
        refusals = dict.fromkeys((404, 405), self._no_such)
        app = Starlette(routes=[*also, *self.routes()], exception_handlers=refusals)
        # Neither service redirects: a path with a slash too many is a 404.
        app.router.redirect_slashes = False
        return app

    def route(self, method: str, path: str, kind: str, answer: Answer) -> Route:
        """One path: calls of this ``kind`` are answered by ``answer``, which may raise ``Refusal``."""

        async def endpoint(request: Request) -> Any:
            try:
                body = await request.body()
            except ClientDisconnect:
                return silence
            # Starlette runs what an endpoint returns: a response, or what ends the connection instead.
            return await self._serve(Call(kind, self.target(request), request, body), answer)

        self._kinds[endpoint] = kind
        return Route(path, endpoint, methods=[method])

    def check_token(self, call: Call) -> None:
        """Refuses a call whose token was not issued here, has expired or was revoked."""
        scheme, _, token = (call.header("authorization") or "").partition(" ")
        if scheme != "Bearer" or self.tokens.get(token, 0.0) <= self.config.now():
            raise Refusal(401, "The token is missing, unknown or has expired.")

    async def _serve(self, call: Call, answer: Answer) -> ASGIApp:
        fired = self.faults.take(call, "before")
        delay = self.config.latency_seconds + sum(fault.seconds for fault in fired if fault.kind is Kind.SLOW)
        if delay:
            await asyncio.sleep(delay)
        for fault in fired:
            if fault.kind is Kind.REVOKE:
                self.tokens.clear()
            if fault.action is not None:
                fault.action(call)
        reply = next(filter(None, map(self._instead, fired)), None) or self._answered(call, answer)
        status = reply.status_code if isinstance(reply, Response) else 0
        if not status:
            call.orders = 0
        self.log.write(call, status, self.config.now())
        return reply

    def _instead(self, fault: Fault) -> ASGIApp | None:
        if fault.kind is not Kind.STATUS:
            return _INSTEAD.get(fault.kind)
        response = self.error(fault.status, f"Made to fail with {fault.status}.")
        if fault.html:
            response = HTMLResponse(_GATEWAY_PAGE, fault.status)
        if fault.retry_after is not None:
            response.headers["retry-after"] = str(fault.retry_after)
        if fault.reset_header:
            response.headers["x-toast-ratelimit-by"] = "ENDPOINT"
            response.headers["x-toast-ratelimit-remaining"] = "0"
            response.headers["x-toast-ratelimit-reset"] = str(int(self.config.now()))
        return response

    def _answered(self, call: Call, answer: Answer) -> ASGIApp:
        """The reply of ``answer``, refusals included; what a fault makes of it if it is a success."""
        try:
            response = answer(call)
        except Refusal as refusal:
            response = self.error(refusal.status, str(refusal))
        response.headers.update(call.reply_headers)
        fired = self.faults.take(call, "after") if response.status_code < 300 else []
        for fault in fired:
            if fault.action is not None:
                fault.action(call)
        match [fault.kind for fault in fired if fault.kind is not Kind.HOOK_AFTER]:
            case [Kind.RESET_AFTER, *_]:
                return reset
            case [Kind.CUT_TRANSFER, *_]:
                return cut_transfer(response)
            case [Kind.CUT_JSON, *_]:
                half = Response(response.body[: len(response.body) // 2], response.status_code)
                half.raw_headers += [header for header in response.raw_headers if header[0] != b"content-length"]
                return half
        return response

    async def _no_such(self, request: Request, problem: Exception) -> Response:
        """A path or a method that the service does not have."""
        status = problem.status_code if isinstance(problem, HTTPException) else 500
        kind = self._kinds.get(request.scope.get("endpoint"), "unknown")
        message = "No such path." if status == 404 else f"{request.method} is not possible here."
        self.log.write(Call(kind, self.target(request), request), status, self.config.now())
        return self.error(status, message)
