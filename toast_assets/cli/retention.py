"""``toast-assets retention``: removes what has been kept long enough, by the environment's settings."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from toast_assets.amperity.settings import AmperitySettings
from toast_assets.cli.stores import command_store, require_answer
from toast_assets.privacy.retention import Retained, Retention
from toast_assets.settings import RetentionSettings


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
    require_answer(dry_run=dry_run, yes=yes)
    store = command_store(AmperitySettings, writes=not dry_run)
    amperity, now = AmperitySettings.from_environment(), datetime.now(UTC)
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
    removed = (
        f"{len(result.removed)} objects of {len(result.weeks)} weeks {what}, {sum(result.removed.values()):,} bytes"
    )
    click.echo(f"{removed}; weeks kept: {len(result.kept)}.")
