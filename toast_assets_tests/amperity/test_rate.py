"""The limit as the server counts it, the speed just below it, and what pushing back does. Time is virtual."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from random import Random

import httpx
import pytest

from toast_assets.http.rate import RateLimiter
from toast_assets.http.retry import RetryPolicy
from toast_assets_tests.support.services.scripted_amperity import Answer, ScriptedAmperity, accept, send
from toast_assets_tests.support.services.virtual_time import run_virtual, virtual_clock


def most_in_any_second(times: list[float]) -> int:
    """Over every sliding second and every second of the clock."""
    times = sorted(times)
    sliding = max(bisect_left(times, at + 1.0) - number for number, at in enumerate(times))
    return max(sliding, *Counter(int(at) for at in times).values())


def deliver(amperity: ScriptedAmperity, count: int, limit: float, retry: RetryPolicy | None = None) -> list[float]:
    """The arrivals of ``count`` records that all want to leave at once."""

    async def main() -> None:
        async with amperity.client(retry=retry, AMPERITY_REQUESTS_PER_SECOND=str(limit)) as client:
            await asyncio.gather(*(send(client, number) for number in range(count)))

    run_virtual(main())
    return amperity.arrivals


def jittery(seed: int, longest: float) -> Callable[[], float]:
    rng = Random(seed)
    return lambda: rng.choice((0.0, 0.001, 0.02, longest)) * rng.random()


@pytest.mark.parametrize("limit", [1, 10, 200, 1000])
def test_never_more_than_the_limit_arrives_in_any_second_however_calls_are_delayed(limit: int) -> None:
    amperity = ScriptedAmperity(there=jittery(limit, 0.8), back=jittery(limit + 1, 0.3))
    arrivals = deliver(amperity, min(3 * limit + 5, 2500), limit)
    assert most_in_any_second(arrivals) <= limit


def test_a_server_that_answers_at_once_gets_nearly_the_limit_all_the_time() -> None:
    arrivals = deliver(ScriptedAmperity(back=lambda: 0.002), 5000, 1000)
    rate = (len(arrivals) - 1) / (arrivals[-1] - arrivals[0])
    assert rate >= 960
    assert most_in_any_second(arrivals) <= 1000


def test_half_a_call_a_second_is_one_in_two_seconds() -> None:
    arrivals = deliver(ScriptedAmperity(), 4, 0.5)
    assert all(later - earlier >= 2 for earlier, later in pairwise(arrivals))


def test_few_connections_carry_many_records() -> None:
    amperity = ScriptedAmperity(back=lambda: 0.03)
    deliver(amperity, 1500, 1000)
    assert amperity.most_in_flight <= 48


def limited_to(per_second: int) -> Answer:
    """A server that really takes so many a second, and answers 429 to the others."""
    taken: Counter[int] = Counter()

    def answer(number: int, request: httpx.Request) -> httpx.Response:
        second = int(virtual_clock())
        if taken[second] >= per_second:
            return httpx.Response(429)
        taken[second] += 1
        return accept(number, request)

    return answer


def test_it_slows_down_to_what_the_server_takes_and_few_calls_are_in_vain() -> None:
    amperity = ScriptedAmperity(records=limited_to(150), back=lambda: 0.01)
    arrivals = deliver(amperity, 3000, 1000, RetryPolicy(attempts=7))
    refused = len(arrivals) - 3000
    # Seventeen seconds at 1000 a second would have been 14 000 refusals.
    assert refused < 1500
    assert arrivals[-1] < 2 * 3000 / 150


def test_after_a_push_it_comes_back_to_full_speed() -> None:
    def answer(number: int, request: httpx.Request) -> httpx.Response:
        return httpx.Response(429) if 100 < number <= 140 else accept(number, request)

    arrivals = deliver(ScriptedAmperity(records=answer), 20_000, 1000, RetryPolicy())
    last = [at for at in arrivals if at > arrivals[-1] - 2]
    assert len(last) / 2 > 850


def test_retry_after_holds_everything_back() -> None:
    def answer(number: int, request: httpx.Request) -> httpx.Response:
        return httpx.Response(429, headers={"Retry-After": "5"}) if number == 1 else accept(number, request)

    arrivals = deliver(ScriptedAmperity(records=answer), 30, 100)
    assert arrivals[1] - arrivals[0] >= 5
    assert len(arrivals) == 31


def test_whoever_waits_behind_a_slow_answer_goes_when_it_comes() -> None:
    async def main() -> list[float]:
        rate = RateLimiter(1, 1.0, until_answered=True, clock=virtual_clock)
        left = []
        await rate.acquire()

        async def second() -> None:
            await rate.acquire()
            left.append(virtual_clock())

        waiting = asyncio.create_task(second())
        await asyncio.sleep(30)
        assert not left
        rate.release()
        await waiting
        return left

    assert run_virtual(main())[0] >= 31
