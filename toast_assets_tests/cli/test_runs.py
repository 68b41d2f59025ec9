"""Runs in process: what they show while they work, and how they fail."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from toast_assets.cli.demo import check, reconcile
from toast_assets.cli.display import Display, Outcome
from toast_assets.cli.environment import dagster_home
from toast_assets.cli.runs import materialize
from toast_assets.errors import ToastAssetsError
from toast_assets.sandbox import Sandbox
from toast_assets.week import Week, WeekCalendar
from toast_assets_tests.cli.conftest import entered_sandbox

WEEK = WeekCalendar().week("2025-09-15")


def run_week(display: Display, week: Week = WEEK) -> dict[str, dict[str, Any]]:
    return materialize(week, dagster_home(), display)


def terminal() -> tuple[Console, StringIO]:
    file = StringIO()
    return Console(file=file, force_terminal=True, width=120, color_system=None), file


def test_a_terminal_sees_each_asset_come_to_its_end(tmp_path: Path) -> None:
    console, file = terminal()
    with entered_sandbox(tmp_path, restaurants=2, orders=3) as sandbox:
        result = run_week(Display(console))
        check(reconcile(sandbox, WEEK), WEEK)
    assert result["amperity_delivery"]["accepted"] == 6
    last = file.getvalue().rpartition("✓ raw_toast_orders")[2]
    assert "6 orders, 6 new, 2 restaurants" in last
    assert "✓ amperity_delivery" in last
    assert "✓ asset checks" in last


def refuse_login(sandbox: Sandbox) -> None:
    sandbox.faults.arm("status", "login", status=401, last=None)


@pytest.mark.parametrize("live", [True, False])
def test_a_failure_is_the_first_reason_and_is_shown_where_it_happened(tmp_path: Path, *, live: bool) -> None:
    console, file = terminal()
    if not live:
        file = StringIO()
        console = Console(file=file, width=120)
    with entered_sandbox(tmp_path, restaurants=1, orders=1) as sandbox:
        refuse_login(sandbox)
        with pytest.raises(ToastAssetsError, match=r"^raw_toast_orders failed: .*TOAST_CLIENT_ID.* \[TOAST-LOGIN\]$"):
            run_week(Display(console))
    assert "✗ raw_toast_orders" in file.getvalue()


def test_a_week_that_has_not_closed_is_refused_by_the_pipeline(tmp_path: Path) -> None:
    with entered_sandbox(tmp_path, restaurants=1, orders=1), pytest.raises(ToastAssetsError):
        run_week(Display(), WeekCalendar().week("2099-01-05"))


def test_pipes_and_logs_get_plain_lines() -> None:
    file = StringIO()
    display = Display(Console(file=file))
    with display:
        display.checked("a", "text of a", Outcome.WARNED)
        display.step_ended("step", "1 order", Outcome.PASSED)
    assert file.getvalue() == "! a  text of a\n✓ step  1 order (0.0 s)\n"
