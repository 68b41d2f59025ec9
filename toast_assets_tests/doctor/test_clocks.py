"""The clock's line, by fixed times: a Date header has whole seconds, so a real one would round either way."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from toast_assets.doctor import services
from toast_assets.doctor.findings import Area, State
from toast_assets.doctor.services import clock_of, clock_skew
from toast_assets_tests.support.services.ports import free_port

DATE = "Mon, 22 Sep 2025 04:00:00 GMT"
AT = 1_758_513_600.0


@pytest.mark.parametrize(
    ("now", "found"),
    [
        (AT, "within 1 s"),
        (AT - 60, "within 60 s"),
        (AT + 61, "this machine is 61 s ahead of the service"),
        (AT - 300, "this machine is 300 s behind the service"),
    ],
)
def test_the_difference_is_given_in_seconds_and_direction(
    monkeypatch: pytest.MonkeyPatch, now: float, found: str
) -> None:
    monkeypatch.setattr(services, "time", SimpleNamespace(time=lambda: now))
    assert clock_skew(Area("S3"), DATE).detail == found


@pytest.mark.parametrize("date", [None, "", "yesterday"])
def test_without_a_date_the_clock_could_not_be_checked(date: str | None) -> None:
    assert "sends no Date" in clock_skew(Area("S3"), date).detail


def test_a_service_that_is_not_reached_is_distinguished_from_one_without_a_date() -> None:
    found = clock_of(Area("Toast"), f"http://127.0.0.1:{free_port()}", "TOAST_API_URL", 5.0)
    assert found.state is State.UNKNOWN
    assert found.detail == "the service was not reached: nobody listens there (connection refused)"
    assert "TOAST_API_URL" in found.hint
