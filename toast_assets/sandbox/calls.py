"""One request as the stand-ins see it: of which kind, about what, with which body."""

from __future__ import annotations

from dataclasses import dataclass, field

from starlette.requests import Request


@dataclass
class Call:
    """One request: ``path`` is its kind (orders, login, …), ``target`` its restaurant GUID or stream id.

    ``window`` ([start, end) in milliseconds since 1970) and ``orders`` are filled in while it is answered.
    """

    service: str
    path: str
    target: str | None
    # Kept out of the representation: tokens and guests do not belong in a test's output.
    request: Request = field(repr=False)
    body: bytes = field(default=b"", repr=False)
    window: tuple[int, int] | None = None
    orders: int = 0

    @property
    def method(self) -> str:
        """The HTTP method."""
        return self.request.method

    @property
    def url(self) -> str:
        """The URL's path, decoded."""
        return self.request.url.path

    @property
    def query(self) -> list[tuple[str, str]]:
        """The query's parameters in their order; a bare ``+`` is a space, as everywhere on the web."""
        return self.request.query_params.multi_items()

    @property
    def bearer(self) -> str | None:
        """The bearer token, or None where there is none."""
        value = self.header("authorization")
        return value[7:] if value and value.startswith("Bearer ") else None

    @property
    def media_type(self) -> str:
        """The body's media type in lower case, without parameters; empty where none is given."""
        return (self.header("content-type") or "").partition(";")[0].strip().lower()

    def header(self, name: str) -> str | None:
        """The header's value, or None where it is missing; several values are joined by a comma."""
        values = self.request.headers.getlist(name)
        return ", ".join(values) if values else None

    def parameter(self, name: str, default: str) -> str:
        """The value of one query parameter, or ``default``."""
        return self.request.query_params.get(name, default)

    def path_value(self, name: str) -> str:
        """The part of the URL's path that its route names ``name``."""
        return str(self.request.path_params[name])
