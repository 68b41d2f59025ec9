"""A lean server for the benchmarks: it hands out prebuilt bytes and swallows records, so that it is not the limit.

It speaks just as much of Toast's, Amperity's and S3's interfaces as a run of the pipeline uses, on one port, in a
process of its own. It checks nothing: that is the sandbox's task. ``python -m benchmarks.server FOLDER`` serves the
week in the folder, writes the port to standard output, and ends when standard input does.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from urllib.parse import parse_qs, unquote

from benchmarks.objects import Objects
from benchmarks.weeks import ServedRestaurant
from toast_assets.week import epoch_ms

_TOKEN = json.dumps({"token": {"tokenType": "Bearer", "expiresIn": 86400, "accessToken": "t"}, "status": "SUCCESS"})
_DETAILS = {"name": "Harbor & Thistle", "timeZone": "America/New_York", "closeoutHour": 4, "currencyCode": "USD"}
_REASONS = {200: "OK", 202: "Accepted", 204: "No Content", 404: "Not Found", 412: "Precondition Failed"}

Piece = bytes | memoryview


@dataclass
class Request:
    """One request: header names in lower case."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes = b""


@dataclass
class Reply:
    """One reply; ``delay`` seconds lie between the request and it."""

    status: int = 200
    pieces: Sequence[Piece] = ()
    headers: Sequence[tuple[str, str]] = ()
    length: int | None = None
    delay: float = 0.0


@dataclass
class Services:
    """What is served, and the books: arrival times (Unix seconds) of order calls by restaurant and of records, calls to
    S3 and the bytes of bodies in both directions.

    ``orders_per_second`` is Toast's limit per restaurant in fixed slices of a second, None for no limit; ``latency``
    in seconds is added to each reply but S3's, ``s3_latency`` to S3's.
    """

    week: Path
    objects: Objects
    orders_per_second: int | None = None
    latency: float = 0.0
    s3_latency: float = 0.0
    s3_calls: int = 0
    s3_bytes: int = 0
    calls: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    throttled: int = 0
    records: list[float] = field(default_factory=list)
    _restaurants: dict[str, ServedRestaurant] = field(default_factory=dict)
    _slices: Counter[tuple[str, int]] = field(default_factory=Counter)

    def answer(self, request: Request) -> Reply:
        """The reply to any request but the bodies of S3's, which the connection hands to the objects directly."""
        root = request.path.split("/", 2)[1]
        match root:
            case "orders":
                reply = self._orders(request)
            case "stream":
                self.records.append(time.time())
                reply = Reply(202)
            case "authentication":
                reply = Reply(200, [_TOKEN.encode()])
            case "restaurants":
                guid = request.path.rpartition("/")[2]
                reply = Reply(200, [json.dumps({"guid": guid, "general": _DETAILS}).encode()])
            case "_books":
                return Reply(200, [json.dumps(self._books()).encode()])
            case "_traffic":
                return Reply(200, [json.dumps([self.s3_calls, self.s3_bytes]).encode()])
            case _:
                status, headers, pieces, length = self.objects.answer(
                    request.method, unquote(request.path), request.query, request.headers
                )
                return self.of_s3(Reply(status, pieces, headers, length), sum(map(len, pieces)))
        reply.delay = self.latency
        return reply

    def of_s3(self, reply: Reply, size: int) -> Reply:
        """A reply of S3's, which is counted and comes from far away; ``size`` is that of the body, either way."""
        self.s3_calls += 1
        self.s3_bytes += size
        reply.delay = self.s3_latency
        return reply

    def _orders(self, request: Request) -> Reply:
        guid, now = request.headers["toast-restaurant-external-id"], time.time()
        if self.orders_per_second is not None:
            self._slices[guid, int(now)] += 1
            if self._slices[guid, int(now)] > self.orders_per_second:
                self.throttled += 1
                return Reply(429, [b"{}"], [("Retry-After", "1")])
        self.calls[guid].append(now)
        if guid not in self._restaurants:
            self._restaurants[guid] = ServedRestaurant(self.week, guid)
        values = parse_qs(request.query)
        start, end = (epoch_ms(datetime.fromisoformat(values[name][0])) for name in ("startDate", "endDate"))
        number, size = int(values.get("page", ["1"])[0]), int(values.get("pageSize", ["100"])[0])
        pieces, more = self._restaurants[guid].page(start, end, number, size)
        links = [("Link", f'<http://localhost{request.path}?page={number + 1}>; rel="next"')] if more else []
        return Reply(200, [b"[", *pieces, b"]"], links)

    def _books(self) -> dict[str, object]:
        return {
            "calls": {guid: [len(times), times[0], times[-1]] for guid, times in self.calls.items()},
            "throttled": self.throttled,
            "records": self.records,
            "s3_calls": self.s3_calls,
            "stored": dict(self.objects.sizes()),
        }


class Connection(asyncio.Protocol):
    """One connection: requests one after the other, kept open."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._buffer = bytearray()
        self._request: Request | None = None
        self._missing = 0
        self._upload = None
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        # A large reply leaves in one go.
        self._transport.set_write_buffer_limits(high=1 << 24)
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data: bytes) -> None:
        if self._request is None:
            self._buffer += data
            self._read_head()
        else:
            self._read_body(data)

    def _read_head(self) -> None:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        first, *lines = self._buffer[:end].decode("latin-1").split("\r\n")
        rest = bytes(self._buffer[end + 4 :])
        self._buffer.clear()
        method, target, _ = first.split(" ", 2)
        path, _, query = target.partition("?")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        self._request = Request(method, path, query, headers)
        self._missing = int(headers.get("content-length", 0))
        if method == "PUT":
            self._upload = self._services.objects.upload()
        if headers.get("expect", "").lower() == "100-continue":
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._read_body(rest)

    def _read_body(self, data: bytes) -> None:
        if data and self._upload is not None:
            self._upload.write(data)
        self._missing -= len(data)
        if self._missing <= 0:
            request, self._request = self._request, None
            assert request is not None  # noqa: S101 - a body without a request cannot be
            if self._upload is not None:
                size = self._upload.tell()
                status, headers = self._services.objects.finish(self._upload, unquote(request.path), request.headers)
                self._upload, reply = None, self._services.of_s3(Reply(status, (), headers), size)
            else:
                reply = self._services.answer(request)
            self._send(request, reply)

    def _send(self, request: Request, reply: Reply) -> None:
        length = sum(map(len, reply.pieces)) if reply.length is None else reply.length
        lines = [f"HTTP/1.1 {reply.status} {_REASONS.get(reply.status, 'Status')}", f"Content-Length: {length}"]
        lines += [f"{name}: {value}" for name, value in (("Content-Type", "application/json"), *reply.headers)]
        head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
        pieces = [head] if request.method == "HEAD" else [head, *reply.pieces]
        if reply.delay:
            asyncio.get_running_loop().call_later(reply.delay, self._transport.writelines, pieces)
        else:
            self._transport.writelines(pieces)


async def serve(services: Services) -> None:
    """Serve until standard input ends."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(services), "127.0.0.1", 0, backlog=1024)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("week", type=Path, help="the folder of a week, made by benchmarks.weeks")
    parser.add_argument("bucket", type=Path, help="the folder that S3's objects are kept in")
    parser.add_argument("--orders-per-second", type=int, help="Toast's limit for each restaurant; default: none")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds added to each reply but S3's")
    parser.add_argument("--s3-latency", type=float, default=0.0, help="seconds added to each of S3's replies")
    arguments = parser.parse_args()
    objects = Objects(arguments.bucket)
    limit, latency, s3_latency = arguments.orders_per_second, arguments.latency, arguments.s3_latency
    asyncio.run(serve(Services(arguments.week, objects, limit, latency, s3_latency)))


if __name__ == "__main__":
    main()
