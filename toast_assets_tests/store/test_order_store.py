"""The order store: weeks and restaurants in the bucket."""

from __future__ import annotations

from pathlib import Path

import pytest

from toast_assets.errors import StoreError
from toast_assets.store.bucket import ABSENT
from toast_assets.store.manifest import Manifest
from toast_assets.store.order_store import OrderStore
from toast_assets.week import Week
from toast_assets_tests.support.stores.stored_weeks import save_manifest


def empty(week: Week) -> Manifest:
    return Manifest(partition=week.key, start_date="", end_date="", outcome="complete")


def test_a_week_that_was_never_pulled_has_no_manifest(store: OrderStore, week: Week) -> None:
    assert store.load_manifest(week) == (None, ABSENT)


def test_a_manifest_is_loaded_with_its_version(store: OrderStore, week: Week) -> None:
    version = save_manifest(store, week, empty(week))
    assert store.load_manifest(week) == (empty(week), version)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"partition": "\xff"}', b"[" * 5000 + b"]" * 5000])
def test_a_manifest_that_cannot_be_read_is_named(store: OrderStore, week: Week, body: bytes) -> None:
    store.bucket.write(store.layout.manifest(week), body)
    with pytest.raises(StoreError, match=r"manifests/week=2025-09-15.json cannot be read"):
        store.load_manifest(week)


def test_a_raw_file_is_stored_under_week_and_restaurant(store: OrderStore, week: Week, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(b"rows")
    assert store.bucket.fetch(store.layout.raw(week, "one"), target) is None
    assert store.sha256(store.layout.raw(week, "one")) is None
    version = store.bucket.write(store.layout.raw(week, "one"), source, Metadata={"sha256": "abc"})
    stored = store.bucket.fetch(store.layout.raw(week, "one"), target)
    assert stored is not None
    assert stored.version == version
    assert target.read_bytes() == b"rows"
    assert list(store.bucket.keys("")) == ["toast-orders/raw/week=2025-09-15/restaurant=one.parquet"]
    assert store.sha256(store.layout.raw(week, "one")) == "abc"


def test_the_restaurants_with_raw_files_are_listed(store: OrderStore, week: Week) -> None:
    assert store.raw_restaurants(week) == frozenset()
    for guid in ("one", "two"):
        store.bucket.write(store.layout.raw(week, guid), b"rows")
    assert store.raw_restaurants(week) == {"one", "two"}


# What consoles, people and backups leave below a prefix.
FOREIGN = (
    "manifests/",
    "manifests/README.txt",
    "manifests/week=2025-09-15.json.bak",
    "manifests/week=2025-09-15 (1).json",
    "manifests/week=2025-9-15.json",
    "manifests/week=2025-02-30.json",
    "manifests/week=20250915.json",
    "manifests/archive/week=2025-09-08.json",
    "raw/week=2025-09-15/",
    "raw/week=2025-09-15/notes.txt",
    "raw/week=2025-09-15/restaurant=one.parquet.bak",
    "raw/week=2025-09-15/restaurant=one copy.parquet",
    "raw/week=2025-09-15/restaurant=.parquet",
    "raw/week=2025-09-15/old/restaurant=one.parquet",
    "tables/orders/",
    "tables/orders/week=nonsense/orders.parquet",
    "tables/orders/week=2025-09-15/copy.parquet",
    "tables/orders/week=2025-09-15/old/orders.parquet",
    "tables/current_orders/",
    "tables/current_orders/_state.json",
    "tables/current_orders/restaurant=one.parquet",
    "tables/current_orders/restaurant=one copy.month=2025-09.parquet",
    "tables/current_orders/restaurant=one.month=2025-9.parquet",
    "tables/current_orders/restaurant=one.month=2025-09.parquet.bak",
    "tables/current_orders/old/restaurant=one.month=2025-09.parquet",
)


def test_objects_with_other_names_are_none_of_ours(store: OrderStore, week: Week) -> None:
    for key in FOREIGN:
        store.bucket.write(f"{store.layout.prefix}{key}", b"none of ours")
    assert (store.pulled_weeks(), store.table_weeks("orders"), store.raw_restaurants(week)) == ([], [], frozenset())
    with pytest.raises(StoreError, match="There is no table current_orders"):
        store.load_table("current_orders")
