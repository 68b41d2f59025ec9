"""The log of a pull: an estimate before it begins, progress while it runs."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest

from toast_assets.pull.estimate import Measure
from toast_assets.pull.week import PullProgress, WeekPull
from toast_assets.store.manifest import RestaurantRecord
from toast_assets.toast.page import Window
from toast_assets.toast.settings import ToastLimits
from toast_assets.toast.windows import Evidence, ProvedWindow
from toast_assets.week import Week

LOG = logging.getLogger("toast_assets.test.watch")
LIMITS = ToastLimits.parse({"TOAST_RESTAURANT_GUID": "a"})


def announced(
    caplog: pytest.LogCaptureFixture, week: Week, guids: list[str], earlier: dict[str, int], spacing: float = 5.0
) -> str:
    with caplog.at_level(logging.INFO):
        measures = {guid: Measure(count, 60 * count) for guid, count in earlier.items()}
        toast: Any = SimpleNamespace(settings=LIMITS, spacing_seconds=spacing)
        WeekPull(week, toast, store=toast, log=LOG).announce(guids, measures)
    return caplog.text


def test_what_an_earlier_pull_took_is_logged_as_requests_and_time(caplog: pytest.LogCaptureFixture, week: Week) -> None:
    text = announced(caplog, week, ["a", "b", "c"], {"a": 721, "b": 30})
    assert "asking Toast for 3 restaurants" in text
    assert "About 1126 requests in 60 min, by the last pull of 2 restaurants; 5.0 s between" in text


def test_without_an_earlier_pull_the_estimate_says_what_it_assumes(
    caplog: pytest.LogCaptureFixture, week: Week
) -> None:
    text = announced(caplog, week, ["a"], {}, 0.205)
    assert "First pull of these restaurants; about 4 s if each has 1000 orders" in text


def test_where_no_restaurant_is_asked_nothing_is_estimated(caplog: pytest.LogCaptureFixture, week: Week) -> None:
    assert "equests" not in announced(caplog, week, [], {})


def test_progress_is_logged_every_ten_seconds_and_no_more_often(
    caplog: pytest.LogCaptureFixture, week: Week, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = iter(range(0, 10_000, 3))
    monkeypatch.setattr("toast_assets.pull.week.time", SimpleNamespace(monotonic=lambda: float(next(seconds))))
    progress = PullProgress(week, 3, LOG)
    half = ProvedWindow(Window(week.start_ms, (week.start_ms + week.end_ms) // 2), [], Evidence.ONE_REPLY, 1)
    with caplog.at_level(logging.INFO):
        progress.finished("done", RestaurantRecord(outcome="complete"), None)
        assert "(1 of 3 restaurants)" in caplog.text
        caplog.clear()
        for _ in range(12):
            progress.window_read("a", half)
    assert 2 <= len(caplog.records) <= 4
    assert "1 of 3 restaurants done" in caplog.text
    assert "in progress: a 50%" in caplog.text
