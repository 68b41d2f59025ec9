"""The feed ``customers``: one row per guest, with the newest that a week's orders say of each."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from typing import Annotated

import msgspec

from toast_assets.amperity.feeds.order_context import OrderContext
from toast_assets.amperity.feeds.schema import Feed, Row, moment, text
from toast_assets.orders.guests import guest_key, normal_email, normal_phone, order_customer
from toast_assets.orders.model import Address

# A row that knows a guest's GUID alone: older than any other, so that by upsert it never replaces what is known.
NOTHING_KNOWN_AT = "1970-01-01 00:00:00.000"


class CustomerRow(Row, frozen=True):
    """A guest."""

    customer_id: Annotated[
        str,
        text(
            "Toast's GUID of the guest; without one the SHA-256 (hex) of the e-mail in lower case, else of the phone "
            "as it is written here.",
            key=True,
        ),
    ]
    fk_customer: Annotated[str, text("The same, as in transactions and order_items.", "fk-customer")]
    given_name: Annotated[str | None, text("First name.", "given-name")]
    surname: Annotated[str | None, text("Last name.", "surname")]
    email: Annotated[str | None, text("E-mail, trimmed and in lower case; null when it is none.", "email")]
    phone: Annotated[
        str | None,
        text("Ten digits for North America, + and all digits elsewhere; null when it is no number.", "phone"),
    ]
    address: Annotated[str | None, text("Street of the newest delivery.", "address")]
    address2: Annotated[str | None, text("Second line of that address.", "address2")]
    city: Annotated[str | None, text("City of that address.", "city")]
    state: Annotated[str | None, text("State of that address, else its region.", "state")]
    postal: Annotated[str | None, text("Postal code of that address, as text.", "postal")]
    country: Annotated[str | None, text("Country of that address.", "country")]
    modified_at: Annotated[
        str,
        moment(
            "When the newest order that says something of the guest was last modified, in UTC: the last-updated field. "
            "1970 where only the GUID is known, so that such a row never replaces a better one.",
            "update-dt",
        ),
    ]
    modified_at_local: Annotated[str, moment("The same on that restaurant's clock.")]


CUSTOMERS = Feed(
    "customers",
    "One row per guest of the week, also of orders that were voided.",
    CustomerRow,
    "Identity resolution: the only feed with personal data.",
)


def sightings(context: OrderContext) -> Iterator[CustomerRow]:
    """What one order says of its guests: one row for each check that names one. The delivery address is the order's
    one guest's."""
    order = context.order
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
            modified_at=context.columns["modified_at"],
            modified_at_local=context.columns["modified_at_local"],
        )


_CREATE = """
    PRAGMA journal_mode = OFF;
    PRAGMA synchronous = OFF;
    CREATE TABLE guests (id TEXT, part INTEGER, at TEXT, known BLOB, PRIMARY KEY (id, part)) WITHOUT ROWID;
"""
_UPSERT = """
    INSERT INTO guests VALUES (?, ?, ?, ?)
    ON CONFLICT (id, part) DO UPDATE SET at = excluded.at, known = excluded.known WHERE excluded.at > at
"""
_PARTS = (
    ("given_name", "surname", "email", "phone"),
    ("address", "address2", "city", "state", "postal", "country"),
)


class NewestGuests:
    """One row per guest out of any number of sightings, in any order.

    The newest name, e-mail and phone are taken together, and so is the newest address, never a mixture of two.
    Guests are kept in a temporary database on disk, so that memory does not grow with their number.
    """

    def __init__(self) -> None:
        # An empty name is SQLite's for a database in a temporary file, which is gone when it is closed.
        self._database = sqlite3.connect("", check_same_thread=False)
        self._database.executescript(_CREATE)

    def add(self, rows: Iterable[CustomerRow]) -> None:
        """Take in what orders say of guests."""
        for row in rows:
            for part, names in enumerate(_PARTS):
                known = {name: getattr(row, name) for name in names}
                at = row.modified_at if any(known.values()) else NOTHING_KNOWN_AT
                stored = msgspec.msgpack.encode((known, row.modified_at_local))
                self._database.execute(_UPSERT, (row.customer_id, part, at, stored))

    def rows(self) -> Iterator[CustomerRow]:
        """Every guest once, by key."""
        found = self._database.execute("SELECT id, at, known FROM guests ORDER BY id, part")
        for (key, person_at, person_bytes), (_, address_at, address_bytes) in zip(found, found, strict=True):
            person, person_local = msgspec.msgpack.decode(person_bytes)
            address, address_local = msgspec.msgpack.decode(address_bytes)
            modified_at = max(person_at, address_at)
            local = person_local if person_at == modified_at else address_local
            yield CustomerRow(
                customer_id=key,
                fk_customer=key,
                **person,
                **address,
                modified_at=modified_at,
                modified_at_local=NOTHING_KNOWN_AT if modified_at == NOTHING_KNOWN_AT else local,
            )

    def close(self) -> None:
        """Drop the temporary database."""
        self._database.close()


def _filled(value: str | None) -> str | None:
    return (value.strip() or None) if value else None
