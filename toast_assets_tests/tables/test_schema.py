"""The declared tables: every column named, typed, described, and tied to the field of Toast's it comes from."""

from __future__ import annotations

import re

import pyarrow as pa
import pytest

from toast_assets.orders.names import references
from toast_assets.tables.columns import Column, Kind, Table
from toast_assets.tables.schema import NAMES, RESTAURANTS, TABLES

ALL = [(table, column) for table in TABLES.values() for column in table.columns]
IDS = [f"{table.name}.{column.name}" for table, column in ALL]


def test_the_tables_are_those_that_are_promised() -> None:
    assert list(TABLES) == [
        *("orders", "checks", "order_items", "payments", "discounts", "service_charges", "taxes", "customers"),
    ]


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_restaurant_and_order_are_in_every_table_and_never_null(table: Table) -> None:
    for name in ("restaurant_guid", "order_guid"):
        assert not table.schema.field(name).nullable
    assert set(table.key) <= set(table.schema.names)
    assert len(set(table.schema.names)) == len(table.columns)


@pytest.mark.parametrize(("table", "column"), ALL, ids=IDS)
def test_every_column_is_described_and_has_its_toast_field(table: Table, column: Column) -> None:
    assert re.fullmatch(r"[a-z][a-z0-9_]*", column.name)
    metadata = table.schema.field(column.name).metadata
    assert metadata[b"description"].endswith(b".")
    if column.name not in {"restaurant_guid", "restaurant_name", "currency", "level"}:
        assert metadata[b"toast"]


def test_a_toast_field_is_written_as_toast_writes_it() -> None:
    fields = {
        column: TABLES["order_items"].schema.field(column).metadata[b"toast"].decode() for column in ("item_guid",)
    }
    assert fields == {"item_guid": "checks[].selections[].item.guid"}
    reason = TABLES["discounts"].schema.field("reason_name")
    assert reason.metadata[b"toast"] == b"appliedDiscounts[].appliedDiscountReason.name"
    orders = TABLES["orders"].schema
    assert orders.field("delivery_postal_code").metadata[b"toast"] == b"deliveryInfo.zipCode"
    assert orders.field("dining_option_guid").metadata[b"toast"] == b"diningOption.guid"


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_every_guid_of_which_toasts_configuration_has_a_name_is_followed_by_that_name(table: Table) -> None:
    for place, column in enumerate(table.columns):
        field = table.toast_field(column)
        if column.lookup is None and field.endswith(".guid"):
            kinds = [kind for kind, _ in references({field.split(".")[-2]: {"guid": "any"}})]
            after = table.columns[place + 1].lookup if kinds else None
            assert kinds == ([after.kind] if after else [])
            assert after is None or (after.guid, after.what) == (column.name, "name")


def test_a_name_says_where_toasts_configuration_has_it() -> None:
    orders, charges = TABLES["orders"].schema, TABLES["service_charges"].schema
    assert orders.field("dining_option_name").metadata[b"toast"] == b"config: diningOptions.name"
    behavior = b"config: diningOptions.behavior, diningOption.behavior"
    assert orders.field("dining_behavior").metadata[b"toast"] == behavior
    charge = b"config: serviceCharges.name, checks[].appliedServiceCharges[].name"
    assert charges.field("service_charge_name").metadata[b"toast"] == charge


@pytest.mark.parametrize("table", [NAMES, RESTAURANTS], ids=lambda table: table.name)
def test_the_tables_of_toasts_configuration_are_described(table: Table) -> None:
    assert set(table.key) <= set(table.schema.names)
    assert all(column.description.endswith(".") for column in table.columns)


@pytest.mark.parametrize(("table", "column"), ALL, ids=IDS)
def test_money_is_decimal_moments_are_utc_and_ids_are_text(table: Table, column: Column) -> None:
    arrow = table.schema.field(column.name).type
    if column.name.endswith(("_amount", "price", "_sales")):
        assert arrow == pa.decimal128(18, 4)
    if column.name.endswith("_at"):
        assert arrow == pa.timestamp("ms", "UTC")
    if column.name.endswith("_date"):
        assert arrow == pa.date32()
    if column.name.endswith(("_guid", "_id", "_key")):
        assert arrow == pa.string()
    assert not pa.types.is_floating(arrow) or column.kind is Kind.COORDINATE
