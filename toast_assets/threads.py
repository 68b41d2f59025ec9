"""Work in threads that uses files of the coroutine that started it, and groups of tasks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


async def in_thread(work: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
    """What ``work`` returns, done by a thread of asyncio's own executor.

    It comes back only when the thread has ended, also where the caller is cancelled: a cancellation ends no thread, and
    the caller would close and remove what the thread is using.
    """
    future = asyncio.get_running_loop().run_in_executor(None, partial(work, *arguments, **options))
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


@asynccontextmanager
async def task_group() -> AsyncIterator[asyncio.TaskGroup]:
    """``asyncio.TaskGroup`` that raises the error of the first task that failed: the one to act on. What was cancelled
    because of it adds nothing."""
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
