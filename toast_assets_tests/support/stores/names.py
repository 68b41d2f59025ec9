"""Names of Toast's configuration, stored as a pull stores them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from toast_assets.store.order_store import OrderStore
from toast_assets.tables.names import ReadConfiguration
from toast_assets.toast.configuration import Entity
from toast_assets_tests.support.data.invented import Json


def store_names(store: OrderStore, restaurant_guid: str, *entities: Entity, day: int = 22) -> None:
    """Stores what a pull on that day of September has read of a restaurant."""
    with TemporaryDirectory() as folder:
        configuration = ReadConfiguration(Path(folder))
        configuration.add_names(restaurant_guid, entities, datetime(2025, 9, day, 4, 15, tzinfo=UTC))
        configuration.save(store)


def names_of(made: Json, dining: str, behavior: str, category: str, group: str) -> list[Entity]:
    """Names for what an order and its first item refer to."""
    item = made["checks"][0]["selections"][0]
    return [
        Entity("dining_option", made["diningOption"]["guid"].upper(), dining, behavior),
        Entity("sales_category", item["salesCategory"]["guid"], category, None),
        Entity("menu_group", item["itemGroup"]["guid"], group, None),
    ]
