"""Starts the lean server and the sides of a comparison, each in a process of its own, and measures them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import psutil

from benchmarks.sides import Outcome, environment
from benchmarks.weeks import WEEK, StoredWeek

_SAMPLE_SECONDS = 0.05
_MEGABYTE = 1 << 20
# Makes the databases, as the first run in a new folder would.
_MAKE_INSTANCE = "import dagster as dg; dg.DagsterInstance.get().get_runs(limit=1)"


@dataclass(frozen=True)
class Finished:
    """A process that ended well: seconds from start to end, peak of the memory that it and its children held together
    (resident, in megabytes), and its output."""

    seconds: float
    megabytes: float
    output: str

    @property
    def outcome(self) -> Outcome:
        """What a side told on its last line."""
        return msgspec.json.decode(self.output.strip().splitlines()[-1], type=Outcome)


@dataclass(frozen=True)
class Served:
    """A server that runs: its address, the week it serves, and a folder that the sides may use."""

    url: str
    week: StoredWeek
    folder: Path
    process: subprocess.Popen[str] = field(repr=False)

    def side(self, name: str, **variables: str) -> Finished:
        """Run a side of ``benchmarks.sides``; ``variables`` are added to its environment."""
        arguments = (name, self.url, str(self.folder), ",".join(self.week.restaurants), str(self.week.folder))
        return run([sys.executable, "-m", "benchmarks.sides", *arguments], self.environment(**variables))

    def dagster(self, *assets: str, **variables: str) -> Finished:
        """Materialize ``assets`` for the week as a user would, in an instance that is there already."""
        home = self.folder / "dagster_home"
        home.mkdir(exist_ok=True)
        (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
        variables = self.environment(DAGSTER_HOME=str(home), **variables)
        run([sys.executable, "-c", _MAKE_INSTANCE], variables)
        command = [str(Path(sys.executable).with_name("dagster")), "asset", "materialize"]
        command += ["-m", "toast_assets.definitions", "--select", ",".join(assets), "--partition", WEEK.key]
        return run(command, variables)

    def environment(self, **variables: str) -> dict[str, str]:
        """The variables of a run against this server."""
        return environment(self.url, self.week.restaurants, **variables)

    def books(self) -> Any:
        """What the server counted."""
        with urllib.request.urlopen(f"{self.url}/_books") as reply:  # noqa: S310 - the server started here
            return json.load(reply)

    @property
    def cpu_seconds(self) -> float:
        """The server's processor time so far."""
        times = psutil.Process(self.process.pid).cpu_times()
        return times.user + times.system


@contextmanager
def served(
    week: StoredWeek, *, orders_per_second: int | None = None, latency: float = 0.0, s3_latency: float = 0.0
) -> Iterator[Served]:
    """A server of ``week`` with an empty bucket; see ``benchmarks.server`` for its limit and latencies."""
    with TemporaryDirectory(prefix="benchmark-") as name:
        folder = Path(name)
        command = [sys.executable, "-m", "benchmarks.server", str(week.folder), str(folder / "bucket")]
        command += ["--latency", str(latency), "--s3-latency", str(s3_latency)]
        command += ["--orders-per-second", str(orders_per_second)] if orders_per_second else []
        process = subprocess.Popen(  # noqa: S603 - this package's own server
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert process.stdin is not None  # noqa: S101 - asked for above
        assert process.stdout is not None  # noqa: S101
        try:
            yield Served(f"http://127.0.0.1:{process.stdout.readline().strip()}", week, folder, process)
        finally:
            process.stdin.close()
            process.wait(30)
            process.stdout.close()


def run(command: Sequence[str], variables: Mapping[str, str]) -> Finished:
    """Run ``command`` to its end.

    Raises:
        RuntimeError: it failed; the message ends with what it wrote to standard error.
    """
    began = time.perf_counter()
    with TemporaryDirectory(prefix="benchmark-") as name, (Path(name) / "errors").open("w+") as errors:
        process = subprocess.Popen(  # noqa: S603 - commands of this package
            command, env=dict(variables), stdout=subprocess.PIPE, stderr=errors, text=True
        )
        assert process.stdout is not None  # noqa: S101 - asked for above
        sampler = _Sampler(process.pid)
        sampler.start()
        with process.stdout:
            output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        sampler.ended.set()
        sampler.join()
        if process.returncode:
            errors.seek(0)
            raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}:\n{errors.read()[-3000:]}")
    return Finished(seconds, max(sampler.most, usage.ru_maxrss * 1024) / _MEGABYTE, output)


class _Sampler(threading.Thread):
    """Adds up the resident memory of a process and all its descendants; ``most`` is the largest sum, in bytes."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.ended = threading.Event()
        self.most = 0
        self._root = psutil.Process(pid)

    def run(self) -> None:
        while not self.ended.wait(_SAMPLE_SECONDS):
            total = 0
            try:
                for process in (self._root, *self._root.children(recursive=True)):
                    total += process.memory_info().rss
            except psutil.NoSuchProcess:
                continue
            self.most = max(self.most, total)
