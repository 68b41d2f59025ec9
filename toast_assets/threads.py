"""Work in threads that uses files of the coroutine that started it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TypeVar

T = TypeVar("T")


async def in_thread(work: Callable[[], T], executor: Executor | None = None) -> T:
    """What ``work`` returns, done by a thread of ``executor`` (None: asyncio's own).

    It comes back only when the thread has ended, also where the caller is cancelled: a cancellation ends no thread, and
    the caller would close and remove what the thread is using.
    """
    future = asyncio.get_running_loop().run_in_executor(executor, work)
    cancelled: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        # What the thread raised adds nothing to the reason of the cancellation; asyncio would report it as forgotten.
        future.exception()
        raise cancelled
    return future.result()
