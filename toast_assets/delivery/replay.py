"""Sends again what Amperity refused, week by week, once the cause is gone."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass

from toast_assets.amperity.client import AmperityClient
from toast_assets.delivery.deliver import DeliveryReport, WeekDelivery, not_delivered
from toast_assets.delivery.rejects import Rejects
from toast_assets.errors import ExportError, StoreError, ToastAssetsError, WeekError
from toast_assets.store.order_store import OrderStore
from toast_assets.week import Week, WeekCalendar


@dataclass(frozen=True)
class Replay:
    """What became of one week's rejects: a report, and the problem that kept the week, or some of its restaurants, from
    being looked at. ``left`` are still in the week's rejects, None where nobody knows."""

    week_key: str
    report: DeliveryReport | None = None
    left: int | None = None
    problem: ToastAssetsError | None = None


def weeks_with_rejects(store: OrderStore) -> list[str]:
    """The partition keys of the weeks that have rejects, oldest first.

    Raises:
        StoreError: the bucket is missing or refuses access.
    """
    folder = store.layout.all_rejects
    names = (key.removeprefix(folder) for key in store.bucket.keys(folder))
    return sorted(name.split("/")[0].removeprefix("week=") for name in names if name.endswith("/rejects.ndjson.gz"))


async def replay_weeks(
    week_keys: Iterable[str], calendar: WeekCalendar, client: AmperityClient, store: OrderStore, log: logging.Logger
) -> list[Replay]:
    """Send the rejects of these weeks again, and nothing else. A week that cannot be looked at stops no other.

    Raises:
        AmperityError: Amperity takes nothing at all, or gives no answers.
    """
    replays = []
    for key in week_keys:
        try:
            week = calendar.week(key)
            report = await WeekDelivery(week, client, store, replay=True, log=log).run()
            replays.append(Replay(key, report, await asyncio.to_thread(_left, week, store), not_delivered(report)))
        except (ExportError, StoreError, WeekError) as problem:
            replays.append(Replay(key, problem=problem))
    return replays


def _left(week: Week, store: OrderStore) -> int:
    with Rejects(store, week) as rejects:
        return len(rejects.load())
