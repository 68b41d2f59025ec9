"""Coroutines that end as they should: on Ctrl-C and Terminate, with the threads that work for them, and with the error
of the first task that failed."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def run(main: Coroutine[Any, Any, T]) -> T:
    """``asyncio.run``, except that SIGINT and SIGTERM cancel ``main``, and are raised again when it has ended.

    Dagster's handlers raise an error at whatever line is being executed. In the middle of asyncio's own code it is
    taken there for a broken connection, so that the call is repeated and the run goes on as if nobody had ended it.
    """
    if threading.current_thread() is not threading.main_thread():
        # Signals go to the main thread alone.
        return asyncio.run(main)
    received: list[signal.Signals] = []
    try:
        return asyncio.run(_cancelled_by_signals(main, received))
    finally:
        if received:
            # By whatever handler there was before: Dagster's, Python's own, or the end of the process.
            signal.raise_signal(received[0])


async def _cancelled_by_signals(main: Coroutine[Any, Any, T], received: list[signal.Signals]) -> T:
    loop, task = asyncio.get_running_loop(), asyncio.current_task()

    def cancel(number: signal.Signals) -> None:
        received.append(number)
        if task is not None:
            task.cancel()

    before = {number: signal.getsignal(number) for number in _SIGNALS}
    for number in _SIGNALS:
        loop.add_signal_handler(number, cancel, number)
    try:
        return await main
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            # None is a handler that was not set by Python, and cannot be set again.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


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
