"""What users see of the definitions; a change here is a change for them."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from datetime import UTC, datetime
from itertools import cycle, pairwise

import dagster as dg
import pytest
from dagster._core.definitions.partitions.context import partition_loading_context

from toast_assets.amperity.settings import AmperitySettings
from toast_assets.defs.build import build_defs, calendar_of
from toast_assets.defs.partitions import overdue_policy, weekly_partitions
from toast_assets.defs.resources import (
    AlertsResource,
    AmperityResource,
    OrderStoreResource,
    SettingsResource,
    ToastResource,
)
from toast_assets.errors import WeekError
from toast_assets.settings import AlertSettings, CalendarSettings, Settings
from toast_assets.store.settings import StoreSettings
from toast_assets.toast.settings import ToastSettings
from toast_assets.variables import known_variables
from toast_assets.week import WeekCalendar

TABLE_ASSETS = (
    *("toast/orders", "toast/checks", "toast/order_items", "toast/payments", "toast/discounts"),
    *("toast/service_charges", "toast/taxes", "toast/customers"),
)
pytestmark = pytest.mark.usefixtures("bare_environment")


def test_names_are_the_ones_that_users_rely_on() -> None:
    repository = build_defs().get_repository_def()
    assert {key.to_user_string() for key in repository.asset_graph.get_all_asset_keys()} == {
        "raw_toast_orders",
        "toast_orders_s3_export",
        "amperity_delivery",
        *TABLE_ASSETS,
        *("toast/current_orders", "toast/names", "toast/restaurants", "toast/status"),
        *("toast", "amperity"),
    }
    assert {key.name for key in repository.asset_graph.asset_check_keys} == {
        "every_restaurant_complete",
        "every_order_readable",
        "order_guids_unique",
        "modified_times_inside_week",
        "no_schema_drift",
        "guests_scope_present",
        "guests_reachable",
        "names_known",
        "no_order_missing",
        "volume_as_usual",
        "export_equals_raw",
        "delivered_equals_exported",
        "totals_reconcile",
        "net_sales_agree_with_toast",
    }
    assert {sensor.name for sensor in repository.sensor_defs} == {
        "weekly_toast_orders_sensor",
        "alert_sensor",
    }
    assert repository.has_job("weekly_toast_orders")
    assert {"toast", "s3", "amperity", "order_store"} <= set(repository.get_top_level_resources())


HOSTILE = (
    "0001-01-01",
    "9999-12-27",
    "2100-12-27",
    "2010-01-04",
    "1e12",
    "inf",
    "-1",
    "0",
    "23",
    "sunday",
    "*",
    "../UTC",
)


@pytest.mark.parametrize(
    "value", [*HOSTILE, "\udcff", "\u200b", '"Monday"', "Antarctica/Troll", "localtime", "9" * 5000]
)
@pytest.mark.parametrize("name", CalendarSettings.variables())
def test_no_value_of_the_calendar_keeps_the_partitions_from_being_made(name: str, value: str) -> None:
    weeks = calendar_of({name: value})
    keys = weekly_partitions(weeks).get_partition_keys(current_time=datetime(2026, 11, 24, tzinfo=UTC))
    assert keys == [weeks.week(key).key for key in keys]
    assert overdue_policy(weeks)
    weeks.last_closed(datetime(2026, 11, 24, tzinfo=UTC))


def test_no_value_of_any_variable_keeps_the_definitions_from_loading() -> None:
    values = dict(zip(sorted(known_variables()), cycle(("1e12", "\udcff\u200b;*", "0001-01-01")), strict=False))
    code = "from toast_assets.definitions import defs; print(len(defs.get_repository_def().sensor_defs))"
    reply = subprocess.run(  # noqa: S603 - this very interpreter
        [sys.executable, "-c", code],
        env=os.environ | values,
        check=False,
        capture_output=True,
        text=True,
    )
    assert (reply.stdout.strip(), reply.returncode) == ("2", 0), reply.stderr


def test_the_environment_that_is_given_shapes_the_definitions_whatever_that_of_the_process_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TOAST_WEEK_HOUR", "9")
    monkeypatch.setenv("TOAST_CLIENT_ID", "of another brand")
    given = {"TOAST_WEEK_HOUR": "2", "AMPERITY_DELIVERY": "stream, s3_pull", "TOAST_API_URL": "https://toast.test"}
    defs = build_defs(environment=given)
    graph = defs.get_repository_def().asset_graph
    weekly = graph.get(dg.AssetKey("raw_toast_orders")).partitions_def
    assert isinstance(weekly, dg.TimeWindowPartitionsDefinition)
    assert weekly.hour_offset == 2
    assert dg.AssetKey("amperity_feeds") in graph.get(dg.AssetKey("amperity_delivery")).parent_keys
    toast = (defs.resources or {})["toast"]
    assert (toast.client_id, bool(toast.api_url)) == (None, True)


def test_the_assets_form_one_line_and_say_what_they_are() -> None:
    graph = build_defs().get_repository_def().asset_graph
    line = ("raw_toast_orders", "toast_orders_s3_export", "amperity_delivery")
    for upstream, downstream in pairwise(("toast", *line, "amperity")):
        assert dg.AssetKey(upstream) in graph.get(dg.AssetKey(downstream)).parent_keys
    for name in line:
        node = graph.get(dg.AssetKey(name))
        assert node.description
        assert node.owners
        assert node.kinds
        assert node.group_name == "toast_to_amperity"
        assert isinstance(node.partitions_def, dg.TimeWindowPartitionsDefinition)


def test_everything_that_the_weekly_job_waits_for_is_in_it() -> None:
    repository = build_defs().get_repository_def()
    chosen = repository.get_job("weekly_toast_orders").asset_layer.selected_asset_keys
    external = {dg.AssetKey("toast"), dg.AssetKey("amperity")}
    assert chosen == repository.asset_graph.get_all_asset_keys() - external
    for key in chosen:
        # Else Dagster asks "Are you sure?" before each launch, about feeds that nobody loads.
        assert repository.asset_graph.get(key).parent_keys <= chosen | external


def test_the_feeds_are_an_asset_only_where_amperity_loads_them() -> None:
    feeds = dg.AssetKey("amperity_feeds")
    for methods, exists in {"stream": False, "notify": False, "s3_pull": True, "stream,s3_pull": True}.items():
        repository = build_defs(environment={"AMPERITY_DELIVERY": methods}).get_repository_def()
        assert (feeds in repository.asset_graph.get_all_asset_keys()) is exists
        assert (feeds in repository.get_job("weekly_toast_orders").asset_layer.selected_asset_keys) is exists


def test_the_ends_of_the_lineage_are_no_work_of_this_pipeline() -> None:
    graph = build_defs().get_repository_def().asset_graph
    for name in ("toast", "amperity"):
        node = graph.get(dg.AssetKey(name))
        assert (node.is_external, node.is_materializable, node.partitions_def) == (True, False, None)
        assert node.description
        assert node.kinds


def test_the_tables_come_out_of_the_raw_orders_alone_and_say_what_they_are() -> None:
    graph = build_defs().get_repository_def().asset_graph
    for name in TABLE_ASSETS:
        node = graph.get(dg.AssetKey.from_user_string(name))
        assert node.parent_keys == {dg.AssetKey("raw_toast_orders")}
        assert isinstance(node.partitions_def, dg.TimeWindowPartitionsDefinition)
    current = graph.get(dg.AssetKey(["toast", "current_orders"]))
    assert (current.parent_keys, current.partitions_def) == ({dg.AssetKey(["toast", "orders"])}, None)
    for node in map(graph.get, map(dg.AssetKey.from_user_string, (*TABLE_ASSETS, "toast/current_orders"))):
        assert node.description
        assert node.owners
        assert node.kinds
        assert node.group_name == "toast_to_amperity"
        assert node.metadata["dagster/column_schema"]


@pytest.mark.parametrize(
    ("resource", "kinds"),
    [
        (ToastResource, (ToastSettings,)),
        (OrderStoreResource, (StoreSettings, CalendarSettings)),
        (AmperityResource, (AmperitySettings,)),
        (AlertsResource, (AlertSettings,)),
    ],
)
def test_a_resource_has_a_described_field_for_each_setting(
    resource: type[SettingsResource], kinds: tuple[type[Settings], ...]
) -> None:
    settings = {each.alias: each for kind in kinds for each in kind.model_fields.values()}
    assert set(resource.variables.values()) == settings.keys()
    assert pickle.loads(pickle.dumps(resource)) is resource  # noqa: S301 - made one line before
    for name, variable in resource.variables.items():
        field = resource.model_fields[name]
        assert str(field.description).startswith(str(settings[variable].description))
    assert all(str(each.description).endswith(".") for each in settings.values())


def test_a_default_is_shown_beside_the_description() -> None:
    fields = ToastResource.model_fields
    assert (
        str(fields["requests_per_second"].description) == "Calls per second and restaurant on ordersBulk. Default: 5."
    )
    assert str(fields["client_id"].description) == "The API client's id. Required."


def test_no_secret_stands_in_the_resources_that_the_ui_shows(bare_environment: pytest.MonkeyPatch) -> None:
    bare_environment.setenv("TOAST_CLIENT_SECRET", "v3ry-s3cret")
    bare_environment.setenv("AMPERITY_API_KEY", "als0-s3cret")
    resources = build_defs().get_repository_def().get_top_level_resources()
    text = "".join(
        str(resource.config_schema.default_value) for resource in resources.values() if resource.config_schema
    )
    assert "s3cret" not in text


def test_an_open_or_unknown_partition_is_refused_with_its_reason() -> None:
    partitions = weekly_partitions(WeekCalendar())
    with partition_loading_context() as context:
        with pytest.raises(WeekError, match="has not closed yet: it ends at 2199"):
            partitions.validate_partition_key("2199-01-07", context)
        with pytest.raises(WeekError, match="weeks begin on a Monday"):
            partitions.validate_partition_key("2025-09-16", context)
        partitions.validate_partition_key("2025-09-15", context)


def test_partitions_are_stored_as_dagsters_own() -> None:
    stored = dg.serialize_value(weekly_partitions(WeekCalendar()))
    assert type(dg.deserialize_value(stored)) is dg.TimeWindowPartitionsDefinition
