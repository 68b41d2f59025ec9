"""``toast-assets replay-rejects``: resends what Amperity refused, with the environment's settings."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import click

from toast_assets.amperity.client import AmperityClient
from toast_assets.amperity.settings import AmperitySettings
from toast_assets.cli.stores import command_store
from toast_assets.concurrency import run
from toast_assets.delivery.deliver import WeekDelivery, not_delivered
from toast_assets.delivery.open_rejects import weeks_with_rejects
from toast_assets.errors import ExportError, StoreError, WeekError
from toast_assets.settings import CalendarSettings
from toast_assets.store.order_store import OrderStore
from toast_assets.week import WeekCalendar


def replay_rejects(week_key: str | None) -> bool:
    """Replay one week's rejects, or those of all weeks, and print the results; whether no reject is left."""
    store = command_store(AmperitySettings, CalendarSettings)
    settings, calendar = AmperitySettings.from_environment(), CalendarSettings.from_environment().calendar()
    chosen = sorted(weeks_with_rejects(store))
    if week_key is not None:
        week = calendar.week(week_key)
        chosen = [key for key in chosen if key == week.key]
    if not chosen:
        click.echo("There are no rejects." if week_key is None else f"Week {week_key} has no rejects.")
        return True
    return run(_replay(chosen, calendar, settings, store))


async def _replay(
    week_keys: Sequence[str], calendar: WeekCalendar, settings: AmperitySettings, store: OrderStore
) -> bool:
    """Replay these weeks; one that cannot be read stops no other."""
    log = logging.getLogger("toast_assets.replay")
    done = True
    for key in week_keys:
        click.echo(f"Week {key}")
        try:
            week = calendar.week(key)
            # A client of its own: one whose delivery failed sends nothing any more.
            async with AmperityClient(settings, log=log) as client:
                delivery = WeekDelivery(week, client, store, replay=True, log=log)
                report = await delivery.run()
            left = delivery.rejects.left.total()
        except (ExportError, StoreError, WeekError) as error:
            click.echo(f"  {error}")
            done = False
            continue
        if problem := not_delivered(report):
            click.echo(f"  {problem}")
        for method, counts in report.methods.items():
            if counts.records:
                click.echo(
                    f"  {method}: {counts.accepted} of {counts.records} accepted now, {counts.superseded}"
                    f" superseded, {counts.rejected} refused again, {counts.pending} without an answer"
                )
        for reason, count in report.reject_reasons.items():
            click.echo(f"    {count} × {reason}")
        click.echo(f"  {left} left in {store.bucket.uri(store.layout.rejects(week))}" if left else "  none left")
        done = done and not left and problem is None
    return done
