"""Memory does not grow with the week: ten times the orders take hardly more."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


def peak_mb(orders: int) -> float:
    command = [sys.executable, "-m", "toast_assets_tests.support.stores.big_week", str(orders)]
    root = Path(__file__).parents[2]
    return float(subprocess.run(command, check=True, capture_output=True, cwd=root).stdout)  # noqa: S603


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from Linux's /proc")
def test_a_week_ten_times_as_large_takes_hardly_more_memory() -> None:
    """100 MB of orders instead of 10 MB; what may grow are GUIDs and times."""
    assert peak_mb(20_000) - peak_mb(2_000) < 40
