"""``toast-assets retention``: removes what has been kept long enough, by the environment's settings."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from toast_assets.cli.stores import command_store, parsed
from toast_assets.privacy.retention import Retention
from toast_assets.settings import AmperitySettings, RetentionSettings


def retention(*, dry_run: bool) -> None:
    """Remove, and print what went and what had to stay.

    Raises:
        SettingsError: naming every variable that is missing or malformed.
        StoreError: the bucket is missing or refuses access.
    """
    settings = parsed(RetentionSettings)
    if settings == RetentionSettings.parse({}):
        click.echo("No RETENTION_RAW_DAYS, RETENTION_EXPORT_DAYS or RETENTION_LEDGER_DAYS is set: everything is kept.")
        return
    result = Retention(
        command_store(writes=not dry_run), settings, parsed(AmperitySettings), datetime.now(UTC), dry_run
    ).run()
    for key in result.removed:
        click.echo(f"{'would go' if dry_run else 'removed'}  {key}")
    for week, reason in result.kept.items():
        click.echo(f"kept     week {week}: {reason}")
    click.echo(f"{len(result.removed)} objects {'would go' if dry_run else 'removed'}, {len(result.kept)} weeks kept.")
