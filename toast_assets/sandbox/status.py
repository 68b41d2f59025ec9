"""The sandbox's status page, its numbers as JSON, and a way to make it misbehave by hand, all on Toast's port.

``GET /`` is the page, ``GET /_sandbox/books.json`` its numbers, ``POST /_sandbox/faults`` arms a fault given as JSON
(``{"kind": "status", "path": "orders", "status": 503, "last": 3}``), ``DELETE /_sandbox/faults`` disarms all.
``POST /_sandbox/assumption`` switches an assumption off (``{"without": "gzip"}``), ``DELETE`` the one that is off on
again. None of this exists at Toast.

A page of another site that is open in the same browser can send requests to a loopback port. These pages therefore
answer only under a loopback name (a foreign name that was made to point here is refused), and changes are made only
with the header ``X-Sandbox-Token``, whose value is on the page and another one at each start.
"""

from __future__ import annotations

import secrets
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.templating import Jinja2Templates

from toast_assets.sandbox.amperity import Record
from toast_assets.sandbox.assumptions import Assumption
from toast_assets.sandbox.faults import PATHS, FaultSettings
from toast_assets.sandbox.service import LoggedRequest, RequestLog
from toast_assets.week import from_epoch_ms

if TYPE_CHECKING:
    from toast_assets.sandbox.server import Sandbox

TOKEN_HEADER = "X-Sandbox-Token"  # noqa: S105 - its name
_TEMPLATES = Jinja2Templates(Path(__file__).parent)
_Handler = Callable[[Request], Awaitable[Response]]


class _Assumed(msgspec.Struct, forbid_unknown_fields=True):
    without: Assumption | None


class StatusPages:
    """The pages about one sandbox."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    def routes(self) -> list[Route]:
        """The pages' routes, to be served beside Toast's."""
        return [
            Route("/", self._guarded(self._show)),
            Route("/_sandbox/books.json", self._guarded(self._show_numbers)),
            Route("/_sandbox/faults", self._guarded(self._change_faults), methods=["POST", "DELETE"]),
            Route("/_sandbox/assumption", self._guarded(self._change_assumption), methods=["POST", "DELETE"]),
        ]

    def _guarded(self, handler: _Handler) -> _Handler:
        sandbox = self._sandbox

        async def guarded(request: Request) -> Response:
            called = request.headers.get("host", "").lower().removesuffix(f":{request.scope['server'][1]}")
            if called not in ("localhost", "127.0.0.1", "[::1]"):
                return JSONResponse({"error": f"Use {sandbox.toast_url}."}, 403)
            given = request.headers.get(TOKEN_HEADER, "")
            changes = request.method in ("POST", "DELETE")
            if changes and not secrets.compare_digest(given.encode(), sandbox.page_token.encode()):
                help_text = f"Send the header {TOKEN_HEADER} with the token that the page {sandbox.toast_url} shows."
                return JSONResponse({"error": "The token is missing or wrong.", "help": help_text}, 403)
            return await handler(request)

        return guarded

    async def _change_faults(self, request: Request) -> Response:
        if request.method == "DELETE":
            self._sandbox.faults.clear()
            return JSONResponse({"armed": []})
        try:
            given = msgspec.json.decode(await request.body(), type=FaultSettings)
            fault = self._sandbox.faults.arm(**msgspec.structs.asdict(given))
        except (msgspec.MsgspecError, ValueError) as problem:
            help_text = f"Use {', '.join(sorted(FaultSettings.__struct_fields__))}; path is one of {', '.join(PATHS)}."
            return JSONResponse({"error": str(problem), "help": help_text}, 400)
        return JSONResponse(fault.described(), 201)

    async def _change_assumption(self, request: Request) -> Response:
        try:
            body = await request.body() if request.method == "POST" else b'{"without": null}'
            self._sandbox.switch.without = msgspec.json.decode(body, type=_Assumed).without
        except msgspec.MsgspecError as problem:
            return JSONResponse({"error": str(problem), "help": f"without is one of {', '.join(Assumption)}."}, 400)
        return JSONResponse({"without": self._sandbox.switch.without})

    async def _show_numbers(self, _request: Request) -> Response:
        return JSONResponse(self._numbers())

    def _numbers(self) -> dict[str, Any]:
        toast, amperity, objects = self._sandbox.toast, self._sandbox.amperity, self._sandbox.objects()
        return {
            "toast": {
                "logins": toast.log.count("login"),
                "requests": _requests(toast.log),
                "too_many_requests": toast.log.count(status=429),
                "orders_served": self._restaurants(),
            },
            "s3": {"bucket": self._sandbox.bucket, "objects": len(objects), "bytes": sum(size for _, size in objects)},
            "amperity": {
                "requests": _requests(amperity.log),
                "too_many_requests": amperity.log.count(status=429),
                "accepted": _by_stream(amperity.accepted),
                "sent_again": amperity.sent_again,
                "dropped": _by_stream(amperity.dropped),
                "rejected": len(amperity.refused),
                "notices": len(amperity.notices),
                "workflow_runs": len(amperity.runs),
                "tokens_issued": amperity.log.count("token", status=200),
            },
            "faults": [fault.described() for fault in self._sandbox.faults.armed],
            "without": self._sandbox.switch.without,
        }

    async def _show(self, request: Request) -> Response:
        sandbox, now = self._sandbox, self._sandbox.config.now()
        context = {
            "numbers": self._numbers(),
            "sandbox": sandbox,
            "toast_activity": _per_second(sandbox.toast.log, now),
            "amperity_activity": _per_second(sandbox.amperity.log, now),
            "folders": sandbox.folders(),
            "names": {each.guid: each.name for each in sandbox.config.restaurants},
            "moment": from_epoch_ms,
            "assumptions": [*Assumption],
        }
        return _TEMPLATES.TemplateResponse(request, "status.html", context)

    def _restaurants(self) -> list[dict[str, Any]]:
        """What was asked for each restaurant, how many orders were served, how many records Amperity accepted."""
        toast = self._sandbox.toast
        calls = defaultdict[str | None, list[LoggedRequest]](list)
        for entry in list(toast.log.entries):
            calls[entry.target].append(entry)
        accepted = Counter(record.restaurant for record in list(self._sandbox.amperity.accepted))
        return [
            {
                "restaurant": each.guid,
                "name": each.name,
                "state": each.state,
                "requests": len(calls[each.guid]),
                "too_many_requests": sum(call.status == 429 for call in calls[each.guid]),
                "orders": sum(call.orders for call in calls[each.guid]),
                "distinct_orders": len(toast.orders[each.guid].served),
                "records": accepted[each.guid],
            }
            for each in self._sandbox.config.restaurants
        ]


def _requests(log: RequestLog) -> list[dict[str, Any]]:
    counts = Counter((entry.path, entry.target or "", entry.status) for entry in list(log.entries))
    return [
        {"path": path, "target": target or None, "status": status or "no answer", "count": number}
        for (path, target, status), number in sorted(counts.items())
    ]


def _by_stream(records: list[Record]) -> dict[str, int]:
    return dict(Counter(record.stream_id for record in list(records)))


def _per_second(log: RequestLog, now: float) -> list[int]:
    """Requests in each second of the last minute, oldest first."""
    counts = Counter(int(now) - int(entry.at) for entry in list(log.entries))
    return [counts[age] for age in range(59, -1, -1)]
