"""``toast-assets replay-rejects``: resends what Amperity refused, with the environment's settings."""

from __future__ import annotations

import logging

import click

from toast_assets import interrupts
from toast_assets.amperity.client import AmperityClient
from toast_assets.amperity.settings import AmperitySettings
from toast_assets.cli.stores import check_environment, command_store
from toast_assets.delivery.replay import Replay, replay_weeks, weeks_with_rejects
from toast_assets.settings import CalendarSettings
from toast_assets.store.order_store import OrderStore
from toast_assets.store.settings import StoreSettings


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
    chosen = weeks_with_rejects(store)
    if week_key is not None:
        week = calendar.week(week_key)
        chosen = [key for key in chosen if key == week.key]
    if not chosen:
        click.echo("There are no rejects." if week_key is None else f"Week {week_key} has no rejects.")
        return True

    async def run() -> list[Replay]:
        log = logging.getLogger("toast_assets.replay")
        async with AmperityClient(settings, log=log) as client:
            return await replay_weeks(chosen, calendar, client, store, log)

    replays = interrupts.run(run())
    for replay in replays:
        click.echo("\n".join(_text(replay, store)))
    return all(replay.left == 0 and replay.problem is None for replay in replays)


def _text(replay: Replay, store: OrderStore) -> list[str]:
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
