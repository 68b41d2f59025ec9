"""Toast's limits are kept, and its headers pause what they apply to. Time is virtual."""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import partial
from itertools import pairwise
from random import Random

import httpx
import pytest

from toast_assets.http.rate import RateLimiter, acquire_all
from toast_assets.toast.client import ORDERS_PATH, RESTAURANT_HEADER, ToastClient
from toast_assets.toast.density import Density
from toast_assets.toast.limits import exhausted_for, is_account_wide, retry_after
from toast_assets.toast.page import Window
from toast_assets.toast.windows import read_week
from toast_assets_tests.support.services.brand import Brand
from toast_assets_tests.support.services.scripted import ScriptedToast
from toast_assets_tests.support.services.simulated import HOUR_MS, WEEK, realistic_times
from toast_assets_tests.support.services.virtual_time import START, run_virtual, virtual_clock, virtual_now

WINDOW = Window(1_757_908_800_000, 1_757_908_900_000)
NOW = 1_760_000_000.0


async def ask(client: ToastClient, restaurant: str, calls: int) -> None:
    for _ in range(calls):
        await client.orders_page(restaurant, WINDOW)


def most_in_any_second(times: list[float]) -> int:
    sliding = max(sum(start <= at < start + 1 for at in times) for start in times)
    aligned = max(Counter(int(at) for at in times).values())
    return max(sliding, aligned)


def limited(status: int = 429, /, **headers: str) -> httpx.Response:
    return httpx.Response(status, headers={name.replace("_", "-"): value for name, value in headers.items()}, json=[])


# The pace


@pytest.mark.parametrize("seed", range(5))
def test_never_more_than_five_calls_a_second_leave_for_one_restaurant(seed: int) -> None:
    rng = Random(seed)
    toast = ScriptedToast(latency=lambda: rng.choice((0.0, 0.01, 0.15, 0.4, 1.3)))

    async def main() -> None:
        async with toast.client() as client:
            await asyncio.gather(*(ask(client, guid, 120) for guid in ("one", "two")))

    run_virtual(main())
    for guid in ("one", "two"):
        assert most_in_any_second(toast.times(restaurant=guid)) <= 5


def test_with_a_fast_toast_the_pace_is_nearly_the_limit() -> None:
    toast = ScriptedToast(latency=lambda: 0.15)

    async def main() -> None:
        async with toast.client() as client:
            await ask(client, "one", 200)

    run_virtual(main())
    times = toast.times()
    assert (len(times) - 1) / (times[-1] - times[0]) >= 0.95 * 5


def test_what_a_slow_call_cost_is_made_up_for_within_the_limit() -> None:
    """Every fifth call takes longer than its share of the second; evenly spaced calls would lose that time."""
    toast = ScriptedToast()
    toast.latency = lambda: 0.35 if len(toast.asked) % 5 == 0 else 0.12

    async def main() -> None:
        async with toast.client() as client:
            await ask(client, "one", 100)

    run_virtual(main())
    times = toast.times()
    assert most_in_any_second(times) <= 5
    assert (len(times) - 1) / (times[-1] - times[0]) >= 0.95 * 5


def test_three_restaurants_are_pulled_at_nearly_the_limit_and_without_a_429() -> None:
    """2,000 orders each, 150 ms a call, and a Toast that counts strictly in fixed slices of a second."""
    guids, rng = ("one", "two", "three"), Random(1)
    brand = Brand(guids, WEEK.end + HOUR_MS)
    for number, guid in enumerate(guids):
        brand.sell(guid, realistic_times(2000, number))
    arrivals: dict[str, list[float]] = {guid: [] for guid in guids}
    found: Counter[str] = Counter()

    async def answer(request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(0.065 + rng.random() / 50)
        if request.url.path == ORDERS_PATH:
            times = arrivals[request.headers[RESTAURANT_HEADER]]
            times.append(virtual_now())
            if sum(int(at) == int(times[-1]) for at in times) > 5:
                return limited()
        await asyncio.sleep(0.065 + rng.random() / 50)
        return await brand.toast.handle_async_request(request)

    async def pull(client: ToastClient, guid: str) -> None:
        fetch = partial(client.orders_page, guid)
        async for proved in read_week(fetch, WEEK, Density(WEEK)):
            found[guid] += len(proved.orders)

    async def main() -> int:
        async with ScriptedToast().client(transport=httpx.MockTransport(answer)) as client:
            await asyncio.gather(*(pull(client, guid) for guid in guids))
            return sum(stats.throttled for stats in client.stats.values())

    assert run_virtual(main()) == 0
    assert found == dict.fromkeys(guids, 2000)
    for times in arrivals.values():
        assert len(times) <= 1.5 * 20 + 10
        assert (len(times) - 1) / (times[-1] - times[0]) >= 0.95 * 5


def test_holds_in_between_do_not_lead_to_bursts() -> None:
    rng = Random(1)

    def answer(number: int) -> httpx.Response:
        if number % 7 == 0:
            return limited(X_Toast_RateLimit_Reset=str(int(virtual_now()) + rng.randrange(3)))
        return limited(200, X_Toast_RateLimit_Remaining=str(number % 5), X_Toast_RateLimit_Reset=f"{virtual_now():.0f}")

    toast = ScriptedToast(orders=answer, latency=lambda: rng.random() / 5)

    async def main() -> None:
        async with toast.client() as client:
            await ask(client, "one", 100)

    run_virtual(main())
    assert most_in_any_second(toast.times()) <= 5


def test_the_overall_rate_is_kept_by_all_restaurants_together() -> None:
    toast = ScriptedToast(latency=lambda: 0.05)

    async def main() -> None:
        async with toast.client({"TOAST_TOTAL_REQUESTS_PER_SECOND": "8"}) as client:
            await asyncio.gather(*(ask(client, f"r{number}", 20) for number in range(6)))

    run_virtual(main())
    times = toast.times()
    assert most_in_any_second(times) <= 8
    assert len(times) / (times[-1] - times[0]) > 7


def test_the_spacing_of_historical_weeks_lies_between_the_calls_of_a_restaurant_only() -> None:
    toast = ScriptedToast()

    async def main() -> None:
        async with toast.client(spacing=5.0) as client:
            await asyncio.gather(ask(client, "one", 4), ask(client, "two", 4))

    run_virtual(main())
    for guid in ("one", "two"):
        times = toast.times(restaurant=guid)
        assert [round(after - before, 3) for before, after in pairwise(times)] == [5.0] * 3
    assert toast.times(restaurant="one") == pytest.approx(toast.times(restaurant="two"), abs=0.01)


# What a 429 says, and what it applies to


@pytest.mark.parametrize(
    ("headers", "earliest", "latest"),
    [
        ({"Retry_After": "7"}, 7.0, 7.5),
        ({"Retry_After": "2.5"}, 2.5, 3.0),
        ({"X_Toast_RateLimit_Reset": str(int(START) + 4)}, 4.0, 4.5),
        ({"X_Toast_RateLimit_Reset": str(int(START))}, 0.3, 1.0),
        ({"Retry_After": "0"}, 0.3, 1.0),
        ({}, 0.3, 1.0),
        ({"Retry_After": "soon"}, 0.3, 1.0),
    ],
    ids=["retry-after", "fractions", "reset", "reset-now", "retry-after-0", "bare", "nonsense"],
)
def test_a_throttled_call_waits_as_long_as_it_is_told(headers: dict[str, str], earliest: float, latest: float) -> None:
    toast = ScriptedToast(orders=lambda number: limited(**headers) if number == 1 else httpx.Response(200, json=[]))

    async def main() -> None:
        async with toast.client() as client:
            await ask(client, "one", 1)

    run_virtual(main())
    first, second = toast.times()
    assert earliest <= second - first <= latest


def test_an_account_wide_limit_pauses_every_restaurant() -> None:
    def answer(number: int) -> httpx.Response:
        return limited(Retry_After="9", X_Toast_RateLimit_By="GLOBAL, ACCOUNT") if number == 1 else limited(200)

    toast = ScriptedToast(orders=answer)

    async def main() -> None:
        async with toast.client() as client:
            await client.login()
            await asyncio.gather(*(ask(client, guid, 3) for guid in ("one", "two", "three")))

    run_virtual(main())
    later = [at for at in toast.times() if at > START + 0.5]
    assert len(later) >= 7
    assert min(later) >= START + 9


@pytest.mark.parametrize("scope", ["ENDPOINT", "API", "GLOBAL", "GLOBAL,API", ""])
def test_any_other_limit_pauses_only_the_restaurant_that_met_it(scope: str) -> None:
    def answer(number: int) -> httpx.Response:
        return limited(Retry_After="9", X_Toast_RateLimit_By=scope) if number == 1 else limited(200)

    toast = ScriptedToast(orders=answer)

    async def main() -> None:
        async with toast.client() as client:
            await client.login()
            await asyncio.gather(ask(client, "one", 2), ask(client, "two", 5))

    run_virtual(main())
    assert toast.times(restaurant="one")[1] >= START + 9
    assert toast.times(restaurant="two")[-1] < START + 2


def test_the_last_call_of_a_window_makes_the_next_one_wait_for_its_reset() -> None:
    reply = limited(200, X_Toast_RateLimit_Remaining="0", X_Toast_RateLimit_Reset=str(int(START) + 3))
    toast = ScriptedToast(orders=lambda number: reply if number == 1 else limited(200))

    async def main() -> None:
        async with toast.client() as client:
            await ask(client, "one", 2)

    run_virtual(main())
    assert toast.times()[1] >= START + 3
    assert len(toast.times()) == 2


def test_who_waited_through_a_hold_leaves_one_after_the_other() -> None:
    left: list[float] = []

    async def main() -> None:
        limiter = RateLimiter(1, 0.5, clock=virtual_clock)

        async def leave() -> None:
            await acquire_all([limiter])
            left.append(virtual_now() - START)

        tasks = [asyncio.create_task(leave()) for _ in range(4)]
        await asyncio.sleep(0.1)
        limiter.pause(10)
        await asyncio.gather(*tasks)

    run_virtual(main())
    assert left[0] < 0.1
    assert left[1] >= 10
    assert all(after - before >= 0.49 for before, after in pairwise(left[1:]))


# The headers, one by one


def test_retry_after_may_be_a_date() -> None:
    headers = httpx.Headers({"Retry-After": "Thu, 09 Oct 2025 08:53:30 GMT"})
    assert retry_after(headers, NOW) == 10.0


def test_a_reset_is_read_by_toasts_clock_where_ours_is_clearly_wrong() -> None:
    headers = httpx.Headers({"X-Toast-RateLimit-Reset": str(int(NOW) + 5), "Date": "Thu, 09 Oct 2025 08:53:20 GMT"})
    assert retry_after(headers, NOW) == 5.0
    assert retry_after(headers, NOW + 3600) == 5.0


@pytest.mark.parametrize(
    ("reset", "seconds"),
    [
        (f"{NOW + 930:.0f}", 900.0),
        # Further away than any window of Toast's, or no time at all: nothing to wait for.
        (f"{NOW + 86_400:.0f}", None),
        ("9" * 19, None),
        ("9" * 4400, None),
        ("9" * 4400 + f", {NOW + 5:.0f}", 5.0),
        # Milliseconds, microseconds.
        (f"{NOW * 1000 + 2000:.0f}", 2.0),
        (f"{NOW * 1e6 + 3e6:.0f}", 3.0),
        ("1", 0.0),
    ],
)
def test_a_reset_is_a_time_of_toasts_or_counts_for_nothing(reset: str, seconds: float | None) -> None:
    headers = httpx.Headers({"X-Toast-RateLimit-Reset": reset, "X-Toast-RateLimit-Remaining": "0"})
    assert retry_after(headers, NOW) == pytest.approx(seconds)
    assert exhausted_for(headers, NOW) == pytest.approx(seconds or 0.0)


def test_an_odd_date_is_passed_over() -> None:
    headers = {"X-Toast-RateLimit-Reset": f"{NOW + 5:.0f}", "Date": "Fri, 31 Dec 2020 23:59:59 +99999999999"}
    assert retry_after(httpx.Headers(headers), NOW) == 5.0


def test_of_several_scopes_the_last_reset_counts() -> None:
    headers = httpx.Headers(
        {"X-Toast-RateLimit-Remaining": "12, 0", "X-Toast-RateLimit-Reset": f"{int(NOW) + 1}, {int(NOW) + 4}"}
    )
    assert exhausted_for(headers, NOW) == 4.0


def test_a_reply_without_limit_headers_asks_for_nothing() -> None:
    assert exhausted_for(httpx.Headers(), NOW) == 0.0
    assert retry_after(httpx.Headers(), NOW) is None
    assert not is_account_wide(httpx.Headers())
