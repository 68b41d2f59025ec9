"""A proxy before a sandbox's S3 that spoils single replies on the wire: cut, shortened, changed, dripping."""

from __future__ import annotations

import http.client
import http.server
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

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


@contextmanager
def spoilt(url: str, spoil: Spoil) -> Iterator[str]:
    """The URL of a proxy before the S3 at ``url`` that spoils the replies to GETs."""
    host = urlsplit(url).netloc
    count = 0

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            """Nothing."""

        def do_GET(self) -> None:
            nonlocal count
            count += 1
            upstream = http.client.HTTPConnection(host)
            upstream.request("GET", self.path, headers=dict(self.headers))
            reply = upstream.getresponse()
            sent, length = spoil(reply.read(), count)
            self.send_response(reply.status)
            for name, value in reply.getheaders():
                if name.lower() not in {"content-length", "transfer-encoding", "connection", "date", "server"}:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(sent)
            self.close_connection = True
            upstream.close()

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
