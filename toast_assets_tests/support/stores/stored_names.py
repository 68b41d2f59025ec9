"""Names of Toast's configuration put straight into a store, as a pull would merge them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from toast_assets.store.order_store import OrderStore
from toast_assets.tables.names import ReadConfiguration
from toast_assets.toast.configuration import Entity
from toast_assets_tests.support.stores.stored_weeks import PULLED


def store_names(store: OrderStore, names: Mapping[str, Iterable[Entity]], at: datetime = PULLED) -> None:
    """Merges each restaurant's names into the table of names, as read ``at``."""
    with TemporaryDirectory() as folder:
        read = ReadConfiguration(Path(folder))
        for guid, entities in names.items():
            read.add_names(guid, entities, at)
        read.save(store)
