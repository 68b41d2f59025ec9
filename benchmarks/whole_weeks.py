"""All that a run of the weekly job does for a week, as plain calls: the work without an orchestrator.

``python -m benchmarks.whole_weeks 2025-09-15 2025-09-22`` does it for some weeks one after the other, by the
environment's variables, and writes the seconds that it took after its imports.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import Sequence
from datetime import date, timedelta
from itertools import chain

from toast_assets.amperity.client import AmperityClient
from toast_assets.amperity.settings import AmperitySettings
from toast_assets.checks.check import CheckedWeek
from toast_assets.checks.table import CHECKS
from toast_assets.delivery.deliver import DeliveryReport, WeekDelivery, check_delivery
from toast_assets.export.write import export_week
from toast_assets.pull.week import WeekPull
from toast_assets.store.order_store import OrderStore
from toast_assets.tables.build import build_tables
from toast_assets.toast.client import ToastClient
from toast_assets.toast.settings import ToastSettings
from toast_assets.week import Week, WeekCalendar

_LOG = logging.getLogger(__name__)
_CALENDAR = WeekCalendar()


def work_through(keys: Sequence[str]) -> None:
    """Pull, export, deliver, flatten and check the weeks with these partition keys, one after the other.

    Raises:
        RuntimeError: a check failed, so that what was measured is not the work.
    """
    store = OrderStore.from_environment()
    toast = ToastSettings.from_environment()
    amperity = AmperitySettings.from_environment()
    for key in keys:
        week = _CALENDAR.week(key)
        pull(week, toast, store, _CALENDAR)
        export_week(week, store, _LOG)
        deliver(week, amperity, store)
        build_tables(week, store, _LOG)
        _check(week, amperity, store)


def pull(week: Week, settings: ToastSettings, store: OrderStore, calendar: WeekCalendar) -> None:
    """Pull a week."""
    before = f"{date.fromisoformat(week.key) - timedelta(days=7)}"
    previous = calendar.week(before) if calendar.is_week(before) else None

    async def run() -> None:
        async with ToastClient(settings, spacing_seconds=settings.historical_spacing_seconds, log=_LOG) as client:
            await WeekPull(week, client, store, previous, log=_LOG).run()

    asyncio.run(run())


def deliver(week: Week, settings: AmperitySettings, store: OrderStore) -> None:
    """Deliver a week that is stored and exported."""

    async def run() -> DeliveryReport:
        async with AmperityClient(settings, log=_LOG) as client:
            return await WeekDelivery(week, client, store, log=_LOG).run()

    check_delivery(asyncio.run(run()), settings.max_reject_share)


def _check(week: Week, settings: AmperitySettings, store: OrderStore) -> None:
    manifest, _ = store.load_manifest(week)
    if manifest is None:
        raise RuntimeError(f"Week {week.key} was not pulled.")
    checked = CheckedWeek(week, manifest, store, lambda: settings, _CALENDAR)
    for check in chain.from_iterable(CHECKS.values()):
        result = check(checked)
        if not result.passed and not result.warns:
            raise RuntimeError(f"Week {week.key}: {result.description}")


if __name__ == "__main__":
    began = time.perf_counter()
    work_through(sys.argv[1:])
    sys.stdout.write(f"{time.perf_counter() - began}\n")
