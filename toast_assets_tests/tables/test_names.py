"""Names and restaurants over all weeks: what a pull read is merged, no name is lost, and nothing that is damaged stops
a table."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from toast_assets.errors import StoreError
from toast_assets.orders.names import NO_NAMES, Name
from toast_assets.store.order_store import OrderStore
from toast_assets.tables.names import ReadConfiguration, StoredNames, names_version, stored_rows
from toast_assets.tables.schema import NAMES, RESTAURANTS
from toast_assets.toast.configuration import Entity
from toast_assets.toast.restaurants import Restaurant

A, B = "restaurant-a", "restaurant-b"
FIRST = datetime(2025, 9, 22, 4, 30, tzinfo=UTC)
LATER = FIRST + timedelta(days=7)
LOG = logging.getLogger(__name__)


def option(guid: str, name: str | None, behavior: str | None = None) -> Entity:
    return Entity("dining_option", guid, name, behavior)


@pytest.fixture
def save(store: OrderStore, tmp_path: Path) -> Any:
    """Saves what one run has read, by restaurant."""

    def save(at: datetime, **names: Iterable[Entity]) -> None:
        configuration = ReadConfiguration(tmp_path)
        for guid, entities in names.items():
            configuration.add_names(guid.replace("_", "-"), entities, at)
        configuration.save(store)

    return save


def rows(store: OrderStore) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = stored_rows(store, NAMES).to_pylist()
    return found


def test_a_name_that_toast_no_longer_returns_stays_and_a_renamed_one_has_its_new_name(
    store: OrderStore, save: Any
) -> None:
    save(FIRST, restaurant_a=[option("1", "Dine In", "DINE_IN"), option("2", "To Go", "TAKE_OUT")])
    save(LATER, restaurant_a=[option("2", "Takeaway", "TAKE_OUT"), option("3", "Delivery", "DELIVERY")])
    found = [(one["guid"], one["name"], one["behavior"], one["first_seen"], one["last_seen"]) for one in rows(store)]
    assert found == [
        ("1", "Dine In", "DINE_IN", FIRST, FIRST),
        ("2", "Takeaway", "TAKE_OUT", FIRST, LATER),
        ("3", "Delivery", "DELIVERY", LATER, LATER),
    ]


def test_runs_that_end_in_another_sequence_leave_the_newest_name(store: OrderStore, save: Any) -> None:
    save(LATER, restaurant_a=[option("1", "New")])
    save(FIRST, restaurant_a=[option("1", "Old", "DINE_IN")])
    (one,) = rows(store)
    assert (one["name"], one["behavior"], one["first_seen"], one["last_seen"]) == ("New", "DINE_IN", FIRST, LATER)


def test_a_name_is_not_replaced_by_none(store: OrderStore, save: Any) -> None:
    save(FIRST, restaurant_a=[option("1", "Dine In", "DINE_IN")])
    save(LATER, restaurant_a=[option("1", None)])
    (one,) = rows(store)
    assert (one["name"], one["behavior"], one["last_seen"]) == ("Dine In", "DINE_IN", LATER)


def test_each_restaurant_has_names_of_its_own_and_the_others_stay(store: OrderStore, save: Any) -> None:
    save(FIRST, restaurant_b=[option("1", "Bar")])
    save(LATER, restaurant_a=[option("1", "Terrace"), Entity("table", "1", "Table 1", None)])
    assert [(one["restaurant_guid"], one["kind"], one["name"]) for one in rows(store)] == [
        (A, "dining_option", "Terrace"),
        (A, "table", "Table 1"),
        (B, "dining_option", "Bar"),
    ]


def test_guids_compare_without_case_and_keep_their_first_spelling(store: OrderStore, save: Any, tmp_path: Path) -> None:
    save(FIRST, restaurant_a=[option("ABC", "One")])
    save(LATER, restaurant_a=[option("abc", "Two")])
    assert [(one["guid"], one["name"]) for one in rows(store)] == [("ABC", "Two")]
    assert StoredNames(store, tmp_path, LOG).of(A).find("dining_option", "aBc") == Name("Two")


def test_the_same_names_read_again_change_the_times_and_not_the_version(store: OrderStore, save: Any) -> None:
    entities = [option("1", "Dine In"), option("2", "To Go")]
    assert names_version(store) == ""
    save(FIRST, restaurant_a=entities)
    version = names_version(store)
    save(LATER, restaurant_a=entities[::-1])
    assert {one["last_seen"] for one in rows(store)} == {LATER}
    assert names_version(store) == version != ""
    save(LATER, restaurant_a=[option("1", "Inside")])
    assert names_version(store) != version


def test_names_are_found_by_kind_and_restaurant(store: OrderStore, save: Any, tmp_path: Path) -> None:
    names = StoredNames(store, tmp_path, LOG)
    assert names.of(A) == NO_NAMES
    save(FIRST, restaurant_a=[option("1", "Dine In", "DINE_IN")], restaurant_b=[Entity("table", "1", "T 1", None)])
    assert names.of(A) == NO_NAMES, "a run sees the names of its beginning"
    now = StoredNames(store, tmp_path, LOG)
    assert now.of(A).find("dining_option", "1") == Name("Dine In", "DINE_IN")
    assert now.of(B).find("dining_option", "1") == now.of(A).find("table", "1") == Name()
    assert now.of(A).find("dining_option", None) == Name()


@pytest.mark.parametrize("damage", [b"no parquet", b""])
def test_a_damaged_file_leaves_names_out_with_one_warning_and_is_not_replaced(
    store: OrderStore, save: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: bytes
) -> None:
    key = store.layout.whole_table("names")
    store.bucket.write(key, damage)
    names = StoredNames(store, tmp_path, LOG)
    assert names.of(A) == names.of(B) == NO_NAMES
    (warning,) = caplog.messages
    assert key in warning
    assert "Restore an earlier version" in warning
    with pytest.raises(StoreError, match="Restore an earlier version"):
        save(LATER, restaurant_a=[option("1", "Dine In")])
    found = store.bucket.read(key)
    assert found is not None
    assert found[0] == damage


def test_restaurants_keep_what_toast_once_said_of_them(store: OrderStore, tmp_path: Path) -> None:
    def save(at: datetime, *restaurants: Restaurant) -> None:
        configuration = ReadConfiguration(tmp_path)
        for one in restaurants:
            configuration.add_restaurant(one, at)
        configuration.save(store)

    zone = "America/Denver"
    save(FIRST, Restaurant(A, "Harbor", "Pier 9", "P9", zone, 4, "USD", 20190401), Restaurant(B, "Harbor", "Old Mill"))
    save(LATER, Restaurant(A, "Harbor & Thistle", archived=True, first_business_date=99))
    first, second = stored_rows(store, RESTAURANTS).to_pylist()
    assert first == {
        "restaurant_guid": A,
        "restaurant_name": "Harbor & Thistle",
        "location_name": "Pier 9",
        "location_code": "P9",
        "time_zone": zone,
        "currency": "USD",
        "closeout_hour": 4,
        "first_business_date": date(2019, 4, 1),
        "archived": True,
        "first_seen": FIRST,
        "last_seen": LATER,
    }
    assert (second["location_name"], second["time_zone"], second["archived"]) == ("Old Mill", None, False)


def test_many_restaurants_are_merged_one_after_the_other(store: OrderStore, save: Any) -> None:
    for at in (FIRST, LATER):
        save(
            at,
            **{
                f"restaurant_{number:03d}": [option(str(one), f"Name {one}") for one in range(90)]
                for number in range(150)
            },
        )
    found = stored_rows(store, NAMES)
    assert len(found) == 150 * 90
    assert found["restaurant_guid"].to_pylist() == sorted(found["restaurant_guid"].to_pylist())
