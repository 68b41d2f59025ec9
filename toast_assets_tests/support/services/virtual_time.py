"""An event loop in which waiting takes no time: its clock jumps to the next thing that is due."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
START = 1_760_000_000.0


class _JumpingSelector(selectors.DefaultSelector):
    """Instead of waiting it moves ``now``; for loops without sockets and threads."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise RuntimeError("Every task waits, and no timer is set.")
            self.now += timeout
        # Real time never stands still: what waits for the next moment, by however little, has to see it come.
        self.now += 1e-7
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop whose ``time`` begins at zero."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        """The virtual time."""
        return self._jumping.now


def run_virtual(main: Coroutine[Any, Any, T]) -> T:
    """``asyncio.run`` in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


def virtual_clock() -> float:
    """The running loop's time: seconds of a monotonic clock."""
    return asyncio.get_running_loop().time()


def virtual_now() -> float:
    """The running loop's time in Unix seconds: ``START`` when the loop begins."""
    return START + virtual_clock()
