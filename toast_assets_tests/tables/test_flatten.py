"""Raw orders become tables: every shape, every level, nothing lost, nothing invented."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from toast_assets.orders.names import NO_NAMES, Name, Names
from toast_assets.orders.read import RawOrders, Reason, Rejection
from toast_assets.tables.flatten import flatten
from toast_assets.tables.schema import TABLES
from toast_assets_tests.support.data.guide import guide_order
from toast_assets_tests.support.data.invented import (
    RESTAURANT,
    Json,
    check,
    customer,
    discount,
    encode,
    gift_card,
    modifier,
    order,
    payment,
    selection,
    service_charge,
)


class FlatBatch(NamedTuple):
    tables: dict[str, pa.RecordBatch]
    rejections: list[Rejection]
    nulled: dict[str, int]


def flat(*orders: Json | bytes, timezone: str | None = "America/New_York", names: Names = NO_NAMES) -> FlatBatch:
    data = [one if isinstance(one, bytes) else encode(one)[0] for one in orders]
    found, tables = flatten(RawOrders(RESTAURANT, data, timezone, names=names))
    return FlatBatch(tables, found.rejections, found.nulled)


def rows(table: str, *orders: Json, timezone: str | None = "America/New_York", names: Names = NO_NAMES) -> list[Json]:
    batch = flat(*orders, timezone=timezone, names=names)
    assert batch.rejections == []
    made: list[Json] = batch.tables[table].to_pylist()
    return made


def only(table: str, *orders: Json, names: Names = NO_NAMES) -> Json:
    (row,) = rows(table, *orders, names=names)
    return row


def test_every_table_has_its_declared_schema_even_without_a_row() -> None:
    for orders in [(), (order(),), (guide_order(),)]:
        for name, batch in flat(*orders).tables.items():
            assert batch.schema.equals(TABLES[name].schema, check_metadata=True)
            batch.validate(full=True)


def test_an_order_is_one_row_with_its_restaurant_times_and_business_date() -> None:
    row = only("orders", order())
    assert row["restaurant_guid"] == RESTAURANT
    assert row["business_date"] == date(2025, 9, 19)
    assert row["modified_at"] == datetime(2025, 9, 19, 18, 45, 12, 345000, tzinfo=UTC)
    assert row["opened_at_local"] == datetime(2025, 9, 19, 14, 0)  # noqa: DTZ001 - a local time
    assert row["deleted_at"] is None
    assert row["dining_option_guid"]


def test_a_local_time_is_null_where_the_restaurants_time_zone_is_unknown() -> None:
    for timezone in (None, "", "Mars/Olympus", "../etc"):
        assert rows("orders", order(), timezone=timezone)[0]["opened_at_local"] is None


def test_items_and_modifiers_are_rows_with_parent_and_depth() -> None:
    inner = modifier(displayName="inner")
    outer = modifier(displayName="outer", modifiers=[inner])
    item = selection(displayName="item", modifiers=[outer, modifier(displayName="second")])
    found = [(row["display_name"], row["depth"], row["position"]) for row in rows("order_items", order(check(item)))]
    assert found == [("item", 0, 0), ("outer", 1, 0), ("inner", 2, 0), ("second", 1, 1)]
    parents = {row["display_name"]: row["parent_selection_guid"] for row in rows("order_items", order(check(item)))}
    assert parents == {"item": None, "outer": item["guid"], "inner": outer["guid"], "second": item["guid"]}


def test_every_row_says_which_order_and_check_it_belongs_to() -> None:
    made = order(
        check(
            *[selection(off="1")],
            guest=customer(),
            appliedDiscounts=[discount("1")],
            appliedServiceCharges=[service_charge("1")],
        ),
        check(guest=customer()),
        checks=2,
    )
    batch = flat(order(), made)
    for name, table in batch.tables.items():
        column = table.column("order_guid").to_pylist()
        assert made["guid"] in column, name
        assert table.column("business_date").null_count == 0
    bills = [bill["guid"] for bill in made["checks"]]
    assert batch.tables["customers"].column("check_guid").to_pylist() == bills


def test_net_sales_stand_on_items_and_never_on_modifiers_gift_cards_or_voids() -> None:
    lines = [
        selection("10.00", off="1.00", modifiers=[modifier("2.00")]),
        selection("5.00", voided=True),
        gift_card("50.00"),
    ]
    found = [row["net_sales"] for row in rows("order_items", order(check(*lines)))]
    assert found == [Decimal("9.0000"), 0, 0, 0]
    assert sum(row["net_sales"] for row in rows("order_items", order(check(*lines), voided=True))) == 0


def test_discounts_of_every_level_are_rows() -> None:
    item = selection(appliedDiscounts=[discount("1")], modifiers=[modifier(appliedDiscounts=[discount("2")])])
    made = order(check(item, appliedDiscounts=[discount("3")]), appliedDiscounts=[discount("4")])
    found = {row["level"]: row for row in rows("discounts", made)}
    assert {level: row["discount_amount"] for level, row in found.items()} == {
        "order": 4,
        "check": 3,
        "item": 1,
        "modifier": 2,
    }
    assert found["order"]["check_guid"] is None
    assert found["check"]["selection_guid"] is None
    assert found["item"]["selection_guid"] == item["guid"]


def test_a_payment_shows_its_refund_and_its_void() -> None:
    refunded, voided = rows("payments", order(check(payments=[payment(refund="3.21"), payment(voided=True)])))
    assert (refunded["refund_amount"], refunded["refund_business_date"]) == (Decimal("3.2100"), date(2025, 9, 20))
    assert (refunded["voided"], voided["voided"], voided["taken"]) == (False, True, False)
    assert voided["voided_at"] == datetime(2025, 9, 19, 19, 0, tzinfo=UTC)


def test_card_data_and_employees_names_are_in_no_table() -> None:
    text = str([table.to_pylist() for table in flat(order(), guide_order()).tables.values()])
    for secret in ("4242", "411111", "card-payment-id", "Edna", "edna@"):
        assert secret not in text


def test_a_service_charges_refund_is_on_its_check() -> None:
    charge = service_charge("5", refundDetails={"refundAmount": Decimal(5), "taxRefundAmount": Decimal("0.4")})
    row = only("checks", order(check(appliedServiceCharges=[charge])))
    assert row["service_charge_refund_amount"] == 5
    assert row["service_charge_tax_refund_amount"] == Decimal("0.4000")


def test_the_guides_example_is_all_in_the_tables() -> None:
    row = only("orders", guide_order())
    assert (row["display_number"], row["dining_behavior"], row["delivery_city"]) == ("777", "DELIVERY", "Sampleton")
    assert [item["display_name"] for item in rows("order_items", guide_order())] == ["Flatbread", "Olives"]
    assert only("payments", guide_order())["amount"] == 1853
    assert only("customers", guide_order())["email"] == "greta.guest@example.com"


# By table and column: the kind, and the order that refers to one of it.
NAMED: dict[tuple[str, str], tuple[str, Callable[[Json], Json]]] = {
    ("orders", "dining_option_name"): ("dining_option", lambda it: order(diningOption=it)),
    ("orders", "revenue_center_name"): ("revenue_center", lambda it: order(revenueCenter=it)),
    ("orders", "restaurant_service_name"): ("restaurant_service", lambda it: order(restaurantService=it)),
    ("orders", "service_area_name"): ("service_area", lambda it: order(serviceArea=it)),
    ("orders", "table_name"): ("table", lambda it: order(table=it)),
    ("order_items", "item_name"): ("menu_item", lambda it: order(check(selection(item=it)))),
    ("order_items", "item_group_name"): ("menu_group", lambda it: order(check(selection(itemGroup=it)))),
    ("order_items", "sales_category_name"): ("sales_category", lambda it: order(check(selection(salesCategory=it)))),
    ("order_items", "dining_option_name"): ("dining_option", lambda it: order(check(selection(diningOption=it)))),
    ("order_items", "void_reason_name"): ("void_reason", lambda it: order(check(selection(voidReason=it)))),
    ("payments", "void_reason_name"): (
        "void_reason",
        lambda it: order(check(payments=[payment(voidInfo={"voidReason": it})])),
    ),
    ("payments", "alternate_payment_name"): (
        "alternate_payment_type",
        lambda it: order(check(payments=[payment(otherPayment=it)])),
    ),
    ("discounts", "discount_name"): (
        "discount",
        lambda it: order(check(appliedDiscounts=[discount("1", discount=it)])),
    ),
    ("service_charges", "service_charge_name"): (
        "service_charge",
        lambda it: order(check(appliedServiceCharges=[service_charge("1", serviceCharge=it)])),
    ),
    ("taxes", "tax_rate_name"): (
        "tax_rate",
        lambda it: order(check(selection(appliedTaxes=[{"taxRate": it, "name": "State"}]))),
    ),
}


def test_the_names_that_are_tried_here_are_those_of_all_tables() -> None:
    named = {(name, one.name): one for name, table in TABLES.items() for one in table.columns if one.lookup}
    assert named.keys() - {("orders", "dining_behavior")} == NAMED.keys()


@pytest.mark.parametrize(("table", "column"), NAMED, ids=[".".join(one) for one in NAMED])
def test_a_guid_has_its_name_in_toasts_configuration_whatever_case_it_is_written_in(table: str, column: str) -> None:
    kind, referring = NAMED[table, column]
    made = [referring({"guid": guid}) for guid in ("A0-B1", "a0-b1", "another", None)]
    of_others = {("of another kind", "another"): Name("wrong"), (kind, "unused"): Name("wrong")}
    names = Names({(kind, "a0-b1"): Name("What it is called"), **of_others})
    found = [row[column] for row in rows(table, *made, names=names)]
    unknown = "Delivery fee" if column == "service_charge_name" else None
    assert found == [*["What it is called"] * 2, *[unknown] * 2]
    assert [row[column] for row in rows(table, *made)] == [unknown] * 4


def test_a_modifiers_menu_item_has_its_name_too() -> None:
    names = Names({("menu_item", "cheese"): Name("Cheese"), ("menu_item", "soup"): Name("Soup")})
    made = selection(item={"guid": "soup"}, modifiers=[modifier(item={"guid": "cheese"})])
    assert [row["item_name"] for row in rows("order_items", order(check(made)), names=names)] == ["Soup", "Cheese"]


@pytest.mark.parametrize(
    ("configured", "own", "expected"),
    [
        (Name("Here", "DINE_IN"), None, "DINE_IN"),
        (Name("Here", "DINE_IN"), "DELIVERY", "DINE_IN"),
        (Name("Here"), "DELIVERY", "DELIVERY"),
        (None, "DELIVERY", "DELIVERY"),
        (None, None, None),
    ],
)
def test_how_an_order_is_served_says_toasts_configuration_else_the_order(
    configured: Name | None, own: str | None, expected: str | None
) -> None:
    names = Names({("dining_option", "here"): configured} if configured else {})
    made = order(diningOption={"guid": "HERE", "behavior": own})
    assert only("orders", made, names=names)["dining_behavior"] == expected


def test_a_name_is_kept_beside_what_the_check_said() -> None:
    names = Names({("discount", "d"): Name("Friends & family"), ("service_charge", "s"): Name("Delivery")})
    reduced = discount("1", discount={"guid": "d"})
    made = order(check(appliedDiscounts=[reduced], appliedServiceCharges=[service_charge("1", serviceCharge=None)]))
    row = only("discounts", made, names=names)
    assert (row["name"], row["discount_name"]) == ("Friends", "Friends & family")
    assert only("service_charges", made, names=names)["service_charge_name"] == "Delivery fee"


def test_a_discount_has_its_promo_code() -> None:
    made = order(check(appliedDiscounts=[discount("1", appliedPromoCode="SOUP25")]))
    assert only("discounts", made)["promo_code"] == "SOUP25"


SERVICE = {"providerName": "Wheels", "driverName": "Dora", "driverPhoneNumber": 6175550199}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, None),
        ({"thirdPartyProviderInfo": None, "deliveryServiceInfo": None}, None),
        ({"thirdPartyProviderInfo": {"providerName": "DoorDash", "provider": "DD"}}, "DoorDash"),
        ({"thirdPartyProviderInfo": {"providerName": None, "provider": "DD", "name": "x"}}, "DD"),
        ({"thirdPartyProviderInfo": {"name": "Uber Eats", "orderId": 5}}, "Uber Eats"),
        ({"thirdPartyProviderInfo": "Grubhub"}, "Grubhub"),
        ({"thirdPartyProviderInfo": "Grubhub", "deliveryServiceInfo": SERVICE}, "Grubhub"),
        ({"thirdPartyProviderInfo": {"providerName": ""}, "deliveryServiceInfo": SERVICE}, "Wheels"),
        ({"thirdPartyProviderInfo": "", "deliveryServiceInfo": SERVICE}, "Wheels"),
        ({"deliveryServiceInfo": {"driverName": "Dora"}}, None),
    ],
)
def test_an_order_names_its_market_place_in_whatever_form_toast_has_it(fields: Json, expected: str | None) -> None:
    batch = flat(order(**fields))
    assert batch.tables["orders"]["marketplace"].to_pylist() == [expected]
    assert (batch.rejections, batch.nulled) == ([], {})
    assert "Dora" not in str(batch.tables["orders"].to_pylist())


@pytest.mark.parametrize(
    ("fields", "expected", "nulled"),
    [
        ({"thirdPartyProviderInfo": ["DoorDash"]}, None, {"thirdPartyProviderInfo": 1}),
        (
            {"thirdPartyProviderInfo": {"providerName": {"en": "x"}, "name": "Uber Eats"}},
            "Uber Eats",
            {"thirdPartyProviderInfo.providerName": 1},
        ),
        ({"thirdPartyProviderInfo": True, "deliveryServiceInfo": SERVICE}, "Wheels", {"thirdPartyProviderInfo": 1}),
        ({"deliveryServiceInfo": "Wheels"}, None, {"deliveryServiceInfo": 1}),
        # Another field of an unexpected type is no reason to read this one otherwise.
        ({"thirdPartyProviderInfo": "Grubhub", "source": []}, "Grubhub", {"source": 1}),
        ({"deliveryServiceInfo": SERVICE | {"driverName": []}}, "Wheels", {}),
    ],
)
def test_a_market_place_of_an_unexpected_type_is_null_and_counted(
    fields: Json, expected: str | None, nulled: Json
) -> None:
    batch = flat(order(**fields))
    assert batch.tables["orders"]["marketplace"].to_pylist() == [expected]
    assert (batch.rejections, batch.nulled) == ([], nulled)


def null_everywhere() -> Json:
    lines = [dict.fromkeys(selection(), None)]
    bill = dict.fromkeys(check(), None) | {"selections": lines, "payments": [dict.fromkeys(payment(), None)]}
    return dict.fromkeys(order(), None) | {"guid": "nulls", "checks": [bill, dict.fromkeys(check(), None)]}


@pytest.mark.parametrize(
    "made",
    [
        order() | {"checks": []},
        order() | {"checks": None},
        order(check() | {"selections": [], "payments": []}),
        order(check(guest={"guid": "only-a-guid"})),
        order(check(gift_card())),
        order(check(selection(quantity="0.333333333", item=None, itemGroup=None, selectionType="SPECIAL_REQUEST"))),
        order(excessFood=True, createdInTestMode=True, deleted=True, voided=True),
        order(deletedDate=None, businessDate=None, openedDate=None),
        order(openedDate="", closedDate="2025-09-19T18:41:00.123456Z", paidDate="2025-09-19T18:41:00"),
        null_everywhere(),
        guide_order(),
    ],
)
def test_an_odd_order_loses_no_row(made: Json) -> None:
    batch = flat(made)
    assert batch.rejections == []
    assert batch.tables["orders"].num_rows == 1
    assert batch.tables["checks"].num_rows == len(made["checks"] or [])


def test_the_noise_of_binary_floating_point_is_rounded_away() -> None:
    bill = check() | {"amount": Decimal("10.989999999999998"), "taxAmount": Decimal("0.00004")}
    row = only("checks", order(bill))
    assert (row["amount"], row["tax_amount"]) == (Decimal("10.9900"), 0)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda made: b"<html>gateway</html>", Reason.UNREADABLE),
        (lambda made: encode(order(check() | {"taxAmount": "Greta"}))[0], Reason.UNREADABLE),
        (lambda made: encode(made | {"guid": None})[0], Reason.UNREADABLE),
        (lambda made: encode(made | {"businessDate": 20251341})[0], Reason.UNREPRESENTABLE),
        (lambda made: encode(made | {"paidDate": "Greta's birthday"})[0], Reason.UNREPRESENTABLE),
        (lambda made: encode(made | {"openedDate": "Greta's birthday"})[0], Reason.UNREPRESENTABLE),
        (lambda made: encode(made | {"openedDate": "0001-01-01T00:00:00Z"})[0], Reason.UNREPRESENTABLE),
        (lambda made: encode(made | {"voided": "false"})[0], Reason.UNREADABLE),
        (lambda made: encode(order(check() | {"totalAmount": Decimal(10) ** 16}))[0], Reason.UNREPRESENTABLE),
        (lambda made: b'{"guid":"deep","checks":' + b"[" * 100_000, Reason.UNREADABLE),
    ],
)
def test_an_order_that_cannot_be_converted_is_rejected_and_the_others_go_on(spoil: Any, reason: Reason) -> None:
    batch = flat(order(), spoil(order()), order())
    (rejection,) = batch.rejections
    assert rejection.reason is reason
    assert "Greta" not in rejection.detail
    assert batch.tables["orders"].num_rows == 2
    assert batch.tables["checks"].num_rows == 2


# Each of these, shown to Arrow, ends the process or gives a wrong number.
EXTREMES = ["1e-9999999", "-1e-99999999", "1e-41", "1e99999999", "1e-99999999999999999999", "9" * 5000]


@pytest.mark.parametrize(
    "digits", ["1e16", '"NaN"', '"sNaN"', '"Infinity"', "1e99999", '"1e99999999999999999999"', *EXTREMES]
)
@pytest.mark.parametrize("field", ["preDiscountPrice", "tax", "quantity"])
def test_an_amount_that_is_no_amount_rejects_its_order_alone(field: str, digits: str) -> None:
    spoilt = b'{"guid":"o","checks":[{"guid":"c","selections":[{"guid":"s","%s":%s}]}]}'
    batch = flat(order(), spoilt % (field.encode(), digits.encode()))
    assert [rejection.order_guid for rejection in batch.rejections] == ["o"]
    assert batch.tables["orders"].num_rows == 1


@pytest.mark.parametrize(
    ("digits", "amount"),
    [
        ("0e-999999999", "0.0000"),
        ("-0", "0.0000"),
        ("0e99", "0.0000"),
        ("1e-40", "0.0000"),
        ("4.00005e-36", "0.0000"),
        ("0.00015", "0.0002"),
        ("1.25e1", "12.5000"),
        ("10.989999999999998", "10.9900"),
        ("3." + "3" * 5000, "3.3333"),
    ],
)
def test_the_noise_of_an_amount_is_rounded_however_small_it_is(digits: str, amount: str) -> None:
    made = b'{"guid":"o","checks":[{"guid":"c","totalAmount":%s,"taxAmount":%s}]}' % (digits.encode(), digits.encode())
    batch = flat(order(), made)
    assert batch.rejections == []
    assert [str(batch.tables["checks"][name][1]) for name in ("total_amount", "tax_amount")] == [amount, amount]


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00.000+0500", "9999-12-31T23:59:59.999-0500"])
@pytest.mark.parametrize("neighbour", ["2025-09-19T14:30:00.000+0000", "2025-09-19T14:30:00.123456Z"])
def test_a_moment_that_is_none_rejects_its_order_whatever_its_neighbours_are(moment: str, neighbour: str) -> None:
    batch = flat(order(paidDate=neighbour), odd := order(paidDate=moment))
    assert [rejection.order_guid for rejection in batch.rejections] == [odd["guid"]]


def test_optional_fields_that_became_null_are_counted_by_path() -> None:
    batch = flat(order(source=5), order(source={"name": "Online"}, table=[]), order(source=[]), order())
    assert batch.rejections == []
    assert batch.nulled == {"source": 2, "table": 1}
    assert batch.tables["orders"]["source"].to_pylist()[:3] == ["5", None, None]


def test_an_optional_number_that_is_odd_rejects_nothing() -> None:
    batch = flat(order(displayNumber=12, numberOfGuests=Decimal("1.25")))
    assert batch.rejections == []
    assert batch.nulled == {"numberOfGuests": 1}
    assert batch.tables["orders"].select(["display_number", "number_of_guests"]).to_pylist() == [
        {"display_number": "12", "number_of_guests": None}
    ]


def test_a_rejection_names_the_order_where_it_can() -> None:
    made = encode(order(guid="o-1") | {"checks": "none"})[0]
    assert [rejection.order_guid for rejection in flat(made).rejections] == ["o-1"]


def test_the_tables_survive_parquet_with_types_and_descriptions(tmp_path: Path) -> None:
    for name, batch in flat(order(check(guest=customer())), guide_order()).tables.items():
        path = tmp_path / f"{name}.parquet"
        pq.write_table(pa.Table.from_batches([batch]), path)
        back = pq.read_table(path)
        assert back.schema.equals(TABLES[name].schema)
        field = back.schema.field("order_guid")
        assert field.metadata[b"description"] == b"The order."
        assert back.to_pylist() == batch.to_pylist()
