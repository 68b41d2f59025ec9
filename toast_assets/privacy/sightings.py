"""Finds all that belongs to a guest: by GUID, e-mail and phone, from one to the other, over the whole bucket.

An order can name a guest by GUID alone, another one by e-mail and phone without a GUID. All namings are collected in a
temporary database on disk, so that memory does not grow with their number.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, replace

from toast_assets.orders.guests import guest_key
from toast_assets.orders.identity import key_trait
from toast_assets.orders.model import Customer
from toast_assets.orders.scrub import Guest

# An e-mail or phone of more guests than this is nobody's own: a family's at most, else a placeholder of the staff's.
_MOST_GUESTS = 4


@dataclass(frozen=True)
class Found:
    """A guest's ``traits``, orders, checks and keys, as traits, too; ``shared`` contacts were not followed. ``unseen``
    traits were given, and no order names them."""

    traits: frozenset[str]
    orders: frozenset[str]
    checks: frozenset[str]
    keys: frozenset[str]
    shared: int
    unseen: frozenset[str] = frozenset()

    @property
    def everything(self) -> frozenset[str]:
        """All that is to be remembered."""
        return self.traits | self.orders | self.checks | self.keys


class Sightings:
    """Who was named where."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("", check_same_thread=False)
        self._database.executescript(_CREATE)
        self._number = 0

    def __enter__(self) -> Sightings:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def add(self, guests: Iterable[Guest]) -> None:
        """Takes in what one order says."""
        for guest in guests:
            self._number += 1
            customer = guest.customer
            key = guest_key(
                Customer(
                    guid=_text(customer.guid),
                    email=_text(customer.email),
                    phone=_text(customer.phone),
                    phone_country_code=_text(customer.phoneCountryCode),
                )
            )
            row = (self._number, f"o:{guest.order_guid}", f"c:{guest.check_guid}", key_trait(key) if key else None)
            self._database.execute("INSERT INTO places VALUES (?, ?, ?, ?)", row)
            rows = ((trait, self._number) for trait in guest.traits)
            self._database.executemany("INSERT INTO traits VALUES (?, ?)", rows)

    def of(self, given: Iterable[str]) -> Found:
        """Everything that hangs together with the traits that were ``given``."""
        self._database.execute("CREATE INDEX IF NOT EXISTS by_trait ON traits (trait)")
        self._database.execute("CREATE INDEX IF NOT EXISTS by_place ON traits (place)")
        known, waiting, places, shared = set(given), list(given), set[int](), set[str]()
        while waiting:
            trait = waiting.pop()
            mine = self._places(trait)
            places.update(mine)
            others = {one for place in mine for one in self._traits(place)} - known
            if self._guests(trait) > _MOST_GUESTS:
                # Given by name, so its namings go; but it leads to strangers.
                continue
            followed = {one for one in others if one.startswith("g:") or self._guests(one) <= _MOST_GUESTS}
            shared |= others - followed
            known |= followed
            waiting += followed
        unseen = frozenset(trait for trait in given if not self._places(trait))
        return replace(self._found(frozenset(known), places, len(shared)), unseen=unseen)

    def _found(self, known: frozenset[str], places: set[int], shared: int) -> Found:
        rows = [self._database.execute("SELECT * FROM places WHERE number = ?", (one,)).fetchone() for one in places]
        orders, checks = frozenset(row[1] for row in rows), frozenset(row[2] for row in rows)
        keys = frozenset(row[3] for row in rows if row[3]) | {key_trait(one[2:]) for one in known if one[:2] == "g:"}
        return Found(known, orders, checks, keys, shared)

    def _places(self, trait: str) -> list[int]:
        return [row[0] for row in self._database.execute("SELECT place FROM traits WHERE trait = ?", (trait,))]

    def _guests(self, trait: str) -> int:
        return int(self._database.execute(_GUESTS, (trait,)).fetchone()[0])

    def _traits(self, place: int) -> list[str]:
        return [row[0] for row in self._database.execute("SELECT trait FROM traits WHERE place = ?", (place,))]


_GUESTS = """
    SELECT count(DISTINCT guid.trait) FROM traits AS asked JOIN traits AS guid USING (place)
    WHERE asked.trait = ? AND guid.trait >= 'g:' AND guid.trait < 'g;'
"""
_CREATE = """
    PRAGMA journal_mode = OFF;
    PRAGMA synchronous = OFF;
    CREATE TABLE places (number INTEGER PRIMARY KEY, order_guid TEXT, check_guid TEXT, guest_key TEXT);
    CREATE TABLE traits (trait TEXT, place INTEGER);
"""


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
