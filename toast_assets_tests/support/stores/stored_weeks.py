"""Weeks of raw orders put straight into a store, with the manifest that a pull would leave."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

from toast_assets.orders.raw import cut_orders
from toast_assets.orders.raw_file import RawFileWriter
from toast_assets.store.bucket import Version
from toast_assets.store.manifest import Manifest, PullRecord, RestaurantRecord, json_for_people
from toast_assets.store.order_store import OrderStore
from toast_assets.week import Week, epoch_ms, iso_ms

PULLED = datetime(2025, 9, 22, 4, 15, tzinfo=UTC)


def store_week(
    store: OrderStore,
    week: Week,
    orders: Mapping[str, Iterable[bytes]],
    *,
    time_zone: str | None = "America/Chicago",
    late: Mapping[str, datetime] | None = None,
    **record: Any,
) -> Manifest:
    """Stores each restaurant's orders (JSON objects) as the week's raw files, instead of what was there. ``late`` says
    when some orders were pulled, ``record`` is what else the manifest says of each restaurant."""
    records = {guid: _stored(store, week, guid, bodies, late or {}) for guid, bodies in orders.items()}
    records = {guid: msgspec.structs.replace(one, time_zone=time_zone, **record) for guid, one in records.items()}
    manifest = Manifest(
        partition=week.key,
        start_date=iso_ms(week.start),
        end_date=iso_ms(week.end),
        outcome="complete",
        restaurants=records,
    )
    save_manifest(store, week, manifest)
    return manifest


def save_manifest(store: OrderStore, week: Week, manifest: Manifest) -> Version:
    """Stores the manifest instead of whatever is there."""
    return store.bucket.write(store.layout.manifest(week), json_for_people(manifest))


def damage_at_the_end(store: OrderStore, week: Week, guid: str) -> None:
    """Damages a raw file so that it shows only when all its orders were read: in the proof in its footer."""
    key = store.layout.raw(week, guid)
    found = store.bucket.read(key)
    assert found is not None
    store.bucket.write(key, re.sub(rb"(toast_assets\.rows..)[0-9a-f]{64}", rb"\g<1>" + b"0" * 64, found[0]))


def _stored(
    store: OrderStore, week: Week, guid: str, bodies: Iterable[bytes], late: Mapping[str, datetime]
) -> RestaurantRecord:
    cut, _ = cut_orders(b"[%s]" % b",".join(bodies), restaurant_guid=guid, pulled_ms=epoch_ms(PULLED))
    cut = [msgspec.structs.replace(one, pulled_ms=epoch_ms(late.get(one.guid, PULLED))) for one in cut]
    with TemporaryDirectory() as folder:
        path = Path(folder) / "raw.parquet"
        with RawFileWriter(path, guid) as writer:
            writer.write(sorted(cut, key=lambda order: order.sort_key))
        store.bucket.write(store.layout.raw(week, guid), path)
    pull = PullRecord(
        orders=writer.orders,
        bytes=writer.bytes,
        orders_sha256=writer.sha256,
        new=writer.orders,
        changed=0,
        requests=7,
        retries=0,
        throttled=0,
        started_at=iso_ms(PULLED),
        finished_at=iso_ms(PULLED.replace(minute=16)),
        slices=(),
    )
    return RestaurantRecord(outcome="complete", name=f"Place {guid}", pull=pull)
