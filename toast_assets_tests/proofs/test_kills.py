"""Runs that are killed (SIGKILL) at one call or another: the next run leaves the bucket as if nothing had happened.

Compared is every byte, except for the times at which things were done: ``pulled_at`` of the raw files, ``started_at``
and ``finished_at`` of the manifest and of the raw files' footers, and the export's ``fetch_date``.
"""

from __future__ import annotations

import gzip
import io
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import pyarrow.parquet as pq
import pytest

from toast_assets.sandbox import Call, Kind, Sandbox, SandboxConfig
from toast_assets.store.order_store import OrderStore
from toast_assets.week import WeekCalendar
from toast_assets_tests.support.faults.killed import KILLED, Moment, Side, exit_code, start_run
from toast_assets_tests.support.services.clients import UNLIMITED, order_store
from toast_assets_tests.support.services.toast_orders import edit, late_arrivals
from toast_assets_tests.support.stores.pulls import stored_versions

WEEK = WeekCalendar().week("2025-09-15")
_TIMES = re.compile(rb'("(?:started_at|finished_at|fetch_date|names_read_at|second_look_at)": ?)"[^"]*"')
# Calls of an uninterrupted run, at least: to S3 and, for orders, to Toast.
S3_CALLS, TOAST_CALLS = 15, 13

_prefixes = count(1)


class Brand:
    """One prefix of a sandbox's bucket, and the runs that fill it."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.prefix = f"brand-{next(_prefixes)}/"
        self.store = OrderStore(order_store(sandbox).bucket, self.prefix)
        self.environment = sandbox.environment() | {"S3_PREFIX": self.prefix, "TOAST_REQUESTS_PER_SECOND": UNLIMITED}

    def run(self, kill_at: Moment | None = None) -> int | None:
        """A whole run, or one that kills itself; its exit code."""
        return exit_code(start_run(self.environment, WEEK, kill_at))

    def run_killed_at_toast_call(self, number: int) -> int | None:
        """A run that is killed while Toast answers its ``number``-th call for orders."""
        pid: Future[int] = Future()

        def kill(_call: Call) -> None:
            os.kill(pid.result(), signal.SIGKILL)

        fault = self.sandbox.faults.arm(Kind.HOOK, "orders", first=number, last=number, action=kill)
        process = start_run(self.environment, WEEK)
        assert process.pid is not None
        pid.set_result(process.pid)
        code = exit_code(process)
        self.sandbox.faults.clear()
        assert fault.fired == (code == KILLED)
        return code

    def asked(self) -> dict[str, int]:
        """The calls for orders so far, by restaurant."""
        return {guid: self.sandbox.toast.log.count("orders", guid) for guid in self.sandbox.restaurant_guids}

    def content(self) -> dict[str, Any]:
        """All objects, without the times at which they were made."""
        found = {}
        for key in self.store.bucket.keys(self.prefix):
            read = self.store.bucket.read(key)
            assert read is not None
            found[key.removeprefix(self.prefix)] = _timeless(key, read[0])
        return found


def _timeless(key: str, body: bytes) -> Any:
    if key.endswith(".parquet"):
        table = pq.read_table(io.BytesIO(body))
        notes = {name: _TIMES.sub(rb"\1", note) for name, note in (table.schema.metadata or {}).items()}
        times = {"pulled_at", "first_seen", "last_seen"}
        return table.select([name for name in table.schema.names if name not in times]), notes
    return _TIMES.sub(rb"\1", gzip.decompress(body) if key.endswith(".gz") else body)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(SandboxConfig(rate_limits=False)) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def undisturbed(sandbox: Sandbox) -> dict[str, Any]:
    """The bucket after a run that nobody killed."""
    brand = Brand(sandbox)
    assert brand.run() == 0
    return brand.content()


def check_next_run(brand: Brand, expected: dict[str, Any]) -> None:
    """The run after a killed one leaves what it should; one that follows a pull cut short asks for the rest alone."""
    manifest, _ = brand.store.load_manifest(WEEK)
    stored = brand.store.raw_restaurants(WEEK)
    finished = manifest is not None and manifest.outcome == "complete"
    before = brand.asked()
    assert brand.run() == 0
    after = brand.asked()
    if not finished:
        assert {guid for guid in after if after[guid] > before[guid]} == after.keys() - stored
    assert brand.content() == expected


def moments() -> list[Moment]:
    """Calls to S3 by chance, and each restaurant's raw file and export."""
    rng = Random(1)
    sides: tuple[Side, Side] = ("before", "after")
    chance = [Moment(rng.choice(sides), number) for number in sorted(rng.sample(range(1, S3_CALLS + 1), 8))]
    return chance + [Moment(rng.choice(sides), number, "/toast-orders_") for number in (1, 2, 3)]


@pytest.mark.parametrize("moment", moments(), ids=str)
def test_a_first_run_that_is_killed_at_a_call_to_s3(
    sandbox: Sandbox, undisturbed: dict[str, Any], moment: Moment
) -> None:
    brand = Brand(sandbox)
    assert brand.run(moment) == KILLED
    for key, content in brand.content().items():
        # Nothing is there that is not whole; only the manifest may still wait for the others.
        assert key.startswith("manifests/") or content == undisturbed[key], key
    check_next_run(brand, undisturbed)


@pytest.mark.parametrize("number", [1, *Random(1).sample(range(2, TOAST_CALLS), 2), TOAST_CALLS])
def test_a_first_run_that_is_killed_while_toast_answers(
    sandbox: Sandbox, undisturbed: dict[str, Any], number: int
) -> None:
    brand = Brand(sandbox)
    assert brand.run_killed_at_toast_call(number) == KILLED
    check_next_run(brand, undisturbed)


def test_a_second_run_that_is_killed_takes_nothing_away_and_the_next_one_completes_it(
    start_sandbox: Callable[..., Sandbox],
) -> None:
    """Late orders arrived in between, so the second run has something to merge: its kills are the dangerous ones."""
    sandbox, numbers = start_sandbox(), sorted(Random(2).sample(range(4, S3_CALLS), 3))
    reference, *brands = (Brand(sandbox) for _ in range(len(numbers) + 1))
    for brand in (reference, *brands):
        assert brand.run() == 0
    first = {guid: _rows(reference, guid) for guid in sandbox.restaurant_guids}
    for guid in sandbox.restaurant_guids:
        late = late_arrivals(sandbox.toast.orders[guid], WEEK.start, WEEK.end, 3)
        edit(sandbox.toast.orders[guid], late[0].guid, WEEK.end_ms - 1)
    assert reference.run() == 0
    expected = _without_manifests(reference.content())
    for number, brand in zip(numbers, brands, strict=True):
        assert brand.run(Moment("after" if number % 2 else "before", number)) == KILLED
        for guid in sandbox.restaurant_guids:
            assert first[guid] <= _rows(brand, guid)
        assert brand.run() == 0
        assert _without_manifests(brand.content()) == expected
        manifest, _ = brand.store.load_manifest(WEEK)
        assert manifest is not None
        assert (manifest.outcome, manifest.pending) == ("complete", ())


def _rows(brand: Brand, guid: str) -> set[tuple[str, tuple[int, bytes]]]:
    return set(stored_versions(brand.store, WEEK, guid).items())


def _without_manifests(content: dict[str, Any]) -> dict[str, Any]:
    """What pulls brought is the same, whatever it took: evidence differs by what a cut run had done already."""
    plain = {key: value for key, value in content.items() if not key.startswith("manifests/")}
    return {key: value[0] if isinstance(value, tuple) else value for key, value in plain.items()}


def test_the_command_itself_is_killed_and_run_again(
    sandbox: Sandbox, undisturbed: dict[str, Any], tmp_path: Path
) -> None:
    brand = Brand(sandbox)
    command = [sys.executable, "-m", "dagster", "asset", "materialize", "-m", "toast_assets.definitions"]
    command += ["--select", "raw_toast_orders,toast_orders_s3_export", "--partition", WEEK.key]
    environment = os.environ | brand.environment | {"DAGSTER_HOME": str(tmp_path)}

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603

    running: Future[subprocess.Popen[bytes]] = Future()
    fault = sandbox.faults.arm(Kind.HOOK, "orders", first=9, last=9, action=lambda _call: running.result().kill())
    running.set_result(start())
    assert running.result().wait(600) == KILLED
    assert fault.fired
    sandbox.faults.clear()
    assert start().wait(600) == 0
    left = {key: content for key, content in brand.content().items() if key in undisturbed}
    assert left == undisturbed
