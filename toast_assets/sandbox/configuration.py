"""What a restaurant has configured at Toast: the names behind the GUIDs of its orders.

Everything that an invented order can refer to is there: dining options, tables, items of the menu, and so on. Entities
and their fields are those of Toast's configuration API [doc], their names and values are invented.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from functools import cached_property
from threading import Lock
from typing import Any, NamedTuple

from starlette.exceptions import HTTPException

from toast_assets.sandbox.config import SandboxConfig
from toast_assets.sandbox.order_builder import MENU, TABLES, Json, reference


def _plain(names: Iterable[str]) -> Json:
    return {name: {} for name in names}


# By an entity's name in the path: its objects' type and their names, with the fields that only they have.
ENTITIES: dict[str, tuple[str, Json]] = {
    "diningOptions": ("DiningOption", MENU["dining options"]),
    "revenueCenters": ("RevenueCenter", _plain(MENU["revenue centers"].values())),
    "restaurantServices": ("RestaurantService", _plain(name for name, _ in MENU["services"])),
    "serviceAreas": ("ServiceArea", _plain(MENU["service areas"])),
    "tables": ("Table", _plain(TABLES)),
    "salesCategories": ("SalesCategory", _plain(dish["category"] for dish in MENU["dishes"])),
    "menuGroups": ("MenuGroup", _plain(dish["group"] for dish in MENU["dishes"])),
    "menuItems": ("MenuItem", _plain(dish["name"] for dish in MENU["dishes"]) | _plain(MENU["modifiers"])),
    "discounts": ("Discount", MENU["discounts"]),
    "serviceCharges": ("ServiceCharge", MENU["service charges"]),
    "voidReasons": ("VoidReason", _plain(MENU["void reasons"])),
    "alternatePaymentTypes": ("AlternatePaymentType", _plain(MENU["alternate payment types"])),
    "taxRates": ("TaxRate", MENU["tax rates"]),
}


class _Object(NamedTuple):
    """``content`` is what is sent; ``modified_ms`` is in milliseconds since 1970, at first long ago."""

    entity: str
    content: Json
    modified_ms: int = 1


class _Token(NamedTuple):
    """What a page token leads to: the objects from ``begin`` on, as they were asked for, of one publication."""

    publication: int
    entity: str
    after_ms: int
    begin: int


class Configuration:
    """One restaurant's configuration. Every change is published at once (judgement). Any thread may call."""

    def __init__(self, restaurant_guid: str, config: SandboxConfig) -> None:
        self._config = config
        self._restaurant_guid = restaurant_guid
        self._publication = 1
        self._tokens: dict[str, _Token] = {}
        self._lock = Lock()

    def names(self, entity: str) -> dict[str, str]:
        """The names of an entity's objects by GUID, without archived ones."""
        with self._lock:
            return {guid: each.content["name"] for guid, each in self._objects.items() if each.entity == entity}

    def add(self, entity: str, name: str, **fields: Any) -> str:
        """Adds an object, whose GUID is returned."""
        with self._lock:
            self._publication += 1
            added = self._object(entity, f"{name}, {self._publication}", {"name": name} | fields)
            guid: str = added.content["guid"]
            self._objects[guid] = added._replace(modified_ms=self._now_ms())
            return guid

    def rename(self, guid: str, name: str) -> None:
        """Gives an object another name."""
        with self._lock:
            self._publication += 1
            entity, content, _ = self._objects[guid]
            self._objects[guid] = _Object(entity, content | {"name": name}, self._now_ms())

    def archive(self, guid: str) -> None:
        """Takes an object out of all replies [doc]."""
        with self._lock:
            self._publication += 1
            del self._objects[guid]

    def publish(self) -> None:
        """Publishes without a change: page tokens issued before are worthless."""
        with self._lock:
            self._publication += 1

    def page(self, entity: str, after_ms: int | None, token: str | None) -> tuple[list[Json], str | None]:
        """A page of an entity's objects, and the token of the next one, if any; else it is a 400, or a 409 [doc].

        ``after_ms`` leaves out what was not modified since, in milliseconds since 1970. A token is for the entity and
        the time that it was issued for; only the time need not be repeated (judgement).
        """
        with self._lock:
            at = _Token(self._publication, entity, after_ms or 0, 0) if token is None else self._tokens.get(token)
            if at is None or at.entity != entity or after_ms not in (None, at.after_ms):
                raise HTTPException(400, "The pageToken was not issued for this.")
            if at.publication != self._publication:
                raise HTTPException(409, "The configuration was published meanwhile. Start again without a pageToken.")
            objects = (each for each in self._objects.values() if each.entity == entity)
            found = [each.content for each in objects if each.modified_ms > at.after_ms]
            end = at.begin + self._config.configuration_page_size
            if end >= len(found):
                return found[at.begin :], None
            # Opaque, and with characters that a URL must escape (judgement).
            following = b64encode(f"page>>{len(self._tokens)}?".encode()).decode()
            self._tokens[following] = at._replace(begin=end)
            return found[at.begin : end], following

    @cached_property
    def _objects(self) -> dict[str, _Object]:
        # Not before somebody asks: a large brand has many.
        configured = ((entity, *each) for entity, (_, named) in ENTITIES.items() for each in named.items())
        objects = (self._object(entity, name, {"name": name} | fields) for entity, name, fields in configured)
        return {each.content["guid"]: each for each in objects}

    def _object(self, entity: str, key: str, fields: Json) -> _Object:
        return _Object(entity, reference(self._restaurant_guid, ENTITIES[entity][0], key) | fields)

    def _now_ms(self) -> int:
        return int(self._config.now() * 1000)
