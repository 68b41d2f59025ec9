"""The compose file's services as processes of this machine: the same commands, environment and files."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml  # type: ignore[import-untyped]

from toast_assets_tests.support.data import dockerfile

DEPLOY = Path(__file__).parents[3] / "deploy"
_STOP_SECONDS = 15.0
# How long a daemon may take for anything, also where other tests take most of the machine.
PATIENCE_SECONDS = 600.0


@dataclass(frozen=True)
class Service:
    """What a container would run: its command and the environment that the compose file gives it."""

    command: list[str]
    environment: dict[str, str]


def load(variables: Mapping[str, str]) -> dict[str, Any]:
    """The compose file with ``${NAME:-default}`` filled in from ``variables``."""

    def fill(match: re.Match[str]) -> str:
        return variables.get(match[1], match[2])

    return dict(yaml.safe_load(re.sub(r"\$\{(\w+):-([^}]*)\}", fill, (DEPLOY / "compose.yaml").read_text())))


def read_env_file(path: Path) -> dict[str, str]:
    """The variables of an env file."""
    lines = (line for line in path.read_text().splitlines() if line and not line.startswith("#"))
    return dict(line.split("=", 1) for line in lines)


def service(composition: Mapping[str, Any], name: str, translate: Callable[[str], str]) -> Service:
    """A service of the compose file, with everything that only a container network knows translated."""
    definition = composition["services"][name]
    environment: dict[str, str] = {}
    for file in definition.get("env_file", ()):
        environment |= read_env_file(DEPLOY / file)
    environment |= definition.get("environment", {})
    return Service(
        [translate(word) for word in definition["command"]],
        {variable: translate(value) for variable, value in environment.items()},
    )


def image_environment(translate: Callable[[str], str]) -> dict[str, str]:
    """What the image itself sets, with this interpreter's programs and the deployment's scripts on the path."""
    stages = dockerfile.parse(DEPLOY / "Dockerfile")
    path = os.pathsep.join([str(Path(sys.executable).parent), str(DEPLOY), "/usr/bin", "/bin"])
    set_by_image = dockerfile.environment(stages, "runtime", {"PATH": ""})
    return {name: translate(value) for name, value in set_by_image.items()} | {"PATH": path}


class Process:
    """A child in a session of its own, which ends with the ``with`` block, and all that it started with it."""

    def __init__(
        self, command: list[str], environment: Mapping[str, str], folder: Path, log: Path, *, user: str | None = None
    ) -> None:
        self._command, self._environment, self._folder, self.log = command, dict(environment), folder, log
        self._user = user
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Starts it."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - the compose file's own commands
                self._command,
                env=self._environment,
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                user=self._user,
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Asks it to end, as an orchestrator does; after a while makes it."""
        process = self._process
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(_STOP_SECONDS)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def wait_until(self, ready: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> None:
        """Returns once ``ready`` is true; an AssertionError with the end of the log if it ends or is not in time."""
        deadline = time.monotonic() + seconds
        while not ready():
            ended = self._process is None or self._process.poll() is not None
            if ended or time.monotonic() > deadline:
                what = "ended" if ended else f"was not ready within {seconds:.0f} s"
                raise AssertionError(f"{' '.join(self._command)} {what}:\n{self.log.read_text()[-4000:]}")
            time.sleep(0.1)

    def wait_for_success(self, seconds: float = PATIENCE_SECONDS) -> None:
        """Returns once it has ended well; an AssertionError with the end of the log otherwise."""
        assert self._process is not None
        assert self._process.wait(seconds) == 0, self.log.read_text()[-4000:]


def listens(port: int) -> bool:
    """Whether a server accepts connections on that loopback port."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
