"""``toast-assets forget``: asks for the guest, shows what was found and what was done. Never shows the guest."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from functools import partial

import click
from rich.console import Console

from toast_assets.amperity.settings import DeliverySpeed, PrivacySettings
from toast_assets.cli.stores import command_store, require_answer
from toast_assets.errors import NoGuestError
from toast_assets.orders.identity import given_traits
from toast_assets.privacy.forget import ForgetGuest, Forgetting


def forget(guests: Iterable[str], file: str | None, *, dry_run: bool, yes: bool, allow_unknown: bool) -> bool:
    """Forget one guest; whether nothing of them is left.

    Raises:
        UsageError: there is no terminal to ask for confirmation.
        NoGuestError: no guest was named.
        ToastAssetsError: nothing of the guest is stored, a setting is wrong, or the bucket fails.
    """
    require_answer(dry_run=dry_run, yes=yes)
    console = Console(highlight=False)
    given = given_traits(guest_lines(guests, file))
    store = command_store(PrivacySettings, DeliverySpeed, writes=not dry_run)
    # Versions of records and salted keys of guests are found only with the rules and the salt of the deliveries.
    redaction = PrivacySettings.from_environment().redaction
    methods = DeliverySpeed.from_environment().methods
    run = partial(ForgetGuest, store, given, allow_unknown=allow_unknown, redaction=redaction, methods=methods)
    if dry_run or not yes:
        found = run(dry_run=True).run()
        _show(console, found, "would be rewritten")
        if dry_run:
            return not found.certificate.not_rewritten
        click.confirm("Take this guest out of these objects? It cannot be undone", abort=True)
    done = run().run()
    _show(console, done, "rewritten")
    return not done.certificate.not_rewritten


def guest_lines(guests: Iterable[str], file: str | None) -> list[str]:
    """The lines given as options; else those of the file, or what is typed or piped in."""
    if given := [one for one in guests if one.strip()]:
        return given
    if file is None and sys.stdin.isatty():
        return [click.prompt("The guest's GUID, e-mail or phone (not shown)", hide_input=True)]
    try:
        with click.open_file(file or "-", encoding="utf-8-sig") as lines:
            return [line.rstrip("\r\n") for line in lines]
    except UnicodeDecodeError:
        raise NoGuestError("The file is no text in UTF-8; nothing was changed.") from None
    except OSError as error:
        raise NoGuestError(f"The file cannot be read ({error.strerror}); nothing was changed.") from None


def _show(console: Console, result: Forgetting, what: str) -> None:
    kinds = ", ".join(f"{count} × {kind}" for kind, count in result.traits.items())
    certificate = result.certificate
    console.print(f"The guest is known by {kinds}; {certificate.orders} orders name them.")
    if result.shared:
        console.print(f"{result.shared} e-mails or phones are shared by more than four guests and were not followed.")
    for key, why in certificate.objects.items():
        console.print(f"  {key}  {why}", soft_wrap=True, markup=False)
    rewritten, searched = len(certificate.objects), certificate.objects_searched
    console.print(f"{rewritten} of {searched} objects {what}; the others do not hold the guest.")
    for key in certificate.not_rewritten:
        console.print(f"✗ {key} holds the guest and is no object of this package: look at it.", soft_wrap=True)
    if request := certificate.amperity:
        state = f"{request.state}, {result.asked} rows in" if result.key else f"{result.asked} rows would be written to"
        console.print(f"Amperity: {state} {request.key}", soft_wrap=True)
        console.print(request.how, soft_wrap=True)
    if result.key:
        console.print(f"Certificate: {result.key}", soft_wrap=True)
