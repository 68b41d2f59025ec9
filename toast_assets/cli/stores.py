"""Settings and order store of a command: by the environment, and with the same refusals as in a run."""

from __future__ import annotations

from toast_assets.errors import SettingsError
from toast_assets.scratch import remove_leftovers
from toast_assets.settings import NetworkSettings, Settings, problems_of
from toast_assets.store.guards import refuse_public, refuse_unconditional
from toast_assets.store.order_store import OrderStore


def check_environment(*kinds: type[Settings]) -> None:
    """All problems of several kinds at once, as the assets report them.

    Raises:
        SettingsError: naming every variable that is missing or malformed.
    """
    if problems := problems_of(NetworkSettings.from_environment, *(kind.from_environment for kind in kinds)):
        raise SettingsError(problems)


def command_store(*, writes: bool = True) -> OrderStore:
    """The store that the environment names, for a command that ``writes`` or only reads.

    Raises:
        SettingsError, StoreError: the bucket cannot be used as in a run.
    """
    remove_leftovers()
    store = OrderStore.from_environment()
    store.bucket.check()
    refuse_public(store.bucket)
    if writes:
        refuse_unconditional(store)
    return store
