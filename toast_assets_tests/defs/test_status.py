"""The asset ``toast/status``: refreshed at the end of every run, whatever became of pull, checks and delivery."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import dagster as dg
import pytest

from toast_assets.defs.build import build_defs
from toast_assets.defs.pictures import status_map
from toast_assets.sandbox import Kind, Sandbox
from toast_assets.settings import CalendarSettings, SensorSettings
from toast_assets.status.table import Status
from toast_assets.store.manifest import RestaurantRecord
from toast_assets.store.order_store import OrderStore
from toast_assets.week import Week, WeekCalendar
from toast_assets_tests.support.stores.status_weeks import store_weeks

RunWeek = Callable[..., dg.ExecuteInProcessResult]
pytestmark = pytest.mark.usefixtures("sandbox_environment")
NODE = "toast__status"


def shown(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    (found,) = result.asset_materializations_for_node(NODE)
    return {key: value.value for key, value in found.metadata.items()}


def steps(result: dg.ExecuteInProcessResult) -> list[str]:
    return [event.step_key or "" for event in result.all_events if event.event_type_value == "STEP_START"]


def loaded(store: OrderStore, now: Any) -> Status:
    return Status(store, CalendarSettings.parse({}), SensorSettings.parse({}), now)


def test_a_run_refreshes_it_last(run_week: RunWeek, store: OrderStore, week: Week) -> None:
    result = run_week()
    assert result.success
    assert steps(result)[-1] == NODE
    found = shown(result)
    assert found["restaurants"] == 3
    assert found["weeks_read"] == 1
    rows = store.load_table("status")
    of_week = rows[rows["week"].astype(str) == week.key]
    assert set(of_week["state"]) == {"complete"}
    # Later weeks of the sandbox are closed by now, and were not pulled.
    assert found["not_pulled"] == len(rows) - 3
    assert "The week was not pulled." in found["attention"]
    assert found["file"].endswith("toast-orders/tables/status/status.parquet")


def test_a_delivery_that_fails_is_on_the_page(run_week: RunWeek, sandbox: Sandbox, store: OrderStore) -> None:
    sandbox.faults.arm(Kind.STATUS, "stream", status=403, last=None)
    result = run_week()
    assert not result.success
    assert steps(result)[-1] == NODE
    assert shown(result)["not_delivered"] == 3


def test_a_pull_that_fails_is_on_the_page_although_everything_else_is_skipped(
    run_week: RunWeek, sandbox: Sandbox, store: OrderStore
) -> None:
    assert run_week("raw_toast_orders").success
    sandbox.faults.arm(Kind.STATUS, "login", status=401, last=None)
    result = run_week()
    assert not result.success
    assert steps(result) == ["raw_toast_orders", NODE]
    assert shown(result)["not_delivered"] == 3


def test_before_anything_is_stored_it_writes_nothing_and_says_so(
    run_week: RunWeek, sandbox_environment: pytest.MonkeyPatch, store: OrderStore
) -> None:
    sandbox_environment.delenv("TOAST_CLIENT_SECRET")
    result = run_week()
    failures = [event.step_key for event in result.all_events if event.is_step_failure]
    assert failures == ["raw_toast_orders"]
    assert shown(result)["attention"] == "No week is stored yet."
    assert list(store.bucket.keys(store.layout.tables)) == []


def test_it_depends_on_no_step_of_the_run_and_no_step_waits_for_it() -> None:
    graph = build_defs().get_repository_def().asset_graph
    node = graph.get(dg.AssetKey(["toast", "status"]))
    assert (node.parent_keys, node.partitions_def) == ({dg.AssetKey("toast")}, None)
    assert node.metadata["dagster/column_schema"]


def test_a_sensor_s_setting_that_is_malformed_ends_the_run_before_the_first_request(
    run_week: RunWeek, sandbox: Sandbox, sandbox_environment: pytest.MonkeyPatch
) -> None:
    sandbox_environment.setenv("TOAST_SECOND_LOOK_HOURS", "soon")
    result = run_week()
    assert not result.success
    assert sandbox.toast.log.count("orders") == 0


CALENDAR = WeekCalendar()
WEEKS = [CALENDAR.week(f"{CALENDAR.first + timedelta(days=7 * number)}") for number in range(30)]


def picture(store: OrderStore, restaurants: int, weeks: list[Week], broken: str = "") -> str:
    """The Markdown of a picture, in which a restaurant has failed in the last week."""
    names = {f"guid-{number:02d}": f"Place {number:02d}" for number in range(restaurants)}

    def changed(week: Week) -> dict[str, RestaurantRecord]:
        failed = RestaurantRecord(outcome="failed", name="Broken", failure="503")
        return {broken: failed} if broken and week == weeks[-1] else {}

    store_weeks(store, weeks, names, changed)
    table = loaded(store, weeks[-1].end + timedelta(days=4) if weeks else WEEKS[0].end).current().table
    return status_map(table).md_str or ""


def test_the_picture_shows_restaurants_and_weeks(store: OrderStore) -> None:
    text = picture(store, 3, WEEKS[:4])
    head, _, data = text.partition("](data:image/png;base64,")
    assert head == "![3 of 3 restaurants, 4 of 4 weeks"
    assert base64.b64decode(data.removesuffix(")")).startswith(b"\x89PNG")
    assert text == status_map(loaded(store, WEEKS[3].end + timedelta(days=4)).current().table).md_str


def test_a_large_picture_is_cut_and_says_what_is_left_out(store: OrderStore) -> None:
    text = picture(store, 45, WEEKS[:28], broken="guid-44")
    assert text.startswith("![40 of 45 restaurants, 26 of 28 weeks](")
    # The restaurant that failed is among those that are shown.
    assert text.endswith("Left out: 5 restaurants, 0 of them with problems in these weeks; 2 older weeks.")
    assert len(text) < 60_000


def test_without_a_stored_week_there_is_no_picture(store: OrderStore) -> None:
    assert picture(store, 0, []) == "No week is stored yet."
