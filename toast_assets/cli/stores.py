"""Settings and order store of a command: by the environment, and with the same refusals as in a run."""

from __future__ import annotations

import sys

import click

from toast_assets.errors import SettingsError
from toast_assets.scratch import remove_leftovers
from toast_assets.settings import NetworkSettings, Settings, problems_of
from toast_assets.store.guards import refuse_public, refuse_unconditional
from toast_assets.store.order_store import OrderStore
from toast_assets.store.settings import StoreSettings


def command_store(*kinds: type[Settings], writes: bool = True) -> OrderStore:
    """The store that the environment names, for a command that ``writes`` or only reads, and that needs settings of
    these ``kinds``.

    Raises:
        SettingsError: naming every variable that is missing or malformed.
        StoreError: the bucket cannot be used as in a run.
    """
    needed: tuple[type[Settings], ...] = (NetworkSettings, StoreSettings, *kinds)
    if problems := problems_of(*(kind.from_environment for kind in needed)):
        raise SettingsError(problems)
    remove_leftovers()
    store = OrderStore.from_environment()
    store.bucket.check()
    refuse_public(store.bucket)
    if writes:
        refuse_unconditional(store)
    return store


def require_answer(*, dry_run: bool, yes: bool) -> None:
    """Raise a usage error where a command would ask for confirmation and there is no terminal."""
    if not (dry_run or yes or sys.stdin.isatty()):
        raise click.UsageError(
            "The command asks first, and there is no terminal. Nothing was changed; look with --dry-run, then give"
            " --yes."
        )
