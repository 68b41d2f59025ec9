"""The requests to a stand-in: one as it is answered, and a log of all."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import NamedTuple

from starlette.requests import Request

_LOG_LENGTH = 200_000


@dataclass
class Call:
    """One request: ``path`` is its kind (orders, login, …), ``target`` its restaurant GUID or stream id.

    Filled in while it is answered: ``window`` ([start, end) in milliseconds since 1970), ``orders`` (the number
    returned), ``reply_headers`` (of the reply, error or not).
    """

    path: str
    target: str | None
    # Kept out of the representation: tokens and guests do not belong in a test's output.
    request: Request = field(repr=False)
    body: bytes = field(default=b"", repr=False)
    window: tuple[int, int] | None = None
    orders: int = 0
    reply_headers: dict[str, str] = field(default_factory=dict)

    @property
    def method(self) -> str:
        """The HTTP method."""
        return self.request.method

    @property
    def bearer(self) -> str | None:
        """The bearer token, if any."""
        value = self.header("authorization")
        return value[7:] if value and value.startswith("Bearer ") else None

    @property
    def media_type(self) -> str:
        """The body's media type in lower case, without parameters; empty if it is missing."""
        return (self.header("content-type") or "").partition(";")[0].strip().lower()

    def header(self, name: str) -> str | None:
        """The header's value, if any; several values are joined by a comma."""
        return ", ".join(values) if (values := self.request.headers.getlist(name)) else None


class LoggedRequest(NamedTuple):
    """One request: when (Unix seconds), what of ``Call``, its page, and the answer's status (0: no answer)."""

    at: float
    path: str
    target: str | None
    status: int
    window: tuple[int, int] | None
    page: int
    orders: int


class RequestLog:
    """The requests to one service: ``entries`` are the latest, ``counts`` are all by kind, target and status.

    May be read from any thread. ``orders`` counts the orders on all pages, by restaurant.
    """

    def __init__(self) -> None:
        self.entries: deque[LoggedRequest] = deque(maxlen=_LOG_LENGTH)
        self.counts: Counter[tuple[str, str | None, int]] = Counter()
        self.orders: Counter[str | None] = Counter()

    def write(self, call: Call, status: int, at: float) -> None:
        """Adds a request."""
        page = call.request.query_params.get("page", "1")
        number = int(page) if page.isascii() and page.isdigit() else 0
        self.entries.append(LoggedRequest(at, call.path, call.target, status, call.window, number, call.orders))
        self.counts[call.path, call.target, status] += 1
        self.orders[call.target] += call.orders

    def count(self, path: str | None = None, target: str | None = None, status: int | None = None) -> int:
        """The number of requests that match what is given."""
        return sum(
            number
            for (of_path, of_target, of_status), number in self.counts.copy().items()
            if path in (None, of_path) and target in (None, of_target) and status in (None, of_status)
        )
