"""A week of invented orders as feed files: Amperity's own checks, the sums, and the types that readers find."""

from __future__ import annotations

import gzip
import re
from collections import Counter, defaultdict
from datetime import date
from decimal import Decimal
from functools import cache
from pathlib import Path

import duckdb
import msgspec
import pandas as pd
import pyarrow as pa
import pyarrow.json as pj
import pytest

from toast_assets.amperity.feeds.build import FEEDS, feed_batches
from toast_assets.amperity.feeds.schema import LAST_UPDATED, Feed, encode
from toast_assets.orders.read import RawOrders
from toast_assets_tests.amperity.feeds.rows import customers
from toast_assets_tests.support.data import oracle
from toast_assets_tests.support.data.invented import RESTAURANT, Json, invented_week

ORDERS = 4_000
BRAND, WEEK = "Example Brand", "2025-09-15"
DUCKDB = {"string": "VARCHAR", "integer": "BIGINT", "boolean": "BOOLEAN", "datetime": "TIMESTAMP", "date": "DATE"}


@cache
def raw() -> list[bytes]:
    return list(invented_week(ORDERS, seed=7))


@cache
def feed_lines() -> dict[str, list[bytes]]:
    parts = (raw()[start : start + 500] for start in range(0, ORDERS, 500))
    found: dict[str, list[bytes]] = defaultdict(list)
    orders = (RawOrders(RESTAURANT, part, "America/Chicago", "USD") for part in parts)
    made = list(feed_batches(orders, BRAND, WEEK, {}))
    for batch in made:
        assert not batch.rejections
        for name, rows in batch.rows.items():
            found[name].extend(map(encode, rows))
    found["customers"].extend(map(encode, customers(made)))
    return found


@cache
def rows(feed: str) -> list[Json]:
    decoder = msgspec.json.Decoder(float_hook=Decimal)
    return [decoder.decode(line) for line in feed_lines()[feed]]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for name, written in feed_lines().items():
        (tmp_path / f"{name}_week.ndjson.gz").write_bytes(gzip.compress(b"\n".join(written) + b"\n", mtime=0))
    return tmp_path


def test_keys_are_unique_and_there() -> None:
    for name, feed in FEEDS.items():
        keys = Counter(row[feed.key] for row in rows(name))
        assert None not in keys
        assert keys.most_common(1)[0][1] == 1


def test_every_order_item_has_a_product_and_every_order_a_store() -> None:
    for row in rows("transactions") + rows("order_items"):
        assert row["product_id"]
        assert row["store_id"]
        assert row["order_id"]


def test_quantity_revenue_and_date_are_there() -> None:
    for row in rows("transactions"):
        assert isinstance(row["item_quantity"], int)
        assert row["item_revenue"] is not None
        assert row["order_datetime"]
        assert row["purchase_channel"]
        assert row["purchase_brand"]


def test_nothing_is_both_a_return_and_a_cancellation() -> None:
    kinds = Counter((row["is_return"], row["is_cancellation"]) for row in rows("transactions"))
    assert kinds[True, True] == 0
    assert all(kinds[kind] for kind in ((False, False), (True, False), (False, True)))


def test_returns_and_cancellations_are_zero_or_below_and_purchases_zero_or_above() -> None:
    columns = ("item_quantity", "item_list_price", "item_discount_amount", "item_revenue", "order_discount_amount")
    for row in rows("transactions"):
        sign = -1 if row["is_return"] or row["is_cancellation"] else 1
        assert all(sign * row[column] >= 0 for column in columns), row


def test_revenue_is_list_price_less_discount() -> None:
    for row in rows("transactions"):
        assert row["item_revenue"] == row["item_list_price"] - row["item_discount_amount"]


def test_e_mails_look_like_e_mails_and_phones_have_ten_digits() -> None:
    for row in rows("customers"):
        assert row["email"] is None or re.fullmatch(r"[^@\s]+@[^@\s]+\.[a-z]+", row["email"])
        assert row["phone"] is None or re.fullmatch(r"[0-9]{10}", row["phone"])


def test_there_is_one_customer_per_order_and_a_row_for_every_customer() -> None:
    of_order: dict[str, set[str | None]] = defaultdict(set)
    for row in rows("transactions") + rows("order_items"):
        of_order[row["order_id"]].add(row["fk_customer"])
    assert all(len(customers) == 1 for customers in of_order.values())
    named = set().union(*of_order.values()) - {None}
    assert named <= {row["customer_id"] for row in rows("customers")}
    assert named


def test_names_are_snake_case_and_times_have_one_format() -> None:
    for name, feed in FEEDS.items():
        assert all(re.fullmatch(r"[a-z][a-z0-9_]*", column) for column in feed.columns)
        moments = [name for name, field in feed.columns.items() if field.type == "datetime"]
        assert LAST_UPDATED in moments
        for row in rows(name)[:500]:
            assert all(re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}", row[column]) for column in moments)


def test_the_transactions_of_an_order_add_up_to_what_it_came_to() -> None:
    revenue: dict[str, Decimal] = defaultdict(Decimal)
    for row in rows("transactions"):
        revenue[row["order_id"]] += row["item_revenue"]
    found = list(map(oracle.read, raw()))
    assert [revenue[order["guid"]] for order in found] == [oracle.revenue(order) for order in found]
    assert all(any(oracle.amounts(order)[name] for order in found) for name in ("net_sales", "sales_refund_amount"))


def duckdb_type(declared: str) -> str:
    return DUCKDB.get(declared, declared.upper())


def declared_types(feed: Feed) -> dict[str, str]:
    return {name: duckdb_type(field.type) for name, field in feed.columns.items()}


@pytest.mark.parametrize("feed", FEEDS.values(), ids=FEEDS)
def test_duckdb_reads_a_file_with_the_documented_types(feed: Feed, files: Path) -> None:
    path = str(files / f"{feed.name}_*.ndjson.gz")
    relation = duckdb.read_json(path, format="newline_delimited", columns=declared_types(feed))
    assert dict(zip(relation.columns, map(str, relation.types), strict=True)) == declared_types(feed)
    found = relation.fetchall()
    assert len(found) == len(feed_lines()[feed.name])
    assert max(row[relation.columns.index(LAST_UPDATED)] for row in found).date() == date(2025, 9, 19)


def test_duckdb_finds_the_same_revenue_to_the_cent(files: Path) -> None:
    feed = FEEDS["transactions"]
    relation = duckdb.read_json(str(files / "transactions_*.ndjson.gz"), columns=declared_types(feed))
    ((found,),) = relation.sum("item_revenue").fetchall()
    assert found == sum(row["item_revenue"] for row in rows("transactions"))


@pytest.mark.parametrize("feed", FEEDS.values(), ids=FEEDS)
def test_duckdb_guesses_no_other_columns(feed: Feed, files: Path) -> None:
    guessed = duckdb.read_json(str(files / f"{feed.name}_*.ndjson.gz"), format="newline_delimited")
    assert guessed.columns == list(feed.columns)


def arrow_type(declared: str) -> pa.DataType:
    if match := re.fullmatch(r"decimal\((\d+),(\d+)\)", declared):
        return pa.decimal128(*map(int, match.groups()))
    return {"integer": pa.int64(), "boolean": pa.bool_(), "datetime": pa.timestamp("ms")}.get(declared, pa.string())


@pytest.mark.parametrize("feed", FEEDS.values(), ids=FEEDS)
def test_pandas_reads_a_file_with_the_documented_types_and_exact_decimals(feed: Feed, files: Path) -> None:
    schema = pa.schema([(name, arrow_type(field.type)) for name, field in feed.columns.items()])
    with gzip.open(files / f"{feed.name}_week.ndjson.gz") as file:
        table = pj.read_json(file, parse_options=pj.ParseOptions(explicit_schema=schema))
    frame = table.to_pandas(types_mapper=pd.ArrowDtype)
    assert list(frame.columns) == list(feed.columns)
    assert [dtype.pyarrow_dtype for dtype in frame.dtypes] == schema.types
    for name, field in feed.columns.items():
        if field.type.startswith("decimal"):
            assert frame[name].sum() == sum(row[name] or 0 for row in rows(feed.name))
        if field.type == "date":
            assert pd.to_datetime(frame[name], format="%Y-%m-%d").notna().all()


@pytest.mark.parametrize("feed", FEEDS.values(), ids=FEEDS)
def test_pandas_own_reader_finds_every_row_and_column(feed: Feed, files: Path) -> None:
    frame = pd.read_json(files / f"{feed.name}_week.ndjson.gz", lines=True, dtype=False)
    assert frame.shape == (len(feed_lines()[feed.name]), len(feed.columns))
    assert frame[feed.key].is_unique
