"""``toast-assets sandbox``: the sandbox until Ctrl-C, with Dagster's UI beside it when asked for."""

from __future__ import annotations

import shlex
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from rich.console import Console

from toast_assets.cli.dagster_dev import DagsterDev, require_free
from toast_assets.cli.display import display_for
from toast_assets.cli.environment import only, sandbox_environment
from toast_assets.cli.home import dagster_home, in_process_instance
from toast_assets.cli.runs import last_closed_week, materialize
from toast_assets.sandbox import Sandbox, SandboxConfig

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def serve(config: SandboxConfig, ui_port: int | None) -> None:
    """Serve until Ctrl-C, a termination signal or a lost terminal; with a ``ui_port``, Dagster's UI too.

    Raises:
        ToastAssetsError: a port is taken, the first run failed, or Dagster ended by itself.
    """
    console = Console(highlight=False)
    if ui_port is not None:
        require_free(ui_port)
    try:
        with _ended_by_signals(), Sandbox(config) as sandbox:
            _introduce(sandbox, console)
            if ui_port is None:
                console.print("\nCtrl-C ends it.")
                threading.Event().wait()
            else:
                _serve_ui(sandbox, ui_port, console)
    except KeyboardInterrupt:
        console.print("The sandbox has ended, and its bucket is gone.")


def _introduce(sandbox: Sandbox, console: Console) -> None:
    console.print(
        f"Status page and Toast  {sandbox.toast_url}\n"
        f"Amperity               {sandbox.amperity_url}\n"
        f"S3                     {sandbox.s3_url}  bucket {sandbox.bucket}\n\n"
        "To use it from another shell:\n",
        soft_wrap=True,
    )
    for name, value in sandbox.environment().items():
        console.print(f"export {name}={shlex.quote(value)}", soft_wrap=True, markup=False)


def _serve_ui(sandbox: Sandbox, port: int, console: Console) -> None:
    home = dagster_home()
    environment = sandbox_environment(sandbox, home)
    with only(environment):
        week = last_closed_week()
        console.print(f"\nThe bucket is empty: materializing week {week.key}, so that there is something to see.\n")
        with in_process_instance(home) as instance:
            materialize(week, instance, display_for(console))
    with DagsterDev(port, environment) as ui:
        with console.status("Starting Dagster …"):
            ui.wait_until_ready()
        console.print(
            f"\nDagster's UI           {ui.url}/asset-groups\n"
            f"Its log                {ui.log}\n\n"
            "Pick an asset and another week, and materialize it. Runs that start by themselves are the sensor's.\n"
            "Ctrl-C ends everything.",
            soft_wrap=True,
        )
        ui.wait()


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Lets the first ending signal unwind the block, and no further one disturb the unwinding."""

    def end(_number: int, _frame: FrameType | None) -> None:
        for each in _ENDING:
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {each: signal.signal(each, end) for each in _ENDING}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
