"""Facts of raw orders, restaurant by restaurant: what the asset checks need of them, read in one go.

They hold counts and sums, order GUIDs and field names, and nothing of any guest.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import msgspec

from toast_assets.amperity.records import record_version
from toast_assets.orders.files import OrderRows, read_rows, repeated_guids
from toast_assets.orders.raw import readable
from toast_assets.pipeline.known_shape import DriftWatch
from toast_assets.pipeline.raw_amounts import AMOUNTS, amounts, decode_amounts
from toast_assets.tables.drift import SeenFields

_MOST_NAMED = 20
LONGEST_TEXT = 60
_MODULUS = 1 << 128


class Reach(msgspec.Struct, frozen=True):
    """Orders of one channel: all, those that name a guest, and those with an e-mail or phone."""

    orders: int
    with_guest: int
    reachable: int


class RestaurantFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What one restaurant's raw orders say. ``repeated`` and ``outside`` name the first orders of their kind.

    ``amounts`` are decimals in currency units as text, by name; ``unreadable`` orders are in none of them.
    ``versions`` stands for all orders in their versions, whatever their order.
    """

    orders: int
    repeats: int
    repeated: tuple[str, ...]
    strays: int
    outside: tuple[str, ...]
    unreadable: int
    amounts: dict[str, str]
    versions: str
    channels: dict[str, Reach]


class OrderFacts(msgspec.Struct, frozen=True):
    """Facts of several restaurants' orders, by restaurant, and of what all these orders had that can be drift."""

    restaurants: dict[str, RestaurantFacts]
    seen: SeenFields

    def and_then(self, later: OrderFacts) -> OrderFacts:
        """Facts of these restaurants, and after them of those of ``later``."""
        return OrderFacts(self.restaurants | later.restaurants, self.seen.and_then(later.seen))


class FactsReader:
    """Reads the orders of one restaurant after the other. Times in a week are milliseconds since 1970, UTC."""

    def __init__(self, start_ms: int, end_ms: int) -> None:
        self._week = (start_ms, end_ms)
        self._watch = DriftWatch()
        self._restaurants: dict[str, RestaurantFacts] = {}

    def read(self, restaurant_guid: str, path: Path) -> RestaurantFacts:
        """The facts of the orders in the raw file at ``path``."""
        reading = _Reading(*self._week, repeated_guids(path))
        for rows in read_rows(path):
            self._watch.add(rows.bodies)
            reading.add(rows)
        facts = self._restaurants[restaurant_guid] = reading.facts()
        return facts

    def facts(self) -> OrderFacts:
        """The facts of all restaurants that were read."""
        return OrderFacts(self._restaurants, self._watch.seen())


def versions_digest(versions: Mapping[str, str]) -> str:
    """Stands for order GUIDs in their versions (``order_version``), whatever their order."""
    digest = _VersionsDigest()
    for guid, version in versions.items():
        digest.add(guid, version)
    return digest.text


class _VersionsDigest:
    """A sum of hashes: the same for the same set of versions, without holding them."""

    def __init__(self) -> None:
        self._sum = 0

    def add(self, guid: str, version: str) -> None:
        digest = hashlib.sha256(f"{guid}\n{version}".encode()).digest()
        self._sum = (self._sum + int.from_bytes(digest[:16])) % _MODULUS

    @property
    def text(self) -> str:
        return f"{self._sum:032x}"


@dataclass
class _Reading:
    """One restaurant under way."""

    start_ms: int
    end_ms: int
    repeated: Sequence[str]
    orders: int = 0
    outside: list[str] = field(default_factory=list)
    strays: int = 0
    unreadable: int = 0
    _amounts: list[Decimal] = field(default_factory=lambda: [Decimal(0)] * len(AMOUNTS))
    _versions: _VersionsDigest = field(default_factory=_VersionsDigest)
    _guests: Counter[tuple[str, bool, bool]] = field(default_factory=Counter)

    def add(self, rows: OrderRows) -> None:
        self.orders += len(rows.guids)
        self._place(rows)
        for guid, modified_ms, body in zip(rows.guids, rows.modified_ms, rows.bodies, strict=True):
            self._versions.add(guid, record_version(modified_ms, body))
        self._read(rows.bodies)

    def _place(self, rows: OrderRows) -> None:
        for guid, modified_ms in zip(rows.guids, rows.modified_ms, strict=True):
            if not self.start_ms <= modified_ms < self.end_ms:
                self.strays += 1
                self.outside += [guid][: _MOST_NAMED - len(self.outside)]

    def _read(self, bodies: Iterable[bytes]) -> None:
        added: list[tuple[Decimal, ...]] = [tuple(self._amounts)]
        for body in bodies:
            try:
                order = decode_amounts(readable(body))
                added.append(amounts(order))
            except (msgspec.DecodeError, ArithmeticError, RecursionError):
                self.unreadable += 1
                continue
            contacts = order.contacts
            reachable = any(contact.email or contact.phone for contact in contacts)
            self._guests[order.channel, bool(contacts), reachable] += 1
        self._amounts = [sum(column, Decimal(0)) for column in zip(*added, strict=True)]

    def _channels(self) -> dict[str, Reach]:
        counts: dict[str, list[int]] = {}
        for (channel, named, reachable), orders in sorted(self._guests.items()):
            of_channel = counts.setdefault(channel[:LONGEST_TEXT], [0, 0, 0])
            of_channel[0] += orders
            of_channel[1] += orders * named
            of_channel[2] += orders * reachable
        return {channel: Reach(*of_channel) for channel, of_channel in counts.items()}

    def facts(self) -> RestaurantFacts:
        return RestaurantFacts(
            orders=self.orders,
            repeats=len(self.repeated),
            repeated=tuple(self.repeated[:_MOST_NAMED]),
            strays=self.strays,
            outside=tuple(self.outside),
            unreadable=self.unreadable,
            amounts={name: str(amount) for name, amount in zip(AMOUNTS, self._amounts, strict=True)},
            versions=self._versions.text,
            channels=self._channels(),
        )
