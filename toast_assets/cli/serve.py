"""``toast-assets sandbox``: the sandbox until Ctrl-C, with Dagster's UI beside it when asked for."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import httpx
from rich.console import Console

from toast_assets.cli.display import Display
from toast_assets.cli.environment import only, sandbox_environment
from toast_assets.cli.folder import end_by_signals, kept_sandbox
from toast_assets.cli.runs import last_closed_weeks, materialize
from toast_assets.errors import ToastAssetsError
from toast_assets.sandbox import Sandbox, SandboxConfig
from toast_assets.sandbox.server import HOST, listen
from toast_assets.store.order_store import OrderStore

_START_SECONDS = 120.0
DEFINITIONS = "toast_assets.definitions"
# The page of the assets' group: unlike the page of all assets, it never folds the graph into boxes.
GRAPH = f"/locations/{DEFINITIONS}/asset-groups/toast_to_amperity/lineage"


def serve(config: SandboxConfig, ui_port: int | None) -> None:
    """Serve until Ctrl-C, a termination signal or a lost terminal; with a ``ui_port``, Dagster's UI too."""
    console = Console(highlight=False)
    lock: IO[bytes] | None = None
    end_by_signals()
    try:
        if ui_port is None:
            with Sandbox(config) as sandbox:
                _show(sandbox, console)
                console.print("\nCtrl-C ends it.")
                threading.Event().wait()
        else:
            listen(ui_port, "Dagster's UI", "Choose another port: make ui UI_PORT=3100, or --ui-port 3100.").close()
            with kept_sandbox(config, console) as (sandbox, home, lock):
                _show(sandbox, console)
                _serve_ui(sandbox, home, ui_port, console, lock)
    except KeyboardInterrupt:
        gone = "its bucket is gone" if ui_port is None or not lock else "history and bucket are kept for the next one"
        console.print(f"The sandbox has ended, and {gone}.")


def _show(sandbox: Sandbox, console: Console) -> None:
    """Print where the services are, and how to use them."""
    console.print(
        f"Status page and Toast  {sandbox.toast_url}\n"
        f"Amperity               {sandbox.amperity_url}\n"
        f"S3                     {sandbox.s3_url}  bucket {sandbox.bucket}\n\n"
        "To use it from another shell:\n",
        soft_wrap=True,
    )
    for name, value in sandbox.environment().items():
        console.print(f"export {name}={shlex.quote(value)}", soft_wrap=True, markup=False)


def _serve_ui(sandbox: Sandbox, home: Path, port: int, console: Console, lock: IO[bytes] | None) -> None:
    environment = sandbox_environment(sandbox, home)
    with only(environment):
        layout, stored = OrderStore.from_environment().layout, {key for key, _ in sandbox.objects()}
        weeks = [week for week in last_closed_weeks(2) if layout.manifest(week) not in stored]
        for week in weeks:
            console.print(f"\nMaterializing {week.key}, which the bucket does not hold yet.\n")
            materialize(week, home, Display(console))
    log = home.parent / "dagster-dev.log"
    console.print("\nStarting Dagster …")
    with dagster_dev(port, environment, log, lock) as process:
        console.print(
            f"\nDagster's UI           http://{HOST}:{port}{GRAPH}\n"
            f"Its log                {log}\n\n"
            "Pick an asset and another week, and materialize it. A run that nobody started is the sensor's:\n"
            "weekly_toast_orders_sensor asks for each week that has closed, at its first start for the newest.\n"
            "Ctrl-C ends everything.",
            soft_wrap=True,
        )
        raise ToastAssetsError(f"dagster dev ended with status {process.wait()}.", hint=f"See {log}.")


@contextmanager
def dagster_dev(
    port: int,
    environment: Mapping[str, str],
    log: Path,
    lock: IO[bytes] | None = None,
    *,
    module: str = DEFINITIONS,
) -> Iterator[subprocess.Popen[bytes]]:
    """``dagster dev`` on the definitions of a ``module``, as a child process whose UI answers.

    ``environment`` is all that it sees; ``log`` takes its output. It holds ``lock`` too, should this process be killed.
    """
    command = [sys.executable, "-m", "dagster", "dev", "-m", module]
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - this interpreter, fixed arguments
            [*command, "--host", HOST, "--port", str(port)],
            env=dict(environment),
            # Away from any dagster.yaml, workspace.yaml or pyproject.toml of the caller's.
            cwd=environment["DAGSTER_HOME"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # A Ctrl-C reaches the parent alone, which ends the child and all that the child started.
            start_new_session=True,
            pass_fds=[lock.fileno()] if lock else [],
        )
    deadline = time.monotonic() + _START_SECONDS
    try:
        while not _answers(port):
            status = process.poll()
            if status is not None or time.monotonic() > deadline:
                what = f"did not answer within {_START_SECONDS:.0f} s" if status is None else f"ended with {status}"
                raise ToastAssetsError(f"dagster dev {what}.", hint=f"See {log}.")
            time.sleep(0.25)
        yield process
    finally:
        _end(process)


def _answers(port: int) -> bool:
    with suppress(httpx.TransportError):
        return httpx.get(f"http://{HOST}:{port}/server_info", trust_env=False, timeout=5).is_success
    return False


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the child as Ctrl-C would, and then what it leaves behind: code servers outlive it for a while."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(30)
    # It ends by ProcessLookupError as soon as none of the child's processes is left.
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        for _ in range(60):
            os.killpg(process.pid, 0)
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
