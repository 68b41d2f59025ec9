"""``python -m benchmarks.one_by_one 2025-09-15 2025-09-08`` works through weeks in this sequence, by the environment's
variables, and writes for each step of each week a line of JSON: what it asked of the benchmarks' S3."""

from __future__ import annotations

import json
import logging
import os
import sys
import urllib.request
from collections.abc import Callable, Sequence
from functools import partial

import msgspec

from benchmarks.weeks import CALENDAR
from benchmarks.whole_weeks import deliver, pull
from toast_assets.amperity.settings import AmperitySettings
from toast_assets.delivery.feed_files import write_feeds
from toast_assets.export.write import export_week
from toast_assets.store.order_store import OrderStore
from toast_assets.tables.build import build_tables
from toast_assets.tables.current_orders import refresh_current_orders
from toast_assets.toast.settings import ToastSettings

_LOG = logging.getLogger(__name__)


class Traffic(msgspec.Struct, frozen=True):
    """Calls to S3 and bytes of bodies, up and down, of one step of a week."""

    week: str
    step: str
    calls: int
    bytes: int


def work_through(keys: Sequence[str], note: Callable[[Traffic], object]) -> None:
    """All steps of the weeks with these partition keys."""
    store = OrderStore.from_environment()
    toast, amperity = ToastSettings.from_environment(), AmperitySettings.from_environment()
    for key in keys:
        week = CALENDAR.week(key)
        steps = {
            "pull": partial(pull, week, toast, store, CALENDAR),
            "export": partial(export_week, week, store, _LOG),
            "feeds": partial(write_feeds, week, store, amperity.purchase_brand, amperity.redaction, _LOG),
            "delivery": partial(deliver, week, amperity, store),
            "tables": partial(build_tables, week, store, _LOG),
            "current orders": partial(refresh_current_orders, store, _LOG),
        }
        for step, work in steps.items():
            calls, size = _traffic()
            work()
            calls_now, size_now = _traffic()
            note(Traffic(key, step, calls_now - calls, size_now - size))


def _traffic() -> tuple[int, int]:
    """What the server has counted so far."""
    url = os.environ["AWS_ENDPOINT_URL_S3"]
    with urllib.request.urlopen(f"{url}/_traffic") as reply:  # noqa: S310 - the server of the benchmark
        calls, size = json.load(reply)
    return calls, size


if __name__ == "__main__":
    work_through(sys.argv[1:], lambda traffic: sys.stdout.write(msgspec.json.encode(traffic).decode() + "\n"))
