"""The requests to a stand-in: one as it is answered, and a log of all."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

import msgspec
from starlette.requests import Request

T = TypeVar("T")


class Refusal(Exception):  # noqa: N818 - the service's answer, not a failure of the sandbox
    """An error that the service answers with."""

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        super().__init__(message)


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
    def media_type(self) -> str:
        """The body's media type in lower case, without parameters; empty if it is missing."""
        return (self.header("content-type") or "").partition(";")[0].strip().lower()

    def header(self, name: str) -> str | None:
        """The header's value, if any; several values are joined by a comma."""
        return ", ".join(values) if (values := self.request.headers.getlist(name)) else None

    def read(self, type_: type[T]) -> T:
        """The body, which must be JSON of this type; else it is a 400."""
        try:
            # Fields that the type does not have must be UTF-8, too.
            self.body.decode()
            return msgspec.json.decode(self.body, type=type_)
        except (msgspec.DecodeError, UnicodeDecodeError) as problem:
            raise Refusal(400, f"The body is malformed: {problem}") from None


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
    """The requests to one service, oldest first. May be read from any thread."""

    def __init__(self) -> None:
        self.entries: list[LoggedRequest] = []

    def write(self, call: Call, status: int, at: float) -> None:
        """Adds a request."""
        page = call.request.query_params.get("page", "1")
        number = int(page) if page.isascii() and page.isdigit() else 0
        self.entries.append(LoggedRequest(at, call.path, call.target, status, call.window, number, call.orders))

    def count(self, path: str | None = None, target: str | None = None, status: int | None = None) -> int:
        """The number of requests that match what is given."""
        return sum(
            path in (None, entry.path) and target in (None, entry.target) and status in (None, entry.status)
            for entry in list(self.entries)
        )
