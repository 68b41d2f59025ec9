"""Pulls that are interrupted while threads write, each followed by one that is not.

    python -m toast_assets_tests.support.faults.interrupted FIRST COUNT ORDERS

Run as a process of its own, because what is looked for is a native crash: it ends with 0 if every interrupted pull
ended with its own error and every next one was complete. ``FIRST`` to ``FIRST + COUNT - 1`` seed the moments, counted
in calls for orders; two restaurants have ``ORDERS`` large orders each.
"""

from __future__ import annotations

import asyncio
import faulthandler
import os
import signal
import sys
import threading
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any

import httpx

from toast_assets.errors import StoreError
from toast_assets.toast.client import ORDERS_PATH
from toast_assets.week import WeekCalendar
from toast_assets_tests.support.faults.world import World, refusal
from toast_assets_tests.support.stores.pulls import stored_versions

WEEK = WeekCalendar().week("2025-09-15")
BIG, SMALL = ("big-1", "big-2"), "small"
# As large as an order with everything in it; threads are busy with them for a while.
_PADDING = "x" * 20_000


class Interruption:
    """Something that ends a pull at its ``at``-th call for orders; ``error`` is how the pull then ends."""

    def __init__(self, kind: str, at: int) -> None:
        self.kind = kind
        self.error: type[BaseException] = {
            "cancelled": asyncio.CancelledError,
            "SIGINT": KeyboardInterrupt,
            "S3 refuses": StoreError,
        }[kind]
        self._left = at
        self._due = threading.Event()

    def toast_answer(self, request: httpx.Request) -> None:
        """Counts a request; interrupts the task that made it, or lets S3 do so."""
        self._left -= request.url.path == ORDERS_PATH
        if self._left == 0:
            self._left = -1
            self._due.set()
            if self.kind == "cancelled":
                _pull_task().cancel()
            elif self.kind == "SIGINT":
                os.kill(os.getpid(), signal.SIGINT)

    def s3_call(self, operation: str, key: str, side: str) -> None:
        """Refuses the small restaurant's raw file, once it is time."""
        if self.kind == "S3 refuses" and (operation, side) == ("put", "before") and f"{SMALL}.parquet" in key:
            self._due.wait()
            raise refusal("AccessDenied", 403, "PutObject")


def _pull_task() -> asyncio.Task[Any]:
    """The task that ``asyncio.run`` was given: the oldest one."""
    unnamed = [task for task in asyncio.all_tasks() if task.get_name().startswith("Task-")]
    return min(unnamed, key=lambda task: int(task.get_name().removeprefix("Task-")))


def interrupt_and_repeat(seed: int, orders: int) -> str:
    """One interrupted pull and the next one; what was done."""
    rng = Random(seed)
    world = World(WEEK, (*BIG, SMALL))
    for restaurant in BIG:
        for number in range(orders):
            world.put(restaurant, f"{restaurant}-{number}", WEEK.start_ms + number * 300_000, padding=_PADDING)
    world.put(SMALL, "small", WEEK.start_ms + 5)
    kinds = ("cancelled", "S3 refuses", "SIGINT")
    pages = 2 * orders // 100
    interruption = Interruption(kinds[seed % len(kinds)], rng.randrange(4, max(5, pages)))
    world.toast_answer = interruption.toast_answer
    pull: Callable[[], Any] = partial(world.pull, hook=interruption.s3_call)
    try:
        pull()
    except interruption.error:
        pass
    else:
        raise AssertionError(f"{seed}: the pull was not interrupted ({interruption.kind})")
    world.toast_answer = lambda _: None
    assert world.pull(refresh=None).manifest.outcome == "complete"
    for restaurant, truth in world.orders.items():
        assert stored_versions(world.store(), WEEK, restaurant) == truth, f"{seed}: {restaurant}"
    return interruption.kind


def main(first: int, count: int, orders: int) -> None:
    """Every seed in turn."""
    faulthandler.enable()
    # A shell that starts a command in the background has it ignore SIGINT.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for seed in range(first, first + count):
        print(seed, interrupt_and_repeat(seed, orders), flush=True)  # noqa: T201


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
