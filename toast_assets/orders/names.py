"""What an order refers to by GUID alone, and what Toast's configuration calls it: dining options, menu items, …."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

# By the field of an order's JSON: the kind of what its GUID is of.
_KINDS = {
    "diningOption": "dining_option",
    "revenueCenter": "revenue_center",
    "restaurantService": "restaurant_service",
    "serviceArea": "service_area",
    "table": "table",
    "salesCategory": "sales_category",
    "itemGroup": "menu_group",
    "item": "menu_item",
    "discount": "discount",
    "serviceCharge": "service_charge",
    "voidReason": "void_reason",
    "otherPayment": "alternate_payment_type",
    "taxRate": "tax_rate",
}
# The parts of an order that can hold such fields.
_PARTS = (
    *("checks", "selections", "modifiers", "payments", "voidInfo"),
    *("appliedDiscounts", "appliedServiceCharges", "appliedTaxes"),
)


class Name(NamedTuple):
    """What something is called; ``behavior`` is a dining option's: ``DINE_IN``, ``TAKE_OUT``, ``DELIVERY``."""

    name: str | None = None
    behavior: str | None = None


_UNKNOWN = Name()


@dataclass(frozen=True)
class Names:
    """The names that one restaurant's configuration has or had, by kind and GUID in lower case."""

    known: Mapping[tuple[str, str], Name] = field(default_factory=dict)

    def find(self, kind: str, guid: str | None) -> Name:
        """The name of a GUID, which compares without case; empty where it is unknown."""
        return self.known.get((kind, guid.lower()), _UNKNOWN) if guid else _UNKNOWN


NO_NAMES = Names()


def references(order: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The kind and the GUID of everything that a decoded order refers to; what has another form than a reference is
    left out."""
    # A list of what is left to look at takes two thirds of the time that calls take.
    left = [order]
    while left:
        part = left.pop()
        for name, kind in _KINDS.items():
            reference = part.get(name)
            if reference and isinstance(reference, dict) and isinstance(guid := reference.get("guid"), str) and guid:
                yield kind, guid
        for name in _PARTS:
            if below := part.get(name):
                left += [one for one in (below if isinstance(below, list) else [below]) if isinstance(one, dict)]
