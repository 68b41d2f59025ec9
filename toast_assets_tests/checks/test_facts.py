"""The facts of a week: against the tables to the cent, made once per data version."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from functools import partialmethod
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import msgspec
import pytest

from toast_assets.checks import facts
from toast_assets.checks.amounts import AMOUNTS
from toast_assets.checks.check import CheckResult
from toast_assets.checks.drift import FieldCollector, FieldHistory
from toast_assets.checks.facts import NameCoverage, week_facts, week_fields
from toast_assets.errors import StoreError
from toast_assets.export.write import export_week
from toast_assets.orders.raw_file import read_groups
from toast_assets.store.bucket import Bucket, StoredObject
from toast_assets.store.order_store import NAMES_TABLE, OrderStore
from toast_assets.tables.build import build_tables
from toast_assets.tables.names import StoredNames
from toast_assets.toast.configuration import Entity
from toast_assets.week import Week, WeekCalendar
from toast_assets_tests.checks.evaluating import conclude, evaluate
from toast_assets_tests.support.data.guide import guide_order
from toast_assets_tests.support.data.invented import check, encode, gift_card, invented_week, order, payment, selection
from toast_assets_tests.support.data.odd_sales import odd_week
from toast_assets_tests.support.stores.names import store_names
from toast_assets_tests.support.stores.stored_weeks import store_week

LOG = logging.getLogger(__name__)


@pytest.mark.parametrize("orders", [1_000, pytest.param(20_000, marks=pytest.mark.full)])
def test_thousands_of_orders_reconcile_to_the_cent(store: OrderStore, week: Week, orders: int) -> None:
    manifest = store_week(store, week, {f"r{number}": list(invented_week(orders // 4, number)) for number in range(4)})
    build_tables(week, store, LOG)
    found = evaluate("totals_reconcile", week, manifest, store)
    assert found.passed, found.description
    assert found.figures["differences"] == 0
    assert all(found.figures[name] > 0 for name in ("net_sales", "tax_amount", "tip_amount", "refund_amount"))


def test_weeks_of_odd_sales_reconcile_to_the_cent(store: OrderStore, week: Week) -> None:
    manifest = store_week(store, week, {f"r{seed}": odd_week(400, seed) for seed in (7, 8)})
    build_tables(week, store, LOG)
    found = evaluate("totals_reconcile", week, manifest, store)
    assert (found.passed, found.figures["differences"]) == (True, 0), found.description
    assert all(found.figures[name] > 0 for name in AMOUNTS)


@pytest.mark.parametrize("cents", ["0.01", "-0.01"])
def test_a_single_cent_is_noticed(store: OrderStore, week: Week, cents: str) -> None:
    store_week(store, week, {"here": encode(order(), wrong := order())})
    build_tables(week, store, LOG)
    wrong["checks"][0]["selections"][0]["preDiscountPrice"] += Decimal(cents)
    manifest = store_week(store, week, {"here": encode(order(), wrong)})
    found = evaluate("totals_reconcile", week, manifest, store)
    assert not found.passed
    assert "Place here (here): orders.net_sales is 20.0000, raw" in found.description


def test_odd_shapes_and_noise_in_the_digits_reconcile(store: OrderStore, week: Week) -> None:
    odd = [
        guide_order(),
        order(check(selection("10.989999999999998"), payments=[payment("11.869199999999999")])),
        order(check(gift_card(), payments=[payment(voided=True), payment(paymentStatus="DENIED")])),
        order(*(check(selection("0.123456789"), payments=[payment("0.12345")] * 3) for _ in range(2))),
        order(check(selections=[], payments=[], customer=None)),
        order() | {"checks": None},
        {"guid": "bare", "modifiedDate": "2025-09-19T00:00:00.000Z"},
    ]
    manifest = store_week(store, week, {"here": encode(*odd)})
    build_tables(week, store, LOG)
    found = evaluate("totals_reconcile", week, manifest, store)
    assert found.passed, found.description


def test_a_table_that_was_not_made_is_named(store: OrderStore, week: Week) -> None:
    manifest = store_week(store, week, {"here": encode(order())})
    found = evaluate("totals_reconcile", week, manifest, store)
    assert "the table orders was not made" in found.description


def test_facts_are_made_again_once_an_order_changed(store: OrderStore, week: Week) -> None:
    first = week_facts(week, store_week(store, week, {"here": encode(order())}), store)
    second = week_facts(week, store_week(store, week, {"here": encode(order(), order())}), store)
    assert (first.restaurants["here"].orders, second.restaurants["here"].orders) == (1, 2)


@pytest.mark.parametrize(
    "damage",
    [
        lambda body: b"",
        lambda body: b"{",
        lambda body: b"\xff\xfe",
        lambda body: b"[" * 10_000,
        lambda body: b"[]",
        lambda body: body[:-20],
        lambda body: body.replace(b'"orders":1', b'"orders":2'),
        lambda body: body.replace(b'"net_sales":"10', b'"net_sales":"x0'),
        lambda body: body.replace(b'"DINE', b'"\xffINE'),
    ],
)
def test_facts_that_are_damaged_in_any_way_are_made_again(
    store: OrderStore, week: Week, damage: Callable[[bytes], bytes]
) -> None:
    made = order(diningOption={"guid": "d", "behavior": "DINE_IN"})
    manifest = store_week(store, week, {"here": encode(made)})
    week_facts(week, manifest, store)
    whole = week_facts(week, manifest, store)
    key = store.layout.inspection(week)
    body, _ = store.bucket.read(key) or (b"", None)
    assert damage(body) != body
    store.bucket.write(key, damage(body))
    again = week_facts(week, manifest, store)
    assert msgspec.structs.replace(again, fields={}) == whole
    assert (store.bucket.read(key) or (b"", None))[0] == body


def test_facts_are_not_written_over_those_that_came_meanwhile(
    store: OrderStore, week: Week, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = store_week(store, week, {"here": encode(order())})
    fetch = Bucket.fetch

    def slowly(bucket: Bucket, key: str, path: Path) -> StoredObject | None:
        store.bucket.write(store.layout.inspection(week), b"another run's")
        return fetch(bucket, key, path)

    monkeypatch.setattr(Bucket, "fetch", slowly)
    assert week_facts(week, manifest, store).restaurants["here"].orders == 1
    assert (store.bucket.read(store.layout.inspection(week)) or (b"", None))[0] == b"another run's"


def damaged_raw(store: OrderStore, week: Week, guid: str, damage: str) -> None:
    key = store.layout.raw(week, guid)
    body, _ = store.bucket.read(key) or (b"", None)
    match damage:
        case "no Parquet":
            store.bucket.write(key, b"no Parquet")
        case "flipped inside":
            store.bucket.write(key, body[:200] + bytes(200) + body[400:])
        case "half":
            store.bucket.write(key, body[: len(body) // 2])
        case "gone":
            store.bucket.delete(key)


@pytest.mark.parametrize("damage", ["no Parquet", "flipped inside", "half", "gone"])
def test_a_damaged_raw_file_is_named_and_the_other_restaurants_are_checked(
    store: OrderStore, week: Week, damage: str
) -> None:
    orders = {guid: list(invented_week(30, number)) for number, guid in enumerate("abc")}
    manifest = store_week(store, week, orders)
    damaged_raw(store, week, "b", damage)
    found = week_facts(week, manifest, store)
    assert (set(found.restaurants), set(found.damaged)) == ({"a", "c"}, {"b"})
    unique = conclude("order_guids_unique", manifest, facts=found)
    assert (unique.passed, unique.warns) == (False, True)
    assert "Place b (b): The raw orders" in unique.description
    assert unique.causes == [f"{'RAW-MISMATCH' if damage == 'gone' else 'STORE-DAMAGED'} b"]
    assert "aterialize raw_toast_orders for this week again" in unique.description
    assert store.bucket.read(store.layout.inspection(week)) is None
    # Once the file is restored, so is everything.
    manifest = store_week(store, week, orders)
    assert evaluate("order_guids_unique", week, manifest, store).passed


def test_a_week_of_which_nothing_can_be_read_is_an_error(store: OrderStore, week: Week) -> None:
    manifest = store_week(store, week, {"here": encode(order())})
    damaged_raw(store, week, "here", "half")
    unique = evaluate("order_guids_unique", week, manifest, store)
    assert (unique.passed, unique.warns) == (False, False)


def test_an_order_of_two_restaurants_warns_with_both_and_one_that_stands_twice_is_an_error(
    store: OrderStore, week: Week
) -> None:
    one, other = order(guid="Order-1"), order(guid="order-1")
    orders = {"a": encode(one, order()), "b": encode(order()), "c": encode(order(), other)}
    manifest = store_week(store, week, orders)
    unique = evaluate("order_guids_unique", week, manifest, store)
    assert (unique.passed, unique.warns) == (False, True)
    assert unique.description == "Place a (a), Place c (c): each of them has the order order-1"
    assert unique.figures == {"repeated_orders": 0, "orders_at_several_restaurants": 1}
    manifest = store_week(store, week, orders | {"b": encode(other, other)})
    unique = evaluate("order_guids_unique", week, manifest, store)
    assert (unique.passed, unique.warns) == (False, False)
    assert "Place b (b): 1 orders are in the week more than once, such as order-1" in unique.description


REPORTS = [
    *((FieldCollector, "add"), (FieldCollector, "fields")),
    *((facts, "channel_of"), (facts, "references"), (StoredNames, "of")),
]


@pytest.mark.parametrize("report", REPORTS)
def test_a_look_at_fields_names_or_guests_that_fails_is_a_warning_of_its_own_checks_alone(
    store: OrderStore, week: Week, monkeypatch: pytest.MonkeyPatch, report: tuple[object, str]
) -> None:
    def fail(*given: object) -> None:
        raise ZeroDivisionError("jane.doe@example.com")

    monkeypatch.setattr(*report, fail)
    manifest = store_week(store, week, {"here": encode(order(), order())})
    found = week_facts(week, manifest, store)
    for name in ("no_schema_drift", "guests_scope_present", "names_known"):
        one = conclude(name, facts=found)
        assert (one.passed, one.warns) == (False, True)
        assert "could not be looked at (ZeroDivisionError)" in one.description
    assert conclude("guests_reachable", facts=found).passed
    assert conclude("order_guids_unique", manifest, facts=found).passed
    assert found.restaurants["here"].amounts["net_sales"] == "20.0000"
    monkeypatch.undo()
    assert week_facts(week, manifest, store).reports_failure is None


@pytest.mark.parametrize(
    ("times", "count", "farthest"),
    [
        (("2025-09-15T04:00:00.000+0000", "2025-09-22T03:59:59.999+0000"), 0, 0),
        (("2025-09-22T04:00:00.000+0000",), 1, 1),
        (("2025-09-15T03:59:59.999+0000",), 1, 1),
        (("2025-09-15T03:00:00.000+0000", "2025-09-22T05:00:00.000+0000"), 2, 3_600_001),
        (("2025-09-13T04:00:00.000+0000", "2025-09-22T05:00:00.000+0000"), 2, 2 * 86_400_000),
    ],
)
def test_orders_outside_the_week_are_measured_from_its_first_or_last_millisecond(
    store: OrderStore, week: Week, times: tuple[str, ...], count: int, farthest: int
) -> None:
    manifest = store_week(store, week, {"here": encode(*(order(modifiedDate=time) for time in times))})
    found = week_facts(week, manifest, store).restaurants["here"]
    assert (found.outside_week, found.farthest_outside_ms) == (count, farthest)


def test_what_is_kept_and_said_stays_short_however_long_a_guid_is(store: OrderStore, week: Week) -> None:
    long = order(guid="g" * 1_000_000, modifiedDate="2025-09-22T04:00:00.000+0000", loyaltyTier=1)
    manifest = store_week(store, week, {"here": encode(long, long), "there": encode(long)})
    found = week_facts(week, manifest, store)
    body, _ = store.bucket.read(store.layout.inspection(week)) or (b"", None)
    said = (
        conclude("order_guids_unique", manifest, facts=found),
        conclude("modified_times_inside_week", manifest, facts=found),
        conclude("no_schema_drift", facts=found, field_history=FieldHistory(weeks=1)),
    )
    assert not any(one.passed for one in said)
    assert (len(body) < 10_000, max(len(repr(one)) for one in said) < 5_000) == (True, True)


def test_channels_are_those_of_toast_and_nothing_of_a_guest(store: OrderStore, week: Week) -> None:
    sources = [
        "Toast Pickup App",
        "Jane Doe <jane@example.com>",
        "2025550123",
        *(f"Kind{number}" for number in range(40)),
    ]
    orders = [order(source=source, diningOption=None) for source in sources]
    manifest = store_week(store, week, {"here": encode(*orders, order(source=7, diningOption=None))})
    channels = week_facts(week, manifest, store).restaurants["here"].channels
    assert {"Toast Pickup App", "(a text of 27 characters with @, ., blanks)", "(other channels)"} <= channels.keys()
    assert sum(coverage.orders for coverage in channels.values()) == 44
    assert len(channels) == 31
    assert not [channel for channel in channels if "Jane" in channel or "2025550123" in channel]


def dining(guid: object, **more: Any) -> dict[str, Any]:
    return order(diningOption={"guid": guid} | more, source="In Store")


def test_the_channel_is_what_the_configuration_of_the_restaurant_says_of_the_dining_option(
    store: OrderStore, week: Week
) -> None:
    store_names(store, "here", Entity("dining_option", "Away", "To go", "TAKE_OUT"))
    made = [dining("away"), dining("AWAY", behavior="DINE_IN"), dining("other", behavior="DINE_IN"), dining(7)]
    guides = order(dining={"guid": "Away"}, diningOption=None)
    manifest = store_week(store, week, {"here": encode(*made, guides), "there": encode(dining("away"))})
    facts = week_facts(week, manifest, store)
    found = facts.restaurants
    assert facts.reports_failure is None
    assert {channel: (one.orders, one.certain) for channel, one in found["here"].channels.items()} == {
        "TAKE_OUT": (3, 3),
        "DINE_IN": (1, 0),
        "In Store": (1, 0),
    }
    assert {channel: one.certain for channel, one in found["there"].channels.items()} == {"In Store": 0}


def test_guids_are_counted_once_by_kind_with_those_that_have_no_name(store: OrderStore, week: Week) -> None:
    known = [("menu_item", "soup", "Soup"), ("menu_item", "mute", None), ("table", "here", "Table 1")]
    store_names(store, "here", *(Entity(*one, None) for one in known))
    items = [selection(item={"guid": guid}, itemGroup=None, salesCategory=None) for guid in ("soup", "SOUP", "mute")]
    nothing: dict[str, Any] = {"diningOption": None, "revenueCenter": None, "restaurantService": None}
    made = order(check(*items), **nothing, table={"guid": "here"}, serviceArea={"guid": 7})
    manifest = store_week(store, week, {"here": encode(made, order(checks=1, **nothing))})
    names = week_facts(week, manifest, store).restaurants["here"].names
    assert names["menu_item"] == NameCoverage(3, 2)
    assert names["table"] == NameCoverage(1, 0)
    assert "service_area" not in names


def test_no_more_guids_are_counted_than_a_restaurant_can_have(
    store: OrderStore, week: Week, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(facts, "_MOST_REFERENCES", 5)
    manifest = store_week(store, week, {"here": encode(order(), order())})
    names = week_facts(week, manifest, store).restaurants["here"].names
    assert sum(one.guids for one in names.values()) == 5


def test_facts_are_made_again_once_a_name_changed_and_not_where_it_was_only_seen_again(
    store: OrderStore, week: Week, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Mock(wraps=read_groups)
    monkeypatch.setattr(facts, "read_groups", read)
    manifest = store_week(store, week, {"here": encode(dining("d"))})

    def certain() -> int:
        return sum(one.certain for one in week_facts(week, manifest, store).restaurants["here"].channels.values())

    option = Entity("dining_option", "d", "To go", "TAKE_OUT")
    assert (certain(), read.call_count) == (0, 1)
    store_names(store, "here", option)
    assert (certain(), read.call_count) == (1, 2)
    store_names(store, "here", option, day=29)
    assert (certain(), read.call_count) == (1, 2)
    store_names(store, "here", option._replace(name="Pick-up"), day=29)
    assert (certain(), read.call_count) == (1, 3)


def test_a_damaged_file_of_names_is_named_by_its_own_check_and_stops_nothing(store: OrderStore, week: Week) -> None:
    store_names(store, "here", Entity("dining_option", "d", "To go", "TAKE_OUT"))
    manifest = store_week(store, week, {"here": encode(dining("d"))})
    key = store.layout.whole_table(NAMES_TABLE)
    whole, _ = store.bucket.read(key) or (b"", None)
    described = store.bucket.info(key)
    assert described is not None
    # As storage damages it: what the object says of itself stays.
    store.bucket.write(key, b"no Parquet", Metadata=described.metadata)
    found = week_facts(week, manifest, store)
    known = conclude("names_known", manifest, facts=found)
    assert (known.passed, known.warns) == (False, True)
    assert "names.parquet cannot be read" in known.description
    assert known.causes == ["STORE-DAMAGED"]
    assert conclude("order_guids_unique", manifest, facts=found).passed
    assert conclude("guests_reachable", manifest, facts=found).passed
    store.bucket.write(key, whole, Metadata=described.metadata)
    restored = week_facts(week, manifest, store)
    assert restored.restaurants["here"].channels["TAKE_OUT"].certain == 1
    assert restored.names_failure is None


def test_names_that_the_bucket_refuses_stop_nothing(
    store: OrderStore, week: Week, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_names(store, "here", Entity("dining_option", "d", "To go", "TAKE_OUT"))
    manifest = store_week(store, week, {"here": encode(dining("d"))})
    with monkeypatch.context() as patch:
        for name in ("info", "fetch"):
            patch.setattr(Bucket, name, refused_names(getattr(Bucket, name)))
        found = week_facts(week, manifest, store)
    assert conclude("order_guids_unique", manifest, facts=found).passed
    assert "could not be looked at (StoreError)" in conclude("names_known", manifest, facts=found).description
    assert week_facts(week, manifest, store).restaurants["here"].channels["TAKE_OUT"].certain == 1


def refused_names(call: Callable[..., Any]) -> Callable[..., Any]:
    def checked(bucket: Bucket, key: str, *given: Any) -> Any:
        if key.endswith("names.parquet"):
            raise StoreError("refused")
        return call(bucket, key, *given)

    return checked


ODD_ORDERS = {
    "a flag that is none": order() | {"voided": "true"},
    "an amount beyond all measure": order(check(selection("1e30"))),
    "a tiny exponent": order(check(selection("1e-9999999"))),
    "no day": order(businessDate=20251399),
    "a time that is none": order(openedDate=1736136000000),
    "a quantity that is none": order(check(selection() | {"quantity": ""})),
    "an object for checks": order() | {"checks": {}},
}


def test_orders_that_the_tables_reject_count_on_neither_side_and_are_named_once_with_the_reason(
    store: OrderStore, week: Week
) -> None:
    orders = {"odd": encode(order(), *ODD_ORDERS.values()), "plain": encode(order(source={}, displayNumber=5))}
    manifest = store_week(store, week, orders)
    assert build_tables(week, store, LOG).rejected == len(ODD_ORDERS)
    found = evaluate("totals_reconcile", week, manifest, store)
    assert (found.passed, found.warns) == (False, True)
    assert (found.figures["rejected_orders"], found.figures["differences"]) == (len(ODD_ORDERS), 0)
    assert found.figures["net_sales"] == 20.0
    for made in ODD_ORDERS.values():
        (row,) = [row for row in found.rows if str(made["guid"]) in str(row)]
        assert row[0] == "Place odd (odd)"
    assert "got `str` - at `$.voided`" in str(found.rows)
    assert "unrepresentable: a value of orders.business_date is no DAY" in str(found.rows)


def test_a_true_difference_is_an_error_beside_orders_that_are_rejected(store: OrderStore, week: Week) -> None:
    store_week(store, week, {"here": encode(order(), rejected := order() | {"voided": "true"})})
    build_tables(week, store, LOG)
    manifest = store_week(store, week, {"here": encode(order(), order(), rejected)})
    found = evaluate("totals_reconcile", week, manifest, store)
    assert (found.passed, found.warns) == (False, False)
    assert "orders.orders is 1, raw 2" in found.description
    assert found.figures["rejected_orders"] == 1


def test_a_damaged_table_is_named_and_the_others_are_compared(store: OrderStore, week: Week) -> None:
    manifest = store_week(store, week, {"here": encode(order())})
    build_tables(week, store, LOG)
    store.bucket.write(store.layout.table("checks", week.key), b"no Parquet")
    found = evaluate("totals_reconcile", week, manifest, store)
    assert (found.passed, found.warns) == (False, False)
    assert "tables/checks/" in found.description
    assert "cannot be read (ArrowInvalid)" in found.description
    assert "Materialize the tables for the week again. [STORE-DAMAGED]" in found.description
    assert found.causes == ["STORE-DAMAGED"]
    assert found.figures["differences"] == 0


@pytest.mark.parametrize(("damaged", "warns"), [(["a"], True), (["a", "b"], False)])
def test_exports_that_are_damaged_at_some_restaurants_warn_and_at_all_of_them_block(
    store: OrderStore, week: Week, damaged: list[str], warns: bool
) -> None:
    manifest = store_week(store, week, {"a": encode(order()), "b": encode(order())})
    export_week(week, store, LOG)
    for guid in damaged:
        store.bucket.write(store.layout.export(week, guid), b"\xff")
    found = evaluate("export_equals_raw", week, manifest, store)
    assert (found.passed, found.warns, found.figures["wrong_exports"]) == (False, warns, len(damaged))
    assert "Place a (a): s3://" in found.description


WEEKS = WeekCalendar()


def drift_in(store: OrderStore, key: str, *orders: dict[str, Any]) -> CheckResult:
    """What the check says of a week, which is stored first where ``orders`` are given."""
    week = WEEKS.week(key)
    manifest = store_week(store, week, {"here": encode(*orders)}) if orders else store.load_manifest(week)[0]
    assert manifest is not None
    return evaluate("no_schema_drift", week, manifest, store)


def plain_order(**more: Any) -> dict[str, Any]:
    """An order of documented fields alone: the builder's employees have names, which Toast's have not."""
    made = order(**more)
    del made["server"]
    for paid in (one for bill in made["checks"] for one in bill["payments"]):
        del paid["server"]
    return made


def test_the_first_stored_week_says_how_many_fields_it_has_and_the_next_compares_with_it(store: OrderStore) -> None:
    first = drift_in(store, "2025-09-01", plain_order(loyaltyTier=1), plain_order())
    assert first.passed
    assert first.description == f"This is the first stored week: {first.figures['fields']} fields recorded."
    second = drift_in(store, "2025-09-08", plain_order(loyaltyTier=1), new := plain_order(kitchenPacing=1))
    assert (second.passed, second.warns) == (False, True)
    assert second.description == f"new field kitchenPacing (first in order {new['guid']})"
    third = drift_in(store, "2025-09-15", plain_order(kitchenPacing=1))
    assert third.passed
    assert third.description == "Nothing is new compared with 2 earlier weeks."


def test_the_first_week_by_date_keeps_the_finding_in_whichever_sequence_weeks_are_judged(store: OrderStore) -> None:
    march, may, june = "2025-03-03", "2025-05-05", "2025-06-02"
    drift_in(store, march, plain_order())
    assert not drift_in(store, june, plain_order(loyaltyTier=1)).passed
    assert not drift_in(store, may, plain_order(loyaltyTier=1)).passed
    assert [drift_in(store, key).passed for key in (march, may, june)] == [True, False, True]
    # A week that is pulled again keeps what it says, and what others say follows what it has now.
    assert drift_in(store, may, plain_order(), plain_order()).passed
    assert not drift_in(store, june).passed


def test_weeks_without_a_record_are_counted_and_not_read(store: OrderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for key in ("2025-08-25", "2025-09-01"):
        store_week(store, WEEKS.week(key), {"here": encode(plain_order())})
    store.bucket.write(store.layout.inspected_fields(WEEKS.week("2025-09-01")), b"{")
    found = drift_in(store, "2025-09-08", plain_order(loyaltyTier=1))
    assert (found.passed, found.figures["unrecorded_weeks"]) == (True, 2)
    assert found.description.startswith("No earlier week has a record of its fields: ")
    monkeypatch.setattr(facts, "FIELDS_FORM", 99)
    assert drift_in(store, "2025-09-15", plain_order()).figures["unrecorded_weeks"] == 3


def test_a_record_of_other_orders_or_a_damaged_one_is_made_again(store: OrderStore, week: Week) -> None:
    for damage in (None, b"", b"[]", b"\xff"):
        manifest = store_week(store, week, {"here": encode(order(), order(loyaltyTier=1))})
        week_facts(week, manifest, store)
        key = store.layout.inspected_fields(week)
        whole, _ = store.bucket.read(key) or (b"", None)
        if damage is not None:
            store.bucket.write(key, damage)
        assert week_fields(week, manifest, store)["loyaltyTier"].times == 1
        assert (store.bucket.read(key) or (b"", None))[0] == whole
    manifest = store_week(store, week, {"here": encode(order())})
    assert "loyaltyTier" not in week_fields(week, manifest, store)


def test_fields_of_two_years_of_weeks_cost_one_small_object_each_and_no_raw_orders(
    store: OrderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    week = WEEKS.week("2027-09-13")
    manifest = store_week(store, week, {"here": list(invented_week(300, 1))})
    week_fields(week, manifest, store)
    body, _ = store.bucket.read(store.layout.inspected_fields(week)) or (b"", None)
    assert len(body) < 60_000
    for number in range(1, 105):
        earlier = WEEKS.week(f"{date.fromisoformat(week.key) - timedelta(days=7 * number):%Y-%m-%d}")
        store.bucket.write(store.layout.inspected_fields(earlier), body)
    calls = {name: Mock(wraps=getattr(Bucket, name)) for name in ("read", "fetch", "info", "write")}
    for name, mock in calls.items():
        monkeypatch.setattr(Bucket, name, partialmethod(mock))
    found = evaluate("no_schema_drift", week, manifest, store)
    assert found.figures["earlier_weeks"] == 104
    # The week's facts, the version of names, and the fields of each week.
    assert {name: mock.call_count for name, mock in calls.items()} == {
        "read": 1 + 105,
        "fetch": 0,
        "info": calls["info"].call_count,
        "write": 0,
    }
    assert calls["info"].call_count <= 2


def test_what_is_kept_of_fields_names_no_guest(store: OrderStore, week: Week) -> None:
    names = {"jane.doe@example.com": 1, "Jane Doe": 2, "2025550123": 3}
    manifest = store_week(store, week, {"here": encode(order(map=names, source="Jane Doe <jane@example.com>"))})
    week_facts(week, manifest, store)
    body, _ = store.bucket.read(store.layout.inspected_fields(week)) or (b"", None)
    assert b"map." in body
    assert not [part for part in (b"jane", b"Jane", b"2025550123") if part in body]
