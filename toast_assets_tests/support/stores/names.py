"""Names of Toast's configuration, stored as a pull stores them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from zlib import crc32

from toast_assets.store.order_store import OrderStore
from toast_assets.tables.names import ReadConfiguration
from toast_assets.toast.configuration import Entity
from toast_assets_tests.support.data import oracle
from toast_assets_tests.support.data.invented import Json


def store_names(store: OrderStore, restaurant_guid: str, *entities: Entity, day: int = 22) -> None:
    """Stores what a pull on that day of September has read of a restaurant."""
    with TemporaryDirectory() as folder:
        configuration = ReadConfiguration(Path(folder))
        configuration.add_names(restaurant_guid, entities, datetime(2025, 9, day, 4, 15, tzinfo=UTC))
        configuration.save(store)


def some_names(orders: Iterable[Json]) -> oracle.Names:
    """Names of two thirds of what orders refer to."""
    found = {}
    for kind, guid in {one for order in orders for one in oracle.referred(order)}:
        number = crc32(guid.encode())
        if number % 3:
            behavior = ("DINE_IN", "TAKE_OUT", "DELIVERY", None)[number % 4] if kind == "dining_option" else None
            found[kind, guid] = f"{kind} {number % 5}", behavior
    return found


def entities(names: oracle.Names) -> list[Entity]:
    """The same as a pull reads them."""
    return [Entity(kind, guid, name, behavior) for (kind, guid), (name, behavior) in names.items()]


def names_of(made: Json, dining: str, behavior: str, category: str, group: str) -> list[Entity]:
    """Names for what an order and its first item refer to."""
    item = made["checks"][0]["selections"][0]
    return [
        Entity("dining_option", made["diningOption"]["guid"].upper(), dining, behavior),
        Entity("sales_category", item["salesCategory"]["guid"], category, None),
        Entity("menu_group", item["itemGroup"]["guid"], group, None),
    ]
