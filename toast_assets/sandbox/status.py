"""The sandbox's status page, its books as JSON, and a way to arm faults by hand, all on Toast's port.

``GET /`` is the page, ``GET /_sandbox/books.json`` its numbers, ``POST /_sandbox/faults`` arms a fault given
as JSON (``{"kind": "status", "path": "orders", "status": 503, "last": 3}``), ``DELETE /_sandbox/faults``
disarms all. None of this exists at Toast.

A page of another site that is open in the same browser can send requests to a loopback port. These pages therefore
answer only under a loopback name (a foreign name that was made to point here is refused), and faults are armed and
disarmed only with the header ``X-Sandbox-Token``, whose value is on the page and another one at each start.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.templating import Jinja2Templates

from toast_assets.sandbox.amperity_books import Record
from toast_assets.sandbox.faults import PATHS, Fault, Kind
from toast_assets.sandbox.status_view import StatusView

if TYPE_CHECKING:
    from toast_assets.sandbox.server import Sandbox

TOKEN_HEADER = "X-Sandbox-Token"  # noqa: S105 - its name
_TEMPLATES = Jinja2Templates(Path(__file__).parent)
_Answer = Callable[[Request], Awaitable[Response]]


class _ByHand(msgspec.Struct, forbid_unknown_fields=True):
    """What of a fault can be said in JSON."""

    kind: Kind
    path: str
    target: str | None = None
    page: int | None = None
    first: Annotated[int, msgspec.Meta(ge=1)] = 1
    last: int | None = 1
    every: Annotated[int, msgspec.Meta(ge=1)] = 1
    status: Annotated[int, msgspec.Meta(ge=400, le=599)] = 503
    retry_after: int | None = None
    reset_header: bool = False
    html: bool = False
    seconds: float = 0.0
    keep: int | None = None


_BY_HAND = _ByHand.__struct_fields__


class StatusPages:
    """The pages about one sandbox."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    def routes(self) -> list[Route]:
        """The pages' routes, to be served beside Toast's."""
        return [
            Route("/", self._under_a_loopback_name(self._show)),
            Route("/_sandbox/books.json", self._under_a_loopback_name(self._books)),
            Route("/_sandbox/faults", self._under_a_loopback_name(self._with_token(self._arm)), methods=["POST"]),
            Route("/_sandbox/faults", self._under_a_loopback_name(self._with_token(self._disarm)), methods=["DELETE"]),
        ]

    def _under_a_loopback_name(self, answer: _Answer) -> _Answer:
        async def guarded(request: Request) -> Response:
            if not self._is_own_address(request):
                return JSONResponse({"error": f"Use {self._sandbox.toast_url}."}, 403)
            return await answer(request)

        return guarded

    def _is_own_address(self, request: Request) -> bool:
        names = {"localhost", "127.0.0.1", "::1", self._sandbox.config.host}
        try:
            called = urlsplit(f"//{request.headers['host']}")
            return called.hostname in names and (called.port or 80) == request.scope["server"][1]
        except (KeyError, ValueError):
            return False

    def _with_token(self, answer: _Answer) -> _Answer:
        async def guarded(request: Request) -> Response:
            given = request.headers.get(TOKEN_HEADER, "")
            if not secrets.compare_digest(given.encode(), self._sandbox.page_token.encode()):
                help_text = (
                    f"Send the header {TOKEN_HEADER} with the token that the page {self._sandbox.toast_url} shows."
                )
                return JSONResponse({"error": "The token is missing or wrong.", "help": help_text}, 403)
            return await answer(request)

        return guarded

    async def _show(self, request: Request) -> Response:
        return _TEMPLATES.TemplateResponse(request, "status.html", {"view": StatusView(self._sandbox)})

    async def _books(self, _request: Request) -> Response:
        return JSONResponse(_summary(self._sandbox))

    async def _arm(self, request: Request) -> Response:
        help_text = f"Use {', '.join(sorted(_BY_HAND))}; path is one of {', '.join(PATHS)}."
        try:
            given = msgspec.json.decode(await request.body(), type=dict[str, Any])
            fault = msgspec.convert(given, _ByHand)
        except msgspec.MsgspecError as problem:
            return JSONResponse({"error": str(problem), "help": help_text}, 400)
        if fault.path not in PATHS:
            return JSONResponse({"error": f"There is no path kind {fault.path!r}.", "help": help_text}, 400)
        armed = self._sandbox.faults.add(Fault(**msgspec.structs.asdict(fault)))
        return JSONResponse(armed.described(), 201)

    async def _disarm(self, _request: Request) -> Response:
        self._sandbox.faults.clear()
        return JSONResponse({"armed": []})


def _summary(sandbox: Sandbox) -> dict[str, Any]:
    """Counts of requests, orders, records, logins, objects, faults."""
    toast, amperity = sandbox.toast_books, sandbox.amperity_books
    names = {guid: restaurant.name for guid, restaurant in toast.restaurants.items()}
    objects = sandbox.objects()
    return {
        "toast": {
            "logins": toast.logins,
            "requests": _requests(toast.requests),
            "too_many_requests": toast.count(status=429),
            "orders_served": [
                {
                    "restaurant": guid,
                    "name": name,
                    "orders": toast.orders_served[guid],
                    "distinct_orders": len(toast.guids_served[guid]),
                }
                for guid, name in names.items()
            ],
        },
        "s3": {
            "bucket": sandbox.bucket,
            "objects": len(objects),
            "bytes": sum(size for _, size in objects),
        },
        "amperity": {
            "requests": _requests(amperity.requests),
            "too_many_requests": amperity.count(status=429),
            "accepted": _by_stream(amperity.accepted),
            "sent_again": amperity.sent_again,
            "dropped": _by_stream(amperity.dropped),
            "rejected": len(amperity.rejected),
            "notices": len(amperity.notices),
            "workflow_runs": len(amperity.runs),
            "tokens_issued": amperity.tokens_issued,
        },
        "faults": list(sandbox.faults.described()),
    }


def _requests(counter: Counter[tuple[str, str | None, int]]) -> list[dict[str, Any]]:
    return [
        {"path": path, "target": target, "status": status or "no answer", "count": number}
        for (path, target, status), number in sorted(
            counter.copy().items(), key=lambda entry: (entry[0][0], entry[0][1] or "", entry[0][2])
        )
    ]


def _by_stream(records: list[Record]) -> dict[str, int]:
    return dict(Counter(record.stream_id for record in list(records)))
