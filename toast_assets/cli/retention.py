"""``toast-assets retention``: removes what has been kept long enough, by the environment's settings."""

from __future__ import annotations

import sys
from datetime import UTC, datetime

import click

from toast_assets.amperity.settings import AmperitySettings
from toast_assets.cli.stores import check_environment, command_store
from toast_assets.privacy.retention import Retained, Retention
from toast_assets.settings import RetentionSettings
from toast_assets.store.settings import StoreSettings


def retention(*, dry_run: bool, yes: bool) -> None:
    """Remove, and print what was removed and what is kept. Asks before, unless ``yes`` is given.

    Raises:
        UsageError: there is no terminal to ask at, and no ``yes``.
        SettingsError: naming every variable that is missing or malformed.
        StoreError: the bucket is missing or refuses access.
    """
    settings = RetentionSettings.from_environment()
    if settings == RetentionSettings.parse({}):
        click.echo("No RETENTION_RAW_DAYS, RETENTION_EXPORT_DAYS or RETENTION_LEDGER_DAYS is set: everything is kept.")
        return
    if not (dry_run or yes or sys.stdin.isatty()):
        raise click.UsageError("There is no terminal to ask at. Give --yes to remove, or --dry-run to look.")
    check_environment(AmperitySettings, StoreSettings)
    store, amperity, now = command_store(writes=not dry_run), AmperitySettings.from_environment(), datetime.now(UTC)
    if not yes or dry_run:
        planned = Retention(store, settings, amperity, now, dry_run=True).run()
        _show(planned, "would go")
        if dry_run or not planned.removed:
            return
        click.confirm("Remove these objects? It cannot be undone", abort=True)
    _show(Retention(store, settings, amperity, now).run(), "removed")


def _show(result: Retained, what: str) -> None:
    for key in result.removed:
        click.echo(f"{what:8}  {key}")
    for week, reason in result.kept.items():
        click.echo(f"kept      week {week}: {reason}")
    counts = ((result.removed, "object"), (result.weeks, "week"), (result.kept, "week"))
    objects, weeks, kept = (f"{len(some)} {noun}{'' if len(some) == 1 else 's'}" for some, noun in counts)
    click.echo(f"{objects} of {weeks} {what}, {result.bytes:,} bytes; {kept} kept.")
