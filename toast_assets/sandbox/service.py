"""What both stand-ins have in common: calls, tokens, refusals, rate limits, faults, and a log of all requests."""

from __future__ import annotations

import asyncio
import socket
import struct
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import NamedTuple, TypeVar

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from toast_assets.sandbox.config import SandboxConfig
from toast_assets.sandbox.faults import Fault, Faults, Kind

T = TypeVar("T")
_GATEWAY_PAGE = "<!doctype html><title>Gateway</title><h1>Temporarily unavailable</h1><p>Please try again.</p>"


@dataclass
class Call:
    """One request: ``path`` is its kind (orders, login, …).

    Filled in while it is answered: ``window`` ([start, end) in milliseconds since 1970), ``page``, ``orders`` (the
    number returned), ``reply_headers`` (of the reply, error or not).
    """

    path: str
    # Kept out of the representation: tokens and guests do not belong in a test's output.
    request: Request = field(repr=False)
    body: bytes = field(default=b"", repr=False)
    window: tuple[int, int] | None = None
    page: int = 0
    orders: int = 0
    reply_headers: dict[str, str] = field(default_factory=dict)

    @property
    def target(self) -> str | None:
        """The stream's id at Amperity, the restaurant's GUID at Toast, if it names one."""
        return self.request.path_params.get("stream_id") or self.header("toast-restaurant-external-id") or None

    @property
    def entity(self) -> str | None:
        """What of the configuration Toast is asked for, such as ``tables``."""
        return self.request.path_params.get("entity")

    @property
    def media_type(self) -> str:
        """The body's media type in lower case, without parameters; empty if it is missing."""
        return (self.header("content-type") or "").partition(";")[0].strip().lower()

    def header(self, name: str) -> str | None:
        """The header's value, if any; several values are joined by a comma."""
        return ", ".join(values) if (values := self.request.headers.getlist(name)) else None

    def query(self, type_: type[T]) -> T:
        """The parameters, each given once, which must fit this type; else it is a 400."""
        given = self.request.query_params.multi_items()
        if len(given) != len(dict(given)):
            raise HTTPException(400, "A parameter is given twice.")
        try:
            return msgspec.convert(dict(given), type_)
        except msgspec.ValidationError as problem:
            raise HTTPException(400, f"The parameters are wrong: {problem}") from None

    def read(self, type_: type[T]) -> T:
        """The body, which must be JSON of this type; else it is a 400."""
        try:
            # Fields that the type does not have must be UTF-8, too.
            self.body.decode()
            return msgspec.json.decode(self.body, type=type_)
        except (msgspec.DecodeError, UnicodeDecodeError) as problem:
            raise HTTPException(400, f"The body is malformed: {problem}") from None


class LoggedRequest(NamedTuple):
    """One request: when (Unix seconds), what of ``Call``, and the answer's status (0: no answer)."""

    at: float
    path: str
    target: str | None
    status: int
    window: tuple[int, int] | None
    page: int
    orders: int
    entity: str | None


class RequestLog:
    """The requests to one service, oldest first. May be read from any thread."""

    def __init__(self) -> None:
        self.entries: list[LoggedRequest] = []

    def write(self, call: Call, status: int, at: float) -> None:
        found = (call.window, call.page, call.orders, call.entity)
        self.entries.append(LoggedRequest(at, call.path, call.target, status, *found))

    def count(self, path: str | None = None, target: str | None = None, status: int | None = None) -> int:
        """The number of requests that match what is given."""
        return sum(
            path in (None, entry.path) and target in (None, entry.target) and status in (None, entry.status)
            for entry in list(self.entries)
        )


# Below HTTP: ASGI applications in place of a response, which end the connection instead of answering.


async def silence(_scope: Scope, receive: Receive, _send: Send) -> None:
    """Answers nothing; ends when the connection has ended."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def reset(scope: Scope, receive: Receive, send: Send) -> None:
    """Resets the connection: the client sees no byte of an answer."""
    connection: socket.socket = scope["transport"].get_extra_info("socket")
    # Lingering for zero seconds turns the close into a TCP reset instead of an orderly end.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    scope["transport"].abort()
    await silence(scope, receive, send)


def cut_transfer(response: Response) -> ASGIApp:
    """Promises the whole body of ``response``, sends half of it and ends the connection."""

    async def cut(scope: Scope, receive: Receive, send: Send) -> None:
        body = bytes(response.body)
        # An empty body, too, is promised longer than it is.
        response.headers["content-length"] = str(max(2, len(body)))
        await send({"type": "http.response.start", "status": response.status_code, "headers": response.raw_headers})
        await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
        # An orderly close, because an abort would also throw away what was just written.
        scope["transport"].close()
        await silence(scope, receive, send)

    return cut


# What these faults put in place of the service's answer.
_INSTEAD: dict[Kind, ASGIApp] = {
    Kind.RESET: reset,
    Kind.NEVER: silence,
    Kind.HTML: HTMLResponse(_GATEWAY_PAGE),
    Kind.EMPTY_BODY: Response(),
    Kind.OBJECT: JSONResponse({"status": "ok", "served_by": "gateway"}),
}

Answer = Callable[[Call], Response]


@dataclass
class Limit:
    """At most ``requests`` of a key in each time slice of ``seconds``, which begins at a whole multiple of its length
    [doc]; a refused request does not count (judgement). Moments are Unix seconds."""

    name: str
    requests: int
    seconds: int
    # When the newest slice of a key ends, and the requests in it.
    slices: dict[str, tuple[int, int]] = field(default_factory=dict)

    def take(self, key: str, now: float) -> int:
        """Counts one request; returns the number that remains in its slice, -1 if it is refused."""
        end = self.end(now)
        counted, used = self.slices.get(key, (end, 0))
        used = used if counted == end else 0
        if used < self.requests:
            self.slices[key] = (end, used + 1)
        return self.requests - used - 1

    def end(self, now: float) -> int:
        """When the slice of ``now`` ends."""
        return (int(now // self.seconds) + 1) * self.seconds


class Service(ABC):
    """One of the two services: its routes, its errors, its tokens (with the Unix second of their end), its log."""

    def __init__(self, config: SandboxConfig, faults: Faults) -> None:
        self.config = config
        self.faults = faults
        self.log = RequestLog()
        self.tokens: dict[str, float] = {}
        # For the ids of requests and tokens.
        self.numbers = count(1)

    @abstractmethod
    def routes(self) -> list[Route]:
        """The paths that the service has, made with ``route``."""

    @abstractmethod
    def error(self, status: int, message: str) -> Response:
        """An error in the service's own form."""

    def app(self, also: Sequence[BaseRoute] = ()) -> Starlette:
        """The service as an application; ``also`` are routes that share its port."""
        refusals = {404: partial(self._no_such, 404), 405: partial(self._no_such, 405)}
        app = Starlette(routes=[*also, *self.routes()], exception_handlers=refusals)
        # Neither service redirects: a path with a slash too many is a 404.
        app.router.redirect_slashes = False
        return app

    def route(self, method: str, path: str, kind: str, answer: Answer) -> Route:
        """One path: calls of this ``kind`` are answered by ``answer``, which may raise ``HTTPException``."""
        return Route(path, partial(self._serve, kind, answer), methods=[method])

    def check_token(self, call: Call) -> None:
        """Refuses a call whose token was not issued here, has expired or was revoked."""
        scheme, _, token = (call.header("authorization") or "").partition(" ")
        if scheme != "Bearer" or self.tokens.get(token, 0.0) <= self.config.now():
            raise HTTPException(401, "The token is missing, unknown or has expired.")

    async def _serve(self, kind: str, answer: Answer, request: Request) -> ASGIApp:
        """A response, or what ends the connection instead: Starlette runs what an endpoint returns."""
        try:
            call = Call(kind, request, await request.body())
        except ClientDisconnect:
            return silence
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
        except HTTPException as refusal:
            response = self.error(refusal.status_code, refusal.detail)
        response.headers.update(call.reply_headers)
        reply: ASGIApp = response
        for fault in self.faults.take(call, "after") if response.status_code < 300 else ():
            if fault.action is not None:
                fault.action(call)
            match fault.kind:
                case Kind.RESET_AFTER:
                    reply = reset
                case Kind.CUT_TRANSFER:
                    reply = cut_transfer(response)
                case Kind.CUT_JSON:
                    response.body = response.body[: len(response.body) // 2]
                    response.headers["content-length"] = str(len(response.body))
        return reply

    async def _no_such(self, status: int, request: Request, _problem: Exception) -> Response:
        """A path or a method that the service does not have."""
        endpoint = request.scope.get("endpoint")
        kind = endpoint.args[0] if isinstance(endpoint, partial) else "unknown"
        message = "No such path." if status == 404 else f"{request.method} is not possible here."
        self.log.write(Call(kind, request), status, self.config.now())
        return self.error(status, message)
