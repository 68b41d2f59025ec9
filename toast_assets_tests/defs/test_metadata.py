"""What the UI shows of a run: tables that fit into a page, and checks that are executed by its button."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import dagster as dg
import pytest

from toast_assets.checks.table import CHECKS
from toast_assets.defs.build import build_defs
from toast_assets.defs.metadata import export_metadata
from toast_assets.defs.resources import AlertsResource, AmperityResource, OrderStoreResource, ToastResource
from toast_assets.export.write import export_week
from toast_assets.sandbox import Sandbox
from toast_assets.store.order_store import OrderStore
from toast_assets.week import Week
from toast_assets_tests.defs.conftest import PARTITION
from toast_assets_tests.support.data.invented import encode, order
from toast_assets_tests.support.stores.stored_weeks import store_week

RunWeek = Callable[..., dg.ExecuteInProcessResult]
pytestmark = pytest.mark.usefixtures("sandbox_environment")
MOST_COLUMNS = 6


def shown(result: dg.ExecuteInProcessResult) -> Iterator[tuple[str, dict[str, Any]]]:
    """What a run shows, by asset or check."""
    for event in result.get_asset_materialization_events():
        made = event.step_materialization_data.materialization
        yield made.asset_key.to_user_string(), dict(made.metadata)
    for evaluation in result.get_asset_check_evaluations():
        yield evaluation.check_name, dict(evaluation.metadata)


def test_tables_have_six_columns_at_most_and_name_restaurants_with_their_guid(
    run_week: RunWeek, sandbox: Sandbox
) -> None:
    result = run_week()
    tables = [
        (name, label, value.value.splitlines())
        for name, metadata in shown(result)
        for label, value in metadata.items()
        if isinstance(value, dg.MarkdownMetadataValue) and value.value.startswith("| ")
    ]
    assert {"raw_toast_orders", "amperity_delivery", "toast/orders", "guests_reachable"} <= {
        name for name, *_ in tables
    }
    for name, label, (head, _, *rows) in tables:
        assert head.count("|") - 1 <= MOST_COLUMNS, (name, label, head)
        if head.startswith("| restaurant |"):
            assert any(f"Harbor & Thistle – Pier 9 ({sandbox.restaurant_guids[0]})" in row for row in rows), (
                name,
                label,
            )


def test_names_come_with_the_report_and_ask_the_bucket_nothing(store: OrderStore, week: Week) -> None:
    store_week(store, week, {"here": encode(order())})
    report = export_week(week, store, logging.getLogger(__name__))
    store.bucket.delete(store.layout.manifest(week))
    assert "| Place here (here) | 1 |" in export_metadata(report, store)["per_restaurant"].value


def test_addresses_are_text_as_a_browser_cannot_open_them(run_week: RunWeek) -> None:
    for name, metadata in shown(run_week()):
        links = [label for label, value in metadata.items() if isinstance(value, dg.UrlMetadataValue)]
        assert links == [], name


def test_every_asset_has_a_description_an_owner_kinds_and_columns() -> None:
    graph = build_defs().get_repository_def().asset_graph
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        assert node.description, key
        assert node.owners, key
        assert node.kinds, key
        assert node.is_external or "dagster/column_schema" in node.metadata, key


def test_the_button_for_all_checks_of_an_asset_that_was_materialized_checks_its_newest_week(
    run_week: RunWeek, instance: dg.DagsterInstance
) -> None:
    assert run_week().success
    key = dg.AssetKey("raw_toast_orders")
    checks = dg.AssetSelection.checks(*(dg.AssetCheckKey(key, check.__name__) for check in CHECKS["raw_toast_orders"]))
    job = dg.define_asset_job("all_checks", selection=checks)
    defs = dg.Definitions.merge(build_defs(), dg.Definitions(jobs=[job]))
    # As the UI starts it: without a partition.
    result = defs.resolve_job_def("all_checks").execute_in_process(instance=instance, raise_on_error=False)
    assert result.success
    found = result.get_asset_check_evaluations()
    assert len(found) == len(CHECKS["raw_toast_orders"])
    for one in found:
        assert str(one.description).startswith(f"The newest stored week is {PARTITION}. ")


def test_a_dry_run_shows_nothing_in_the_place_of_what_was_delivered(
    run_week: RunWeek, instance: dg.DagsterInstance
) -> None:
    delivered = run_week()
    (made,) = delivered.asset_materializations_for_node("amperity_delivery")
    assert run_week("amperity_delivery", config={"amperity_delivery": {"dry_run": True}}).success
    (record,) = instance.fetch_observations(dg.AssetKey("amperity_delivery"), limit=5).records
    observed = record.asset_observation
    assert observed is not None
    assert observed.metadata.keys().isdisjoint(made.metadata)
    records = made.metadata["records"].value
    assert observed.metadata["dry_run"].value == f"Nothing was sent; would send 0 of {records} records."


@pytest.mark.parametrize("resource", [AlertsResource, AmperityResource, OrderStoreResource, ToastResource])
def test_the_launchpad_is_filled_with_the_names_of_variables(resource: type[dg.ConfigurableResource[Any]]) -> None:
    # Of a field that is marked as secret the launchpad has asterisks, and a run would use these.
    assert [name for name, field in resource.model_fields.items() if "dagster__is_secret" in str(field)] == []
