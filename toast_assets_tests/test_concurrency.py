"""Ctrl-C and Terminate end a run wherever they arrive, a cancelled coroutine comes back only when its thread has ended,
and a group of tasks raises its first error."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading

import pytest

from toast_assets.concurrency import in_thread, run, task_group

_INTERRUPTED = """
import asyncio, os, signal, sys
from toast_assets.concurrency import run

class Interrupted(BaseException):
    pass

def raise_it(*_):
    raise Interrupted

number = getattr(signal, sys.argv[1])
signal.signal(number, raise_it)

async def main():
    # An error that is raised in a callback is logged by asyncio, and that is all.
    asyncio.get_running_loop().call_soon(os.kill, os.getpid(), number)
    try:
        await asyncio.sleep(3600)
    finally:
        print("ended in order")

try:
    run(main())
except Interrupted:
    print("interrupted")
assert signal.getsignal(number) is raise_it
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_ends_what_is_under_way_and_reaches_the_handler_that_was_there(name: str) -> None:
    done = subprocess.run(  # noqa: S603 - this very code
        [sys.executable, "-c", _INTERRUPTED, name], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "ended in order\ninterrupted\n", "")


def test_a_result_is_returned_and_an_error_raised_as_it_is() -> None:

    async def main(*, fails: bool) -> int:
        if fails:
            raise LookupError("its own")
        return 7

    assert run(main(fails=False)) == 7
    with pytest.raises(LookupError, match="its own"):
        run(main(fails=True))


async def test_what_the_thread_returns_or_raises_is_handed_on() -> None:
    def fails() -> None:
        raise ValueError

    assert await in_thread(lambda: 5) == 5
    with pytest.raises(ValueError):  # noqa: PT011 - that one
        await in_thread(fails)


@pytest.mark.parametrize("fails", [False, True])
async def test_a_cancelled_caller_waits_for_its_thread_however_often_it_is_cancelled(fails: bool) -> None:
    events: list[str] = []
    begun, go_on = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        go_on.wait(60)
        events.append("thread ended")
        if fails:
            raise ValueError

    async def caller() -> None:
        try:
            await in_thread(work)
        finally:
            events.append("folder removed")

    task = asyncio.create_task(caller())
    await asyncio.to_thread(begun.wait, 60)
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0)
    assert events == []
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert events == ["thread ended", "folder removed"]


async def test_a_group_of_tasks_raises_the_error_that_ended_it_and_nothing_else() -> None:
    async def fails() -> None:
        raise ValueError("the reason")

    async def fails_when_cancelled() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            raise OSError

    async def both() -> None:
        async with task_group() as group:
            group.create_task(fails_when_cancelled())
            await asyncio.sleep(0)
            group.create_task(fails())

    with pytest.raises(ValueError, match="the reason") as raised:
        await both()
    assert raised.value.__suppress_context__


async def test_a_group_of_tasks_that_is_cancelled_says_so() -> None:
    async def waiting() -> None:
        async with task_group() as group:
            group.create_task(asyncio.sleep(60))

    task = asyncio.create_task(waiting())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
