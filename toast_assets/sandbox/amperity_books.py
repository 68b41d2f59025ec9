"""What Amperity was sent and what became of it. May be read from any thread."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, NamedTuple

import msgspec

_LOG_LENGTH = 200_000


@dataclass(frozen=True, slots=True)
class Record:
    """One record that was answered 202: ``at`` in Unix seconds; ``body`` is None where bodies are not kept.

    ``guid``, ``restaurant`` and ``modified`` are the body's ``guid``, ``restaurantGuid`` and
    ``modifiedDate``, None where it has none.
    """

    stream_id: str
    request_id: str | None
    at: float
    size: int
    sha256: str
    guid: str | None
    restaurant: str | None
    modified: str | None
    body: bytes | None

    @property
    def content(self) -> dict[str, Any]:
        """The record as an object; ValueError where bodies are not kept."""
        if self.body is None:
            raise ValueError("This sandbox keeps no bodies (keep_bodies=False).")
        return msgspec.json.decode(self.body, type=dict[str, Any])


class Rejection(NamedTuple):
    """One request to a stream that was not accepted; ``status`` 0 stands for no answer."""

    stream_id: str | None
    request_id: str | None
    status: int
    at: float


class Notice(NamedTuple):
    """One notice of the guide's kind that was accepted."""

    request_id: str | None
    at: float
    content: dict[str, Any]


class AmperityCall(NamedTuple):
    """One request to Amperity: when (Unix seconds), of which kind, to which stream; ``status`` 0 is no answer."""

    at: float
    path: str
    stream_id: str | None
    status: int


class _Peek(msgspec.Struct):
    # Any type is let in here: a record's schema is Amperity's customers' own affair.
    guid: Any = None
    restaurantGuid: Any = None
    modifiedDate: Any = None


_PEEK = msgspec.json.Decoder(_Peek)


class AmperityBooks:
    """Accepted records, those lost without an error (``dropped``), refused requests, notices, workflow runs.

    ``accepted_of`` counts accepted records by stream and restaurant; ``sent_again`` those that had been accepted
    before: same stream, order and modified time.
    """

    def __init__(self, *, keep_bodies: bool = True) -> None:
        self.accepted: list[Record] = []
        self.dropped: list[Record] = []
        self.accepted_of: Counter[tuple[str, str | None]] = Counter()
        self.sent_again = 0
        self.rejected: list[Rejection] = []
        self.notices: list[Notice] = []
        self.runs: list[dict[str, Any]] = []
        self.requests: Counter[tuple[str, str | None, int]] = Counter()
        self.log: deque[AmperityCall] = deque(maxlen=_LOG_LENGTH)
        self.tokens_issued = 0
        self._keep_bodies = keep_bodies
        self._versions: set[tuple[str, str | None, str | None, str | None]] = set()

    def accept(self, stream_id: str, request_id: str | None, at: float, body: bytes, *, exists: bool) -> None:
        """Books a record as accepted, or as dropped where its stream does not exist.

        Raises:
            msgspec.DecodeError: the body is not exactly one JSON object.
        """
        peek = _PEEK.decode(body)
        record = Record(
            stream_id,
            request_id,
            at,
            len(body),
            sha256(body).hexdigest(),
            _text(peek.guid),
            _text(peek.restaurantGuid),
            _text(peek.modifiedDate),
            body if self._keep_bodies else None,
        )
        if exists:
            self._count(record)
        (self.accepted if exists else self.dropped).append(record)

    def _count(self, record: Record) -> None:
        self.accepted_of[record.stream_id, record.restaurant] += 1
        version = (record.stream_id, record.restaurant, record.guid, record.modified)
        if record.guid is None:
            return
        self.sent_again += version in self._versions
        self._versions.add(version)

    def write(self, call: AmperityCall, request_id: str | None) -> None:
        """Adds a request to the log and the counters, and to the rejections where it failed on a stream."""
        self.log.append(call)
        self.requests[call.path, call.stream_id, call.status] += 1
        if call.path == "stream" and call.status != 202:
            self.rejected.append(Rejection(call.stream_id, request_id, call.status, call.at))

    def of_stream(self, stream_id: str) -> list[Record]:
        """The records that one stream accepted, in the order of their arrival."""
        return [record for record in self.accepted if record.stream_id == stream_id]

    def count(self, path: str | None = None, stream_id: str | None = None, status: int | None = None) -> int:
        """The number of requests that match what is given."""
        return sum(
            number
            for (of_path, of_stream, of_status), number in self.requests.copy().items()
            if path in (None, of_path) and stream_id in (None, of_stream) and status in (None, of_status)
        )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
