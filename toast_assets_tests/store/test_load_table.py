"""Tables as users load them: pandas with exact types."""

from __future__ import annotations

import logging
from datetime import date
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from toast_assets.errors import SettingsError, StoreError
from toast_assets.sandbox import Sandbox
from toast_assets.store.order_store import OrderStore
from toast_assets.tables.build import build_tables
from toast_assets.tables.current_orders import refresh_current_orders
from toast_assets.tables.names import ReadConfiguration
from toast_assets.tables.schema import NAMES, RESTAURANTS, TABLES
from toast_assets.toast.configuration import Entity
from toast_assets.toast.restaurants import Restaurant
from toast_assets.week import Week, WeekCalendar
from toast_assets_tests.support.data.invented import Json, check, customer, encode, order, payment, selection
from toast_assets_tests.support.stores.names import store_names
from toast_assets_tests.support.stores.stored_weeks import PULLED, store_week

LOG = logging.getLogger(__name__)


@pytest.fixture
def tables(store: OrderStore, week: Week) -> OrderStore:
    sold = [order(check(selection("12.10"), selection("0.20"))), order(check(selection("1.00")), voided=True)]
    for number, one in enumerate(sold):
        one["checks"][0]["customer"] = customer("greta@example.com", guid=f"guest-{number}")
        one |= {"diningOption": {"guid": "Option-1"}, "thirdPartyProviderInfo": {"providerName": "DoorDash"}}
    store_week(store, week, {"here": encode(*sold)})
    store_names(store, "here", Entity("dining_option", "option-1", "Dining room", "DINE_IN"))
    build_tables(week, store, LOG)
    return store


def test_a_week_of_a_table_is_a_data_frame_of_exact_types(tables: OrderStore) -> None:
    orders = tables.load_table("orders", "2025-09-15")
    assert list(orders.columns) == TABLES["orders"].schema.names
    assert all(isinstance(dtype, pd.ArrowDtype) for dtype in orders.dtypes)
    assert orders["net_sales"].sum() == Decimal("12.3")
    assert set(orders["business_date"]) == {date(2025, 9, 19)}


def test_only_the_columns_that_are_asked_for_are_loaded(tables: OrderStore) -> None:
    assert list(tables.load_table("payments", "2025-09-15", columns=["amount"]).columns) == ["amount"]


@pytest.mark.parametrize(
    ("table", "week_key", "message"),
    [
        ("order", "2025-09-15", "There is no table order. Stored are checks, customers,"),
        ("orders", "2025-09-22", "no table orders for week 2025-09-22. Stored are 1 weeks, 2025-09-15 to 2025-09-15"),
        ("orders", None, "The table orders is kept by week: name one"),
        ("orders", [], "The table orders is kept by week: name one"),
        ("orders", ["2025-09-15", "2025-09-22"], "no table orders for week 2025-09-22"),
        ("current_orders", "2025-09-15", "The table current_orders covers all weeks: name none"),
        ("names", "2025-09-15", "The table names covers all weeks: name none"),
        ("restaurants", None, "There is no table restaurants. Stored are checks, .*names"),
        (
            "current_orders",
            None,
            "There is no table current_orders. Stored are checks, .*Materialize current_orders first",
        ),
    ],
)
def test_what_is_not_there_is_a_clear_error(
    tables: OrderStore, table: str, week_key: str | list[str] | None, message: str
) -> None:
    with pytest.raises(StoreError, match=message):
        tables.load_table(table, week_key)


def test_names_and_restaurants_are_loaded_whole(tables: OrderStore, tmp_path: Path) -> None:
    names = tables.load_table("names")
    assert list(names.columns) == NAMES.schema.names
    assert names[["restaurant_guid", "kind", "guid", "name", "behavior"]].to_numpy().tolist() == [
        ["here", "dining_option", "option-1", "Dining room", "DINE_IN"],
    ]
    assert list(tables.load_table("names", columns=["name"], newest=True)["name"]) == ["Dining room"]
    read = ReadConfiguration(tmp_path)
    for guid, code in (("there", "CAD"), ("here", "USD")):
        read.add_restaurant(Restaurant(guid, f"Place {guid}", currency_code=code, first_business_date=20250102), PULLED)
    read.save(tables)
    restaurants = tables.load_table("restaurants")
    assert list(restaurants.columns) == RESTAURANTS.schema.names
    assert restaurants[["restaurant_guid", "restaurant_name", "currency"]].to_numpy().tolist() == [
        *(["here", "Place here", "USD"], ["there", "Place there", "CAD"]),
    ]
    assert set(restaurants["first_business_date"]) == {date(2025, 1, 2)}


def test_the_tables_of_orders_have_the_names(tables: OrderStore) -> None:
    refresh_current_orders(tables, LOG)
    for orders in (tables.load_table("orders", "2025-09-15"), tables.load_table("current_orders")):
        named = orders[["dining_option_name", "dining_behavior", "marketplace"]].to_numpy().tolist()
        assert named == [["Dining room", "DINE_IN", "DoorDash"]] * 2


def test_an_unknown_column_is_a_clear_error(tables: OrderStore) -> None:
    with pytest.raises(StoreError, match="The table orders has no column nett"):
        tables.load_table("orders", "2025-09-15", columns=["nett"])


def test_the_newest_versions_of_a_table_that_was_never_made_are_a_clear_error(store: OrderStore) -> None:
    with pytest.raises(StoreError, match=r"no table orders\. Stored are no tables"):
        store.load_table("payments", newest=True)


FIRST, SECOND, THIRD = (WeekCalendar().week(key) for key in ("2025-09-15", "2025-09-22", "2025-09-29"))


@pytest.fixture
def weeks(store: OrderStore) -> OrderStore:
    """Three weeks: of one order the payment is gone in the second, of one it changes in the third without a new time,
    of one the first week has the newer version, and one is in the third alone."""

    def paid(number: int, amount: str, modified: str = "2025-09-16", **more: Any) -> Json:
        bill = check() | {"payments": [payment(amount, guid=f"payment-{number}")] if amount else []}
        return order(bill, guid=f"order-{number}", modifiedDate=f"{modified}T10:00:00.000+0000", **more)

    stored = {
        FIRST: [paid(1, "10.00"), paid(2, "20.00"), paid(3, "30.00", "2025-09-18"), paid(4, "40.00")],
        SECOND: [paid(1, "", "2025-09-23"), paid(3, "31.00", "2025-09-17")],
        THIRD: [paid(2, "22.00"), paid(5, "50.00", "2025-09-30")],
    }
    for week, orders in stored.items():
        # The same order GUID at another restaurant is another order.
        elsewhere = [paid(1, "44.00")] if week is FIRST else []
        store_week(store, week, {"here": encode(*orders), "there": encode(*elsewhere)})
        build_tables(week, store, LOG)
    return store


def test_of_an_order_in_several_weeks_its_newest_version_alone_is_loaded(weeks: OrderStore) -> None:
    payments = weeks.load_table("payments", columns=["payment_guid", "amount"], newest=True)
    assert payments.to_dict("split")["data"] == [
        ["payment-4", Decimal(40)],
        ["payment-3", Decimal(30)],
        ["payment-1", Decimal(44)],
        ["payment-2", Decimal(22)],
        ["payment-5", Decimal(50)],
    ]
    orders = weeks.load_table("orders", newest=True)
    assert sorted(orders["order_guid"]) == ["order-1", "order-1", *(f"order-{number}" for number in range(2, 6))]
    assert list(orders.columns) == TABLES["orders"].schema.names


def test_weeks_that_are_named_have_only_what_is_newest_over_all_weeks(weeks: OrderStore) -> None:
    named = [FIRST.key, SECOND.key]
    assert list(weeks.load_table("payments", named)["payment_guid"]) == [
        *("payment-1", "payment-2", "payment-4", "payment-3", "payment-1", "payment-3"),
    ]
    assert list(weeks.load_table("payments", named, newest=True)["payment_guid"]) == [
        *("payment-4", "payment-3", "payment-1"),
    ]
    assert len(weeks.load_table("payments", SECOND.key, newest=True)) == 0


def test_rows_of_an_older_version_than_the_table_of_orders_has_are_left_out(weeks: OrderStore) -> None:
    older, _ = weeks.bucket.read(weeks.layout.table("payments", FIRST.key)) or (b"", None)
    weeks.bucket.write(weeks.layout.table("payments", SECOND.key), older)
    assert "payment-1" not in set(weeks.load_table("payments", SECOND.key, newest=True)["payment_guid"])


def test_a_week_that_an_earlier_release_made_has_nulls_in_new_columns(weeks: OrderStore) -> None:
    key = weeks.layout.table("payments", SECOND.key)
    stored, _ = weeks.bucket.read(key) or (b"", None)
    body = BytesIO()
    pq.write_table(pq.read_table(BytesIO(stored)).drop_columns(["type"]), body)
    weeks.bucket.write(key, body.getvalue())
    assert weeks.load_table("payments", [FIRST.key, SECOND.key])["type"].isna().sum() == 1


def test_a_damaged_table_is_named_with_the_way_out(tables: OrderStore, week: Week) -> None:
    key = tables.layout.table("orders", week.key)
    stored, _ = tables.bucket.read(key) or (b"", None)
    for damaged in (b"", stored[: len(stored) // 2], stored[:200] + b"\xff" * 80 + stored[280:]):
        tables.bucket.write(key, damaged)
        with pytest.raises(StoreError, match=r"orders\.parquet cannot be read .* materialize orders again"):
            tables.load_table("orders", week.key)


def test_notebooks_find_the_store_by_the_environment(
    tables: OrderStore, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in sandbox.environment().items():
        monkeypatch.setenv(name, value)
    assert len(OrderStore.from_environment().load_table("orders", "2025-09-15")) == 2
    monkeypatch.delenv("S3_BUCKET_NAME")
    with pytest.raises(SettingsError, match="S3_BUCKET_NAME is not set"):
        OrderStore.from_environment()
