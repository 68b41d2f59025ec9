"""The sandbox's status page, its numbers as JSON, and a way to arm faults by hand, all on Toast's port.

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
from datetime import UTC, datetime
from itertools import islice, takewhile
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.templating import Jinja2Templates

from toast_assets.sandbox.amperity import AmperityService, Record
from toast_assets.sandbox.calls import LoggedRequest, RequestLog
from toast_assets.sandbox.faults import PATHS, Kind
from toast_assets.sandbox.s3 import S3
from toast_assets.sandbox.toast import ToastService
from toast_assets.week import from_epoch_ms

TOKEN_HEADER = "X-Sandbox-Token"  # noqa: S105 - its name
_TEMPLATES = Jinja2Templates(Path(__file__).parent)
_SECONDS = 60
_LATEST = 12
_Handler = Callable[[Request], Awaitable[Response]]


class _ByHand(msgspec.Struct, forbid_unknown_fields=True):
    """The fields of a fault that JSON can express."""

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


class StatusPages:
    """The pages about one sandbox; ``token`` is what arming a fault takes."""

    def __init__(
        self, toast: ToastService, amperity: AmperityService, s3: S3, toast_url: str, amperity_url: str, token: str
    ) -> None:
        self._toast = toast
        self._amperity = amperity
        self._s3 = s3
        self._toast_url = toast_url
        self._amperity_url = amperity_url
        self._token = token

    def routes(self) -> list[Route]:
        """The pages' routes, to be served beside Toast's."""
        return [
            Route("/", self._on_loopback(self._show)),
            Route("/_sandbox/books.json", self._on_loopback(self._numbers_as_json)),
            Route("/_sandbox/faults", self._on_loopback(self._with_token(self._arm)), methods=["POST"]),
            Route("/_sandbox/faults", self._on_loopback(self._with_token(self._disarm)), methods=["DELETE"]),
        ]

    def _on_loopback(self, handler: _Handler) -> _Handler:
        names = {"localhost", "127.0.0.1", "::1", self._toast.config.host}

        async def guarded(request: Request) -> Response:
            try:
                called = urlsplit(f"//{request.headers['host']}")
                own = called.hostname in names and (called.port or 80) == request.scope["server"][1]
            except (KeyError, ValueError):
                own = False
            return await handler(request) if own else JSONResponse({"error": f"Use {self._toast_url}."}, 403)

        return guarded

    def _with_token(self, handler: _Handler) -> _Handler:
        async def guarded(request: Request) -> Response:
            given = request.headers.get(TOKEN_HEADER, "")
            if not secrets.compare_digest(given.encode(), self._token.encode()):
                help_text = f"Send the header {TOKEN_HEADER} with the token that the page {self._toast_url} shows."
                return JSONResponse({"error": "The token is missing or wrong.", "help": help_text}, 403)
            return await handler(request)

        return guarded

    async def _arm(self, request: Request) -> Response:
        help_text = f"Use {', '.join(sorted(_ByHand.__struct_fields__))}; path is one of {', '.join(PATHS)}."
        try:
            # First any object, so that the error of one that is not is the same for all.
            given = msgspec.convert(msgspec.json.decode(await request.body(), type=dict[str, Any]), _ByHand)
            fault = self._toast.faults.arm(**msgspec.structs.asdict(given))
        except (msgspec.MsgspecError, ValueError) as problem:
            return JSONResponse({"error": str(problem), "help": help_text}, 400)
        return JSONResponse(fault.described(), 201)

    async def _disarm(self, _request: Request) -> Response:
        self._toast.faults.clear()
        return JSONResponse({"armed": []})

    async def _numbers_as_json(self, _request: Request) -> Response:
        return JSONResponse(self._numbers())

    def _numbers(self) -> dict[str, Any]:
        """Counts of requests, orders, records, logins, objects, faults."""
        toast, amperity, objects = self._toast, self._amperity, self._s3.objects()
        return {
            "toast": {
                "logins": toast.log.count("login"),
                "requests": _requests(toast.log),
                "too_many_requests": toast.log.count(status=429),
                "orders_served": self._restaurants(),
            },
            "s3": {"bucket": self._s3.bucket, "objects": len(objects), "bytes": sum(size for _, size in objects)},
            "amperity": {
                "requests": _requests(amperity.log),
                "too_many_requests": amperity.log.count(status=429),
                "accepted": _by_stream(amperity.accepted),
                "sent_again": amperity.sent_again,
                "dropped": _by_stream(amperity.dropped),
                "rejected": len(amperity.refused),
                "notices": len(amperity.notices),
                "workflow_runs": len(amperity.control.runs),
                "tokens_issued": amperity.log.count("token", status=200),
            },
            "faults": toast.faults.described(),
        }

    async def _show(self, request: Request) -> Response:
        toast, amperity, now = self._toast, self._amperity, self._toast.config.now()
        names = {each.guid: each.name for each in toast.config.restaurants}
        context = {
            "numbers": self._numbers(),
            "config": toast.config,
            "urls": {"toast": self._toast_url, "s3": self._s3.url, "amperity": self._amperity_url},
            "token": self._token,
            "toast_activity": _per_second(toast.log, now),
            "amperity_activity": _per_second(amperity.log, now),
            "toast_requests": _by_kind(toast.log),
            "amperity_requests": _by_kind(amperity.log),
            "folders": self._folders(),
            "latest": [_shown(entry, names) for entry in islice(reversed(toast.log.entries), _LATEST)],
        }
        return _TEMPLATES.TemplateResponse(request, "status.html", context)

    def _restaurants(self) -> list[dict[str, Any]]:
        """What was asked for each restaurant, how many orders were served, how many records Amperity accepted."""
        requests, throttled, accepted = Counter[str | None](), Counter[str | None](), Counter[str | None]()
        for (_, guid, status), count in self._toast.log.counts.copy().items():
            requests[guid] += count
            throttled[guid] += count if status == 429 else 0
        for (_, guid), count in self._amperity.accepted_of.copy().items():
            accepted[guid] += count
        return [
            {
                "restaurant": each.guid,
                "name": each.name,
                "state": each.state,
                "requests": requests[each.guid],
                "too_many_requests": throttled[each.guid],
                "orders": self._toast.log.orders[each.guid],
                "distinct_orders": len(self._toast.orders[each.guid].served),
                "records": accepted[each.guid],
            }
            for each in self._toast.config.restaurants
        ]

    def _folders(self) -> list[tuple[str, int, int]]:
        """Objects and bytes by folder below the prefix; objects of the prefix itself are the exports."""
        counts, sizes = Counter[str](), Counter[str]()
        prefix = self._toast.config.prefix
        for key, size in self._s3.objects():
            top, slash, _ = key.removeprefix(prefix).partition("/")
            folder = f"{prefix}{top}/" if slash else prefix
            counts[folder] += 1
            sizes[folder] += size
        return [(folder, counts[folder], sizes[folder]) for folder in sorted(counts)]


def _requests(log: RequestLog) -> list[dict[str, Any]]:
    counts = sorted(log.counts.copy().items(), key=lambda entry: (entry[0][0], entry[0][1] or "", entry[0][2]))
    return [
        {"path": path, "target": target, "status": status or "no answer", "count": number}
        for (path, target, status), number in counts
    ]


def _by_stream(records: list[Record]) -> dict[str, int]:
    return dict(Counter(record.stream_id for record in list(records)))


def _by_kind(log: RequestLog) -> list[tuple[str, int, int]]:
    """Kind, status and number of requests."""
    counts = Counter[tuple[str, int]]()
    for (kind, _, status), count in log.counts.copy().items():
        counts[kind, status] += count
    return [(kind, status, count) for (kind, status), count in sorted(counts.items())]


def _per_second(log: RequestLog, now: float) -> list[int]:
    """Requests in each second of the last minute, oldest first."""
    recent = takewhile(lambda entry: int(entry.at) > int(now) - _SECONDS, reversed(log.entries))
    counts = Counter(int(now) - int(entry.at) for entry in recent)
    return [counts[age] for age in range(_SECONDS - 1, -1, -1)]


def _shown(entry: LoggedRequest, names: dict[str, str]) -> dict[str, Any]:
    """One of the latest calls to Toast."""
    begin, end = (from_epoch_ms(moment) for moment in entry.window or (0, 0))
    is_page = entry.path == "orders" and entry.status == 200
    return {
        "time": f"{datetime.fromtimestamp(entry.at, UTC):%H:%M:%S}",
        "kind": entry.path,
        "restaurant": names.get(entry.target or "", entry.target or ""),
        "window": f"{begin:%a %d %b %H:%M} – {end:%a %d %b %H:%M}" if entry.window else "",
        "page": entry.page if is_page else "",
        "orders": entry.orders if is_page else "",
        "status": entry.status,
    }
