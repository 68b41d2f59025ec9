"""``dagster dev`` as a child process that never outlives its parent's command."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from toast_assets.errors import ToastAssetsError

_HOST = "127.0.0.1"
_START_SECONDS = 120.0
_STOP_SECONDS = 30.0
_GROUP_SECONDS = 3.0


class DagsterDev:
    """Dagster's UI and daemon on the definitions of this package, for as long as a ``with`` block lasts.

    ``environment`` is all that the child sees; ``DAGSTER_HOME`` in it says where history and ``dagster.yaml`` are.
    Its output goes to a file in that folder's parent.
    """

    def __init__(self, port: int, environment: Mapping[str, str]) -> None:
        self.url = f"http://{_HOST}:{port}"
        self._port = port
        self._environment = dict(environment)
        self._home = Path(environment["DAGSTER_HOME"])
        self.log = self._home.parent / "dagster-dev.log"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Starts the child; ``wait_until_ready`` says when it answers."""
        command = [sys.executable, "-m", "dagster", "dev", "-m", "toast_assets.definitions"]
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - this interpreter, fixed arguments
                [*command, "--host", _HOST, "--port", str(self._port)],
                env=self._environment,
                # Away from any dagster.yaml, workspace.yaml or pyproject.toml of the caller's.
                cwd=self._home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # A Ctrl-C reaches the parent alone, which ends the child and all that the child started.
                start_new_session=True,
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends the child as Ctrl-C would, and whatever it leaves behind: code servers outlive it for a while."""
        process = self._started()
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(_STOP_SECONDS)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
            self._wait_for_group()
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def wait_until_ready(self) -> None:
        """Return when the UI answers.

        Raises:
            ToastAssetsError: it ended, or does not answer in time.
        """
        deadline = time.monotonic() + _START_SECONDS
        with httpx.Client(trust_env=False, timeout=5) as client:
            while time.monotonic() < deadline:
                self._check_running()
                with suppress(httpx.TransportError):
                    if client.get(f"{self.url}/server_info").is_success:
                        return
                time.sleep(0.25)
        raise ToastAssetsError(f"Dagster's UI did not answer within {_START_SECONDS:.0f} s.", hint=f"See {self.log}.")

    def wait(self) -> None:
        """Wait for an end that nobody asked for.

        Raises:
            ToastAssetsError: it came.
        """
        self._started().wait()
        self._check_running()

    def _wait_for_group(self) -> None:
        """Return when the time is over; ProcessLookupError when all of the child's processes have ended before."""
        deadline = time.monotonic() + _GROUP_SECONDS
        while time.monotonic() < deadline:
            os.killpg(self._started().pid, 0)
            time.sleep(0.05)

    def _check_running(self) -> None:
        status = self._started().poll()
        if status is not None:
            raise ToastAssetsError(f"dagster dev ended with status {status}.", hint=f"See {self.log}.")

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise ValueError("DagsterDev is used as a context manager.")
        return self._process


def require_free(port: int) -> None:
    """Make sure that nobody listens on a port that Dagster's UI is to use.

    Raises:
        ToastAssetsError: somebody does.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError as problem:
            raise ToastAssetsError(
                f"Dagster's UI cannot listen on {_HOST}:{port}: {problem.strerror}.",
                hint="Choose another port with --ui-port.",
            ) from problem
