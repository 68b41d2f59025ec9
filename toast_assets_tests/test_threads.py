"""A cancelled coroutine comes back only when its thread has ended."""

from __future__ import annotations

import asyncio
import threading

import pytest

from toast_assets.threads import in_thread


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
