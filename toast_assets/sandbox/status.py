"""The sandbox's status page, its books as JSON, and a way to arm faults by hand, all on Toast's port.

``GET /`` is the page, ``GET /_sandbox/books.json`` its numbers, ``POST /_sandbox/faults`` arms a fault given
as JSON (``{"kind": "status", "path": "orders", "status": 503, "last": 3}``), ``DELETE /_sandbox/faults``
disarms all. None of this exists at Toast.
"""

from __future__ import annotations

from collections import Counter
from html import escape
from pathlib import Path
from typing import Annotated, Any

import msgspec
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from toast_assets.sandbox.amperity_books import AmperityBooks, Record
from toast_assets.sandbox.faults import PATHS, Fault, Faults, Kind
from toast_assets.sandbox.toast_books import ToastBooks

_PAGE = Path(__file__).with_name("status.html")


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
    """The sandbox's own pages."""

    def __init__(self, toast: ToastBooks, amperity: AmperityBooks, faults: Faults) -> None:
        self._toast = toast
        self._amperity = amperity
        self._faults = faults

    def routes(self) -> list[Route]:
        """The pages' routes, to be served beside Toast's."""
        return [
            Route("/", self._show),
            Route("/_sandbox/books.json", self._books),
            Route("/_sandbox/faults", self._arm, methods=["POST"]),
            Route("/_sandbox/faults", self._disarm, methods=["DELETE"]),
        ]

    async def _show(self, _request: Request) -> Response:
        return HTMLResponse(self.page())

    async def _books(self, _request: Request) -> Response:
        return JSONResponse(self.summary())

    async def _disarm(self, _request: Request) -> Response:
        self._faults.clear()
        return JSONResponse({"armed": []})

    def summary(self) -> dict[str, Any]:
        """The numbers of the page: counts of requests, orders, records, logins, faults."""
        toast, amperity = self._toast, self._amperity
        names = {guid: restaurant.name for guid, restaurant in toast.restaurants.items()}
        return {
            "toast": {
                "logins": toast.logins,
                "requests": _requests(toast.requests),
                "too_many_requests": toast.count(status=429),
                "orders_served": [
                    {"restaurant": guid, "name": names[guid], "orders": toast.orders_served[guid]} for guid in names
                ],
            },
            "amperity": {
                "requests": _requests(amperity.requests),
                "too_many_requests": amperity.count(status=429),
                "accepted": _by_stream(amperity.accepted),
                "dropped": _by_stream(amperity.dropped),
                "rejected": len(amperity.rejected),
                "notices": len(amperity.notices),
                "workflow_runs": len(amperity.runs),
                "tokens_issued": amperity.tokens_issued,
            },
            "faults": list(self._faults.described()),
        }

    def page(self) -> str:
        """The status page as HTML."""
        summary = self.summary()
        toast, amperity = summary["toast"], summary["amperity"]
        accepted, dropped = sum(amperity["accepted"].values()), sum(amperity["dropped"].values())
        figures = {
            "Orders served": sum(each["orders"] for each in toast["orders_served"]),
            "Toast requests": sum(each["count"] for each in toast["requests"]),
            "Logins": toast["logins"],
            "Records accepted": accepted,
            "Dropped silently": dropped,
            "Refused": amperity["rejected"],
            "429s": toast["too_many_requests"] + amperity["too_many_requests"],
        }
        streams = [
            {"stream": name, "accepted": amperity["accepted"].get(name, 0), "dropped": amperity["dropped"].get(name, 0)}
            for name in sorted(amperity["accepted"] | amperity["dropped"])
        ]
        tiles = "".join(f"<li><b>{number:,}</b>{escape(name)}</li>" for name, number in figures.items())
        sections = {
            "tiles": tiles,
            "restaurants": _table(toast["orders_served"], "No restaurants."),
            "toast": _table(toast["requests"], "Nobody has called yet."),
            "streams": _table(streams, "Nothing has been delivered yet."),
            "amperity": _table(amperity["requests"], "Nobody has called yet."),
            "faults": _table(summary["faults"], "None: both services behave."),
        }
        html = _PAGE.read_text(encoding="utf-8")
        for name, content in sections.items():
            html = html.replace(f"<!--{name}-->", content)
        return html

    async def _arm(self, request: Request) -> Response:
        help_text = f"Use {', '.join(sorted(_BY_HAND))}; path is one of {', '.join(PATHS)}."
        try:
            given = msgspec.json.decode(await request.body(), type=dict[str, Any])
            fault = msgspec.convert(given, _ByHand)
        except msgspec.MsgspecError as problem:
            return JSONResponse({"error": str(problem), "help": help_text}, 400)
        if fault.path not in PATHS:
            return JSONResponse({"error": f"There is no path kind {fault.path!r}.", "help": help_text}, 400)
        armed = self._faults.add(Fault(**msgspec.structs.asdict(fault)))
        return JSONResponse(armed.described(), 201)


def _requests(counter: Counter[tuple[str, str | None, int]]) -> list[dict[str, Any]]:
    return [
        {"path": path, "target": target, "status": status or "no answer", "count": number}
        for (path, target, status), number in sorted(
            counter.copy().items(), key=lambda entry: (entry[0][0], entry[0][1] or "", entry[0][2])
        )
    ]


def _by_stream(records: list[Record]) -> dict[str, int]:
    return dict(Counter(record.stream_id for record in list(records)))


def _table(rows: list[dict[str, Any]], nothing: str) -> str:
    if not rows:
        return f"<p>{escape(nothing)}</p>"
    head = "".join(f"<th>{escape(name.replace('_', ' '))}</th>" for name in rows[0])
    lines = []
    for row in rows:
        cells = "".join(
            f'<td class="{"n" if isinstance(value, int) else "t"}">{"" if value is None else escape(str(value))}</td>'
            for value in row.values()
        )
        lines.append(f"<tr>{cells}</tr>")
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
