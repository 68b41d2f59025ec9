"""The declared tables: every column named, typed, described, and tied to the field of Toast's it comes from."""

from __future__ import annotations

import re

import pyarrow as pa
import pytest

from toast_assets.tables.columns import Column, Kind, Table
from toast_assets.tables.schema import TABLES

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
