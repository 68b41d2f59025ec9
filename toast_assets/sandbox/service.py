"""What both stand-ins have in common: calls, tokens, refusals, faults, and a log of all requests."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from toast_assets.sandbox.calls import Call, RequestLog
from toast_assets.sandbox.config import SandboxConfig
from toast_assets.sandbox.faults import Fault, Faults, Kind
from toast_assets.sandbox.wire import CutTransfer, reset, silence

NO_ANSWER = 0
_GATEWAY_PAGE = "<!doctype html><title>Gateway</title><h1>Temporarily unavailable</h1><p>Please try again.</p>"
_INSTEAD = (Kind.STATUS, Kind.RESET, Kind.NEVER, Kind.HTML, Kind.EMPTY_BODY, Kind.OBJECT)


Answer = Callable[[Call], Response]


class Refusal(Exception):  # noqa: N818 - the service's answer, not a failure of the sandbox
    """An error that the service answers with: its status, message and the field it is about."""

    def __init__(self, status: int, message: str, field: str | None = None) -> None:
        self.status = status
        self.field = field
        super().__init__(message)


class Service(ABC):
    """One of the two services: its routes, its errors, its tokens (with the Unix second of their end), its log."""

    def __init__(self, config: SandboxConfig, faults: Faults) -> None:
        self.config = config
        self.faults = faults
        self.log = RequestLog()
        self.tokens: dict[str, float] = {}

    @abstractmethod
    def routes(self) -> list[Route]:
        """The paths that the service has, made with ``route``."""

    @abstractmethod
    def target(self, request: Request) -> str | None:
        """What a request is about: a restaurant's GUID, a stream's id."""

    @abstractmethod
    def error(self, status: int, message: str, field: str | None = None) -> Response:
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
        return Route(path, _Endpoint(self, kind, answer), methods=[method])

    def has_valid_token(self, call: Call) -> bool:
        """Whether the call's token was issued here, has not expired and was not revoked."""
        return self.tokens.get(call.bearer or "", 0.0) > self.config.now()

    def answered(self, call: Call, answer: Answer) -> Response:
        """The reply of ``answer``, refusals included."""
        try:
            return answer(call)
        except Refusal as refusal:
            return self.error(refusal.status, str(refusal), refusal.field)

    async def serve(self, call: Call, answer: Answer) -> ASGIApp:
        """What answers ``call``: the service's response, or what a fault puts in its place."""
        fired = self.faults.take(call, "before")
        delay = self.config.latency_seconds + sum(fault.seconds for fault in fired if fault.kind is Kind.SLOW)
        if delay:
            await asyncio.sleep(delay)
        for fault in fired:
            if fault.kind is Kind.REVOKE:
                self.tokens.clear()
            elif fault.kind is Kind.HOOK and fault.action:
                fault.action(call)
        instead = next((fault for fault in fired if fault.kind in _INSTEAD), None)
        reply: ASGIApp
        if instead is not None:
            reply = self._instead(instead)
        else:
            response = self.answered(call, answer)
            reply = self._afterwards(call, response) if response.status_code < 300 else response
        if not isinstance(reply, Response):
            call.orders = 0
        self.log.write(call, reply.status_code if isinstance(reply, Response) else NO_ANSWER, self.config.now())
        return reply

    def _instead(self, fault: Fault) -> ASGIApp:
        match fault.kind:
            case Kind.RESET:
                return reset
            case Kind.NEVER:
                return silence
            case Kind.HTML:
                return HTMLResponse(_GATEWAY_PAGE)
            case Kind.EMPTY_BODY:
                return Response()
            case Kind.OBJECT:
                return JSONResponse({"status": "ok", "served_by": "gateway"})
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

    def _afterwards(self, call: Call, response: Response) -> ASGIApp:
        fired = self.faults.take(call, "after")
        for fault in fired:
            if fault.kind is Kind.HOOK_AFTER and fault.action:
                fault.action(call)
        match [fault.kind for fault in fired if fault.kind is not Kind.HOOK_AFTER]:
            case [Kind.RESET_AFTER, *_]:
                return reset
            case [Kind.CUT_TRANSFER, *_]:
                return CutTransfer(response)
            case [Kind.CUT_JSON, *_]:
                half = Response(response.body[: len(response.body) // 2], response.status_code)
                half.raw_headers += [header for header in response.raw_headers if header[0] != b"content-length"]
                return half
            case _:
                return response

    async def _no_such(self, request: Request, problem: Exception) -> Response:
        """A path or a method that the service does not have."""
        status = problem.status_code if isinstance(problem, HTTPException) else 500
        endpoint = request.scope.get("endpoint")
        kind = endpoint.kind if isinstance(endpoint, _Endpoint) else "unknown"
        message = "No such path." if status == 404 else f"{request.method} is not possible here."
        self.log.write(Call(kind, self.target(request), request), status, self.config.now())
        return self.error(status, message)


class _Endpoint:
    """One route's application. Plain ASGI, because a fault may have to end the connection instead of answering."""

    def __init__(self, service: Service, kind: str, answer: Answer) -> None:
        self.kind = kind
        self._service = service
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        try:
            body = await request.body()
        except ClientDisconnect:
            return
        call = Call(self.kind, self._service.target(request), request, body)
        reply = await self._service.serve(call, self._answer)
        await reply(scope, receive, send)
