"""Facts of a week's raw orders: what the asset checks need, out of one reading of every restaurant's file.

They hold counts and sums, order GUIDs and field names, and nothing of any guest; their size has a bound per restaurant.
They are stored with the version of their data, and made again once an order changed. What can only warn never ends the
reading of what can stop a delivery.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from toast_assets.checks.amounts import SUMS, UnreadableAmountsError, read_amounts
from toast_assets.checks.drift import DriftDetector, DriftFinding, decoded, shown_value
from toast_assets.errors import StoreConflictError
from toast_assets.markdown import plain
from toast_assets.orders.model import known_fields
from toast_assets.orders.raw_file import read_groups
from toast_assets.store.bucket import ABSENT
from toast_assets.store.manifest import Manifest
from toast_assets.store.order_store import OrderStore
from toast_assets.store.raw_weeks import manifest_mismatch, one_restaurant, raw_files, reading_raw
from toast_assets.week import Week

MOST_NAMED = 20
# Changes when the same orders would give other facts.
_FORM = 5
# An open list of Toast's: what comes after that many is one channel.
_MOST_CHANNELS = 30
_OTHER_CHANNELS = "(other channels)"
_Made = TypeVar("_Made")
_SHARED = """
SELECT guid, group_concat(DISTINCT restaurant) FROM orders GROUP BY guid
HAVING count(DISTINCT restaurant) > 1 ORDER BY guid
"""


class GuestCoverage(msgspec.Struct, frozen=True):
    """Orders of one channel: all, those that name a guest, and those with an e-mail or phone."""

    orders: int
    with_guest: int
    reachable: int


class RestaurantFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What one restaurant's raw orders say.

    ``repeats`` counts orders that the file holds once more, ``outside_week`` those modified at another time.
    ``amounts`` are decimals in currency units as text, by name (``SUMS``). ``versions`` is the ``versions_digest``.
    """

    orders: int
    repeats: int
    first_repeated: tuple[str, ...]
    outside_week: int
    first_outside: tuple[str, ...]
    amounts: dict[str, str]
    versions: str
    channels: dict[str, GuestCoverage]


class SharedOrder(msgspec.Struct, frozen=True):
    """An order GUID that several restaurants have."""

    order_guid: str
    restaurants: tuple[str, ...]


class WeekFacts(msgspec.Struct, frozen=True, kw_only=True):
    """All facts of a week, by restaurant, and the drift over all of them.

    ``damaged`` are restaurants whose raw orders cannot be read, each with the reason: they have no facts.
    ``reports_failure`` is the kind of error that ended the look at fields and guests; then there is no ``drift``, and
    ``channels`` are not complete. ``shared_orders`` counts orders of several restaurants, ``shared`` has the first.
    """

    form: int
    data_version: str
    restaurants: dict[str, RestaurantFacts]
    damaged: dict[str, str] = {}
    drift: tuple[DriftFinding, ...] = ()
    reports_failure: str | None = None
    shared_orders: int = 0
    shared: tuple[SharedOrder, ...] = ()


class _Stored(msgspec.Struct, frozen=True):
    """The object in the bucket; ``sha256`` is over the bytes of the facts, so that every damage is noticed."""

    sha256: str
    facts: msgspec.Raw


def week_facts(week: Week, manifest: Manifest, store: OrderStore) -> WeekFacts:
    """The week's facts: the stored ones if they are of these very orders, else new ones, which are stored.

    Facts with ``damaged`` restaurants are not stored: their files may be restored without a change of the manifest.

    Raises:
        StoreError: the bucket is missing or refuses access.
    """
    key = store.layout.inspection(week)
    found = store.bucket.read(key)
    known = _stored_facts(found[0]) if found is not None else None
    if known is not None and (known.form, known.data_version) == (_FORM, manifest.data_version):
        return known
    with closing(sqlite3.connect("")) as orders:
        facts = _WeekReader(week, manifest, store, orders).read()
    if not facts.damaged:
        body = msgspec.json.encode(facts)
        stored = msgspec.json.encode(_Stored(hashlib.sha256(body).hexdigest(), msgspec.Raw(body))) + b"\n"
        # Another run that wrote them in the meantime looked at the same orders, or at newer ones.
        with suppress(StoreConflictError):
            replaces = found[1] if found is not None else ABSENT
            store.bucket.write(key, stored, replaces=replaces, ContentType="application/json")
    return facts


def _stored_facts(body: bytes) -> WeekFacts | None:
    """The facts in a stored object; None where it is damaged or of another form: they can be made again."""
    try:
        stored = msgspec.json.decode(body, type=_Stored)
        if hashlib.sha256(stored.facts).hexdigest() != stored.sha256:
            return None
        return msgspec.json.decode(stored.facts, type=WeekFacts)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def versions_digest(versions: Iterable[tuple[str, str]], others: str = "0") -> str:
    """Stands for order GUIDs in Toast's versions of them (``version_of``), whatever their sequence; with ``others``
    for those of that digest, too."""
    digests = (hashlib.sha256(f"{guid}\n{version}".encode()).digest() for guid, version in versions)
    total = sum((int.from_bytes(digest[:16]) for digest in digests), int(others, 16))
    return f"{total % (1 << 128):032x}"


@dataclass
class _WeekReader:
    """Reads the orders of one restaurant after the other. Which GUIDs are where is kept on disk, so that memory does
    not grow with the week."""

    week: Week
    manifest: Manifest
    store: OrderStore
    orders: sqlite3.Connection
    drift: DriftDetector = field(default_factory=DriftDetector)
    failure: str | None = None

    def read(self) -> WeekFacts:
        self.orders.execute("CREATE TABLE orders (guid TEXT, restaurant TEXT)")
        restaurants: dict[str, RestaurantFacts] = {}
        damaged: dict[str, str] = {}
        for file in raw_files(self.week, self.manifest.restaurants, self.store, damaged):
            with one_restaurant(file.guid, damaged, self.store), reading_raw(self.week, file.guid, self.store):
                facts = self._restaurant(file.guid, file.path)
                if facts.orders != file.pull.orders:
                    raise manifest_mismatch(self.week, file.guid, self.store)
                restaurants[file.guid] = facts
        self.orders.executemany("DELETE FROM orders WHERE restaurant = ?", ((guid,) for guid in damaged))
        shared = self.orders.execute(_SHARED).fetchall()
        drift = self._report(self.drift.findings) or ()
        return WeekFacts(
            form=_FORM,
            data_version=self.manifest.data_version,
            restaurants=restaurants,
            damaged=damaged,
            drift=() if self.failure else drift,
            reports_failure=self.failure,
            shared_orders=len(shared),
            shared=tuple(
                SharedOrder(plain(guid), tuple(sorted(holders.split(","))[:MOST_NAMED]))
                for guid, holders in shared[:MOST_NAMED]
            ),
        )

    def _report(self, work: Callable[..., _Made], *given: Any) -> _Made | None:
        """What no delivery depends on: an error in it is for the checks that can only warn."""
        try:
            return work(*given)
        except Exception as error:  # noqa: BLE001 - their checks say so
            self.failure = type(error).__name__
            return None

    def _restaurant(self, restaurant_guid: str, path: Path) -> RestaurantFacts:
        guids, outside = Counter[str](), list[str]()
        orders, outside_week, versions = 0, 0, versions_digest(())
        inside = range(self.week.start_ms, self.week.end_ms)
        sums = [Decimal(0)] * len(SUMS)
        channels: dict[str, list[int]] = {}
        for group in read_groups(path):
            orders += len(group)
            guids.update(order.guid for order in group)
            strangers = [order.guid for order in group if order.modified_ms not in inside]
            outside_week += len(strangers)
            outside += strangers[: MOST_NAMED - len(outside)]
            versions = versions_digest(((order.guid, order.version) for order in group), versions)
            # GUIDs compare without case.
            holders = ((order.guid.lower(), restaurant_guid) for order in group)
            self.orders.executemany("INSERT INTO orders VALUES (?, ?)", holders)
            for order in (decoded(one.body) for one in group):
                self._report(self.drift.add, order)
                with suppress(UnreadableAmountsError):
                    sums = [total + amount for total, amount in zip(sums, read_amounts(order), strict=True)]
                    self._report(_count_guests, order, channels)
        repeated = list((guids - Counter(guids.keys())).elements())
        return RestaurantFacts(
            orders=orders,
            repeats=len(repeated),
            first_repeated=tuple(map(plain, repeated[:MOST_NAMED])),
            outside_week=outside_week,
            first_outside=tuple(map(plain, outside)),
            amounts={name: str(amount) for name, amount in zip(SUMS, sums, strict=True)},
            versions=versions,
            channels={channel: GuestCoverage(*counts) for channel, counts in sorted(channels.items())},
        )


def _count_guests(order: Mapping[str, Any], channels: dict[str, list[int]]) -> None:
    guests = [guest for check in order.get("checks") or () if isinstance(guest := check.get("customer"), dict)]
    channel, values = _channel(order), known_fields().values
    if channel not in values["source"] and channel not in values["diningOption.behavior"]:
        # What Toast is not known for is shown only if it cannot be a guest's data.
        channel = shown_value(channel)
    if channel not in channels and len(channels) >= _MOST_CHANNELS:
        channel = _OTHER_CHANNELS
    counts = channels.setdefault(channel, [0, 0, 0])
    counts[0] += 1
    counts[1] += bool(guests)
    counts[2] += any(guest.get("email") or guest.get("phone") for guest in guests)


def _channel(order: Mapping[str, Any]) -> str:
    """DELIVERY, TAKE_OUT or DINE_IN where the order says so, else its source, as in ``Online``: Toast's text."""
    option = order.get("diningOption")
    option = option if isinstance(option, dict) else order.get("dining")
    behavior = option.get("behavior") if isinstance(option, dict) else None
    if isinstance(behavior, str) and behavior:
        return behavior
    if isinstance(order.get("deliveryInfo"), dict):
        return "DELIVERY"
    if isinstance(order.get("curbsidePickupInfo"), dict):
        return "TAKE_OUT"
    source = order.get("source")
    return source if isinstance(source, str) and source else "Unknown"
