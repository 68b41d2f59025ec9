"""The sandbox: Toast, Amperity and S3 on three loopback ports, for as long as a ``with`` block lasts.

with Sandbox(SandboxConfig(seed=7)) as sandbox:
    os.environ.update(sandbox.environment())
    ...
    assert sandbox.amperity.accepted
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, Self, cast

import uvicorn
from anyio.from_thread import start_blocking_portal
from starlette.types import ASGIApp, Receive, Scope, Send

from toast_assets.errors import ToastAssetsError
from toast_assets.sandbox.amperity import AmperityService
from toast_assets.sandbox.config import SandboxConfig
from toast_assets.sandbox.faults import Faults
from toast_assets.sandbox.s3 import REGION, S3
from toast_assets.sandbox.status import StatusPages
from toast_assets.sandbox.toast import ToastService

HOST = "127.0.0.1"
# Long and random, so that a test can look for it where no secret may be.
_AWS_SECRET = secrets.token_hex(20)


class Sandbox:
    """One sandbox. Its services, with their data and logs, exist from construction on, its servers while it is entered.

    ``toast_url``, ``amperity_url`` and ``s3_url`` have no trailing slash; ``bucket`` exists and is empty at the start.
    ``objects()`` are keys and sizes in bytes of what it holds now. ``switch.without`` is the assumption about Toast
    that does not hold, and can be set. ``page_token`` is what a change by HTTP takes.
    """

    def __init__(self, config: SandboxConfig | None = None) -> None:
        self.config = config or SandboxConfig()
        self.faults = Faults()
        self.page_token = secrets.token_urlsafe(16)
        self.toast = ToastService(self.config, self.faults)
        self.switch = self.toast.switch
        self.amperity = AmperityService(self.config, self.faults)
        self.toast_url = self.amperity_url = self.s3_url = self.bucket = ""
        self._running = contextlib.ExitStack()

    def __enter__(self) -> Self:
        """Starts the servers.

        Raises:
            ToastAssetsError: a port is taken.
        """
        config = self.config
        with self._running:
            ports = [config.port and config.port + number for number in range(3)]
            hint = "Choose another port (make ui SANDBOX_PORT=9400, or --port), or 0 for a free one."
            sockets = [self._running.enter_context(listen(port, "The sandbox", hint)) for port in ports]
            for each in sockets:
                # Else a body waits some 40 ms until its headers are acknowledged.
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            toast, amperity, s3 = (each.getsockname()[1] for each in sockets)
            self.toast_url, self.amperity_url, self.s3_url = (f"http://{HOST}:{port}" for port in (toast, amperity, s3))
            store = S3(sockets[2], config.bucket)
            self._running.callback(store.close)
            self.s3, self.bucket, self.objects = store, store.bucket, store.objects
            apps = {toast: self.toast.app(also=StatusPages(self).routes()), amperity: self.amperity.app()}
            self._running.enter_context(_served(sockets[:2], apps))
            # Nothing failed: the servers run until the sandbox is closed.
            self._running = self._running.pop_all()
        return self

    def close(self, *_error: object) -> None:
        """Ends every connection and stops the servers; data and logs stay readable."""
        self._running.close()

    __exit__ = close

    @property
    def restaurant_guids(self) -> tuple[str, ...]:
        """The GUIDs of the restaurants that trade by all appearance, and may be read."""
        return tuple(each.guid for each in self.config.restaurants if each.state in ("", "phantom"))

    def folders(self) -> list[tuple[str, list[int]]]:
        """The sizes of the objects by folder below the prefix; objects of the prefix itself are the exports."""
        sizes, prefix = defaultdict[str, list[int]](list), self.config.prefix
        for key, size in self.objects():
            top, slash, _ = key.removeprefix(prefix).partition("/")
            sizes[f"{prefix}{top}/" if slash else prefix].append(size)
        return sorted(sizes.items())

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


def listen(port: int, who: str, hint: str) -> socket.socket:
    """A socket that listens on a port of this machine; a ``ToastAssetsError`` says ``who`` cannot if it is taken."""
    try:
        return socket.create_server((HOST, port), backlog=1024)
    except OSError as problem:
        raise ToastAssetsError(f"{who} cannot listen: {problem.strerror}.", hint=hint) from problem


@contextlib.contextmanager
def _served(listeners: list[socket.socket], apps: Mapping[int, ASGIApp]) -> Iterator[None]:
    """Serves the application of its port on each listening socket, all in one thread, until the block ends."""

    async def route(scope: Scope, receive: Receive, send: Send) -> None:
        # A call is only cancelled when the sandbox ends: not an error.
        with contextlib.suppress(asyncio.CancelledError):
            # Uvicorn does not hand the connection to applications itself; some faults end it.
            scope["transport"] = cast(Any, send).__self__.transport
            await apps[scope["server"][1]](scope, receive, send)

    settings: dict[str, Any] = {"ws": "none", "lifespan": "off", "log_config": None, "log_level": "error"}
    settings |= {"proxy_headers": False, "server_header": False, "access_log": False, "timeout_keep_alive": 60}
    server = uvicorn.Server(uvicorn.Config(cast(Any, route), interface="asgi3", **settings))

    with start_blocking_portal(name="toast-sandbox") as portal:
        serving = portal.start_task_soon(server.serve, listeners)
        try:
            yield
        finally:
            # Uvicorn's own end would wait for the calls in progress.
            serving.cancel()
            for connection in list(server.server_state.connections):
                portal.call(connection.transport.abort)
