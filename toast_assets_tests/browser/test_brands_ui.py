"""Two brands in one UI: ``dagster dev`` on a project with a ``defs.yaml`` for each, used as a person would use it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest
from playwright.sync_api import expect

from toast_assets.cli.environment import dagster_home, sandbox_environment
from toast_assets.sandbox import Restaurant, Sandbox
from toast_assets_tests.browser.driving import NEEDS_CHROMIUM, Ui, closed_weeks, driven
from toast_assets_tests.conftest import StartSandbox
from toast_assets_tests.support.services.brands import own_orders_alone_arrived, variables_of, write_brands

pytestmark = NEEDS_CHROMIUM
RESTAURANTS = {
    "brand_a": "0b1f6a52-7c3d-4e8f-9a10-4d2c6b7e8f0a",
    "brand_b": "1c2e7b63-8d4e-4f90-8b21-5e3d7c8f901b",
}


GRAPH = ("toast", "raw_toast_orders", "toast_o…_s3_export", "amperity_delivery", "amperity")


class Brands(NamedTuple):
    """The UI of all brands, and the sandbox of each."""

    ui: Ui
    sandboxes: Mapping[str, Sandbox]


@pytest.fixture
def brands(
    start_sandbox: StartSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[Brands]:
    """Two brands with a small restaurant each, whose sensors run and start nothing."""
    monkeypatch.chdir(tmp_path)
    weeks = closed_weeks(2)
    sandboxes = {
        brand: start_sandbox(
            seed=seed,
            restaurants=(Restaurant(guid, f"Only of {brand}", orders_per_week=40),),
            tenant=f"tenant-of-{brand}",
            amperity_api_key=f"key-of-{brand}",
            toast_client_secret=f"secret-of-{brand}",
        )
        for seed, (brand, guid) in enumerate(RESTAURANTS.items())
    }
    attributes = {
        brand: f"name: {brand}\nvariables: {brand.upper()}_\nfirst_week: {weeks[-1]}\nsensor: off"
        for brand in sandboxes
    }
    first = sandboxes["brand_a"]
    without = first.environment().keys()
    environment = {
        **{name: value for name, value in sandbox_environment(first, dagster_home()).items() if name not in without},
        **variables_of({f"{brand.upper()}_": sandbox for brand, sandbox in sandboxes.items()}),
        "PYTHONPATH": os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH")))),
    }
    module = f"{write_brands(tmp_path, attributes)}.definitions"
    with driven(module, environment, weeks, tmp_path, request.config.getoption("--screenshots")) as ui:
        yield Brands(ui, sandboxes)


def test_each_brand_is_seen_materialized_and_switched_off_by_itself(brands: Brands) -> None:
    ui, sandboxes = brands
    for brand in sandboxes:
        see_the_graph(ui, brand)
    materialize_both(ui)
    for brand, sandbox in sandboxes.items():
        own_orders_alone_arrived(brand, sandbox)
        look_at_the_pages(ui, brand)
    for brand in sandboxes:
        switch_the_sensor_off(ui, brand)


def see_the_graph(ui: Ui, brand: str) -> None:
    """A node has an asset's name without the brand's; its link leads to the brand's own."""
    page = ui.page
    ui.see(f"{ui.location}/asset-groups/{brand}/lineage", "Materialize all (15)…")
    for asset in GRAPH:
        expect(page.locator("svg foreignObject").get_by_text(asset, exact=True).first).to_be_in_viewport()
    ui.picture(f"{brand}-graph")
    page.locator("svg foreignObject").get_by_text("raw_toast_orders", exact=True).first.click()
    expect(page.locator(f"a[href*='/assets/{brand}/raw_toast_orders']").first).to_be_visible()


def materialize_both(ui: Ui) -> None:
    """Each brand has a week of its own: runs of one week would wait for each other."""
    wanted = dict(zip(RESTAURANTS, ui.weeks, strict=True))
    for brand, week in wanted.items():
        launch(ui, brand, week)
    ui.wait_for("their end", lambda: all(run["status"] in ("SUCCESS", "FAILURE") for run in ui.runs()))
    found = {run["jobName"]: (run["status"], run["tags"]["dagster/partition"]) for run in ui.runs()}
    assert found == {f"{brand}_weekly_toast_orders": ("SUCCESS", week) for brand, week in wanted.items()}


def launch(ui: Ui, brand: str, week: str) -> None:
    before = len(ui.runs())
    ui.launch(week, "Launch 1 run", f"{brand}_weekly_toast_orders")
    ui.wait_for(f"the run of {brand}", lambda: len(ui.runs()) > before)


def look_at_the_pages(ui: Ui, brand: str) -> None:
    for asset in ("raw_toast_orders", "toast/orders"):
        ui.see(f"/assets/{brand}/{asset}", "Columns", "Metadata", "per_restaurant")
        expect(ui.page.locator("tr", has_text="per_restaurant").last).to_contain_text(f"Only of {brand}")
        ui.picture(f"{brand}-{asset.replace('/', '-')}")
    ui.see(f"/assets/{brand}/amperity_delivery", "Metadata", "by_method")


def switch_the_sensor_off(ui: Ui, brand: str) -> None:
    """It is on before, also where the other brand's was switched off."""
    page, sensor = ui.page, f"{brand}_weekly_toast_orders_sensor"
    ui.see(f"{ui.location}/sensors", *(f"{each}_weekly_toast_orders_sensor" for each in RESTAURANTS))
    page.get_by_text(sensor, exact=True).first.click()
    switch = page.locator("tr", has_text="Running").get_by_role("checkbox")
    expect(switch).to_be_checked()
    assert ui.cut_off() == []
    # What one sees is a drawing over the real switch, which lies outside of the view.
    switch.evaluate("one => one.click()")
    expect(switch).not_to_be_checked()
    ui.picture(f"{brand}-sensor")
    page.reload(wait_until="load")
    expect(switch).not_to_be_checked()
