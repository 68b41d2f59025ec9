"""A proxy before a sandbox's S3: it holds a request back, as if its process were stopped right before a write, or
spoils single replies: cut, shortened, changed."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from urllib.parse import unquote, urlsplit

# Nothing waits that long: it only keeps a test that fails from waiting for ever.
PATIENCE_SECONDS = 600
_PER_CONNECTION = {"connection", "transfer-encoding", "expect", "keep-alive"}


@dataclass
class Held:
    """The first request of ``method`` whose path has ``part`` in it."""

    method: str
    part: str
    reached: threading.Event = field(default_factory=threading.Event)
    _go_on: threading.Event = field(default_factory=threading.Event)

    def look_at(self, method: str, path: str) -> None:
        """Wait with the request if it is the one."""
        if method == self.method and self.part in path and not self.reached.is_set():
            self.reached.set()
            self._go_on.wait(PATIENCE_SECONDS)

    def go_on(self) -> None:
        """Let it pass."""
        self._go_on.set()


# Gets the reply's body and the number of the GET; gives the body as it is sent, and the length that is announced.
Spoil = Callable[[bytes, int], tuple[bytes, int]]


def cut(body: bytes, number: int) -> tuple[bytes, int]:
    """The first reply breaks off half-way."""
    return (body[: len(body) // 2] if number == 1 else body), len(body)


def shorten(body: bytes, number: int) -> tuple[bytes, int]:
    """The first reply is half of the object, and says so."""
    sent = body[: len(body) // 2] if number == 1 else body
    return sent, len(sent)


def flip(body: bytes, number: int) -> tuple[bytes, int]:
    """One bit of the first reply is another."""
    changed = bytearray(body)
    if number == 1:
        changed[len(body) // 2] ^= 1
    return bytes(changed), len(body)


def _whole(body: bytes, _number: int) -> tuple[bytes, int]:
    return body, len(body)


@contextmanager
def holding_s3(url: str, held: Held) -> Iterator[str]:
    """The address of a proxy before the S3 at ``url``, which passes on everything, ``held`` when it may."""
    with _proxy(url, held.look_at, _whole) as address:
        try:
            yield address
        finally:
            held.go_on()


@contextmanager
def spoilt(url: str, spoil: Spoil) -> Iterator[str]:
    """The URL of a proxy before the S3 at ``url`` that spoils the replies to GETs."""
    with _proxy(url, lambda _method, _path: None, spoil) as address:
        yield address


@contextmanager
def _proxy(url: str, on_request: Callable[[str, str], None], spoil: Spoil) -> Iterator[str]:
    gets = count(1)
    target = urlsplit(url)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            on_request(self.command, unquote(self.path))
            headers = {name: value for name, value in self.headers.items() if name.lower() not in _PER_CONNECTION}
            connection = http.client.HTTPConnection(str(target.hostname), target.port, timeout=PATIENCE_SECONDS)
            try:
                connection.request(self.command, self.path, body, headers)
                answer = connection.getresponse()
                content = answer.read()
            finally:
                connection.close()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in {*_PER_CONNECTION, "content-length", "date", "server"}:
                    self.send_header(name, value)
            length = answer.getheader("Content-Length", "0")
            if self.command != "HEAD":
                content, announced = spoil(content, next(gets)) if self.command == "GET" else _whole(content, 0)
                length = str(announced)
                self.close_connection = announced != len(content)
            self.send_header("Content-Length", length)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _pass_on

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer((str(target.hostname), 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, daemon=True, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://{target.hostname}:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
