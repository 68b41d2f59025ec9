"""The feed ``customers``: one row per guest, with the newest that a week's orders say of each."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from typing import Annotated

import msgspec

from toast_assets.amperity.feeds.sale import Sale
from toast_assets.amperity.feeds.schema import Feed, Row, moment, text
from toast_assets.orders.guests import guest_key, normal_email, normal_phone, order_customer
from toast_assets.orders.model import Address, Customer

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


def sightings(sale: Sale) -> Iterator[CustomerRow]:
    """What one order says of its guests: one row for each check that names one.

    The delivery address is the order's one guest's.
    """
    guest = order_customer(sale.order)
    info = sale.order.delivery_info
    for check in sale.order.checks or ():
        key = guest_key(check.customer)
        if key is not None and check.customer is not None:
            yield _row(sale, key, check.customer, info.place if info and check.customer is guest else None)


def _row(sale: Sale, key: str, guest: Customer, place: Address | None) -> CustomerRow:
    return CustomerRow(
        customer_id=key,
        fk_customer=key,
        given_name=_filled(guest.first_name),
        surname=_filled(guest.last_name),
        email=normal_email(guest.email),
        phone=normal_phone(guest.phone, guest.phone_country_code),
        address=_filled(place.address1) if place else None,
        address2=_filled(place.address2) if place else None,
        city=_filled(place.city) if place else None,
        state=_filled(place.state) or _filled(place.administrative_area) if place else None,
        postal=_filled(place.zip_code) if place else None,
        country=_filled(place.country) if place else None,
        modified_at=sale.modified_at,
        modified_at_local=sale.modified_at_local,
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
        """Takes in what orders say of guests."""
        self._database.executemany(_UPSERT, map(_stored, rows))

    def rows(self) -> Iterator[CustomerRow]:
        """Every guest once, by key."""
        return map(_merged, self._database.execute("SELECT * FROM guests ORDER BY id"))

    def close(self) -> None:
        """Drops the temporary database."""
        self._database.close()


_CREATE = """
    PRAGMA journal_mode = OFF;
    PRAGMA synchronous = OFF;
    CREATE TABLE guests (id TEXT PRIMARY KEY, person_at TEXT, person BLOB, place_at TEXT, place BLOB) WITHOUT ROWID;
"""
_UPSERT = """
    INSERT INTO guests VALUES (?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET
        person = CASE WHEN excluded.person_at > person_at THEN excluded.person ELSE person END,
        person_at = max(excluded.person_at, person_at),
        place = CASE WHEN excluded.place_at > place_at THEN excluded.place ELSE place END,
        place_at = max(excluded.place_at, place_at)
"""


class _Person(msgspec.Struct, frozen=True, array_like=True):
    given_name: str | None = None
    surname: str | None = None
    email: str | None = None
    phone: str | None = None


class _Place(msgspec.Struct, frozen=True, array_like=True):
    address: str | None = None
    address2: str | None = None
    city: str | None = None
    state: str | None = None
    postal: str | None = None
    country: str | None = None


def _stored(row: CustomerRow) -> tuple[str, str, bytes, str, bytes]:
    person = _Person(row.given_name, row.surname, row.email, row.phone)
    place = _Place(row.address, row.address2, row.city, row.state, row.postal, row.country)
    local = row.modified_at_local
    return (
        row.customer_id,
        NOTHING_KNOWN_AT if person == _Person() else row.modified_at,
        msgspec.msgpack.encode((person, local)),
        NOTHING_KNOWN_AT if place == _Place() else row.modified_at,
        msgspec.msgpack.encode((place, local)),
    )


def _merged(stored: tuple[str, str, bytes, str, bytes]) -> CustomerRow:
    key, person_at, person_bytes, place_at, place_bytes = stored
    person, person_local = msgspec.msgpack.decode(person_bytes, type=tuple[_Person, str])
    place, place_local = msgspec.msgpack.decode(place_bytes, type=tuple[_Place, str])
    local = person_local if person_at >= place_at else place_local
    modified_at = max(person_at, place_at)
    return CustomerRow(
        customer_id=key,
        fk_customer=key,
        given_name=person.given_name,
        surname=person.surname,
        email=person.email,
        phone=person.phone,
        address=place.address,
        address2=place.address2,
        city=place.city,
        state=place.state,
        postal=place.postal,
        country=place.country,
        modified_at=modified_at,
        modified_at_local=NOTHING_KNOWN_AT if modified_at == NOTHING_KNOWN_AT else local,
    )


def _filled(value: str | None) -> str | None:
    return (value.strip() or None) if value else None
