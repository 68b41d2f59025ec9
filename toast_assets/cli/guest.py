"""``toast-assets guest``: what is stored about a guest, into a file. The screen shows counts and the file's path."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from tempfile import mkstemp

import click

from toast_assets.amperity.settings import PrivacySettings
from toast_assets.cli.forget import guest_lines
from toast_assets.cli.stores import command_store
from toast_assets.orders.identity import given_traits
from toast_assets.privacy.collect import CollectGuest


def collect_guest(guests: Iterable[str], guest_file: str | None, *, output: str, force: bool) -> None:
    """Write the file, whole or not at all, readable by its owner alone.

    Raises:
        UsageError: the file cannot be written, or is there and ``force`` was not given.
        NoGuestError: no guest was named.
        ToastAssetsError: nothing is stored about the guest, a setting is wrong, or the bucket fails.
    """
    path = Path(output)
    _check(path, force=force)
    given = given_traits(guest_lines(guests, guest_file))
    store = command_store(PrivacySettings, writes=False)
    collected = CollectGuest(store, given, PrivacySettings.from_environment().redaction).run()
    _write(path, collected.document(), force=force)
    parts = ("orders", "mentions", "customers", "guest_index", "feeds", "receipts", "rejects", "privacy_requests")
    counts = {name: len(getattr(collected, name)) for name in (*parts, "certificates", "objects")}
    click.echo(", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items() if count) + ".")
    for key, what in collected.look_at.items():
        click.echo(f"! {key} holds the guest and is not in the file ({what}): look at it.")
    click.echo(f"Written: {path}. It holds personal data; remove it when the request is answered.")


def _check(path: Path, *, force: bool) -> None:
    """Raise a usage error where the file may not be written."""
    if path.name in ("", "-") or path.is_symlink() or (path.exists() and not path.is_file()):
        raise click.UsageError(f"--output {path} is no file: guests are not shown on a screen. Name a file.")
    if path.exists() and not force:
        raise click.UsageError(f"{path} exists. Name another file, or give --force.")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise click.UsageError(f"Nothing can be written into the folder {path.parent}.")


def _write(path: Path, document: bytes, *, force: bool) -> None:
    # A temporary file of this kind is its owner's alone from the beginning.
    number, name = mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(number, "wb") as file:
            file.write(document)
        _check(path, force=force)
        Path(name).replace(path)
    finally:
        Path(name).unlink(missing_ok=True)
