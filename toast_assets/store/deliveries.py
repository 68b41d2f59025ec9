"""How much of each restaurant's week Amperity has: one small JSON object a week, which a delivery writes at its end.

It can be lost: the next delivery of the week writes it again. Receipts of single records are in the ledger.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import msgspec

from toast_assets.errors import StoreError
from toast_assets.orders.scanner import decoder
from toast_assets.store.bucket import Replacement, StoredObject
from toast_assets.store.manifest import json_for_people
from toast_assets.store.order_store import OrderStore
from toast_assets.store.s3_errors import readable


class MethodSummary(msgspec.Struct, frozen=True, kw_only=True):
    """The records of one method: those that have ``arrived``, by this or an earlier run, those that are ``superseded``
    by a newer version of the order, those that Amperity ``rejected``, and those that are ``pending`` without an
    answer."""

    records: int
    arrived: int
    superseded: int = 0
    rejected: int = 0
    pending: int = 0


class RestaurantDelivery(msgspec.Struct, frozen=True, kw_only=True):
    """The newest delivery of a restaurant's week: of which orders (``orders_sha256``, as in the manifest), when it
    ended (ISO-8601, UTC), its records by method, and why the restaurant could not be delivered whole, if so."""

    orders_sha256: str
    updated_at: str
    methods: dict[str, MethodSummary] = {}
    problem: str | None = None

    def replaces(self, known: RestaurantDelivery | None) -> bool:
        """Whether this is newer than what is ``known``, and says something else."""
        if known is None:
            return True
        return self.updated_at >= known.updated_at and self != msgspec.structs.replace(
            known, updated_at=self.updated_at
        )


class DeliveredWeek(msgspec.Struct, frozen=True, kw_only=True):
    """A week's delivery, by restaurant."""

    partition: str
    restaurants: dict[str, RestaurantDelivery] = {}


def load_delivered(store: OrderStore, week_key: str) -> DeliveredWeek | None:
    """What is known of a week's delivery; None where it was never delivered. Raises StoreError where the object cannot
    be read."""
    found = store.bucket.read(store.layout.delivered(week_key))
    return decode_delivered(store, week_key, found[0]) if found else None


def decode_delivered(store: OrderStore, week_key: str, body: bytes) -> DeliveredWeek:
    """The content of a week's object."""
    hint = "Remove the object, and materialize amperity_delivery for the week: it makes it again."
    with readable(store.bucket.uri(store.layout.delivered(week_key)), hint):
        return decoder(DeliveredWeek).decode(body)


def note_delivered(
    store: OrderStore, week_key: str, restaurants: Mapping[str, RestaurantDelivery], *, is_first: bool
) -> None:
    """Merge deliveries of ``restaurants`` into what is known of the week; where nothing is, store it only if it may be
    the week's first (``is_first``)."""

    def change(stored: StoredObject | None, _target: Path) -> Replacement | None:
        known: DeliveredWeek | None = None
        with suppress(StoreError):
            known = decode_delivered(store, week_key, stored.path.read_bytes()) if stored else None
        if known is None and not is_first:
            return None
        before = known.restaurants if known else {}
        newer = {guid: one for guid, one in restaurants.items() if one.replaces(before.get(guid))}
        week = DeliveredWeek(partition=week_key, restaurants=dict(sorted((before | newer).items())))
        return Replacement(json_for_people(week), {"ContentType": "application/json"}) if newer else None

    store.bucket.update(store.layout.delivered(week_key), change)
