"""An S3 that holds a request back: what the process that sent it then is, is stopped right before a write."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
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


@contextmanager
def holding_s3(url: str, held: Held) -> Iterator[str]:
    """The address of a proxy before the S3 at ``url``, which passes on everything, ``held`` when it may."""
    target = urlsplit(url)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            held.look_at(self.command, unquote(self.path))
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
                if name.lower() not in {*_PER_CONNECTION, "date", "server"}:
                    self.send_header(name, value)
            if self.command != "HEAD" and answer.getheader("Content-Length") is None:
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _pass_on

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    with ThreadingHTTPServer((str(target.hostname), 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://{target.hostname}:{server.server_port}"
        finally:
            held.go_on()
            server.shutdown()
            thread.join()
