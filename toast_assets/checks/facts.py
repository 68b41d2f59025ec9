"""Facts of raw orders, restaurant by restaurant: what the asset checks need of them, read in one go.

They hold counts and sums, order GUIDs and field names, and nothing of any guest. What can only warn never ends the
reading of what can stop a delivery: an order whose fields cannot be looked at, or whose amounts cannot be added up, is
counted there.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from toast_assets.checks.amounts import SUMS, AmountsOrder, UnreadableAmountsError, read_amounts
from toast_assets.checks.drift import Drift, FieldObserver
from toast_assets.checks.names import shown_value
from toast_assets.markdown import plain
from toast_assets.orders.known_fields import known_fields
from toast_assets.orders.raw_file import OrderRows, read_rows, repeated_guids

MOST_NAMED = 20
# An open list of Toast's: what comes after that many is one channel.
_MOST_CHANNELS = 30
_OTHER_CHANNELS = "(other channels)"
_MODULUS = 1 << 128


class Reach(msgspec.Struct, frozen=True):
    """Orders of one channel: all, those that name a guest, and those with an e-mail or phone."""

    orders: int
    with_guest: int
    reachable: int


class RestaurantFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What one restaurant's raw orders say. ``repeated`` and ``outside`` name the first orders of their kind.

    ``amounts`` are decimals in currency units as text, by name (``SUMS``); ``unreadable`` orders are in none of them.
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


class FactsReader:
    """Reads the orders of one restaurant after the other. Times in a week are milliseconds since 1970, UTC."""

    def __init__(self, start_ms: int, end_ms: int) -> None:
        self._week = (start_ms, end_ms)
        self._observer = FieldObserver()
        self._failure: str | None = None
        self._hashes: dict[str, array[int]] = {}

    def read(self, restaurant_guid: str, path: Path) -> RestaurantFacts:
        """The facts of the orders in the raw file at ``path``."""
        reading = _Reading(*self._week, repeated_guids(path))
        hashes, guests = array("q"), _Guests()
        for rows in read_rows(path):
            orders = reading.add(rows)
            hashes.extend(map(_hash, rows.guids))
            self._report(rows.bodies, orders, guests)
        self._hashes[restaurant_guid] = hashes
        return reading.facts(guests.channels())

    def drift(self) -> Drift | str:
        """How all orders that were read differ from the recorded schema, or the kind of error that ended the look."""
        return self._failure or self._observer.drift()

    def _report(self, bodies: Iterable[bytes], orders: Iterable[AmountsOrder], guests: _Guests) -> None:
        """What no delivery depends on."""
        if self._failure is not None:
            return
        try:
            self._observer.add(bodies)
            guests.add(orders)
        except Exception as error:  # noqa: BLE001 - reports that can only warn; their checks say so
            self._failure = type(error).__name__

    def shared(self) -> Shared:
        """Orders that several of the restaurants have."""
        arrays = [pc.unique(pa.array(hashes, pa.int64())) for hashes in self._hashes.values()]
        counts = pa.concat_arrays(arrays or [pa.array([], pa.int64())]).value_counts()
        several = counts.filter(pc.greater(counts.field("counts"), 1)).field("values")
        first = several.slice(0, MOST_NAMED)
        holders = [guid for guid, of_one in zip(self._hashes, arrays, strict=True) if _any_in(first, of_one)]
        return Shared(len(several), frozenset(first.to_pylist()), tuple(holders))


@dataclass(frozen=True)
class Shared:
    """How many orders stand at several restaurants, and of the first of them the hashes and the restaurants."""

    orders: int
    hashes: frozenset[int]
    restaurants: tuple[str, ...]

    def among(self, order_guids: Iterable[str]) -> Iterator[str]:
        """Those of ``order_guids`` that are meant, in one spelling."""
        return (guid.lower() for guid in order_guids if _hash(guid) in self.hashes)


def _hash(guid: str) -> int:
    # Eight bytes an order, so that a week of millions fits; GUIDs compare without case.
    return hash(guid.lower())


def _any_in(values: pa.Array, among: pa.Array) -> bool:
    return bool(pc.any(pc.is_in(values, among)).as_py())


def versions_digest(versions: Mapping[str, str]) -> str:
    """Stands for order GUIDs in Toast's versions of them (``version_of``), whatever their order."""
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
    _amounts: list[Decimal] = field(default_factory=lambda: [Decimal(0)] * len(SUMS))
    _versions: _VersionsDigest = field(default_factory=_VersionsDigest)

    def add(self, rows: OrderRows) -> list[AmountsOrder]:
        """Count the orders; those whose amounts can be added up are returned."""
        self.orders += len(rows.guids)
        self._place(rows)
        for guid, version in zip(rows.guids, rows.versions, strict=True):
            self._versions.add(guid, version)
        return self._read(rows.bodies)

    def _place(self, rows: OrderRows) -> None:
        for guid, modified_ms in zip(rows.guids, rows.modified_ms, strict=True):
            if not self.start_ms <= modified_ms < self.end_ms:
                self.strays += 1
                self.outside += [guid][: MOST_NAMED - len(self.outside)]

    def _read(self, bodies: Iterable[bytes]) -> list[AmountsOrder]:
        orders: list[AmountsOrder] = []
        added: list[tuple[Decimal, ...]] = [tuple(self._amounts)]
        for body in bodies:
            try:
                order, amounts = read_amounts(body)
            except UnreadableAmountsError:
                self.unreadable += 1
                continue
            orders.append(order)
            added.append(amounts)
        self._amounts = [sum(column, Decimal(0)) for column in zip(*added, strict=True)]
        return orders

    def facts(self, channels: dict[str, Reach]) -> RestaurantFacts:
        return RestaurantFacts(
            orders=self.orders,
            repeats=len(self.repeated),
            repeated=tuple(map(plain, self.repeated[:MOST_NAMED])),
            strays=self.strays,
            outside=tuple(map(plain, self.outside)),
            unreadable=self.unreadable,
            amounts={name: str(amount) for name, amount in zip(SUMS, self._amounts, strict=True)},
            versions=self._versions.text,
            channels=channels,
        )


class _Guests:
    """How many of a restaurant's orders name a guest, by channel."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, bool, bool]] = Counter()
        self._met: set[str] = set()

    def add(self, orders: Iterable[AmountsOrder]) -> None:
        for order in orders:
            self._counts[self._shown(order.channel), order.names_guest, order.is_reachable] += 1

    def channels(self) -> dict[str, Reach]:
        counts: dict[str, list[int]] = {}
        for (channel, named, reachable), orders in sorted(self._counts.items()):
            of_channel = counts.setdefault(channel, [0, 0, 0])
            of_channel[0] += orders
            of_channel[1] += orders * named
            of_channel[2] += orders * reachable
        return {channel: Reach(*of_channel) for channel, of_channel in counts.items()}

    def _shown(self, channel: str) -> str:
        """The channel; where it is none that Toast is known for, only if it cannot be a guest's data."""
        shown = channel if channel in _known_channels() else shown_value(channel)
        if shown not in self._met and len(self._met) >= _MOST_CHANNELS:
            return _OTHER_CHANNELS
        self._met.add(shown)
        return shown


@cache
def _known_channels() -> frozenset[str]:
    values = known_fields().values
    return values.get("source", frozenset()) | values.get("diningOption.behavior", frozenset())
