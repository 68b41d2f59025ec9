"""Which orders and business days a probe goes by."""

from __future__ import annotations

from datetime import date
from typing import Any, cast

from toast_assets.probe.answers import Verdict
from toast_assets.probe.reading import Scene, time_of
from toast_assets.sandbox import Kind
from toast_assets.week import WeekCalendar
from toast_assets_tests.probe.observing import observed
from toast_assets_tests.probe.probing import WEEK, Probing, place, refuted


def scene(counts: dict[int, int], **more: Any) -> Scene:
    """With that number of orders of some days of September 2025."""
    orders = [
        {"guid": f"{day}-{each}", "businessDate": 20250900 + day} for day in counts for each in range(counts[day])
    ]
    seen = observed(orders, **more)
    return Scene(cast(Any, None), WeekCalendar().week(WEEK), seen, (), "")


def test_a_whole_day_begins_and_ends_in_what_was_read_but_for_its_night() -> None:
    days = scene({14: 9, 15: 2, 18: 3, 21: 1, 22: 8}).whole_days()
    assert days == [date(2025, 9, 18), date(2025, 9, 15), date(2025, 9, 21)]


def test_where_no_day_is_whole_the_busiest_is_taken() -> None:
    assert scene({14: 2, 22: 5}).whole_days() == [date(2025, 9, 22)]
    assert scene({}).whole_days() == []


def test_only_a_time_of_an_order_is_a_time() -> None:
    times = ["2025-09-15T04:00:00.000+0000", "0001-01-01T00:00:00.000Z", "9999-12-31T23:59:59.999Z", "soon", None, 7]
    assert [time_of({"at": time}, "at") for time in times] == [1_757_908_800_000, *[None] * 5]
    assert time_of({}, "at") is None


async def test_what_was_read_before_an_error_is_what_counts(probing: Probing) -> None:
    sandbox = probing.sandbox(place(800))
    # The first part of the week is read by then; seven attempts fail.
    sandbox.faults.arm(Kind.STATUS, "orders", status=503, first=14, last=20)
    answers = await probing.answers(sandbox)
    assert refuted(answers) == set()
    read = int(answers["times_in_window"].reason.split()[2])
    assert 50 < read < 800
    assert answers["filter_time"].verdict is answers["order_list"].verdict is Verdict.CONFIRMED
