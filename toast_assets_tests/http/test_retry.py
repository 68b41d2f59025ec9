"""How often and how long a failed call is repeated. Time is virtual."""

from __future__ import annotations

import asyncio

import pytest

from toast_assets.errors import ToastRefusedError, ToastTransientError, TransientError
from toast_assets.http.retry import RetryPolicy, retry_after_seconds
from toast_assets_tests.support.services.virtual_time import run_virtual, virtual_clock

NOW = 1_760_000_000.0


class Failing:
    """Fails with each of ``errors`` in turn, for ever with the last one if that is asked for."""

    def __init__(self, *errors: Exception, for_ever: bool = False) -> None:
        self.errors = list(errors)
        self.for_ever = for_ever
        self.calls: list[float] = []

    async def __call__(self) -> str:
        self.calls.append(virtual_clock())
        if self.errors:
            raise self.errors[0] if self.for_ever and len(self.errors) == 1 else self.errors.pop(0)
        return "done"


def fault() -> ToastTransientError:
    return ToastTransientError("Toast answered 503.")


def throttled(after: float | None = None) -> ToastTransientError:
    return ToastTransientError("Toast answered 429.", throttled=True, retry_after=after)


def repeat(call: Failing, policy: RetryPolicy | None = None, waits: list[float] | None = None) -> str:
    async def main() -> str:
        def note(_error: TransientError, wait: float) -> None:
            if waits is not None:
                waits.append(wait)

        return await (policy or RetryPolicy()).call(call, sleep=asyncio.sleep, on_retry=note)

    return run_virtual(main())


def test_a_call_that_succeeds_is_not_repeated() -> None:
    call = Failing()
    assert repeat(call) == "done"
    assert len(call.calls) == 1


def test_faults_are_repeated_with_growing_waits_until_the_attempts_are_used_up() -> None:
    call, waits = Failing(fault(), for_ever=True), list[float]()
    with pytest.raises(ToastTransientError, match="503"):
        repeat(call, waits=waits)
    assert len(call.calls) == 7
    assert all(0.75 <= wait / expected <= 1.25 for wait, expected in zip(waits, (0.5, 1, 2, 4, 8, 16), strict=True))


def test_no_wait_is_longer_than_the_longest() -> None:
    call, waits = Failing(fault(), for_ever=True), list[float]()
    with pytest.raises(ToastTransientError):
        repeat(call, RetryPolicy(attempts=12), waits)
    assert max(waits) <= 30 * 1.25


def test_what_is_final_is_not_repeated() -> None:
    call = Failing(ToastRefusedError("Toast answered 403.", status=403))
    with pytest.raises(ToastRefusedError):
        repeat(call)
    assert len(call.calls) == 1


def test_being_throttled_eats_nothing_of_the_budget_for_faults() -> None:
    call = Failing(*(error for _ in range(6) for error in (throttled(), fault())))
    assert repeat(call) == "done"
    assert len(call.calls) == 13


def test_patience_with_throttling_outlasts_the_longest_documented_window() -> None:
    call = Failing(*[throttled(300.0)] * 3)
    assert repeat(call) == "done"
    assert call.calls[-1] >= 900


def test_a_throttling_that_never_ends_ends_after_twenty_minutes() -> None:
    call = Failing(throttled(), for_ever=True)
    with pytest.raises(ToastTransientError, match="429"):
        repeat(call)
    assert 900 <= call.calls[-1] <= 1200


def test_a_wait_that_is_longer_than_all_patience_is_not_begun() -> None:
    call = Failing(throttled(86_400.0))
    with pytest.raises(ToastTransientError):
        repeat(call)
    assert len(call.calls) == 1


def test_every_call_has_a_budget_of_its_own() -> None:
    policy = RetryPolicy(attempts=2)
    for _ in range(3):
        assert repeat(Failing(fault()), policy) == "done"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("3", 3.0),
        (" 3 ", 3.0),
        ("0.5", 0.5),
        ("Thu, 09 Oct 2025 08:53:50 GMT", 30.0),
        ("Thu, 09 Oct 2025 08:00:00 GMT", 0.0),
        ("-1", None),
        ("²", None),
        ("60s", 60.0),
        ("120, 120", 120.0),
        ("9" * 4400, None),
        ("Fri, 31 Dec 2020 23:59:59 +99999999999", None),
        ("soon", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after_is_a_number_or_a_date(value: str | None, seconds: float | None) -> None:
    assert retry_after_seconds(value, NOW) == seconds
