"""Facts of a week's raw orders: what the asset checks need, out of one reading of every restaurant's file.

They hold counts and sums, order GUIDs and field names, and nothing of any guest; their size has a bound per restaurant.
They are stored with the versions of their data, and made again once an order or a name changed. What can only warn
never ends the reading of what can stop a delivery.

Which fields orders have is stored beside them, in an object whose size does not grow with the number of restaurants,
because a check reads those of all earlier weeks.
"""

from __future__ import annotations

import hashlib
import logging
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from toast_assets.checks.amounts import SUMS, UnreadableAmountsError, read_amounts
from toast_assets.checks.drift import (
    FIELDS_FORM,
    FieldCollector,
    FieldHistory,
    FieldRecord,
    Fields,
    WeekFields,
    decoded,
)
from toast_assets.errors import StoreConflictError, StoreError
from toast_assets.markdown import plain
from toast_assets.orders.model import known_fields
from toast_assets.orders.names import NO_NAMES, Names, references
from toast_assets.orders.raw_file import read_groups
from toast_assets.orders.shown import shown_value
from toast_assets.scratch import scratch_folder
from toast_assets.store.bucket import ABSENT, Version
from toast_assets.store.client import CALLS_AT_ONCE
from toast_assets.store.layout import week_in
from toast_assets.store.manifest import Manifest
from toast_assets.store.order_store import OrderStore
from toast_assets.store.raw_weeks import manifest_mismatch, one_restaurant, raw_files, reading_raw
from toast_assets.tables.names import StoredNames, names_version
from toast_assets.week import Week

MOST_NAMED = 20
# Changes when the same orders would give other facts.
_FORM = 8
# An open list of Toast's: what comes after that many is one channel.
_MOST_CHANNELS = 30
_OTHER_CHANNELS = "(other channels)"
# Of a restaurant's week: far more than a configuration has.
_MOST_REFERENCES = 50_000
_LOG = logging.getLogger(__name__)
_Made = TypeVar("_Made")
_SHARED = """
SELECT guid, group_concat(DISTINCT restaurant) FROM orders GROUP BY guid
HAVING count(DISTINCT restaurant) > 1 ORDER BY guid
"""


class GuestCoverage(msgspec.Struct, frozen=True):
    """Orders of one channel: all, those that name a guest, those with an e-mail or phone, and those whose channel is
    certain: Toast's configuration has the behavior of their dining option."""

    orders: int
    with_guest: int
    reachable: int
    certain: int


class NameCoverage(msgspec.Struct, frozen=True):
    """Distinct GUIDs of one kind that orders refer to: all, and those without a name."""

    guids: int
    without_name: int


class RestaurantFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What one restaurant's raw orders say.

    ``repeats`` counts orders that the file holds once more, ``outside_week`` those modified at another time, by up to
    ``farthest_outside_ms`` milliseconds before its first or after its last one.
    ``amounts`` are decimals in currency units as text, by name (``SUMS``). ``versions`` is the ``versions_digest``.
    ``names`` are by kind (``dining_option``, …); of more than 50,000 GUIDs they count the first ones.
    """

    orders: int
    repeats: int
    first_repeated: tuple[str, ...]
    outside_week: int
    farthest_outside_ms: int
    first_outside: tuple[str, ...]
    amounts: dict[str, str]
    versions: str
    channels: dict[str, GuestCoverage]
    names: dict[str, NameCoverage]


class SharedOrder(msgspec.Struct, frozen=True):
    """An order GUID that several restaurants have."""

    order_guid: str
    restaurants: tuple[str, ...]


class WeekFacts(msgspec.Struct, frozen=True, kw_only=True):
    """All facts of a week, by restaurant, and the fields of all of them.

    ``damaged`` are restaurants whose raw orders cannot be read, each with the reason: they have no facts.
    ``names_version`` is empty where no names are stored, ``names_failure`` says why stored names cannot be read.
    ``reports_failure`` is the kind of error that ended the look at fields, names and guests; then there are no
    ``fields``, and ``channels`` and ``names`` are not complete. ``shared_orders`` counts orders of several restaurants,
    ``shared`` has the first. ``fields`` are stored apart: facts that were stored have none (``week_fields``).
    """

    form: int
    data_version: str
    names_version: str = ""
    restaurants: dict[str, RestaurantFacts]
    damaged: dict[str, str] = {}
    fields: dict[str, FieldRecord] = {}
    reports_failure: str | None = None
    names_failure: str | None = None
    shared_orders: int = 0
    shared: tuple[SharedOrder, ...] = ()


class _Stored(msgspec.Struct, frozen=True):
    """An object in the bucket; ``sha256`` is over the bytes of the facts, so that every damage is noticed."""

    sha256: str
    facts: msgspec.Raw


def week_facts(week: Week, manifest: Manifest, store: OrderStore) -> WeekFacts:
    """The week's facts: the stored ones if they are of these very orders and names, else new ones, which are stored.

    Facts with ``damaged`` restaurants or a failure are not stored: what could not be read may be restored as it was.
    Raises StoreError where the bucket is missing or refuses access.
    """
    known = _stored(store.layout.inspection(week), WeekFacts, store)
    names = _names_version(store)
    of_these = (_FORM, manifest.data_version, names)
    if known is not None and (known.form, known.data_version, known.names_version) == of_these:
        return known
    return _read_facts(week, manifest, store, names)


def week_fields(week: Week, manifest: Manifest, store: OrderStore) -> Fields:
    """The fields of the week's orders, as ``week_facts`` gives the facts."""
    known = _stored(store.layout.inspected_fields(week), WeekFields, store)
    if known is not None and (known.form, known.data_version) == (FIELDS_FORM, manifest.data_version):
        return known.fields
    return _read_facts(week, manifest, store, _names_version(store)).fields


def field_history(week: Week, store: OrderStore) -> FieldHistory:
    """The fields of all weeks before, as far as they are stored: one small object for each week."""
    folder, history = store.layout.inspections, FieldHistory()
    weeks = {found: key for key in store.bucket.keys(folder) if (found := week_in(key, folder, ".fields.json"))}
    earlier = [weeks[key] for key in sorted(weeks) if key < week.key]
    with ThreadPoolExecutor(CALLS_AT_ONCE, thread_name_prefix="fields") as threads:
        for known in threads.map(lambda key: _stored(key, WeekFields, store), earlier):
            if known is not None and known.form == FIELDS_FORM:
                history.add(known.fields)
    history.unrecorded = max(0, sum(key < week.key for key in store.pulled_weeks()) - history.weeks)
    return history


def _read_facts(week: Week, manifest: Manifest, store: OrderStore, names: str) -> WeekFacts:
    keys = (store.layout.inspected_fields(week), store.layout.inspection(week))
    before = [info.version if (info := store.bucket.info(key)) else ABSENT for key in keys]
    with scratch_folder() as folder, closing(sqlite3.connect("")) as orders:
        facts = _WeekReader(week, manifest, store, orders, names, StoredNames(store, folder, _LOG)).read()
    if not (facts.damaged or facts.reports_failure or facts.names_failure):
        fields = WeekFields(FIELDS_FORM, facts.data_version, facts.fields)
        stored = (fields, msgspec.structs.replace(facts, fields={}))
        for key, content, replaces in zip(keys, stored, before, strict=True):
            _store(key, content, replaces, store)
    return facts


def _names_version(store: OrderStore) -> str:
    # Names only serve reports, which say so where the bucket refuses them.
    with suppress(StoreError):
        return names_version(store)
    return ""


def _store(key: str, facts: msgspec.Struct, replaces: Version, store: OrderStore) -> None:
    body = msgspec.json.encode(facts)
    stored = msgspec.json.encode(_Stored(hashlib.sha256(body).hexdigest(), msgspec.Raw(body))) + b"\n"
    # Another run that wrote them in the meantime looked at the same orders, or at newer ones.
    with suppress(StoreConflictError):
        store.bucket.write(key, stored, replaces=replaces, ContentType="application/json")


def _stored(key: str, form: type[_Made], store: OrderStore) -> _Made | None:
    """What is stored under the key; None where it is damaged or of another form: it can be made again."""
    found = store.bucket.read(key)
    with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        stored = msgspec.json.decode(found[0], type=_Stored) if found else None
        if stored is not None and hashlib.sha256(stored.facts).hexdigest() == stored.sha256:
            return msgspec.json.decode(stored.facts, type=form)
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
    names_version: str
    names: StoredNames
    fields: FieldCollector = field(default_factory=FieldCollector)
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
        fields = self._report(self.fields.fields) or {}
        return WeekFacts(
            form=_FORM,
            data_version=self.manifest.data_version,
            names_version=self.names_version,
            restaurants=restaurants,
            damaged=damaged,
            fields={} if self.failure else fields,
            reports_failure=self.failure,
            names_failure=self.names.failure,
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
        orders, outside_week, farthest, versions = 0, 0, 0, versions_digest(())
        inside = range(self.week.start_ms, self.week.end_ms)
        sums = [Decimal(0)] * len(SUMS)
        reports = _Reports(self._report(self.names.of, restaurant_guid) or NO_NAMES)
        for group in read_groups(path):
            orders += len(group)
            guids.update(order.guid for order in group)
            strangers = [order for order in group if order.modified_ms not in inside]
            outside_week += len(strangers)
            outside += [order.guid for order in strangers[: MOST_NAMED - len(outside)]]
            for order in strangers:
                farthest = max(farthest, inside[0] - order.modified_ms, order.modified_ms - inside[-1])
            versions = versions_digest(((order.guid, order.version) for order in group), versions)
            # GUIDs compare without case.
            holders = ((order.guid.lower(), restaurant_guid) for order in group)
            self.orders.executemany("INSERT INTO orders VALUES (?, ?)", holders)
            for order in (decoded(one.body) for one in group):
                self._report(self.fields.add, order)
                with suppress(UnreadableAmountsError):
                    sums = [total + amount for total, amount in zip(sums, read_amounts(order), strict=True)]
                    self._report(reports.add, order)
        repeated = list((guids - Counter(guids.keys())).elements())
        return RestaurantFacts(
            orders=orders,
            repeats=len(repeated),
            first_repeated=tuple(map(plain, repeated[:MOST_NAMED])),
            outside_week=outside_week,
            farthest_outside_ms=farthest,
            first_outside=tuple(map(plain, outside)),
            amounts={name: str(amount) for name, amount in zip(SUMS, sums, strict=True)},
            versions=versions,
            channels={channel: GuestCoverage(*counts) for channel, counts in sorted(reports.channels.items())},
            names={kind: NameCoverage(*counts) for kind, counts in sorted(reports.kinds.items())},
        )


class _Reports:
    """Counts guests by channel and names by kind, over the orders of one restaurant."""

    def __init__(self, names: Names) -> None:
        self.channels: dict[str, list[int]] = {}
        self.kinds: dict[str, list[int]] = {}
        self._names = names
        # Hashes: a GUID may be of any length.
        self._seen: set[int] = set()

    def add(self, order: Mapping[str, Any]) -> None:
        """Count an order whose amounts can be read."""
        self._count_guests(order)
        for kind, guid in references(order):
            reference = hash((kind, guid.lower()))
            if reference not in self._seen and len(self._seen) < _MOST_REFERENCES:
                self._seen.add(reference)
                counts = self.kinds.setdefault(kind, [0, 0])
                counts[0] += 1
                counts[1] += self._names.find(kind, guid).name is None

    def _count_guests(self, order: Mapping[str, Any]) -> None:
        guests = [guest for check in order.get("checks") or () if isinstance(guest := check.get("customer"), dict)]
        (channel, is_certain), values = channel_of(order, self._names), known_fields().values
        if channel not in values["source"] and channel not in values["diningOption.behavior"]:
            # What Toast is not known for is shown only if it cannot be a guest's data.
            channel = shown_value(channel)
        if channel not in self.channels and len(self.channels) >= _MOST_CHANNELS:
            channel = _OTHER_CHANNELS
        counts = self.channels.setdefault(channel, [0, 0, 0, 0])
        counts[0] += 1
        counts[1] += bool(guests)
        counts[2] += any(guest.get("email") or guest.get("phone") for guest in guests)
        counts[3] += is_certain


def channel_of(order: Mapping[str, Any], names: Names) -> tuple[str, bool]:
    """DELIVERY, TAKE_OUT or DINE_IN where Toast's configuration (then it is certain) or the order says so, else the
    order's source, as in ``Online``: Toast's text."""
    option = order.get("diningOption")
    option = option if isinstance(option, dict) else order.get("dining")
    option = option if isinstance(option, dict) else {}
    guid, behavior, source = option.get("guid"), option.get("behavior"), order.get("source")
    configured = names.find("dining_option", guid).behavior if isinstance(guid, str) else None
    if configured:
        return configured, True
    if isinstance(behavior, str) and behavior:
        return behavior, False
    if isinstance(order.get("deliveryInfo"), dict):
        return "DELIVERY", False
    if isinstance(order.get("curbsidePickupInfo"), dict):
        return "TAKE_OUT", False
    return (source if isinstance(source, str) and source else "Unknown"), False
