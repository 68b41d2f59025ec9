"""One reading of a week's raw orders for all asset checks that need more than the manifest.

The result is kept beside the orders with the version of the data it was made from, so that the first check to ask pays
for it and the others do not, and it is made again once an order changed. It holds nothing of any guest, and its size
has a bound per restaurant.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress

import msgspec

from toast_assets.checks.drift import Drift
from toast_assets.checks.facts import MOST_NAMED, FactsReader, RestaurantFacts, Shared
from toast_assets.errors import StoreConflictError
from toast_assets.markdown import plain
from toast_assets.orders.raw_file import read_rows
from toast_assets.store.bucket import ABSENT
from toast_assets.store.manifest import Manifest
from toast_assets.store.order_store import OrderStore
from toast_assets.store.raw_weeks import one_restaurant, raw_files, reading_raw
from toast_assets.week import Week

# Changes when the same orders would give another result.
_FORM = 3


class DriftFinding(msgspec.Struct, frozen=True):
    """One difference from the recorded schema: ``kind`` is new field, new value, other type or vanished field.

    ``times`` is how often a field had another type.
    """

    kind: str
    path: str
    value: str | None
    first_order: str | None
    times: int | None = None


class SharedOrder(msgspec.Struct, frozen=True):
    """An order GUID that several restaurants have."""

    order_guid: str
    restaurants: tuple[str, ...]


class Inspection(msgspec.Struct, frozen=True, kw_only=True):
    """All facts of a week, by restaurant, and the drift over all of them.

    ``damaged`` are restaurants whose raw orders cannot be read, each with the reason: they have no facts.
    ``reports_failure`` is the kind of error that ended the look at fields and guests: there is no ``drift`` then, and
    not all ``channels``.
    ``shared_orders`` counts the orders that several restaurants have, ``shared`` are the first of them.
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
    """The object in the bucket; ``sha256`` is over the inspection's bytes, so that every damage is noticed."""

    sha256: str
    inspection: msgspec.Raw


def inspection_of(week: Week, manifest: Manifest, store: OrderStore) -> Inspection:
    """The week's inspection: the stored one if it is of these very orders, else a new one, which is stored.

    One with ``damaged`` restaurants is not stored: their files may be restored without a change of the manifest.

    Raises:
        StoreError: the bucket is missing or refuses access.
    """
    key = store.layout.inspection(week)
    found = store.bucket.read(key)
    known = _decoded(found[0]) if found is not None else None
    if known is not None and (known.form, known.data_version) == (_FORM, manifest.data_version):
        return known
    made = _inspect(week, manifest, store)
    if not made.damaged:
        # Whoever wrote it in the meantime looked at the same orders, or at newer ones.
        with suppress(StoreConflictError):
            replaces = found[1] if found is not None else ABSENT
            store.bucket.write(key, _encoded(made), replaces=replaces, ContentType="application/json")
    return made


def _encoded(made: Inspection) -> bytes:
    body = msgspec.json.encode(made)
    return msgspec.json.encode(_Stored(hashlib.sha256(body).hexdigest(), msgspec.Raw(body))) + b"\n"


def _decoded(body: bytes) -> Inspection | None:
    """The inspection in a stored object; None where it is damaged or of another form: it can be made again."""
    try:
        stored = msgspec.json.decode(body, type=_Stored)
        if hashlib.sha256(stored.inspection).hexdigest() != stored.sha256:
            return None
        return msgspec.json.decode(stored.inspection, type=Inspection)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _inspect(week: Week, manifest: Manifest, store: OrderStore) -> Inspection:
    reader = FactsReader(week.start_ms, week.end_ms)
    restaurants: dict[str, RestaurantFacts] = {}
    damaged: dict[str, str] = {}
    for file in raw_files(week, manifest.restaurants, store, damaged):
        with one_restaurant(file.guid, damaged, store), reading_raw(week, file.guid, store):
            facts = reader.read(file.guid, file.path)
            file.check_count(facts.orders)
            restaurants[file.guid] = facts
    drift, shared = reader.drift(), reader.shared()
    return Inspection(
        form=_FORM,
        data_version=manifest.data_version,
        restaurants=restaurants,
        damaged=damaged,
        drift=() if isinstance(drift, str) else tuple(_findings(drift)),
        reports_failure=drift if isinstance(drift, str) else None,
        shared_orders=shared.orders,
        shared=tuple(_named(week, manifest, store, shared)),
    )


def _named(week: Week, manifest: Manifest, store: OrderStore, shared: Shared) -> Iterator[SharedOrder]:
    """The orders behind the hashes, out of a second look at the restaurants that have them."""
    holders: dict[str, list[str]] = defaultdict(list)
    unreadable: dict[str, str] = {}
    for file in raw_files(week, {guid: manifest.restaurants[guid] for guid in shared.restaurants}, store, unreadable):
        with one_restaurant(file.guid, unreadable, store), reading_raw(week, file.guid, store):
            for rows in read_rows(file.path):
                for order_guid in set(shared.among(rows.guids)):
                    holders[order_guid].append(file.guid)
    for order_guid, restaurants in sorted(holders.items()):
        if len(restaurants) > 1:
            yield SharedOrder(plain(order_guid), tuple(restaurants[:MOST_NAMED]))


def _findings(drift: Drift) -> Iterator[DriftFinding]:
    """What may cost an amount first, new fields last: there can be many of these."""
    for path, first in drift.vanished_fields.items():
        yield DriftFinding("vanished field", path, None, first)
    for (path, said), other in drift.other_types.items():
        yield DriftFinding("other type", path, said, other.first, other.times)
    for (path, value), first in drift.new_values.items():
        yield DriftFinding("new value", path, value, first)
    for path, first in drift.new_fields.items():
        yield DriftFinding("new field", path, None, first)
