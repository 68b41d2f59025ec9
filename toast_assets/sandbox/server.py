"""The sandbox: Toast, Amperity and S3 on three loopback ports, for as long as a ``with`` block lasts.

with Sandbox(SandboxConfig(seed=7)) as sandbox:
    os.environ.update(sandbox.environment())
    ...
    assert sandbox.amperity.accepted
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Self, cast

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from toast_assets.errors import ToastAssetsError
from toast_assets.sandbox.amperity import AmperityService
from toast_assets.sandbox.config import SandboxConfig
from toast_assets.sandbox.faults import Faults
from toast_assets.sandbox.s3 import REGION, S3
from toast_assets.sandbox.service import with_transport
from toast_assets.sandbox.status import StatusPages
from toast_assets.sandbox.toast import ToastService

# Long and random, so that a test can look for it where no secret may be.
_AWS_SECRET = secrets.token_hex(20)
_START_SECONDS = 20.0


class Sandbox:
    """One sandbox. Its services, with their data and logs, exist from construction on, its servers while it is entered.

    ``toast_url``, ``amperity_url`` and ``s3_url`` have no trailing slash; ``bucket`` exists and is empty at the start.
    ``page_token`` is what arming a fault by HTTP takes.
    """

    def __init__(self, config: SandboxConfig | None = None) -> None:
        self.config = config or SandboxConfig()
        self.faults = Faults()
        self.page_token = secrets.token_urlsafe(16)
        self.toast = ToastService(self.config, self.faults)
        self.amperity = AmperityService(self.config, self.faults)
        self.toast_url = self.amperity_url = self.s3_url = self.bucket = ""
        self._s3: S3 | None = None
        self._running = contextlib.ExitStack()

    def __enter__(self) -> Self:
        """Starts the servers.

        Raises:
            ToastAssetsError: a port is taken, or the server did not start.
        """
        config = self.config
        with self._running:
            sockets = [self._listen(port) for port in (config.toast_port, config.amperity_port, config.s3_port)]
            # Moto's own server would wait for ever for a port that is taken; it opens the port itself.
            sockets.pop().close()
            self.toast_url, self.amperity_url = (f"http://{config.host}:{_port(each)}" for each in sockets)
            apps = (self.toast.app(also=StatusPages(self).routes()), self.amperity.app())
            self._running.enter_context(_served(dict(zip(sockets, apps, strict=True))))
            self._s3 = S3(config.host, config.s3_port, config.bucket)
            self._running.callback(self._s3.close)
            self.s3_url, self.bucket = self._s3.url, self._s3.bucket
            # Nothing failed: the servers run until the sandbox is closed.
            self._running = self._running.pop_all()
        return self

    def __exit__(self, *_error: object) -> None:
        """Stops the servers."""
        self.close()

    def close(self) -> None:
        """Ends every connection and stops the servers; data and logs stay readable."""
        self._running.close()

    def _listen(self, port: int) -> socket.socket:
        try:
            return self._running.enter_context(socket.create_server((self.config.host, port), backlog=1024))
        except OSError as problem:
            raise ToastAssetsError(
                f"The sandbox cannot listen on {self.config.host}:{port}: {os.strerror(problem.errno or 0)}.",
                hint="Choose another port, or 0 for a free one.",
            ) from problem

    @property
    def restaurant_guids(self) -> tuple[str, ...]:
        """The GUIDs of the restaurants that trade and may be read."""
        return tuple(each.guid for each in self.config.restaurants if each.live)

    def objects(self) -> list[tuple[str, int]]:
        """Keys and sizes in bytes of what the bucket holds now; empty before S3 has started."""
        return self._s3.objects() if self._s3 is not None else []

    def environment(self) -> dict[str, str]:
        """The environment variables that point the pipeline at this sandbox."""
        config = self.config
        return {
            "TOAST_API_URL": self.toast_url,
            "TOAST_CLIENT_ID": config.toast_client_id,
            "TOAST_CLIENT_SECRET": config.toast_client_secret,
            "TOAST_RESTAURANT_GUID": ",".join(self.restaurant_guids),
            "TOAST_HISTORICAL_SPACING_SECONDS": "0",
            "S3_BUCKET_NAME": self.bucket,
            "S3_PREFIX": config.prefix,
            "AWS_ENDPOINT_URL_S3": self.s3_url,
            "AWS_ACCESS_KEY_ID": "sandbox",
            "AWS_SECRET_ACCESS_KEY": _AWS_SECRET,
            "AWS_DEFAULT_REGION": REGION,
            "AMPERITY_API_URL": self.amperity_url,
            "AMPERITY_TENANT_ID": config.tenant,
            "AMPERITY_API_KEY": config.amperity_api_key,
            "AMPERITY_CLIENT_ID": config.amperity_client_id,
            "AMPERITY_CLIENT_SECRET": config.amperity_client_secret,
            "AMPERITY_STREAM_ID": config.streams[0],
            "AMPERITY_CONTROL_URL": f"{self.amperity_url}/api",
        }


@contextlib.contextmanager
def _served(apps: dict[socket.socket, ASGIApp]) -> Iterator[None]:
    """Serves one application on each socket, all in one thread, until the block ends.

    Raises:
        ToastAssetsError: the server did not start.
    """
    by_port = {_port(each): app for each, app in apps.items()}

    async def route(scope: Scope, receive: Receive, send: Send) -> None:
        # A call is only cancelled when the sandbox ends: not an error.
        with contextlib.suppress(asyncio.CancelledError):
            await by_port[scope["server"][1]](with_transport(scope, send), receive, send)

    settings: dict[str, Any] = {"ws": "none", "lifespan": "off", "log_config": None, "log_level": "error"}
    settings |= {"proxy_headers": False, "server_header": False, "access_log": False, "timeout_keep_alive": 60}
    server = _Server(uvicorn.Config(cast(Any, route), interface="asgi3", **settings))
    thread = threading.Thread(target=server.run, args=(list(apps),), name="toast-sandbox", daemon=True)
    thread.start()
    if not server.running.wait(_START_SECONDS):
        raise ToastAssetsError("The sandbox did not start.", hint="Look for an error above.")
    try:
        yield
    finally:
        # A server that ended by itself has no loop any more.
        with contextlib.suppress(RuntimeError):
            server.end()
        thread.join(_START_SECONDS)


class _Server(uvicorn.Server):
    """A server that ends at once: it neither polls for its end nor waits for calls in progress.

    ``running`` is set when it serves; then ``end`` may be called, from any thread.
    """

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.running = threading.Event()
        self.end: Callable[[], object] = lambda: None

    async def main_loop(self) -> None:
        """Serves until ``end``; once a second the Date header is renewed."""
        ended = asyncio.Event()
        self.end = partial(asyncio.get_running_loop().call_soon_threadsafe, ended.set)
        self.running.set()
        while not ended.is_set():
            await self.on_tick(0)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), 1)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Hangs up on every client and drops the calls in progress."""
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        # One turn of the loop, in which the protocols learn that their clients are gone.
        await asyncio.sleep(0)
        tasks = list(self.server_state.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _port(listener: socket.socket) -> int:
    return int(listener.getsockname()[1])
