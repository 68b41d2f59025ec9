"""One side of a comparison, in its own process: ``python -m benchmarks.sides SIDE URL FOLDER RESTAURANTS WEEK``.

Each side writes one line of JSON: what it did, and how long that took from after its imports to its end.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from benchmarks.weeks import WEEK

if TYPE_CHECKING:
    import httpx

    from benchmarks.from_memory import MemoryTransport
    from toast_assets.delivery.deliver import DeliveryReport
    from toast_assets.pull.week import PullReport
    from toast_assets.store.order_store import OrderStore

BUCKET = "benchmark"


class Outcome(msgspec.Struct, kw_only=True):
    """Orders or records, seconds by the clock, of processor time (all threads), and of those spent on the network
    where they can be told apart; calls made."""

    count: int
    seconds: float
    cpu_seconds: float
    network_seconds: float | None = None
    requests: int = 0
    throttled: int = 0


@dataclass(frozen=True)
class Task:
    """Where the server is, a folder for files, the restaurants, and the folder of the week that is served."""

    url: str
    folder: Path
    restaurants: Sequence[str]
    week: Path


def environment(url: str, restaurants: Sequence[str], **others: str) -> dict[str, str]:
    """The variables of a run against the server at ``url``, without any limit of its own."""
    return {
        **os.environ,
        "TOAST_API_URL": url,
        "TOAST_CLIENT_ID": "benchmark",
        "TOAST_CLIENT_SECRET": "benchmark",
        "TOAST_RESTAURANT_GUID": ",".join(restaurants),
        "TOAST_REQUESTS_PER_SECOND": "100000",
        "TOAST_HISTORICAL_SPACING_SECONDS": "0",
        # No other side reads names, or asks a second way.
        "TOAST_NAMES": "off",
        "TOAST_CENSUS": "off",
        "S3_BUCKET_NAME": BUCKET,
        "AWS_ENDPOINT_URL_S3": url,
        "AWS_ACCESS_KEY_ID": "benchmark",
        "AWS_SECRET_ACCESS_KEY": "benchmark",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AMPERITY_API_URL": url,
        "AMPERITY_TENANT_ID": "benchmark",
        "AMPERITY_API_KEY": "benchmark",
        "AMPERITY_STREAM_ID": "is-benchmark",
        "AMPERITY_REQUESTS_PER_SECOND": "100000",
        **others,
    }


def pull_and_export(_: Task) -> Outcome:
    """This package's pull and export, without Dagster."""
    from toast_assets.store.order_store import OrderStore

    _import_all()
    clock = _Clock()
    store = OrderStore.from_environment()
    report = _pull(store)
    _export(store)
    return clock.pulled(report)


def pull(_: Task) -> Outcome:
    """This package's pull alone."""
    from toast_assets.store.order_store import OrderStore

    _import_all()
    clock = _Clock()
    return clock.pulled(_pull(OrderStore.from_environment()))


def export(_: Task) -> Outcome:
    """This package's export of a week that is stored."""
    from toast_assets.store.order_store import OrderStore

    _import_all()
    clock = _Clock()
    _export(OrderStore.from_environment())
    return clock.outcome(0)


def from_memory(task: Task) -> Outcome:
    """This package's pull and export with replies out of memory and a folder for a bucket."""
    from benchmarks.from_memory import EmptyFolderBucket, MemoryTransport
    from toast_assets.store.order_store import OrderStore

    transport = MemoryTransport(task.week, task.restaurants)
    store = OrderStore(EmptyFolderBucket(task.folder), "")
    _import_all()
    clock = _Clock()
    report = _pull(store, transport)
    _export(store)
    outcome = clock.pulled(report)
    outcome.network_seconds = transport.seconds
    return outcome


def _import_all() -> None:
    """Import before the clock runs what would else be imported on first use, by httpx, boto3 and pyarrow."""
    import anyio._backends._asyncio  # noqa: F401
    import boto3.s3.inject  # noqa: F401
    import httpcore  # noqa: F401
    import pandas as pd  # noqa: F401
    import pyarrow.dataset  # noqa: F401

    import toast_assets.export.write
    import toast_assets.pull.week  # noqa: F401

    gc.freeze()


def _pull(store: OrderStore, transport: MemoryTransport | None = None) -> PullReport:
    from toast_assets.pull.week import WeekPull
    from toast_assets.toast.client import ToastClient
    from toast_assets.toast.settings import ToastSettings

    settings = ToastSettings.parse({name: value for name, value in os.environ.items() if name.startswith("TOAST_")})

    async def run() -> PullReport:
        async with ToastClient(settings, transport=transport) as client:
            return await WeekPull(WEEK, client, store).run()

    return asyncio.run(run())


def _export(store: OrderStore) -> None:
    from toast_assets.export.write import export_week

    export_week(WEEK, store, logging.getLogger(__name__))


def deliver(_: Task) -> Outcome:
    """This package's delivery of a week that is stored and exported."""
    return _deliver(None)


def deliver_by_httpx(_: Task) -> Outcome:
    """The same over httpx's own connections."""
    import httpx

    from toast_assets.amperity.client import CONNECTIONS

    return _deliver(httpx.AsyncHTTPTransport(limits=httpx.Limits(max_connections=CONNECTIONS)))


def _deliver(transport: httpx.AsyncBaseTransport | None) -> Outcome:
    from toast_assets.amperity.client import AmperityClient
    from toast_assets.amperity.settings import AmperitySettings
    from toast_assets.delivery.deliver import WeekDelivery
    from toast_assets.store.order_store import OrderStore

    _import_all()
    clock = _Clock()
    settings = AmperitySettings.parse({name: value for name, value in os.environ.items() if name.startswith("AMPER")})
    store = OrderStore.from_environment()

    async def run() -> DeliveryReport:
        async with AmperityClient(settings, transport=transport) as client:
            return await WeekDelivery(WEEK, client, store).run()

    report = asyncio.run(run())
    return clock.outcome(report.accepted, requests=report.calls.requests, throttled=report.calls.throttled)


def guide(task: Task) -> Outcome:
    """The guide's algorithm."""
    from benchmarks.guide import GuidePull

    clock = _Clock()
    run = GuidePull(task.url, BUCKET)
    orders = sum(run.run(guid) for guid in task.restaurants)
    return clock.outcome(orders, network_seconds=run.network_seconds)


def dlt(task: Task) -> Outcome:
    """dlt's rest_api source into gzipped JSONL files."""
    from benchmarks.dlt_pull import run_dlt

    clock = _Clock()
    return clock.outcome(run_dlt(task.url, task.folder, task.restaurants))


SIDES: dict[str, Callable[[Task], Outcome]] = {
    "pull": pull,
    "export": export,
    "pull-and-export": pull_and_export,
    "from-memory": from_memory,
    "deliver": deliver,
    "deliver-by-httpx": deliver_by_httpx,
    "guide": guide,
    "dlt": dlt,
}


class _Clock:
    """From here to the outcome."""

    def __init__(self) -> None:
        self._began, self._cpu_began = time.perf_counter(), time.process_time()

    def outcome(
        self, count: int, *, network_seconds: float | None = None, requests: int = 0, throttled: int = 0
    ) -> Outcome:
        """What was done since."""
        return Outcome(
            count=count,
            seconds=time.perf_counter() - self._began,
            cpu_seconds=time.process_time() - self._cpu_began,
            network_seconds=network_seconds,
            requests=requests,
            throttled=throttled,
        )

    def pulled(self, report: PullReport) -> Outcome:
        """What a pull did since."""
        calls = [restaurant.calls for restaurant in report.restaurants]
        return self.outcome(
            sum(restaurant.orders for restaurant in report.restaurants),
            requests=sum(one.requests for one in calls),
            throttled=sum(one.throttled for one in calls),
        )


def main() -> None:
    """Run the side that the command line names."""
    name, url, folder, restaurants, week = sys.argv[1:]
    outcome = SIDES[name](Task(url, Path(folder), restaurants.split(","), Path(week)))
    sys.stdout.write("\n" + msgspec.json.encode(outcome).decode() + "\n")


if __name__ == "__main__":
    main()
