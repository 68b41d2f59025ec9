"""The order store of a command: by the environment, and with the same refusals as in a run."""

from __future__ import annotations

from toast_assets.store.order_store import OrderStore


def command_store() -> OrderStore:
    """The store that the environment names.

    Raises:
        SettingsError: a variable is missing or malformed.
        StoreError: the bucket is missing, refuses access, is public, or would be reached without encryption.
    """
    store = OrderStore.from_environment()
    store.bucket.check()
    store.bucket.refuse_public()
    return store
