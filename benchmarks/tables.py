"""How fast stored raw orders become the flat tables, on one core, and that memory does not grow with the week.

``python -m benchmarks.tables`` makes weeks of invented orders of about 5 KB in a folder that stands in for the bucket,
and measures ``build_tables`` and the checks' one reading of the raw orders, each in a process of its own on one core,
three times, of which the median counts. It fails if the tables are slower than 12,000 orders a second or if memory
grows with the week.
"""

from __future__ import annotations

import argparse
import logging
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import md5
from pathlib import Path
from shutil import copyfile
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

from benchmarks.results import middle
from toast_assets.checks.facts import week_facts
from toast_assets.orders.names import references
from toast_assets.orders.raw import cut_orders
from toast_assets.orders.raw_file import RawFileWriter
from toast_assets.sandbox.config import Restaurant, invent_restaurants
from toast_assets.sandbox.orders import invent_week
from toast_assets.store.bucket import Bucket, StoredObject, Version
from toast_assets.store.manifest import Manifest, PullRecord, RestaurantRecord, json_for_people
from toast_assets.store.order_store import OrderStore
from toast_assets.tables.build import build_tables
from toast_assets.tables.names import ReadConfiguration
from toast_assets.toast.configuration import Entity
from toast_assets.week import Week, WeekCalendar, iso_ms

SMALL, LARGE = 10_000, 100_000
WANTED_ORDERS_PER_SECOND = 12_000
ALLOWED_GROWTH = 1.25
_RESTAURANTS = 10
_ROUNDS = 3
# The sandbox's orders are as long as Toast's; those above this are left out, which brings the mean to about 5 KB.
_LONGEST_ORDER = 7_500
_WEEK = WeekCalendar().week("2025-09-15")


class FolderBucket(Bucket):
    """A bucket in a local folder: no network and no server, so that only the work itself is measured."""

    def __init__(self, folder: Path) -> None:
        # Not Bucket's own constructor, which wants a client: every method that would use one is replaced.
        self.name = "benchmark"
        self._folder = folder

    def read(self, key: str) -> tuple[bytes, Version] | None:
        """The object, or None."""
        path = self._folder / key
        return (path.read_bytes(), Version("1")) if path.exists() else None

    def fetch(self, key: str, path: Path) -> StoredObject | None:
        """A copy of the object at ``path``."""
        if not (self._folder / key).exists():
            return None
        copyfile(self._folder / key, path)
        return StoredObject(path.stat().st_size, version=Version("1"), path=path)

    def info(self, key: str) -> StoredObject | None:
        """The object's size; metadata is not kept."""
        path = self._folder / key
        return StoredObject(path.stat().st_size, version=Version("1")) if path.exists() else None

    def write(self, key: str, body: bytes | Path, *, replaces: Version | None = None, **properties: Any) -> Version:
        """Store the object; nobody else writes here."""
        del replaces, properties
        path = self._folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body if isinstance(body, bytes) else body.read_bytes())
        return Version(md5(key.encode(), usedforsecurity=False).hexdigest())


@dataclass(frozen=True)
class Measured:
    """One piece of work: orders, seconds by the clock and of processor time, the process's peak memory."""

    orders: int
    seconds: float
    cpu_seconds: float
    megabytes: float

    @property
    def orders_per_second(self) -> float:
        """Orders a second of processor time: what one core does that has nothing else to do."""
        return self.orders / self.cpu_seconds


@dataclass(frozen=True)
class Figures:
    """What was measured on a small week and on one with ten times the orders, each by the name of the work."""

    small: Mapping[str, Measured]
    large: Mapping[str, Measured]

    @property
    def memory_growth(self) -> float:
        """How many times the memory the tables of the large week take."""
        return self.large["tables"].megabytes / self.small["tables"].megabytes

    @property
    def as_promised(self) -> bool:
        """Whether the tables are as fast as wanted, in memory that does not grow with the week."""
        fast = self.large["tables"].orders_per_second >= WANTED_ORDERS_PER_SECOND
        return fast and self.memory_growth <= ALLOWED_GROWTH


def build(week: Week, store: OrderStore) -> None:
    """All six tables."""
    build_tables(week, store, logging.getLogger(__name__))


def read_facts(week: Week, store: OrderStore) -> None:
    """What the asset checks read."""
    manifest, _ = store.load_manifest(week)
    if manifest is not None:
        week_facts(week, manifest, store)


WORK: dict[str, Callable[[Week, OrderStore], None]] = {"tables": build, "checks": read_facts}


def main() -> int:
    """Measure, print, and say by the exit code whether it is as promised."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--measure", nargs=2, metavar=("WORK", "FOLDER"), help="used by the benchmark itself")
    arguments = parser.parse_args()
    if arguments.measure:
        _measure(arguments.measure[0], Path(arguments.measure[1]))
        return 0
    found = measure(_say)
    _say(f"Memory with ten times the orders: {found.memory_growth:.2f} times.")
    return 0 if found.as_promised else 1


def measure(say: Callable[[str], None] = lambda _: None) -> Figures:
    """Make a small and a large week, and measure all work on both; ``say`` is told each figure as it comes.

    Raises:
        subprocess.CalledProcessError: a piece of work failed.
    """
    with TemporaryDirectory(prefix="benchmark-") as folder:
        small, large = (_run_all(Path(folder) / str(count), count, say) for count in (SMALL, LARGE))
    return Figures(small, large)


def _run_all(folder: Path, count: int, say: Callable[[str], None]) -> dict[str, Measured]:
    size = _make_week(folder, count)
    say(f"{count:,} orders of {size / count:,.0f} bytes, {_RESTAURANTS} restaurants")
    results = {}
    for work in WORK:
        figures = [_run(work, folder) for _ in range(_ROUNDS)]
        results[work] = one = Measured(count, *map(middle, zip(*figures, strict=True)))
        times = f"{one.cpu_seconds:.2f} s of one core ({one.seconds:.2f} s by the clock)"
        say(f"  {work}: {one.orders_per_second:,.0f} orders/s, {times}, peak {one.megabytes:.0f} MB")
    return results


def _run(work: str, folder: Path) -> tuple[float, float, float]:
    """Seconds, of processor time, and peak memory of a piece of work that nobody did before."""
    given = set(folder.rglob("*"))
    command = [sys.executable, "-m", "benchmarks.tables", "--measure", work, str(folder)]
    reply = subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - this very module
    for path in set(folder.rglob("*")) - given:
        if path.is_file():
            path.unlink()
    return msgspec.json.decode(reply.stdout, type=tuple[float, float, float])


def _measure(work: str, folder: Path) -> None:
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    store = OrderStore(FolderBucket(folder), "")
    began, cpu_began = time.perf_counter(), time.process_time()
    WORK[work](_WEEK, store)
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu_began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sys.stdout.write(msgspec.json.encode((seconds, cpu_seconds, peak)).decode())


def _make_week(folder: Path, count: int) -> int:
    """A week of ``count`` orders, as a pull would leave it; the bytes of its orders."""
    store = OrderStore(FolderBucket(folder), "")
    records = {}
    configuration = ReadConfiguration(folder)
    for restaurant in invent_restaurants(_RESTAURANTS):
        path = folder / "raw.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        referred = set[tuple[str, str]]()
        with RawFileWriter(path, restaurant.guid) as writer:
            for body in _orders(restaurant.guid, count // _RESTAURANTS):
                referred.update(references(msgspec.json.decode(body)))
                writer.write(cut_orders(b"[" + body + b"]", restaurant_guid=restaurant.guid, pulled_ms=0)[0])
        store.bucket.write(store.layout.raw(_WEEK, restaurant.guid), path)
        path.unlink()
        # Every reference has a name.
        named = [Entity(kind, guid, f"Name of {guid[:8]}", None) for kind, guid in sorted(referred)]
        configuration.add_names(restaurant.guid, named, _WEEK.end)
        pull = PullRecord(
            orders=writer.orders,
            bytes=writer.bytes,
            orders_sha256=writer.sha256,
            new=writer.orders,
            changed=0,
            requests=0,
            retries=0,
            throttled=0,
            started_at=iso_ms(_WEEK.end),
            finished_at=iso_ms(_WEEK.end),
            slices=(),
        )
        records[restaurant.guid] = RestaurantRecord(outcome="complete", time_zone=restaurant.timezone, pull=pull)
    configuration.save(store)
    manifest = Manifest(
        partition=_WEEK.key,
        start_date=iso_ms(_WEEK.start),
        end_date=iso_ms(_WEEK.end),
        outcome="complete",
        restaurants=records,
    )
    store.bucket.write(store.layout.manifest(_WEEK), json_for_people(manifest))
    return sum(record.pull.bytes for record in records.values() if record.pull)


def _orders(restaurant_guid: str, count: int) -> Iterator[bytes]:
    made = 0
    for order in invent_week(1, Restaurant(restaurant_guid, "", orders_per_week=count * 2), _WEEK.start_ms):
        body = order.json
        if len(body) <= _LONGEST_ORDER:
            yield body
            made += 1
        if made == count:
            return


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
