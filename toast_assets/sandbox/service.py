"""What both stand-ins do with a request: look for faults, wait, answer, write it into the books."""

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

from toast_assets.sandbox.calls import Call
from toast_assets.sandbox.config import SandboxConfig
from toast_assets.sandbox.faults import Fault, Faults, Kind, Phase
from toast_assets.sandbox.wire import CutTransfer, reset, silence

NO_ANSWER = 0
_GATEWAY_PAGE = "<!doctype html><title>Gateway</title><h1>Temporarily unavailable</h1><p>Please try again.</p>"
_INSTEAD = (Kind.STATUS, Kind.RESET, Kind.NEVER, Kind.HTML, Kind.EMPTY_BODY, Kind.OBJECT)
Answer = Callable[[Call], Response]


class Service(ABC):
    """One of the two services: its routes, its errors, its books, and the faults that both can have."""

    name: str

    def __init__(self, config: SandboxConfig, faults: Faults) -> None:
        self.config = config
        self.faults = faults

    @abstractmethod
    def routes(self) -> list[Route]:
        """The paths that the service has, made with ``route``."""

    @abstractmethod
    def target(self, request: Request) -> str | None:
        """What a request is about: a restaurant's GUID, a stream's id."""

    @abstractmethod
    def error(self, status: int, message: str) -> Response:
        """An error in the service's own form."""

    @abstractmethod
    def revoke(self) -> None:
        """Makes every token issued so far worthless."""

    @abstractmethod
    def record(self, call: Call, status: int) -> None:
        """Writes a call and what became of it into the books; ``NO_ANSWER`` stands for no answer."""

    def app(self, also: Sequence[BaseRoute] = ()) -> Starlette:
        """The service as an application; ``also`` are routes that share its port."""
        refusals = dict.fromkeys((404, 405), self._no_such)
        app = Starlette(routes=[*also, *self.routes()], exception_handlers=refusals)
        # Neither service redirects: a path with a slash too many is a 404.
        app.router.redirect_slashes = False
        return app

    def route(self, method: str, path: str, kind: str, answer: Answer) -> Route:
        """One path: calls of this ``kind`` are answered by ``answer``."""
        return Route(path, _Endpoint(self, kind, answer), methods=[method])

    async def serve(self, call: Call, answer: Answer) -> ASGIApp:
        """What answers ``call``: the service's response, or what a fault puts in its place."""
        fired = self.faults.take(call, Phase.BEFORE) if self.faults.armed else []
        delay = self.config.latency_seconds + sum(fault.seconds for fault in fired if fault.kind is Kind.SLOW)
        if delay:
            await asyncio.sleep(delay)
        instead = self._prepare(call, fired)
        reply = self._instead(instead) if instead else answer(call)
        if instead is None and self.faults.armed and isinstance(reply, Response) and reply.status_code < 300:
            reply = self._afterwards(call, reply)
        if isinstance(reply, Response):
            self.record(call, reply.status_code)
        else:
            call.orders = 0
            self.record(call, NO_ANSWER)
        return reply

    def _prepare(self, call: Call, fired: list[Fault]) -> Fault | None:
        """Does what happens before an answer; the fault that takes the answer's place, if any."""
        for fault in fired:
            if fault.kind is Kind.REVOKE:
                self.revoke()
            elif fault.kind is Kind.HOOK and fault.action:
                fault.action(call)
        return next((fault for fault in fired if fault.kind in _INSTEAD), None)

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
            case _:
                return self._refusal(fault)

    def _refusal(self, fault: Fault) -> Response:
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
        fired = self.faults.take(call, Phase.AFTER)
        for fault in fired:
            if fault.kind is Kind.HOOK_AFTER and fault.action:
                fault.action(call)
        match [fault.kind for fault in fired if fault.kind is not Kind.HOOK_AFTER]:
            case [Kind.RESET_AFTER, *_]:
                return reset
            case [Kind.CUT_TRANSFER, *_]:
                return CutTransfer(response)
            case [Kind.CUT_JSON, *_]:
                return _halved(response)
            case _:
                return response

    async def _no_such(self, request: Request, problem: Exception) -> Response:
        """A path or a method that the service does not have, in its own form and in its books."""
        status = problem.status_code if isinstance(problem, HTTPException) else 500
        endpoint = request.scope.get("endpoint")
        kind = endpoint.kind if isinstance(endpoint, _Endpoint) else "unknown"
        message = "No such path." if status == 404 else f"{request.method} is not possible here."
        self.record(Call(self.name, kind, self.target(request), request), status)
        return self.error(status, message)


class _Endpoint:
    """One route's application. Plain ASGI, because a fault may have to end the connection instead of answering."""

    def __init__(self, service: Service, kind: str, answer: Answer) -> None:
        self.kind = kind
        self._service = service
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        request = Request(scope, receive, send)
        try:
            body = await request.body()
        except ClientDisconnect:
            return
        call = Call(self._service.name, self.kind, self._service.target(request), request, body)
        reply = await self._service.serve(call, self._answer)
        await reply(scope, receive, send)


def _halved(response: Response) -> Response:
    """Half of the body, with a Content-Length that fits."""
    half = Response(response.body[: len(response.body) // 2], response.status_code)
    half.raw_headers += [header for header in response.raw_headers if header[0] != b"content-length"]
    return half
