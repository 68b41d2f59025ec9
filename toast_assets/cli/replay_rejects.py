"""``toast-assets replay-rejects``: resends what Amperity refused, with the environment's settings."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

import click

from toast_assets.amperity.client import AmperityClient
from toast_assets.amperity.settings import AmperitySettings
from toast_assets.cli.stores import check_environment, command_store
from toast_assets.concurrency import run
from toast_assets.delivery.deliver import DeliveryReport, WeekDelivery, not_delivered
from toast_assets.delivery.rejects import stored_rejects
from toast_assets.errors import ExportError, StoreError, ToastAssetsError, WeekError
from toast_assets.settings import CalendarSettings
from toast_assets.store.layout import week_in
from toast_assets.store.order_store import OrderStore
from toast_assets.store.settings import StoreSettings
from toast_assets.week import WeekCalendar


@dataclass(frozen=True)
class _Replay:
    """What became of one week's rejects: a report, and the problem that kept the week, or some of its restaurants, from
    being looked at. ``left`` are still in the week's rejects, None where nobody knows."""

    week_key: str
    report: DeliveryReport | None = None
    left: int | None = None
    problem: ToastAssetsError | None = None


def replay_rejects(week_key: str | None) -> bool:
    """Replay one week's rejects, or those of all weeks, and print the results; whether none is left.

    Raises:
        SettingsError: naming every variable that is missing or malformed.
        WeekError: ``week_key`` names no week.
        AmperityError: Amperity accepts nothing at all, or does not answer.
        StoreError: the bucket is missing or refuses access.
    """
    check_environment(AmperitySettings, StoreSettings, CalendarSettings)
    settings, calendar = AmperitySettings.from_environment(), CalendarSettings.from_environment().calendar()
    store = command_store()
    folder = store.layout.all_rejects
    chosen = sorted(filter(None, (week_in(key, folder, "/rejects.ndjson.gz") for key in store.bucket.keys(folder))))
    if week_key is not None:
        week = calendar.week(week_key)
        chosen = [key for key in chosen if key == week.key]
    if not chosen:
        click.echo("There are no rejects." if week_key is None else f"Week {week_key} has no rejects.")
        return True

    replays = run(_replayed(chosen, calendar, settings, store))
    for replay in replays:
        click.echo("\n".join(_lines(replay, store)))
    return all(replay.left == 0 and replay.problem is None for replay in replays)


async def _replayed(
    week_keys: list[str], calendar: WeekCalendar, settings: AmperitySettings, store: OrderStore
) -> list[_Replay]:
    """Send the rejects of these weeks again, and nothing else. A week that cannot be looked at stops no other."""
    log = logging.getLogger("toast_assets.replay")
    replays = []
    async with AmperityClient(settings, log=log) as client:
        for key in week_keys:
            try:
                week = calendar.week(key)
                report = await WeekDelivery(week, client, store, replay=True, log=log).run()
                left = len(await asyncio.to_thread(stored_rejects, store, week))
                replays.append(_Replay(key, report, left, not_delivered(report)))
            except (ExportError, StoreError, WeekError) as problem:
                replays.append(_Replay(key, problem=problem))
    return replays


def _lines(replay: _Replay, store: OrderStore) -> list[str]:
    lines = [f"Week {replay.week_key}"]
    if replay.problem is not None:
        lines.append(f"  {replay.problem}")
    if replay.report is None:
        return lines
    for method, counts in replay.report.methods.items():
        if counts.records:
            lines.append(
                f"  {method}: {counts.accepted} of {counts.records} accepted now, {counts.superseded} superseded,"
                f" {counts.rejected} refused again, {counts.pending} without an answer"
            )
    lines += [f"    {count} × {reason}" for reason, count in replay.report.reject_reasons.items()]
    if replay.left:
        where = store.bucket.uri(store.layout.all_rejects)
        lines.append(f"  {replay.left} left in {where}week={replay.week_key}/rejects.ndjson.gz")
    else:
        lines.append("  none left")
    return lines
