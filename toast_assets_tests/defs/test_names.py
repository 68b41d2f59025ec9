"""What the assets ``toast/names`` and ``toast/restaurants`` show of the stored tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dagster as dg
import pytest

from toast_assets.sandbox import Sandbox
from toast_assets.store.order_store import OrderStore
from toast_assets.tables.names import stored_rows
from toast_assets.tables.schema import NAMES

RunWeek = Callable[..., dg.ExecuteInProcessResult]
pytestmark = pytest.mark.usefixtures("sandbox_environment")


def shown(result: dg.ExecuteInProcessResult, name: str) -> dict[str, Any]:
    found = result.asset_materializations_for_node("toast_configuration")
    (one,) = (each for each in found if each.asset_key == dg.AssetKey(["toast", name]))
    return {key: value.value for key, value in one.metadata.items()}


def test_names_are_counted_by_kind_with_those_that_toast_no_longer_returns(
    run_week: RunWeek, sandbox: Sandbox, store: OrderStore
) -> None:
    first = shown(run_week(), "names")
    assert first["rows"] == first["dagster/row_count"] == stored_rows(store, NAMES).num_rows > 0
    assert "| service_charge | 6 | 0 |" in first["kinds"]
    configuration = sandbox.toast.configurations[sandbox.restaurant_guids[0]]
    configuration.archive(next(iter(configuration.names("serviceCharges"))))
    second = shown(run_week(partition="2025-09-22"), "names")
    assert second["rows"] == first["rows"]
    assert "| service_charge | 6 | 1 |" in second["kinds"]


def test_restaurants_are_listed_by_name(run_week: RunWeek) -> None:
    found = shown(run_week(), "restaurants")
    assert found["rows"] == 3
    assert "Old Mill" in found["list"]
    assert "America/Los" in found["list"]


def test_where_names_are_off_a_note_says_so(run_week: RunWeek, sandbox_environment: pytest.MonkeyPatch) -> None:
    sandbox_environment.setenv("TOAST_NAMES", "off")
    found = shown(run_week(), "names")
    assert found["rows"] == 0
    assert "TOAST_NAMES is off" in found["note"]
