"""A pull that is interrupted at any moment ends with its own error, never by a native crash, and the next one is
complete. ``--full`` does it two hundred times, thirty of them with the command.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import Future
from itertools import count
from pathlib import Path
from random import Random

import pytest

from toast_assets.sandbox import Call, Sandbox
from toast_assets.week import Week
from toast_assets_tests.support.services.clients import UNLIMITED
from toast_assets_tests.support.services.toast_orders import replace_all
from toast_assets_tests.support.stores.pulls import check_complete

PATIENCE_SECONDS = 600
SIGNALS = (signal.SIGINT, signal.SIGTERM)
_PADDING = b'{"padding":"%s",' % (b"x" * 20_000)


def interrupted(first: int, count: int, orders: int) -> subprocess.CompletedProcess[str]:
    """Interrupted pulls in a process that may crash."""
    command = [sys.executable, "-m", "toast_assets_tests.support.faults.interrupted", *map(str, (first, count, orders))]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS)  # noqa: S603


def test_a_pull_that_is_interrupted_while_threads_write_does_not_crash() -> None:
    done = interrupted(0, 6, 1_000)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 6


@pytest.mark.full
@pytest.mark.parametrize("first", range(0, 170, 17))
def test_many_interrupted_pulls_do_not_crash(first: int) -> None:
    done = interrupted(first, 17, 1_500)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.full
@pytest.mark.parametrize("seed", range(30))
def test_the_command_is_interrupted_and_the_next_one_is_complete(
    seed: int, start_sandbox: Callable[..., Sandbox], week: Week, tmp_path: Path
) -> None:
    sandbox = start_sandbox()
    one, two, small = sandbox.restaurant_guids
    for guid in (one, two):
        bodies = [order.json for order in sandbox.toast.orders[guid].between(week.start_ms, week.end_ms)]
        replace_all(sandbox.toast.orders[guid], [_PADDING + body[1:] for body in bodies])
    command = [sys.executable, "-m", "dagster", "asset", "materialize", "-m", "toast_assets.definitions"]
    command += ["--select", "raw_toast_orders,toast_orders_s3_export", "--partition", week.key]
    environment = os.environ | sandbox.environment()
    environment |= {"DAGSTER_HOME": str(tmp_path), "TOAST_REQUESTS_PER_SECOND": UNLIMITED}
    (tmp_path / "dagster.yaml").touch()

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)  # noqa: S603

    running: Future[subprocess.Popen[str]] = Future()
    number, calls = Random(seed).randrange(3, 8), count(1)

    def interrupt(_call: Call) -> None:
        # Faults are counted for each restaurant, this for all of them together.
        if next(calls) == number:
            running.result().send_signal(SIGNALS[seed % 2])

    sandbox.faults.arm("hook", "orders", action=interrupt, last=None)
    running.set_result(start())
    _, said = running.result().communicate(timeout=PATIENCE_SECONDS)
    assert running.result().returncode not in (0, -signal.SIGABRT, -signal.SIGSEGV), said[-2000:]
    assert "Fatal Python error" not in said
    assert "terminate called" not in said
    sandbox.faults.clear()
    again = start()
    _, said = again.communicate(timeout=PATIENCE_SECONDS)
    assert again.returncode == 0, said[-2000:]
    assert check_complete(sandbox, week, (one, two, small)) == 596
