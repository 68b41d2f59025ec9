"""The commands' folder, ``.toast-assets``: Dagster's history and the sandbox's data, which belong together."""

from __future__ import annotations

import fcntl
import shutil
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import IO

from rich.console import Console

from toast_assets.cli.environment import dagster_home
from toast_assets.sandbox import Sandbox, SandboxConfig, kept

_NAME = ".toast-assets"
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def end_by_signals() -> None:
    """Let a termination signal or a lost terminal end this process as Ctrl-C does: by KeyboardInterrupt."""
    for each in _ENDING:
        signal.signal(each, _end_by_signal)


def _end_by_signal(_number: int, _frame: FrameType | None) -> None:
    """Ends the command; no further signal disturbs its end."""
    for each in _ENDING:
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt


@contextmanager
def kept_sandbox(
    config: SandboxConfig, console: Console, *, fresh: bool = False
) -> Iterator[tuple[Sandbox, Path, IO[bytes] | None]]:
    """A running sandbox that goes on with the data of the last command, and Dagster's home with the same history.

    Both begin empty if ``fresh``, or if one of them has been lost. They are kept when the block ends, however it ends.
    The third item is the lock of the folder. Without one, another command has the folder, and nothing is kept.
    """
    with ExitStack() as stack:
        folder = Path(_NAME).resolve()
        folder.mkdir(exist_ok=True)
        lock = stack.enter_context((folder / "lock").open("wb"))
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            console.print(
                f"Another command works in {_NAME}, so this one keeps nothing when it ends.\n", soft_wrap=True
            )
            temporary = Path(stack.enter_context(TemporaryDirectory(prefix="toast-assets-")))
            yield stack.enter_context(Sandbox(config)), dagster_home(temporary), None
            return
        sandbox = stack.enter_context(Sandbox(config))
        history = folder / "dagster_home"
        reason = "" if fresh else kept.load(sandbox, folder)
        if reason and history.exists():
            console.print(f"{reason}: history and bucket in {_NAME} start empty.\n", soft_wrap=True)
        if reason is not None:
            kept.forget(folder)
            if history.exists():
                shutil.rmtree(history)
        stack.callback(kept.save, sandbox, folder)
        yield sandbox, dagster_home(folder), lock
