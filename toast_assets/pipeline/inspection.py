"""One reading of a week's raw orders for all asset checks that need more than the manifest.

The result is kept beside the orders with the version of the data it was made from, so that the first check to ask pays
for it and the others do not, and it is made again once an order changed. It holds counts and sums, order GUIDs and
field names, and nothing of any guest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

import msgspec

from toast_assets.amperity.records import order_version
from toast_assets.orders.raw import RawOrder, readable
from toast_assets.pipeline.known_shape import DriftWatch
from toast_assets.pipeline.raw_amounts import AMOUNTS, AmountsOrder, amounts, decode_amounts
from toast_assets.pipeline.raw_files import raw_files
from toast_assets.store.manifest import Manifest
from toast_assets.store.order_store import OrderStore
from toast_assets.week import Week

# Changes when the same orders would give another result.
_FORM = 1
_MOST_NAMED = 20
_LONGEST_TEXT = 60
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


class DriftFinding(msgspec.Struct, frozen=True):
    """One difference from the recorded schema: ``kind`` is new field, new value or vanished field."""

    kind: str
    path: str
    value: str | None
    first_order: str | None


class Inspection(msgspec.Struct, frozen=True, kw_only=True):
    """All facts of a week, by restaurant, and the drift over all of them."""

    form: int
    data_version: str
    restaurants: dict[str, RestaurantFacts]
    drift: tuple[DriftFinding, ...]


def inspection_of(week: Week, manifest: Manifest, store: OrderStore) -> Inspection:
    """The week's inspection: the stored one if it is of these very orders, else a new one, which is stored.

    Raises:
        ExportError: raw orders and manifest do not belong together.
        StoreError: the bucket is missing or refuses access.
    """
    key = store.layout.inspection(week)
    found = store.bucket.read(key)
    if found is not None:
        try:
            known = msgspec.json.decode(found[0], type=Inspection)
        except msgspec.DecodeError:
            known = None
        if known is not None and (known.form, known.data_version) == (_FORM, manifest.data_version):
            return known
    made = _inspect(week, manifest, store)
    store.bucket.write(
        key, msgspec.json.format(msgspec.json.encode(made), indent=1) + b"\n", ContentType="application/json"
    )
    return made


def versions_digest(versions: Mapping[str, str]) -> str:
    """Stands for order GUIDs in their versions (``order_version``), whatever their order."""
    digest = _VersionsDigest()
    for guid, version in versions.items():
        digest.add(guid, version)
    return digest.text


def _inspect(week: Week, manifest: Manifest, store: OrderStore) -> Inspection:
    watch = DriftWatch()
    restaurants = {}
    for file in raw_files(week, manifest.restaurants, store):
        reading = _Reading(week)
        for order in file.orders():
            watch.add(order.body)
            reading.add(order)
        restaurants[file.guid] = reading.facts()
    return Inspection(
        form=_FORM, data_version=manifest.data_version, restaurants=restaurants, drift=tuple(_findings(watch))
    )


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

    week: Week
    orders: int = 0
    repeated: list[str] = field(default_factory=list)
    repeats: int = 0
    outside: list[str] = field(default_factory=list)
    strays: int = 0
    unreadable: int = 0
    _seen: set[str] = field(default_factory=set)
    _amounts: list[Decimal] = field(default_factory=lambda: [Decimal(0)] * len(AMOUNTS))
    _versions: _VersionsDigest = field(default_factory=_VersionsDigest)
    _channels: dict[str, list[int]] = field(default_factory=dict)

    def add(self, order: RawOrder) -> None:
        self.orders += 1
        self._versions.add(order.guid, order_version(order))
        if order.guid in self._seen:
            self.repeats += 1
            self.repeated += [order.guid][: _MOST_NAMED - len(self.repeated)]
        self._seen.add(order.guid)
        if not self.week.start_ms <= order.modified_ms < self.week.end_ms:
            self.strays += 1
            self.outside += [order.guid][: _MOST_NAMED - len(self.outside)]
        try:
            read = decode_amounts(readable(order.body))
            added = amounts(read)
        except (msgspec.DecodeError, ArithmeticError, RecursionError):
            self.unreadable += 1
            return
        self._amounts = [total + amount for total, amount in zip(self._amounts, added, strict=True)]
        self._reach(read)

    def _reach(self, order: AmountsOrder) -> None:
        counts = self._channels.setdefault(order.channel[:_LONGEST_TEXT], [0, 0, 0])
        contacts = order.contacts
        counts[0] += 1
        counts[1] += bool(contacts)
        counts[2] += any(contact.email or contact.phone for contact in contacts)

    def facts(self) -> RestaurantFacts:
        return RestaurantFacts(
            orders=self.orders,
            repeats=self.repeats,
            repeated=tuple(self.repeated),
            strays=self.strays,
            outside=tuple(self.outside),
            unreadable=self.unreadable,
            amounts={name: str(amount) for name, amount in zip(AMOUNTS, self._amounts, strict=True)},
            versions=self._versions.text,
            channels={name: Reach(*counts) for name, counts in sorted(self._channels.items())},
        )


def _findings(watch: DriftWatch) -> list[DriftFinding]:
    drift = watch.drift()
    found = [DriftFinding("new field", path, None, first) for path, first in drift.new_fields.items()]
    for (path, value), first in drift.new_values.items():
        found.append(DriftFinding("new value", path, value[:_LONGEST_TEXT], first))
    found += [DriftFinding("vanished field", path, None, first) for path, first in drift.vanished_fields.items()]
    return found
