"""The flat tables of a week: whole, sorted, the same bytes each time, and nothing left out in silence."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from toast_assets.errors import ExportError
from toast_assets.orders import raw_file
from toast_assets.orders.identity import email_key
from toast_assets.orders.raw import cut_orders
from toast_assets.orders.raw_file import RAW_SCHEMA, RawFileWriter
from toast_assets.store.order_store import OrderStore
from toast_assets.tables import files as table_files
from toast_assets.tables.build import SalesPart, TablesReport, build_tables
from toast_assets.tables.files import Unreadable, unreadable_in
from toast_assets.tables.schema import TABLES
from toast_assets.toast.configuration import Entity
from toast_assets.week import Week
from toast_assets_tests.support.data.guide import guide_order
from toast_assets_tests.support.data.invented import (
    Json,
    check,
    customer,
    discount,
    encode,
    gift_card,
    guid,
    invented_week,
    order,
    payment,
)
from toast_assets_tests.support.stores.names import store_names
from toast_assets_tests.support.stores.stored_weeks import save_manifest, store_week

LOG = logging.getLogger(__name__)
A, B = "restaurant-a", "restaurant-b"
Build = Callable[[], TablesReport]


@pytest.fixture
def build(store: OrderStore, week: Week) -> Build:
    return lambda: build_tables(week, store, LOG)


def stored(store: OrderStore, table: str, week: Week) -> pa.Table:
    found = store.bucket.read(store.layout.table(table, week.key))
    assert found is not None
    return pq.read_table(pa.BufferReader(found[0]))


def at(time: str, **more: Any) -> Json:
    return order(modifiedDate=f"2025-09-{time}.000+0000", **more)


def test_every_restaurant_is_in_one_file_per_table_by_restaurant_and_modified_time(
    store: OrderStore, week: Week, build: Build
) -> None:
    late, early = at("19T10:00:00"), at("16T10:00:00", checks=2)
    store_week(store, week, {B: encode(at("15T10:00:00")), A: encode(late, early)})
    report = build()
    orders = stored(store, "orders", week)
    assert orders["restaurant_guid"].to_pylist() == [A, A, B]
    assert orders["order_guid"].to_pylist()[:2] == [early["guid"], late["guid"]]
    assert {name: file.rows for name, file in report.files.items()} == {
        name: stored(store, name, week).num_rows for name in TABLES
    }
    assert report.files["checks"].rows == 4
    for name, table in TABLES.items():
        assert stored(store, name, week).schema.equals(table.schema, check_metadata=True)


def test_equal_orders_give_equal_bytes_and_are_not_stored_again(store: OrderStore, week: Week, build: Build) -> None:
    store_week(store, week, {A: list(invented_week(500))})
    first = build()
    versions = [store.bucket.read(file.key) for file in first.files.values()]
    again = build()
    assert [file.sha256 for file in again.files.values()] == [file.sha256 for file in first.files.values()]
    assert [store.bucket.read(file.key) for file in again.files.values()] == versions
    assert again.changes == Counter(unchanged=500)


def test_what_changed_since_the_last_time_is_counted(store: OrderStore, week: Week, build: Build) -> None:
    kept, edited = at("15T10:00:00"), at("16T10:00:00")
    store_week(store, week, {A: encode(kept, edited), B: encode(at("17T10:00:00"))})
    assert build().changes == Counter(new=3)
    edited["modifiedDate"] = "2025-09-18T10:00:00.000+0000"
    store_week(store, week, {A: encode(kept, edited, at("19T10:00:00")), "c": encode(at("17T10:00:00"))})
    assert build().changes == Counter(new=2, changed=1, unchanged=1)


def test_an_order_that_cannot_be_converted_is_reported_and_stops_no_other(
    store: OrderStore, week: Week, build: Build, caplog: pytest.LogCaptureFixture
) -> None:
    bad = order(businessDate=20251399)
    store_week(store, week, {A: encode(order(), bad, order())})
    report = build()
    assert (report.rejected, report.files["orders"].rows) == (1, 2)
    assert [(one.order_guid, one.reason) for one in report.rejections] == [(bad["guid"], "unrepresentable")]
    assert bad["guid"] in caplog.text


def test_of_many_rejections_all_are_counted_and_the_first_are_named(
    store: OrderStore, week: Week, build: Build
) -> None:
    store_week(store, week, {A: encode(*(order(businessDate=20251399) for _ in range(30)), order())})
    report = build()
    assert (report.rejected, len(report.rejections), report.files["orders"].rows) == (30, 20, 1)


def unreadable(store: OrderStore, week: Week, folder: Path) -> Unreadable:
    store.bucket.fetch(store.layout.table("orders", week.key), folder / "orders")
    return unreadable_in(folder / "orders")


def test_the_table_of_orders_names_every_order_that_could_not_be_converted(
    store: OrderStore, week: Week, build: Build, tmp_path: Path
) -> None:
    times = {guid: at(f"{day}T10:00:00", guid=guid, businessDate=99) for guid, day in (("o1", "16"), ("o2", "17"))}
    many = [at("18T10:00:00", businessDate=20251399) for _ in range(30)]
    store_week(store, week, {A: encode(at("15T10:00:00"), *times.values()), B: encode(*many)})
    first = build()
    found = unreadable(store, week, tmp_path)
    milliseconds = [int(datetime(2025, 9, day, 10, tzinfo=UTC).timestamp() * 1000) for day in (16, 17)]
    assert found[A] == dict(zip(("o1", "o2"), milliseconds, strict=True))
    assert found[B].keys() == {one["guid"] for one in many}
    assert build().files == first.files
    # A restaurant that cannot be read keeps its own, and a table without them says nothing of them.
    store.bucket.delete(store.layout.raw(week, B))
    build()
    assert unreadable(store, week, tmp_path) == found
    store_week(store, week, {A: encode(at("15T10:00:00")), B: encode(at("15T10:00:00"))})
    build()
    assert unreadable(store, week, tmp_path) == {}


def test_a_restaurant_is_summed_up(store: OrderStore, week: Week, build: Build) -> None:
    sale = order(check(appliedDiscounts=[discount("1.50")]), check(gift_card()), businessDate=20250917)
    store_week(store, week, {A: encode(sale, order(voided=True), order())})
    (summary,) = build().restaurants
    assert (summary.orders, summary.net_sales, summary.late) == (3, Decimal("18.5000"), 1)
    assert summary.name == f"Place {A}"


def test_every_order_says_its_restaurants_name_and_currency_where_they_are_known(
    store: OrderStore, week: Week, build: Build
) -> None:
    manifest = store_week(store, week, {A: encode(order(), order()), B: encode(order())})
    known = {A: msgspec.structs.replace(manifest.restaurants[A], name="Pier 9", currency="CAD")}
    unknown = {B: msgspec.structs.replace(manifest.restaurants[B], name=None, currency=None)}
    save_manifest(store, week, msgspec.structs.replace(manifest, restaurants=known | unknown))
    build()
    rows = stored(store, "orders", week).select(["restaurant_guid", "restaurant_name", "currency"]).to_pylist()
    assert [tuple(row.values()) for row in rows] == [(A, "Pier 9", "CAD")] * 2 + [(B, None, None)]


def dining_option(guid: str, name: str, behavior: str | None = None) -> Entity:
    return Entity("dining_option", guid, name, behavior)


def served(store: OrderStore, week: Week) -> list[tuple[str | None, ...]]:
    names = ["restaurant_guid", "dining_option_name", "dining_behavior"]
    return [tuple(row.values()) for row in stored(store, "orders", week).select(names).to_pylist()]


def test_every_restaurant_has_the_names_of_its_own_configuration(store: OrderStore, week: Week, build: Build) -> None:
    here = order(diningOption={"guid": "Option-1"})
    store_week(store, week, {guid: encode(here) for guid in (A, B, "restaurant-c")})
    store_names(store, A, dining_option("option-1", "Bar", "DINE_IN"))
    store_names(store, B, dining_option("OPTION-1", "Counter", "TAKE_OUT"))
    build()
    assert served(store, week) == [(A, "Bar", "DINE_IN"), (B, "Counter", "TAKE_OUT"), ("restaurant-c", None, None)]


def test_a_new_name_is_in_the_tables_that_are_made_then_and_an_archived_one_stays(
    store: OrderStore, week: Week, build: Build
) -> None:
    store_week(store, week, {A: encode(*(at("15T10:00:00", diningOption={"guid": guid}) for guid in ("one", "two")))})
    store_names(store, A, dining_option("one", "Bar", "DINE_IN"), dining_option("two", "Window", "TAKE_OUT"))
    first = build()
    store_names(store, A, dining_option("one", "Lounge"), day=23)
    second = build()
    assert served(store, week) == [(A, "Lounge", "DINE_IN"), (A, "Window", "TAKE_OUT")]
    assert first.files["orders"].sha256 != second.files["orders"].sha256
    assert first.files["checks"] == second.files["checks"]
    assert second.changes == Counter(unchanged=2)


def test_a_table_of_names_that_is_damaged_costs_the_names_alone(
    store: OrderStore, week: Week, build: Build, caplog: pytest.LogCaptureFixture
) -> None:
    store_week(store, week, {A: encode(order(diningOption={"guid": "one"}))})
    store.bucket.write(store.layout.whole_table("names"), b"PAR1")
    assert build().problems == {}
    assert served(store, week) == [(A, None, None)]
    assert "Names are left out" in caplog.text


def test_net_sales_are_added_up_by_currency_channel_and_local_hour(store: OrderStore, week: Week, build: Build) -> None:
    sold = [
        order(diningOption={"guid": "one"}),
        order(diningOption={"guid": "one"}, checks=2),
        order(diningOption={"guid": "one"}, openedDate="2025-09-15T04:30:00.000Z"),
        order(source="Kiosk"),
        order(source="Kiosk", openedDate=None),
        order(source=None),
    ]
    none = [
        *(order(source="Kiosk", **{what: True}) for what in ("voided", "deleted", "createdInTestMode", "excessFood")),
        order(check(gift_card()), source="Kiosk"),
    ]
    manifest = store_week(store, week, {A: encode(*sold, *none), B: encode(order(source="Kiosk"))})
    canadian = {B: msgspec.structs.replace(manifest.restaurants[B], currency="CAD")}
    save_manifest(store, week, msgspec.structs.replace(manifest, restaurants=manifest.restaurants | canadian))
    store_names(store, A, dining_option("one", "Bar", "DINE_IN"))
    report = build()
    assert report.sales == {
        SalesPart(None, "DINE_IN", 13): 30,
        SalesPart(None, "DINE_IN", 23): 10,
        SalesPart(None, "Kiosk", 13): 10,
        SalesPart(None, "Kiosk", None): 10,
        SalesPart(None, None, 13): 10,
        SalesPart("CAD", "Kiosk", 13): 10,
    }
    assert [one.currency for one in report.restaurants] == [None, "CAD"]


def test_one_person_with_two_guids_has_one_e_mail_key(store: OrderStore, week: Week) -> None:
    emails = ["greta@example.com", " Greta@Example.COM", None]
    store_week(store, week, {A: encode(*(order(check(guest=customer(email, guid=guid()))) for email in emails))})
    build_tables(week, store, LOG, salt=b"salt")
    rows = stored(store, "customers", week)
    assert len(set(rows["customer_key"].to_pylist())) == 3
    assert rows["email_key"].to_pylist().count(email_key("greta@example.com", b"salt")) == 2
    assert rows["email_key"].null_count == 1


def test_orders_are_counted_by_the_hour_on_the_restaurants_clock(store: OrderStore, week: Week, build: Build) -> None:
    store_week(store, week, {A: encode(order(), order(openedDate="2025-09-15T04:30:00.000Z"))})
    assert build().opened == {(4, 13): 1, (6, 23): 1}


def test_without_a_time_zone_no_hour_is_claimed(store: OrderStore, week: Week, build: Build) -> None:
    store_week(store, week, {A: encode(order())}, time_zone=None)
    assert build().opened == {}


def test_an_empty_week_has_empty_tables(store: OrderStore, week: Week, build: Build) -> None:
    store_week(store, week, {A: []})
    assert build().changes == Counter()
    assert {stored(store, name, week).num_rows for name in TABLES} == {0}


def test_row_groups_are_of_a_good_size_whatever_the_batches(
    store: OrderStore, week: Week, build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_files, "_ROW_GROUP_ROWS", 500)
    store_week(store, week, {f"r{number:03d}": list(invented_week(40, number)) for number in range(30)})
    file = build().files["orders"]
    found = store.bucket.read(file.key)
    assert found is not None
    metadata = pq.ParquetFile(pa.BufferReader(found[0])).metadata
    assert [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)] == [500, 500, 200]


def test_the_guides_payload_and_odd_shapes_lose_no_order(store: OrderStore, week: Week, build: Build) -> None:
    odd = [
        guide_order(),
        order(checks=0) | {"checks": []},
        order(check(customer=None, selections=[], payments=[])),
        order(deletedDate=None, server=None, diningOption=None, somethingNew={"deep": [1]}),
        order(check(gift_card()), deleted=True),
        {"guid": "bare", "modifiedDate": "2025-09-19T00:00:00.000Z"},
    ]
    store_week(store, week, {A: encode(*odd)})
    report = build()
    assert (report.rejected, report.files["orders"].rows) == (0, len(odd))


def test_a_week_that_was_not_pulled_says_what_to_materialize(build: Build) -> None:
    with pytest.raises(ExportError, match=r"was not pulled yet.*Materialize raw_toast_orders"):
        build()


def test_raw_orders_that_are_not_those_of_the_manifest_are_refused(
    store: OrderStore, week: Week, build: Build, tmp_path: Path
) -> None:
    store_week(store, week, {A: encode(order())})
    with RawFileWriter(tmp_path / "raw", A) as writer:
        writer.write(cut_orders(b"[%s]" % b",".join(encode(order(), order())), restaurant_guid=A, pulled_ms=0)[0])
    store.bucket.write(store.layout.raw(week, A), tmp_path / "raw")
    with pytest.raises(ExportError, match="not those that the manifest describes"):
        build()
    store.bucket.delete(store.layout.raw(week, A))
    with pytest.raises(ExportError, match="not those that the manifest describes"):
        build()


@pytest.mark.parametrize("harm", ["missing", "broken", "flipped"])
def test_a_restaurant_that_cannot_be_read_is_named_and_keeps_its_rows_while_the_others_get_new_ones(
    store: OrderStore, week: Week, build: Build, harm: str
) -> None:
    ours = {guid: list(encode(order(check(payments=[payment()])))) for guid in (A, B, "restaurant-c")}
    store_week(store, week, ours)
    build()
    before = {name: stored(store, name, week).filter(pc.field("restaurant_guid") == B) for name in TABLES}
    store_week(store, week, ours | {A: [*ours[A], *encode(order())]})
    raw = store.bucket.read(store.layout.raw(week, B))
    assert raw is not None
    flipped = bytearray(raw[0])
    orders = pq.read_metadata(pa.BufferReader(raw[0])).row_group(0).column(RAW_SCHEMA.get_field_index("order_json"))
    flipped[orders.data_page_offset + orders.total_compressed_size - 500] ^= 0x41
    store.bucket.delete(store.layout.raw(week, B))
    if harm != "missing":
        store.bucket.write(store.layout.raw(week, B), b"PAR1" if harm == "broken" else bytes(flipped))
    report = build()
    assert list(report.problems) == [B]
    assert store.bucket.uri(store.layout.raw(week, B)) in report.problems[B]
    assert stored(store, "orders", week)["restaurant_guid"].to_pylist() == [A, A, B, "restaurant-c"]
    for name in TABLES:
        assert stored(store, name, week).filter(pc.field("restaurant_guid") == B).equals(before[name])


def test_of_a_file_that_is_damaged_at_its_end_no_row_is_kept(
    store: OrderStore, week: Week, build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(raw_file, "_ROW_GROUP_ROWS", 1)
    bad = order(businessDate=20251399)
    store_week(store, week, {A: encode(order(), bad, order()), B: encode(order())})
    raw, _ = store.bucket.read(store.layout.raw(week, A)) or (b"", None)
    last = pq.read_metadata(pa.BufferReader(raw)).row_group(2).column(RAW_SCHEMA.get_field_index("order_json"))
    flipped = bytearray(raw)
    flipped[last.data_page_offset + last.total_compressed_size - 500] ^= 0x41
    store.bucket.write(store.layout.raw(week, A), bytes(flipped))
    report = build()
    assert (list(report.problems), report.rejected) == ([A], 0)
    assert stored(store, "orders", week)["restaurant_guid"].to_pylist() == [B]


def test_a_damaged_table_is_made_again(store: OrderStore, week: Week, build: Build) -> None:
    store_week(store, week, {A: encode(order(), order())})
    first = build()
    for file in first.files.values():
        found, info = store.bucket.read(file.key), store.bucket.info(file.key)
        assert found is not None
        assert info is not None
        store.bucket.write(file.key, found[0][: len(found[0]) // 2], Metadata=dict(info.metadata))
    assert build().changes == Counter(new=2)
    assert stored(store, "orders", week).num_rows == 2
    assert build().changes == Counter(unchanged=2)
