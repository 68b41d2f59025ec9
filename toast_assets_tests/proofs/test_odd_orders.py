"""Orders of every odd shape through the real assets: stored, exported and in the tables, without a lost field."""

from __future__ import annotations

import gzip
from decimal import Decimal

import dagster as dg
import msgspec
import pytest

from toast_assets.checks.facts import week_fields
from toast_assets.orders.raw_file import read_raw
from toast_assets.sandbox import Sandbox
from toast_assets.store.order_store import OrderStore
from toast_assets.week import Week
from toast_assets_tests.defs.conftest import RunWeek
from toast_assets_tests.defs.test_checks import evaluations
from toast_assets_tests.defs.test_tables import metadata_of
from toast_assets_tests.support.data.guide import guide_order
from toast_assets_tests.support.data.invented import (
    Json,
    check,
    customer,
    discount,
    encode,
    gift_card,
    modifier,
    order,
    payment,
    refund_details,
    selection,
    service_charge,
)
from toast_assets_tests.support.services.toast_orders import replace_all

_decode = msgspec.json.Decoder(float_hook=Decimal).decode


def odd_orders() -> dict[str, Json]:
    """One order for each remark in the contract's section on orders, by that remark."""
    deep = modifier(modifiers=[modifier(modifiers=[modifier("0")])])
    references = ("server", "table", "revenueCenter", "diningOption", "restaurantService", "deliveryInfo")
    return {
        "the guide's payload": guide_order(),
        "bare": {"guid": "bare", "modifiedDate": "2025-09-19T00:00:00.000Z"},
        "no business date": order(businessDate=None),
        "null checks": order() | {"checks": None},
        "no checks": order() | {"checks": []},
        "null selections and payments": order(check() | {"selections": None, "payments": None, "amount": None}),
        "no selections": order(check(selections=[]) | {"payments": []}),
        "every reference null": order() | dict.fromkeys(references),
        "ids that are no UUIDs": order(check(guid="check one"), guid="order/one?é"),
        "unknown enum values": order(check(payments=[payment(type="SHELLS")]), source="Pigeon", approvalStatus="MAYBE"),
        "whole numbers for money": order(check(selection("111"), payments=[payment("111")], amount=111)),
        "digits to keep": order(check(selection("10.989999999999998"), payments=[payment("12.10")])),
        "times with Z": order(openedDate="2025-09-19T14:30:00.000Z", closedDate="2025-09-19T14:30:00Z"),
        "never deleted": order(deletedDate=None),
        "four voids": order(check(selection(voided=True), payments=[payment(voided=True)], voided=True), voided=True),
        "deleted": order(deleted=True),
        "test mode and excess food": order(createdInTestMode=True, excessFood=True),
        "refunds in both places": order(
            check(selection(refundDetails=refund_details("5.00", "0.40")), payments=[payment(refund="5.40")]),
        ),
        "gift cards": order(check(gift_card(), gift_card(selectionType="TOAST_CARD_RELOAD"))),
        "paid by gift card": order(check(payments=[payment(type="GIFTCARD")])),
        "guests of all kinds": order(
            *(check(guest=one) for one in (None, {"guid": "only"}, customer(guid=None), customer("b@example.com"))),
        ),
        "fractional and deep": order(check(selection(quantity="0.25", modifiers=[deep]))),
        "discounts and charges": order(
            check(
                selection(off="1.00"),
                appliedDiscounts=[discount("2.00", taxed="2.20")],
                appliedServiceCharges=[service_charge("3.00"), service_charge("4.00", gratuity=True)],
            )
        ),
        "unknown fields": order(kitchenPacing={"lane": "grill", "notes": ["fülle", None]}) | {"odd name": 1},
        "fields of other types": order(displayNumber=12, source={"name": "Online"}, numberOfGuests=2.5, table=7),
        "half a megabyte": order(check(*(selection() for _ in range(500)))),
    }


@pytest.mark.usefixtures("sandbox_environment")
def test_odd_orders_pass_through_raw_export_and_tables_without_a_lost_field(
    run_week: RunWeek, sandbox: Sandbox, store: OrderStore, week: Week, tmp_path_factory: pytest.TempPathFactory
) -> None:
    made = odd_orders()
    bodies = dict(zip(made, encode(*made.values()), strict=True))
    here, *others = sandbox.restaurant_guids
    replace_all(sandbox.toast.orders[here], bodies.values())
    for guid in others:
        replace_all(sandbox.toast.orders[guid], [])
    result = run_week()
    assert result.success

    raw = tmp_path_factory.mktemp("raw") / "raw.parquet"
    store.bucket.fetch(store.layout.raw(week, here), raw)
    stored = {one.guid: one.body for one in read_raw(raw)}
    assert stored == {made[name]["guid"]: body for name, body in bodies.items()}

    found = store.bucket.read(store.layout.export(week, here))
    assert found is not None
    exported = {one["guid"]: one for one in _decode(gzip.decompress(found[0]))["orders"]}
    for name, body in bodies.items():
        assert exported[made[name]["guid"]] == _decode(body) | {"restaurantGuid": here}, name

    metadata = metadata_of(result, "toast/orders")
    assert (metadata["orders"], metadata["rejected_orders"]) == (len(made), 0)
    assert metadata["nulled_values"] == 3
    assert all(f"| {name} | 1 |" in metadata["nulled_fields"] for name in ("source", "numberOfGuests", "table"))
    assert set(store.load_table("orders", week.key)["order_guid"]) == stored.keys()
    checks = [one for each in made.values() for one in each.get("checks") or []]
    assert len(store.load_table("checks", week.key)) == len(checks)
    assert len(store.load_table("payments", week.key)) == sum(len(one["payments"] or []) for one in checks)

    verdicts = evaluations(result)
    assert {name for name, one in verdicts.items() if not one.passed} == {
        *("no_schema_drift", "names_known"),
        # The other two restaurants have no order.
        "volume_as_usual",
    }
    details = str(verdicts["no_schema_drift"].metadata["details"].value)
    manifest, _ = store.load_manifest(week)
    assert manifest is not None
    fields = week_fields(week, manifest, store)
    assert {"kitchenPacing", "(a name of 8 characters with blanks)", "dining", "netAmount"} <= fields.keys()
    assert {value for one in fields.values() for value in one.values} >= {"SHELLS", "Pigeon", "MAYBE"}
    assert f"| other type | displayNumber | a number | 1 | {made['fields of other types']['guid']} |" in details


@pytest.mark.usefixtures("sandbox_environment")
def test_an_order_with_impossible_values_is_stored_and_exported_and_named_where_it_is_in_no_table(
    run_week: RunWeek, sandbox: Sandbox, store: OrderStore, week: Week
) -> None:
    huge = order(check(selection("1e30")))
    here, *others = sandbox.restaurant_guids
    replace_all(sandbox.toast.orders[here], encode(huge, order(), nowhen := order(businessDate=20251399)))
    for guid in others:
        replace_all(sandbox.toast.orders[guid], [])
    result = run_week()
    assert result.success
    found = store.bucket.read(store.layout.export(week, here))
    assert found is not None
    assert len(_decode(gzip.decompress(found[0]))["orders"]) == 3
    metadata = metadata_of(result, "toast/orders")
    assert metadata["rejected_orders"] == 2
    assert all(one["guid"] in metadata["rejections"] for one in (huge, nowhen))
    reconciled = evaluations(result)["totals_reconcile"]
    assert (reconciled.passed, reconciled.severity) == (False, dg.AssetCheckSeverity.WARN)


def test_an_order_that_no_decoder_reads_is_stored_and_named_and_holds_up_no_other(
    run_week: RunWeek, sandbox: Sandbox, store: OrderStore, week: Week, sandbox_environment: pytest.MonkeyPatch
) -> None:
    sandbox_environment.setenv("AMPERITY_MAX_REJECT_SHARE", "1")
    good, spoilt = order(), order(check(selection("5.00", displayName="cut emoji")))
    bodies = [encode(good)[0], encode(spoilt)[0].replace(b"cut emoji", rb"cut \ud83d")]
    here, *others = sandbox.restaurant_guids
    replace_all(sandbox.toast.orders[here], bodies)
    for guid in others:
        replace_all(sandbox.toast.orders[guid], [])
    result = run_week()
    assert result.success

    found = store.bucket.read(store.layout.export(week, here))
    assert found is not None
    assert all(body[:-1] in gzip.decompress(found[0]) for body in bodies)
    assert [record.guid for record in sandbox.amperity.of_stream("is-toast-orders")] == [good["guid"]]
    assert metadata_of(result, "amperity_delivery")["rejected"] == 1
    metadata = metadata_of(result, "toast/orders")
    assert (metadata["orders"], metadata["rejected_orders"]) == (2, 0)
    assert evaluations(result)["totals_reconcile"].passed
    assert "1 of 2 stream records accepted, 1 rejected" in str(
        evaluations(result)["delivered_equals_exported"].description
    )
