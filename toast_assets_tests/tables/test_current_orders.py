"""The newest version of every order over all weeks, whatever the order in which the weeks come."""

from __future__ import annotations

import copy
import hashlib
import itertools
import logging
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from decimal import Decimal
from threading import Lock
from typing import Any

import msgspec
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from toast_assets.orders.identity import email_key
from toast_assets.store.bucket import Bucket, Version
from toast_assets.store.order_store import OrderStore
from toast_assets.tables import files as table_files
from toast_assets.tables.build import build_tables
from toast_assets.tables.current_orders import CurrentReport, refresh_current_orders
from toast_assets.toast.configuration import Entity
from toast_assets.week import WeekCalendar
from toast_assets_tests.support.data.invented import Json, check, customer, encode, order, payment, selection
from toast_assets_tests.support.stores.names import store_names
from toast_assets_tests.support.stores.stored_weeks import store_week

LOG = logging.getLogger(__name__)
KEYS = ("2025-09-15", "2025-09-22", "2025-09-29")
A, B = "restaurant-a", "restaurant-b"
# Invented orders are created in this month.
MONTH = "2025-09"


def modified(made: Json, day: date, **changes: Any) -> Json:
    return copy.deepcopy(made) | {"modifiedDate": f"{day}T12:00:00.000+0000"} | changes


def three_weeks() -> dict[str, dict[str, list[Json]]]:
    """Orders that were tipped, voided and refunded in later weeks; each version stands in its own week."""
    tipped, voided, refunded, quiet, other = (order(check(selection(f"{price}.00"))) for price in (10, 20, 30, 40, 50))
    first, second, third = (date.fromisoformat(key) + timedelta(days=2) for key in KEYS)
    with_tip = modified(tipped, second)
    with_tip["checks"][0]["payments"] = [payment("10.80", "2.00")]
    more_tip = modified(with_tip, third)
    more_tip["checks"][0]["payments"] = [payment("10.80", "3.00")]
    with_refund = modified(refunded, third)
    with_refund["checks"][0]["payments"] = [payment("32.40", refund="5.00")]
    return {
        KEYS[0]: {A: [modified(one, first) for one in (tipped, voided, refunded, quiet)], B: [modified(other, first)]},
        KEYS[1]: {A: [with_tip, modified(voided, second, voided=True)]},
        KEYS[2]: {A: [more_tip, with_refund], B: [modified(order(check(selection("60.00"))), third)]},
    }


def put(store: OrderStore, key: str, orders: dict[str, list[Json]]) -> None:
    week = WeekCalendar().week(key)
    store_week(store, week, {guid: encode(*made) for guid, made in orders.items()})
    build_tables(week, store, LOG)


def refresh(store: OrderStore) -> CurrentReport:
    return refresh_current_orders(store, LOG)


def sales(store: OrderStore) -> dict[tuple[date, str], tuple[Decimal, Decimal, Decimal]]:
    frame = store.load_table("current_orders")
    sums = frame.groupby(["business_date", "restaurant_guid"])[["net_sales", "tip_amount", "refund_amount"]].sum()
    return {key: tuple(row) for key, row in zip(sums.index, sums.itertuples(index=False), strict=True)}


DAY = date(2025, 9, 19)
RIGHT = {
    (DAY, A): (Decimal(10 + 30 + 40), Decimal(3), Decimal(5)),
    (DAY, B): (Decimal(50 + 60), Decimal(0), Decimal(0)),
}


@pytest.mark.parametrize("keys", list(itertools.permutations(KEYS)), ids=str)
def test_sales_come_out_right_whatever_the_order_of_the_weeks(store: OrderStore, keys: Sequence[str]) -> None:
    weeks = three_weeks()
    for key in keys:
        put(store, key, weeks[key])
        refresh(store)
    assert sales(store) == RIGHT
    assert len(store.load_table("current_orders")) == 6


def test_all_weeks_at_once_give_the_same_rows_as_one_after_the_other(store: OrderStore) -> None:
    weeks = three_weeks()
    for key in KEYS:
        put(store, key, weeks[key])
    report = refresh(store)
    assert (report.weeks, report.new, report.state.orders) == (KEYS, 6, 6)
    at_once = store.load_table("current_orders")
    for key in list(store.bucket.keys(store.layout.table_folder("current_orders"))):
        store.bucket.delete(key)
    for key in reversed(KEYS):
        put(store, key, weeks[key])
        refresh(store)
    pd.testing.assert_frame_equal(store.load_table("current_orders"), at_once)


def test_only_weeks_that_changed_are_read_again(store: OrderStore) -> None:
    weeks = three_weeks()
    put(store, KEYS[0], weeks[KEYS[0]])
    assert refresh(store).weeks == (KEYS[0],)
    put(store, KEYS[1], weeks[KEYS[1]])
    report = refresh(store)
    assert (report.weeks, report.new, report.replaced) == ((KEYS[1],), 0, 2)


def test_a_second_refresh_changes_no_object(store: OrderStore) -> None:
    for key, orders in three_weeks().items():
        put(store, key, orders)
    refresh(store)
    before = {key: store.bucket.read(key) for key in store.bucket.keys("")}
    report = refresh(store)
    assert (report.weeks, report.new, report.replaced, report.state.orders) == ((), 0, 0, 6)
    assert {key: store.bucket.read(key) for key in store.bucket.keys("")} == before


def test_a_late_arrival_in_an_old_week_is_added_and_older_versions_stay_out(store: OrderStore) -> None:
    weeks = three_weeks()
    for key in KEYS:
        put(store, key, weeks[key])
        refresh(store)
    late = modified(order(check(selection("7.00"))), date(2025, 9, 16))
    weeks[KEYS[0]][A].append(late)
    put(store, KEYS[0], weeks[KEYS[0]])
    report = refresh(store)
    assert (report.weeks, report.new, report.replaced) == ((KEYS[0],), 1, 0)
    assert sales(store) == RIGHT | {(DAY, A): (Decimal(87), Decimal(3), Decimal(5))}


def test_an_order_that_changed_without_a_new_modified_time_is_replaced(store: OrderStore) -> None:
    weeks = three_weeks()
    put(store, KEYS[0], weeks[KEYS[0]])
    refresh(store)
    weeks[KEYS[0]][B][0]["voided"] = True
    put(store, KEYS[0], weeks[KEYS[0]])
    refresh(store)
    assert sales(store)[DAY, B][0] == 0


def test_a_refresh_that_died_before_its_state_is_made_up_for(
    store: OrderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key, orders in three_weeks().items():
        put(store, key, orders)
    with monkeypatch.context() as patched:
        patched.setattr(Bucket, "write", dying_at(store.layout.current_orders_state()))
        with pytest.raises(KeyboardInterrupt):
            refresh(store)
    assert store.bucket.read(store.layout.current_orders(A, MONTH)) is not None
    refresh(store)
    assert sales(store) == RIGHT


def dying_at(key: str) -> Callable[..., Version]:
    """``Bucket.write`` that never comes to the object at ``key``."""
    write = Bucket.write

    def run(bucket: Bucket, written: str, *content: Any, **properties: Any) -> Version:
        if written == key:
            raise KeyboardInterrupt
        return write(bucket, written, *content, **properties)

    return run


@pytest.mark.parametrize("which", [A, B])
def test_two_refreshes_at_once_lose_nothing(store: OrderStore, monkeypatch: pytest.MonkeyPatch, which: str) -> None:
    weeks = three_weeks()
    put(store, KEYS[0], weeks[KEYS[0]])
    write = Bucket.write
    lock, meddled = Lock(), False

    def meddle(bucket: Bucket, key: str, *content: Any, **properties: Any) -> Version:
        nonlocal meddled
        with lock:
            first = not meddled and key == store.layout.current_orders(which, MONTH)
            meddled = meddled or first
        if first:
            put(store, KEYS[1], weeks[KEYS[1]])
            put(store, KEYS[2], weeks[KEYS[2]])
            refresh(store)
        return write(bucket, key, *content, **properties)

    monkeypatch.setattr(Bucket, "write", meddle)
    refresh(store)
    assert meddled
    assert sales(store) == RIGHT
    assert refresh(store).weeks == ()


def test_files_of_another_schema_or_a_broken_state_are_made_again(store: OrderStore) -> None:
    for key, orders in three_weeks().items():
        put(store, key, orders)
    report = refresh(store)
    state = msgspec.structs.replace(report.state, schema="an earlier one")
    store.bucket.write(store.layout.current_orders_state(), msgspec.json.encode(state))
    assert refresh(store).weeks == KEYS
    store.bucket.write(store.layout.current_orders_state(), b"{")
    assert refresh(store).weeks == KEYS
    assert sales(store) == RIGHT


@pytest.mark.parametrize("raw_orders", ["kept", "removed", "removed of one restaurant"])
def test_weeks_and_files_that_an_earlier_release_made_without_names_stay_and_get_names_where_they_can(
    store: OrderStore, raw_orders: str
) -> None:
    bar: Json = {"diningOption": {"guid": "bar"}}
    late = order(businessDate=20251399)
    for key in KEYS:
        day = date.fromisoformat(key)
        put(store, key, {guid: [modified(order(), day, **bar), modified(late, day)] for guid in (A, B)})
    report = refresh(store)
    before = store.load_table("current_orders").drop(columns=["dining_option_name", "dining_behavior", "marketplace"])
    files = [store.layout.table("orders", key) for key in KEYS]
    for key in (*files, *(store.layout.current_orders(guid, MONTH) for guid in (A, B))):
        body, _ = store.bucket.read(key) or (b"", None)
        fewer = without_names(body)
        store.bucket.write(key, fewer, Metadata={"sha256": hashlib.sha256(fewer).hexdigest()})
    state = msgspec.structs.replace(report.state, schema="an earlier one")
    store.bucket.write(store.layout.current_orders_state(), msgspec.json.encode(state))
    for guid in (A, B):
        store_names(store, guid, Entity("dining_option", "bar", "Bar", "DINE_IN"))
    gone = {"kept": (), "removed": (A, B), "removed of one restaurant": (A,)}[raw_orders]
    for guid in gone:
        store.bucket.delete(store.layout.raw(WeekCalendar().week(KEYS[0]), guid))
    after = refresh(store)
    assert (after.weeks, after.left_out) == (KEYS, ())
    current = store.load_table("current_orders")
    pd.testing.assert_frame_equal(current[before.columns], before)
    unnamed = current[current["dining_option_name"].isna()]
    assert list(unnamed["restaurant_guid"]) == list(gone)
    # The stored versions that cannot be read are still known.
    for week in after.state.weeks.values():
        assert {guid: list(of) for guid, of in week.unreadable.items()} == {guid: [late["guid"]] for guid in (A, B)}
    assert refresh(store).weeks == ()


def test_many_row_groups_stay_sorted_and_whole(store: OrderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_files, "_ROW_GROUP_ROWS", 7)
    days = [date.fromisoformat(KEYS[0]) + timedelta(days=number % 7) for number in range(60)]
    made = [modified(order(), day) for day in days]
    put(store, KEYS[0], {A: made})
    refresh(store)
    edited = [modified(one, date.fromisoformat(KEYS[1])) for one in made[::3]]
    put(store, KEYS[1], {A: [*edited, modified(order(), date.fromisoformat(KEYS[1]))]})
    assert (refresh(store).replaced, refresh(store).state.orders) == (20, 61)
    frame = store.load_table("current_orders")
    assert frame["order_guid"].is_unique
    assert frame["modified_at"].is_monotonic_increasing


def without_names(body: bytes) -> bytes:
    footer = pq.read_metadata(pa.BufferReader(body)).metadata or {}
    unreadable = {table_files.UNREADABLE: footer.get(table_files.UNREADABLE, b"{}")}

    def change(rows: pa.Table) -> pa.Table:
        fewer = rows.drop_columns(["dining_option_name", "marketplace"])
        return fewer.replace_schema_metadata(fewer.schema.metadata | unreadable)

    return rewritten(body, change)


def doubled(body: bytes) -> bytes:
    return rewritten(body, lambda rows: pa.concat_tables([rows, rows]))


def emptied(body: bytes) -> bytes:
    return rewritten(body, lambda rows: rows.slice(0, 0))


def rewritten(body: bytes, change: Callable[[pa.Table], pa.Table]) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(change(pq.read_table(pa.BufferReader(body))), sink)
    return bytes(sink.getvalue())


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda body: body[: len(body) // 2],
    "no parquet": lambda _: b"\xff[",
    "emptied": emptied,
    "doubled": doubled,
}


@pytest.mark.parametrize("harm", [*DAMAGES, "removed"])
def test_a_damaged_file_is_made_again_out_of_all_weeks_whether_or_not_anything_is_new(
    store: OrderStore, harm: str
) -> None:
    for key, orders in three_weeks().items():
        put(store, key, orders)
    refresh(store)
    key = store.layout.current_orders(A, MONTH)
    found = store.bucket.read(key)
    assert found is not None
    if harm == "removed":
        store.bucket.delete(key)
    else:
        store.bucket.write(key, DAMAGES[harm](found[0]))
    report = refresh(store)
    assert (report.weeks, report.state.orders) == (KEYS, 6)
    assert store.bucket.read(key) == found
    assert refresh(store).weeks == ()


@pytest.mark.parametrize("harm", DAMAGES)
def test_a_damaged_table_of_a_week_is_made_again_before_it_is_merged(store: OrderStore, harm: str) -> None:
    for key, orders in three_weeks().items():
        put(store, key, orders)
    key = store.layout.table("orders", KEYS[1])
    found = store.bucket.read(key)
    assert found is not None
    store.bucket.write(key, DAMAGES[harm](found[0]))
    assert refresh(store).weeks == KEYS
    assert sales(store) == RIGHT
    assert store.bucket.read(key) == found


def test_tables_that_are_made_again_have_the_salt(store: OrderStore) -> None:
    put(store, KEYS[0], {A: [order(check(guest=customer("ann@example.com")))]})
    store.bucket.write(store.layout.table("orders", KEYS[0]), b"damaged")
    refresh_current_orders(store, LOG, salt=b"salt")
    assert store.load_table("customers", KEYS[0])["email_key"].to_list() == [email_key("ann@example.com", b"salt")]


def test_a_damaged_table_whose_raw_orders_are_gone_is_named_and_stops_no_other_week(
    store: OrderStore, caplog: pytest.LogCaptureFixture
) -> None:
    for key, orders in three_weeks().items():
        put(store, key, orders)
    week = WeekCalendar().week(KEYS[0])
    store.bucket.write(store.layout.table("orders", week.key), b"")
    for guid in (A, B):
        store.bucket.delete(store.layout.raw(week, guid))
    report = refresh(store)
    assert (report.weeks, report.left_out) == (KEYS[1:], KEYS[:1])
    assert f"Week {week.key}: its table of orders is damaged" in caplog.text
