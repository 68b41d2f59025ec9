"""Runs of the installed command, as a user starts it: another process, another folder, a misleading environment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from toast_assets.cli.environment import dagster_home, only, sandbox_config, sandbox_environment
from toast_assets.sandbox import Sandbox

# What a user may well have set for the real services; nothing of it may reach a sandbox's pipeline.
MISLEADING = {
    "TOAST_API_URL": "https://toast.invalid",
    "TOAST_START_DATE": "not a date",
    "AMPERITY_DELIVERY": "notify",
    "S3_BUCKET_NAME": "a-real-bucket",
    "AWS_PROFILE": "a-real-profile",
    "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1",
    "DAGSTER_HOME": "/nowhere",
    "DAGSTER_UI_URL": "https://dagster.invalid",
    "ALERT_WEBHOOK_URL": "https://hooks.invalid/a-real-channel",
    "RETENTION_RAW_DAYS": "30",
    "ALLOW_HTTP_HOSTS": "a-real-host",
    "https_proxy": "http://127.0.0.1:1",
    "HTTP_PROXY": "http://127.0.0.1:1",
}
COMMAND = (sys.executable, "-c", "from toast_assets.cli import main; main()")
Start = Callable[..., subprocess.Popen[str]]
# How long a process may take for anything, also where other tests take most of the machine.
PATIENCE_SECONDS = 600.0


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command that ends by itself."""
    return subprocess.run(  # noqa: S603 - this package's own command
        [*COMMAND, *arguments],
        cwd=folder,
        env=os.environ | MISLEADING,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts commands that run until a signal; whatever is left of them ends with the test."""
    with ExitStack() as stack:

        def start_one(*arguments: str) -> subprocess.Popen[str]:
            process = subprocess.Popen(  # noqa: S603 - this package's own command
                [*COMMAND, *arguments],
                cwd=tmp_path,
                env=os.environ | MISLEADING,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
            stack.enter_context(process)
            stack.callback(_kill, process.pid)
            return process

        yield start_one


@contextmanager
def entered_sandbox(folder: Path, **settings: Any) -> Iterator[Sandbox]:
    """A sandbox whose environment is this process's, for runs in process; ``settings`` as ``sandbox_config``."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        with Sandbox(sandbox_config(**settings)) as sandbox, only(sandbox_environment(sandbox, dagster_home())):
            yield sandbox


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
