"""The tables through Dagster: made by the weekly run, after the delivery, with all that the UI shows."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

import dagster as dg
import msgspec
import pytest

from toast_assets.defs.build import build_defs
from toast_assets.defs.resources import LazyS3Resource, OrderStoreResource
from toast_assets.orders.identity import email_key
from toast_assets.sandbox import Sandbox
from toast_assets.store.order_store import OrderStore
from toast_assets.tables.schema import TABLES
from toast_assets.week import Week, WeekCalendar
from toast_assets_tests.defs.conftest import RunWeek
from toast_assets_tests.support.data.invented import check, customer, encode, order
from toast_assets_tests.support.services.toast_orders import late_arrivals
from toast_assets_tests.support.stores.stored_weeks import save_manifest, store_week

KEYS = [f"toast/{name}" for name in TABLES]


def materialization(result: dg.ExecuteInProcessResult, asset: str) -> dg.AssetMaterialization:
    key = dg.AssetKey.from_user_string(asset)
    (event,) = [event for event in result.get_asset_materialization_events() if event.asset_key == key]
    return event.materialization


def metadata_of(result: dg.ExecuteInProcessResult, asset: str) -> Mapping[str, Any]:
    return {name: value.value for name, value in materialization(result, asset).metadata.items()}


@pytest.mark.usefixtures("sandbox_environment")
def test_the_weekly_run_makes_every_table_of_the_week_and_the_current_orders(
    run_week: RunWeek, store: OrderStore
) -> None:
    result = run_week()
    assert result.success
    raw = metadata_of(result, "raw_toast_orders")
    for name, table in TABLES.items():
        made = materialization(result, f"toast/{name}")
        assert made.partition == "2025-09-15"
        frame = store.load_table(name, "2025-09-15")
        metadata = metadata_of(result, f"toast/{name}")
        assert metadata["dagster/row_count"] == metadata["rows"] == len(frame) > 0
        columns = [column.name for column in metadata["dagster/column_schema"].columns]
        assert columns == list(frame.columns) == list(metadata["dagster/column_lineage"].deps_by_column)
        assert store.bucket.info(metadata["dagster/uri"].removeprefix(f"s3://{store.bucket.name}/"))
        assert table.description
    current = materialization(result, "toast/current_orders")
    assert current.partition is None
    frame, metadata = store.load_table("current_orders"), metadata_of(result, "toast/current_orders")
    assert metadata["orders"] == raw["orders"] == len(frame)
    assert list(metadata["dagster/column_lineage"].deps_by_column) == list(frame.columns)


@pytest.mark.usefixtures("sandbox_environment")
def test_current_orders_show_how_long_figures_move_or_that_there_are_too_few_weeks(
    run_week: RunWeek, store: OrderStore
) -> None:
    weeks = [WeekCalendar().week(f"{date(2025, 9, 15) + timedelta(days=7 * number)}") for number in range(6)]
    for week in weeks:
        day = date.fromisoformat(week.key)
        made = order(businessDate=int(f"{day:%Y%m%d}"), modifiedDate=f"{day + timedelta(days=5)}T12:00:00.000+0000")
        bodies = {"here": encode(made)} | ({"late": encode(order())} if week is weeks[0] else {})
        store_week(store, week, bodies, second_look_at="2025-12-01T00:00:00.000Z", currency="USD")
    for week in weeks:
        metadata = metadata_of(run_week(*KEYS, "toast/current_orders", partition=week.key), "toast/current_orders")
        assert ("still_to_come" in metadata) == (week is weeks[-1])
    assert metadata["settling"].splitlines()[2:] == [
        "| Place here (here) | 100% / 100% | 100% / 100% | 100% / 100% | 0.0% / 0.0% | 0 of 6 |",
        "| Place late (late) | too few weeks (0 of 4) |  |  |  | too few weeks (1 of 4) |",
    ]
    assert "| USD | 3 | 4 (100%) | 40.00 (100%) | 0.00 |" in metadata["settling_of_all"]
    _, _, picture = metadata["still_to_come"].partition("base64,")
    assert base64.b64decode(picture.removesuffix(")")).startswith(b"\x89PNG")
    assert metadata["backdated_orders"] == 0
    assert "known change" in metadata["settling_legend"]


@pytest.mark.usefixtures("sandbox_environment")
def test_no_delivery_waits_for_a_table(run_week: RunWeek) -> None:
    result = run_week()
    made = [event.asset_key.to_user_string() for event in result.get_asset_materialization_events() if event.asset_key]
    assert made[:3] == ["raw_toast_orders", "toast_orders_s3_export", "amperity_delivery"]


@pytest.mark.usefixtures("sandbox_environment")
def test_tables_are_made_although_the_delivery_fails(
    run_week: RunWeek, sandbox_environment: pytest.MonkeyPatch
) -> None:
    sandbox_environment.setenv("AMPERITY_TENANT_ID", "other")
    result = run_week()
    assert not result.success
    assert metadata_of(result, "toast/orders")["orders"] > 0


@pytest.mark.usefixtures("sandbox_environment")
def test_orders_show_restaurants_pictures_and_what_changed(run_week: RunWeek, sandbox: Sandbox, week: Week) -> None:
    first = metadata_of(run_week(), "toast/orders")
    assert first["new_orders"] == first["orders"]
    for name in ("orders_by_hour", "orders_by_week", "sales_by_channel", "sales_by_hour"):
        _, _, picture = first[name].partition("base64,")
        assert base64.b64decode(picture.removesuffix(")")).startswith(b"\x89PNG")
        assert len(first[name]) < 60_000
    assert f"Pier 9 ({sandbox.restaurant_guids[0]}) | 320 |" in first["per_restaurant"]
    assert first["currency"] == "USD"
    assert "| Dine in |" in first["per_channel"]
    late_arrivals(sandbox.toast.orders[sandbox.restaurant_guids[0]], week.start, week.end, 2)
    second = metadata_of(run_week(), "toast/orders")
    assert (second["new_orders"], second["changed_orders"]) == (2, 0)
    assert second["unchanged_orders"] == first["orders"]
    assert {name for name, value in first.items() if isinstance(value, int | float)} == {
        name for name, value in second.items() if isinstance(value, int | float)
    }


@pytest.mark.usefixtures("sandbox_environment")
def test_rejected_orders_are_listed_with_their_reason_and_never_their_content(
    run_week: RunWeek, store: OrderStore, week: Week
) -> None:
    bad = order(businessDate=20251399, source="a-guest@example.com")
    store_week(store, week, {"here": encode(order(), bad)})
    metadata = metadata_of(run_week(*KEYS), "toast/orders")
    assert metadata["rejected_orders"] == 1
    assert bad["guid"] in metadata["rejections"]
    assert "20251399" not in metadata["rejections"]


@pytest.mark.parametrize("salt", ["", "pepper"])
def test_keys_of_e_mails_have_amperitys_salt_whatever_its_other_settings_are(
    run_week: RunWeek, store: OrderStore, week: Week, sandbox_environment: pytest.MonkeyPatch, salt: str
) -> None:
    sandbox_environment.setenv("AMPERITY_REDACT_SALT", salt)
    sandbox_environment.setenv("AMPERITY_REDACT", "no such field=hash")
    sandbox_environment.setenv("AMPERITY_STREAM_ID", "wrong")
    store_week(store, week, {"here": encode(order(check(guest=customer("greta@example.com"))))})
    assert run_week(*KEYS).success
    (key,) = store.load_table("customers", week.key)["email_key"]
    assert key == email_key("greta@example.com", salt.encode())


@pytest.mark.usefixtures("sandbox_environment")
def test_data_versions_change_with_the_tables_content_only(run_week: RunWeek, store: OrderStore, week: Week) -> None:
    store_week(store, week, {"here": encode(*(made := [order(), order()]))})
    versions = [self_versions(run_week(*KEYS)) for _ in range(2)]
    store_week(store, week, {"here": encode(*made, order())})
    versions.append(self_versions(run_week(*KEYS)))
    assert versions[0] == versions[1]
    assert all(versions[1][name] != versions[2][name] for name in ("orders", "checks", "order_items", "payments"))
    assert versions[1]["customers"] == versions[2]["customers"]


def self_versions(result: dg.ExecuteInProcessResult) -> dict[str, str]:
    return {name: (materialization(result, f"toast/{name}").tags or {})["dagster/data_version"] for name in TABLES}


@pytest.mark.usefixtures("sandbox_environment")
def test_a_table_before_its_pull_says_what_to_materialize(run_week: RunWeek) -> None:
    result = run_week(*KEYS)
    (failed,) = [event for event in result.all_events if event.is_step_failure]
    assert failed.step_failure_data.user_failure_data
    assert "Materialize raw_toast_orders" in str(failed.step_failure_data.user_failure_data.description)


@pytest.mark.usefixtures("sandbox_environment")
def test_the_resource_loads_tables_too(run_week: RunWeek) -> None:
    run_week("raw_toast_orders", *KEYS)
    resource = OrderStoreResource.from_environment(s3=LazyS3Resource())
    with dg.build_resources({"order_store": resource}) as resources:
        orders = resources.order_store.load_table("orders", "2025-09-15")
        newest = resources.order_store.load_table("orders", columns=["order_guid"], newest=True)
    assert sorted(newest["order_guid"]) == sorted(orders["order_guid"])
    assert len(orders) > 0


@pytest.mark.usefixtures("sandbox_environment")
def test_net_sales_in_different_currencies_are_figures_of_their_own(
    run_week: RunWeek, store: OrderStore, week: Week
) -> None:
    manifest = store_week(store, week, {guid: encode(order()) for guid in ("here", "there", "elsewhere")})
    currencies = {"here": "USD", "there": "CAD", "elsewhere": "CAD"}
    known = {
        guid: msgspec.structs.replace(manifest.restaurants[guid], currency=code) for guid, code in currencies.items()
    }
    save_manifest(store, week, msgspec.structs.replace(manifest, restaurants=known))
    metadata = metadata_of(run_week(*KEYS), "toast/orders")
    assert {name: value for name, value in metadata.items() if name.startswith("net_sales")} == {
        "net_sales_CAD": 20.0,
        "net_sales_USD": 10.0,
    }
    assert "| Place here (here) | 1 | 10.00 USD |" in metadata["per_restaurant"]
    assert metadata["sales_by_channel"].count("](data:image/png") == 2


@pytest.mark.usefixtures("sandbox_environment")
def test_the_lineage_of_a_name_leads_to_the_names_and_to_the_orders_where_they_say_it_too(
    run_week: RunWeek, store: OrderStore, week: Week
) -> None:
    store_week(store, week, {"here": encode(order())})
    result = run_week(*KEYS)

    def sources(table: str, column: str) -> set[tuple[str, str]]:
        lineage = metadata_of(result, f"toast/{table}")["dagster/column_lineage"].deps_by_column
        return {(one.asset_key.to_user_string(), one.column_name) for one in lineage[column]}

    raw = ("raw_toast_orders", "order_json")
    assert sources("orders", "dining_option_name") == {("toast/names", "name")}
    assert sources("orders", "dining_behavior") == {("toast/names", "behavior"), raw}
    assert sources("service_charges", "service_charge_name") == {("toast/names", "name"), raw}
    assert sources("orders", "marketplace") == {raw}
    assert sources("orders", "restaurant_name") == {("raw_toast_orders", "restaurant_guid")}


def test_column_descriptions_name_the_fields_of_toast(bare_environment: pytest.MonkeyPatch) -> None:
    del bare_environment
    node = build_defs().get_repository_def().asset_graph.get(dg.AssetKey(["toast", "payments"]))
    columns = {column.name: column for column in node.metadata["dagster/column_schema"].columns}
    assert columns["tip_amount"].type == "decimal128(18, 4)"
    assert columns["tip_amount"].description == "The tip. Toast: checks[].payments[].tipAmount."
