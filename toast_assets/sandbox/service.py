"""What both stand-ins do with a request: look for faults, wait, answer, write it into the books."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod

from toast_assets.sandbox.config import SandboxConfig
from toast_assets.sandbox.faults import Fault, Faults, Kind, Phase
from toast_assets.sandbox.wire import (
    GATEWAY_PAGE,
    HTML_TYPE,
    NO_ANSWER,
    Call,
    Receive,
    Reply,
    Scope,
    Send,
    client_gone,
    json_reply,
    read_body,
    reset,
    send_half,
    send_reply,
)

_INSTEAD = (Kind.STATUS, Kind.RESET, Kind.NEVER, Kind.HTML, Kind.EMPTY_BODY, Kind.OBJECT)


class Service(ABC):
    """An ASGI application with faults."""

    def __init__(self, config: SandboxConfig, faults: Faults) -> None:
        self.config = config
        self.faults = faults

    @abstractmethod
    def call(self, scope: Scope, body: bytes) -> Call:
        """Says what kind of request this is, without judging it."""

    @abstractmethod
    def answer(self, call: Call) -> Reply:
        """Answers as the service would."""

    @abstractmethod
    def error(self, status: int, message: str) -> Reply:
        """An error in the service's own form."""

    @abstractmethod
    def revoke(self) -> None:
        """Makes every token issued so far worthless."""

    @abstractmethod
    def record(self, call: Call, reply: Reply) -> None:
        """Writes a call and what became of it into the books."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        call = self.call(scope, await read_body(receive))
        fired = self.faults.take(call, Phase.BEFORE) if self.faults.armed else []
        delay = self.config.latency_seconds + sum(fault.seconds for fault in fired if fault.kind is Kind.SLOW)
        if delay:
            await asyncio.sleep(delay)
        instead = self._prepare(call, fired)
        if instead is None:
            reply = self.answer(call)
            if self.faults.armed and reply.status < 300:
                await self._afterwards(call, reply, scope, receive, send)
                return
        elif instead.kind in (Kind.RESET, Kind.NEVER):
            self.record(call, Reply(NO_ANSWER))
            await (reset(scope, receive) if instead.kind is Kind.RESET else client_gone(receive))
            return
        else:
            reply = self._gateway(instead)
        self.record(call, reply)
        await send_reply(reply, send)

    def _prepare(self, call: Call, fired: list[Fault]) -> Fault | None:
        """Does what happens before an answer; the fault that takes the answer's place, if any."""
        for fault in fired:
            if fault.kind is Kind.REVOKE:
                self.revoke()
            elif fault.kind is Kind.HOOK and fault.action:
                fault.action(call)
        return next((fault for fault in fired if fault.kind in _INSTEAD), None)

    def _gateway(self, fault: Fault) -> Reply:
        match fault.kind:
            case Kind.HTML:
                return Reply(200, GATEWAY_PAGE, [HTML_TYPE])
            case Kind.EMPTY_BODY:
                return Reply(200)
            case Kind.OBJECT:
                return json_reply(200, {"status": "ok", "served_by": "gateway"})
            case _:
                return self._refusal(fault)

    def _refusal(self, fault: Fault) -> Reply:
        reply = self.error(fault.status, f"Made to fail with {fault.status}.")
        if fault.html:
            reply = Reply(fault.status, GATEWAY_PAGE, [HTML_TYPE])
        if fault.retry_after is not None:
            reply.headers.append((b"retry-after", b"%d" % fault.retry_after))
        if fault.reset_header:
            reply.headers.append((b"x-toast-ratelimit-by", b"ENDPOINT"))
            reply.headers.append((b"x-toast-ratelimit-remaining", b"0"))
            reply.headers.append((b"x-toast-ratelimit-reset", b"%d" % self.config.now()))
        return reply

    async def _afterwards(self, call: Call, reply: Reply, scope: Scope, receive: Receive, send: Send) -> None:
        fired = self.faults.take(call, Phase.AFTER)
        for fault in fired:
            if fault.kind is Kind.HOOK_AFTER and fault.action:
                fault.action(call)
        kinds = [fault.kind for fault in fired if fault.kind is not Kind.HOOK_AFTER]
        broken = kinds and kinds[0] in (Kind.RESET_AFTER, Kind.CUT_TRANSFER)
        self.record(call, Reply(NO_ANSWER) if broken else reply)
        match kinds:
            case [Kind.RESET_AFTER, *_]:
                await reset(scope, receive)
            case [Kind.CUT_TRANSFER, *_]:
                await send_half(reply, scope, receive, send)
            case [Kind.CUT_JSON, *_]:
                await send_reply(Reply(reply.status, reply.body[: len(reply.body) // 2], reply.headers), send)
            case _:
                await send_reply(reply, send)
