"""The rate limiter by itself. Time is virtual; the limits of both services are tested with their clients."""

from __future__ import annotations

import asyncio
from itertools import pairwise

from toast_assets.http.rate import RateLimiter, acquire_all
from toast_assets_tests.support.services.virtual_time import run_virtual, virtual_clock


async def departures(limiters: list[RateLimiter], calls: int) -> list[float]:
    left = []
    for _ in range(calls):
        await acquire_all(limiters)
        left.append(virtual_clock())
    return left


def test_a_slow_limit_is_kept_together_with_a_pause_of_the_other_one_that_begins_meanwhile() -> None:
    async def main() -> list[float]:
        account, restaurant = (RateLimiter(1, seconds, clock=virtual_clock) for seconds in (0.1, 5.0))
        task = asyncio.create_task(departures([account, restaurant], 3))
        await asyncio.sleep(4)
        account.pause(7)
        return await task

    first, second, third = run_virtual(main())
    assert first < 0.1
    assert 11 <= second < 16.1
    assert third - second >= 5


def test_after_a_rest_no_more_than_the_limit_leaves_at_once() -> None:
    async def main() -> list[float]:
        limiter = RateLimiter(5, 1.0, clock=virtual_clock)
        await departures([limiter], 1)
        await asyncio.sleep(60)
        return await departures([limiter], 15)

    left = run_virtual(main())
    assert left[4] - left[0] < 0.01
    assert all(later - earlier >= 1.0 for earlier, later in zip(left, left[5:], strict=False))


def test_a_429_slows_the_next_calls_down() -> None:
    async def main() -> list[float]:
        limiter = RateLimiter(10, 1.0, catch_up=0.1, clock=virtual_clock)
        await asyncio.sleep(10)
        limiter.on_throttled(None)
        return await departures([limiter], 10)

    left = run_virtual(main())
    assert all(later - earlier > 0.3 for earlier, later in pairwise(left[1:]))


def test_draining_waits_for_what_has_left_and_lets_nothing_leave_any_more() -> None:
    async def main() -> tuple[float, bool]:
        limiter = RateLimiter(2, 1.0, until_answered=True, clock=virtual_clock)
        await limiter.acquire()
        waiting = asyncio.create_task(departures([limiter], 2))
        await asyncio.sleep(0.6)
        draining = asyncio.create_task(limiter.drain())
        await asyncio.sleep(30)
        assert not draining.done()
        limiter.release()
        limiter.release()
        await draining
        drained = virtual_clock()
        await asyncio.sleep(30)
        left = waiting.done()
        waiting.cancel()
        return drained, left

    drained, left = run_virtual(main())
    assert drained > 30
    assert not left
