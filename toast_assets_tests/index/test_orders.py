"""The order index: months, entries, lost files, and two runs at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from toast_assets.errors import StoreConflictError
from toast_assets.index.orders import (
    FedRow,
    FedVersion,
    IndexState,
    OrderEntry,
    OrderIndex,
    SentVersion,
    StoredVersion,
    change_state,
    creation_month,
    decode_month,
    read_state,
)
from toast_assets.store.order_store import OrderStore
from toast_assets_tests.support.data.invented import encode, order

PLACE = "place-1"
MONTHS = {"a": "2025-08", "b": "2025-09", "c": "2025-09"}


def index(store: OrderStore, months: Mapping[str, str] = MONTHS) -> OrderIndex:
    """The index of a restaurant of which nothing was delivered before."""
    found = OrderIndex(store, PLACE, months)
    assert found.load(lambda: True) == []
    return found


def keys(store: OrderStore) -> set[str]:
    folder = store.layout.order_index_folder(PLACE)
    return {key.removeprefix(folder) for key in store.bucket.keys(folder)}


@pytest.mark.parametrize(
    ("changes", "month"),
    [
        ({}, "2025-09"),
        ({"createdDate": "2025-09-01T01:00:00.000+0200"}, "2025-08"),
        ({"createdDate": None}, "2025-09"),
        ({"createdDate": "soon", "openedDate": "2025-07-31T23:59:59.999Z"}, "2025-07"),
        ({"createdDate": 20250919, "openedDate": None}, "unknown"),
        ({"createdDate": "", "openedDate": ["2025"]}, "unknown"),
    ],
)
def test_the_month_is_that_of_creation_in_utc_else_of_opening(changes: dict[str, Any], month: str) -> None:
    assert creation_month(encode(order(**changes))[0]) == month


def test_what_is_no_order_has_no_month() -> None:
    assert creation_month(b"[1") == creation_month(b'{"createdDate":"\xff"}') == "unknown"


def test_entries_are_found_again_month_by_month_and_others_stay(store: OrderStore) -> None:
    first = index(store)
    fed = FedVersion("2025-09-15", 7, "ann", (FedRow("transactions", "P|purchase", "P", True),))
    entry = OrderEntry("b", (StoredVersion("2025-09-15", "v", 7),), (SentVersion("t/is-1", "2025-09-15", 7),), fed)
    first.put(entry)
    first.put(OrderEntry("c", fed=fed))
    first.save()
    assert keys(store) == {"months.json", "month=2025-09.parquet"}
    second = index(store, {"a": "2025-08", "b": "2025-09"})
    assert second.entries == {"a": OrderEntry("a"), "b": entry}
    second.put(OrderEntry("a").with_stored(StoredVersion("2025-09-01", "v", 1)))
    second.put(OrderEntry("b"))
    second.save()
    assert index(store).entries["c"] == OrderEntry("c", fed=fed)
    assert keys(store) == {"months.json", "month=2025-08.parquet", "month=2025-09.parquet"}
    assert read_state(store, PLACE) == IndexState(months=("2025-08", "2025-09"))


def test_nothing_is_written_where_nothing_changed_and_the_same_entries_give_the_same_bytes(store: OrderStore) -> None:
    found = index(store)
    found.put(OrderEntry("b").with_stored(StoredVersion("2025-09-15", "v", 7)))
    found.save()
    key = store.layout.order_index(PLACE, "2025-09")
    before = store.bucket.read(key)
    again = index(store)
    again.put(again.entries["b"].with_stored(StoredVersion("2025-09-15", "v", 7)))
    again.save()
    assert store.bucket.read(key) == before
    again.put(OrderEntry("b"))
    again.put(OrderEntry("b").with_stored(StoredVersion("2025-09-15", "v", 7)))
    again.save()
    after = store.bucket.read(key)
    assert before is not None
    assert after is not None
    assert after[0] == before[0]


def test_a_run_that_read_before_another_wrote_does_not_overwrite_it(store: OrderStore) -> None:
    slow, quick = index(store), index(store)
    for found, version in ((quick, "new"), (slow, "old")):
        found.put(OrderEntry("b").with_stored(StoredVersion("2025-09-15", version, 7)))
    quick.save()
    with pytest.raises(StoreConflictError):
        slow.save()
    assert index(store).entries["b"].stored[0].version == "new"


@pytest.mark.parametrize("spoil", ["remove", "damage", "foreign"])
def test_a_month_that_is_listed_and_cannot_be_read_is_lost(store: OrderStore, spoil: str) -> None:
    found = index(store)
    found.put(OrderEntry("a").with_stored(StoredVersion("2025-09-01", "v", 1)))
    found.save()
    key = store.layout.order_index(PLACE, "2025-08")
    if spoil == "remove":
        store.bucket.delete(key)
    else:
        store.bucket.write(key, b"PAR1 whatever" if spoil == "damage" else b"")
    lost = OrderIndex(store, PLACE, MONTHS)
    assert lost.load(lambda: False) == ["2025-08"]
    assert decode_month(b"PAR1") is None


@pytest.mark.parametrize(
    ("state", "lost"),
    [
        (None, ["2025-08", "2025-09"]),
        (IndexState(), []),
        (IndexState(since="2025-09"), ["2025-08"]),
        (IndexState(since="2025-07"), []),
        (IndexState(months=("2025-09",)), ["2025-09"]),
    ],
)
def test_a_month_without_a_file_is_new_only_where_the_index_is_complete_for_it(
    store: OrderStore, state: IndexState | None, lost: list[str]
) -> None:
    if state is not None:
        change_state(store, PLACE, months=state.months, since=state.since)
        change_state(store, PLACE)
        assert read_state(store, PLACE) == state
    assert OrderIndex(store, PLACE, MONTHS).load(lambda: False) == lost


def test_orders_of_an_unknown_month_may_be_anywhere() -> None:
    assert IndexState().is_new("unknown")
    assert not IndexState(since="2025-09").is_new("unknown")


def test_of_what_arrived_the_newest_version_counts_by_destination() -> None:
    entry = (
        OrderEntry("a").with_sent(SentVersion("t/2", "2025-09-22", 9)).with_sent(SentVersion("t/1", "2025-09-15", 5))
    )
    again = entry.with_sent(SentVersion("t/2", "2025-09-15", 5))
    assert again == entry
    assert [one.destination for one in entry.sent] == ["t/1", "t/2"]


def test_a_week_holds_one_version_and_weeks_are_sorted() -> None:
    entry = OrderEntry("a").with_stored(StoredVersion("2025-09-22", "v2", 9))
    entry = entry.with_stored(StoredVersion("2025-09-15", "v0", 4)).with_stored(StoredVersion("2025-09-15", "v1", 5))
    assert entry.stored == (StoredVersion("2025-09-15", "v1", 5), StoredVersion("2025-09-22", "v2", 9))
