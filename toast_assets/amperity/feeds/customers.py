"""The feed ``customers``: one row per guest, with the newest that a week's orders say of each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any

import msgspec

from toast_assets.amperity.feeds.schema import Feed, Row, moment, text
from toast_assets.orders.identity import guest_key, normal_email, normal_phone, order_customer
from toast_assets.orders.model import Address, Order

# A row that knows a guest's GUID alone: older than any other, so that by upsert it never replaces what is known.
NOTHING_KNOWN_AT = "1970-01-01 00:00:00.000"


class CustomerRow(Row, frozen=True):
    """A guest."""

    customer_id: Annotated[str, text("Toast's GUID, else the SHA-256 (hex) of email, else of phone.", key=True)]
    fk_customer: Annotated[str, text("The same, as in transactions and order_items.")]
    given_name: Annotated[str | None, text("First name.")]
    surname: Annotated[str | None, text("Last name.")]
    email: Annotated[str | None, text("E-mail, trimmed and in lower case; null when it is none.")]
    phone: Annotated[str | None, text("Ten digits for North America, else + and all digits; null when it is none.")]
    address: Annotated[str | None, text("Street of the newest delivery.")]
    address2: Annotated[str | None, text("Second line of that address.")]
    city: Annotated[str | None, text("City of that address.")]
    state: Annotated[str | None, text("State of that address, else its region.")]
    postal: Annotated[str | None, text("Postal code of that address, as text.")]
    country: Annotated[str | None, text("Country of that address.")]
    modified_at: Annotated[str, moment("When the newest order with more than a GUID was modified, in UTC; else 1970.")]
    modified_at_local: Annotated[str, moment("The same on that restaurant's clock.")]


_PERSON = ("given_name", "surname", "email", "phone")
_ADDRESS = ("address", "address2", "city", "state", "postal", "country")
CUSTOMERS = Feed(
    "customers",
    "One row per guest of the week, also of orders that were voided.",
    CustomerRow,
    "Identity resolution: the only feed with personal data.",
    {name: name.replace("_", "-") for name in ("fk_customer", *_PERSON, *_ADDRESS)} | {"modified_at": "update-dt"},
)


def sightings(order: Order, shared: Mapping[str, Any]) -> Iterator[CustomerRow]:
    """What one order says of its guests: one row for each check that names one. The delivery address is the order's
    one guest's."""
    for check in order.checks or ():
        guest = check.customer
        if guest is None or (key := guest_key(guest)) is None:
            continue
        is_main = order.delivery_info is not None and guest is order_customer(order)
        address = order.delivery_info.place if order.delivery_info and is_main else Address()
        yield CustomerRow(
            customer_id=key,
            fk_customer=key,
            given_name=_filled(guest.first_name),
            surname=_filled(guest.last_name),
            email=normal_email(guest.email),
            phone=normal_phone(guest.phone, guest.phone_country_code),
            address=_filled(address.address1),
            address2=_filled(address.address2),
            city=_filled(address.city),
            state=_filled(address.state) or _filled(address.administrative_area),
            postal=_filled(address.zip_code),
            country=_filled(address.country),
            modified_at=shared["modified_at"],
            modified_at_local=shared["modified_at_local"],
        )


class NewestGuests:
    """One row per guest out of any number of sightings, in any order.

    The newest name, e-mail and phone are taken together, and so is the newest address, never a mixture of two.
    """

    def __init__(self) -> None:
        self._newest: dict[str, list[tuple[str, CustomerRow]]] = {}

    def add(self, rows: Iterable[CustomerRow]) -> None:
        """Take in what orders say of guests."""
        for row in rows:
            newest = self._newest.setdefault(row.customer_id, [("", row)] * 2)
            for part, names in enumerate((_PERSON, _ADDRESS)):
                at = row.modified_at if any(getattr(row, name) for name in names) else NOTHING_KNOWN_AT
                if at > newest[part][0]:
                    newest[part] = at, row

    def rows(self) -> Iterator[CustomerRow]:
        """Every guest once, by key."""
        for _, ((person_at, person), (address_at, address)) in sorted(self._newest.items()):
            at = max(person_at, address_at)
            local = (person if person_at == at else address).modified_at_local
            if at == NOTHING_KNOWN_AT:
                local = at
            changes = {name: getattr(address, name) for name in _ADDRESS}
            yield msgspec.structs.replace(person, **changes, modified_at=at, modified_at_local=local)


def _filled(value: str | None) -> str | None:
    return (value.strip() or None) if value else None
