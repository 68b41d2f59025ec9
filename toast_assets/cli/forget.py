"""``toast-assets forget``: who it is, what was found, what was done. Never shows the guest."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

import click
from rich.console import Console

from toast_assets.amperity.redaction import Redaction
from toast_assets.cli.stores import command_store, parsed
from toast_assets.privacy.forget import ForgetGuest, Forgetting
from toast_assets.privacy.identity import given_traits
from toast_assets.settings import PrivacySettings


def forget(guests: Iterable[str], file: Path | None, *, dry_run: bool, yes: bool) -> bool:
    """Forget one guest; whether nothing of them is left.

    Raises:
        ToastAssetsError: nobody was named, a setting is wrong, or the bucket fails.
    """
    console = Console(highlight=False)
    given = given_traits(_lines(guests, file))
    store = command_store(writes=not dry_run)
    run = ForgetGuest(store, given, dry_run=True, redaction=_redaction())
    if dry_run or (sys.stdin.isatty() and not yes):
        found = run.run()
        _show(console, found, "would be rewritten")
        if dry_run:
            return not found.not_rewritten
        click.confirm("Take this guest out of these objects? It cannot be undone", abort=True)
    done = ForgetGuest(store, given, redaction=_redaction()).run()
    _show(console, done, "rewritten")
    return not done.not_rewritten


def _lines(guests: Iterable[str], file: Path | None) -> list[str]:
    """What was given by option; else what stands in the file, or what is typed or piped in."""
    if given := [one for one in guests if one]:
        return given
    if file is not None and str(file) != "-":
        return file.read_text(encoding="utf-8").splitlines()
    if sys.stdin.isatty():
        return [click.prompt("The guest's GUID, e-mail or phone (not shown)", hide_input=True)]
    return sys.stdin.read().splitlines()


def _redaction() -> Redaction:
    """What is done to records on their way to Amperity, by the environment."""
    return parsed(PrivacySettings).redaction


def _show(console: Console, result: Forgetting, what: str) -> None:
    kinds = ", ".join(f"{count} {kind}{'s' if count != 1 else ''}" for kind, count in result.traits.items())
    console.print(f"The guest is known by {kinds}; {result.orders} orders name them.")
    if result.shared:
        console.print(f"{result.shared} e-mails or phones are shared by more than four guests and were not followed.")
    for key, why in result.objects.items():
        console.print(f"  {key}  {why}", soft_wrap=True, markup=False)
    console.print(f"{len(result.objects)} of {result.searched} objects {what}; the others do not hold the guest.")
    for key in result.not_rewritten:
        console.print(f"✗ {key} holds the guest and is no object of this package: look at it.", soft_wrap=True)
    if result.certificate:
        console.print(f"Certificate: {result.certificate}", soft_wrap=True)
        console.print("Amperity keeps what it has: ask for the guest's deletion there, too.")
