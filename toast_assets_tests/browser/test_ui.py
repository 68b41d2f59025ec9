"""The real UI in a real browser: ``dagster dev`` on the sandbox, driven as a person would drive it.

One test with its steps in a row, because starting Dagster takes longer than most of them. The backfill has two weeks,
with ``--full`` eight.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from playwright.sync_api import Locator, expect

from toast_assets.checks.table import CHECKS
from toast_assets.cli.environment import dagster_home, sandbox_environment
from toast_assets.cli.serve import DEFINITIONS, GRAPH
from toast_assets.sandbox.config import invent_restaurants
from toast_assets_tests.browser.driving import NEEDS_CHROMIUM, Ui, closed_weeks, driven
from toast_assets_tests.conftest import StartSandbox

SENSOR = "weekly_toast_orders_sensor"
# One week stays for the sensor, one is materialized by itself, the rest is left to the backfill.
WEEKS, ALL_WEEKS = 4, 10
pytestmark = NEEDS_CHROMIUM


@pytest.fixture
def ui(
    start_sandbox: StartSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[Ui]:
    """The UI on a sandbox with two small restaurants and some closed weeks, the sensor switched off."""
    monkeypatch.chdir(tmp_path)
    weeks = closed_weeks(ALL_WEEKS if request.config.getoption("--full") else WEEKS)
    sandbox = start_sandbox(restaurants=invent_restaurants(2, orders_per_week=40))
    environment = sandbox_environment(sandbox, dagster_home()) | {
        "TOAST_START_DATE": weeks[-1],
        "TOAST_REQUESTS_PER_SECOND": "1000",
        "TOAST_HISTORICAL_SPACING_SECONDS": "0",
    }
    _switch_off(environment)
    with driven(DEFINITIONS, environment, weeks, tmp_path, request.config.getoption("--screenshots")) as ui:
        yield ui


def test_a_person_presses_every_button(ui: Ui) -> None:
    see_the_graph(ui)
    launch_without_a_week(ui)
    try_the_delivery(ui)
    materialize_one_week(ui)
    execute_all_checks(ui)
    backfill_the_other_weeks(ui)
    look_at_the_pages(ui)
    switch_the_sensor_on_and_off(ui)


def see_the_graph(ui: Ui) -> None:
    """At the address that ``toast-assets sandbox --ui`` prints."""
    ui.open(GRAPH)
    for asset in ("toast", "raw_toast_orders", "toast_o…_s3_export", "amperity_delivery", "amperity"):
        # Nodes of the graph, not the lines of the list beside it.
        expect(ui.page.locator("svg foreignObject").get_by_text(asset, exact=True).first).to_be_in_viewport()
    ui.picture("graph")


def launch_without_a_week(ui: Ui) -> None:
    ui.launch_by_api("raw_toast_orders", week=None)
    run = ui.ended(1)
    assert run["status"] == "FAILURE"
    (reason,) = ui.reasons(run)
    assert reason.startswith(f"This run names no week. The newest one that has closed is {ui.weeks[0]}.")
    assert "Choose one or several under Partitions" in reason


def try_the_delivery(ui: Ui) -> None:
    """A dry run by the launchpad, as Dagster fills it in: nothing is sent, and the week is not delivered."""
    week, page = ui.weeks[1], ui.page
    ui.launch_by_api("raw_toast_orders", "toast_orders_s3_export", week=week)
    assert ui.ended(2)["status"] == "SUCCESS"
    ui.open("/assets/amperity_delivery")
    expect(page.get_by_text("Never materialized")).to_be_visible()
    launch_a_dry_run(ui, week)
    run = ui.ended(3)
    assert run["status"] == "SUCCESS"
    assert ui.evaluations(run) == []
    events = ui.events_of("amperity_delivery", week)
    assert events["assetMaterializations"] == []
    (observation,) = events["assetObservations"]
    texts = {entry["label"]: entry.get("text") for entry in observation["metadataEntries"]}
    assert re.fullmatch(r"Nothing was sent; would send (\d+) of \1 records\.", texts["dry_run"] or "")


def launch_a_dry_run(ui: Ui, week: str) -> None:
    page = ui.page
    materialize = page.get_by_role("button", name="Materialize").locator("xpath=ancestor::*[2]")
    materialize.get_by_label("arrow_drop_down").click()
    page.get_by_text("Open launchpad").click()
    box = page.get_by_placeholder("Partition")
    ui.wait_for("the list of weeks", lambda: _lists(box, page.get_by_text(ui.weeks[-1], exact=True).last))
    box.press_sequentially(week)
    page.get_by_text(week, exact=True).last.click()
    switch = page.locator(".CodeMirror-line", has_text="dry_run: false")
    switch.get_by_text("false").dblclick()
    page.keyboard.insert_text("true")
    expect(page.locator(".CodeMirror-line", has_text="dry_run: true")).to_be_visible()
    ui.picture("launchpad")
    page.get_by_role("button", name="Materialize").last.click()


def materialize_one_week(ui: Ui) -> None:
    week = ui.weeks[1]
    ui.launch(week, "Launch 1 run")
    run = ui.ended(4)
    assert (run["status"], run["tags"]["dagster/partition"]) == ("SUCCESS", week)
    ui.open(f"/runs/{run['runId']}")
    expect(ui.page.get_by_text("Success", exact=True).first).to_be_visible()
    ui.picture("run")


def execute_all_checks(ui: Ui) -> None:
    """The button gives the run no partition: the newest stored week is checked."""
    ui.open("/assets/raw_toast_orders?view=checks")
    ui.page.get_by_role("button", name="Execute all").click()
    run = ui.ended(5)
    assert run["status"] == "SUCCESS"
    assert "dagster/partition" not in run["tags"]
    found = ui.evaluations(run)
    assert {one["checkName"] for one in found} == {check.__name__ for check in CHECKS["raw_toast_orders"]}
    assert all(one["description"].startswith(f"The newest stored week is {ui.weeks[1]}. ") for one in found)
    assert {one["checkName"] for one in found if not one["success"]} <= {"no_schema_drift"}
    ui.open("/assets/raw_toast_orders?view=checks")
    for one in found:
        expect(ui.page.get_by_text(one["checkName"]).first).to_be_visible()
    ui.picture("checks")


def backfill_the_other_weeks(ui: Ui) -> None:
    others = sorted(ui.weeks[2:])
    first, last, materialized, before = others[0], others[-1], len(others) + 1, len(ui.runs())
    ui.launch(f"[{first}...{last}]", "Launch backfill")
    ui.wait_for("a run for each week", lambda: len(ui.runs()) == before + len(others))
    ui.wait_for("their end", lambda: all(run["status"] in ("SUCCESS", "FAILURE") for run in ui.runs()))
    backfilled = [run for run in ui.runs() if "dagster/backfill" in run["tags"]]
    assert {run["status"] for run in backfilled} == {"SUCCESS"}
    assert sorted(run["tags"]["dagster/partition"] for run in backfilled) == others
    ui.open("/assets/amperity_delivery?view=partitions")
    for status in (f"Materialized ({materialized})", "Failed (0)", "Missing (1)"):
        expect(ui.page.get_by_text(status)).to_be_visible()
    stats = ui.ask("{ assetNodes { assetKey { path } partitionStats { numMaterialized numFailed } } }")["assetNodes"]
    counts = {"/".join(node["assetKey"]["path"]): node["partitionStats"] for node in stats}
    for asset in ("raw_toast_orders", "toast_orders_s3_export", "amperity_delivery", "toast/orders"):
        assert counts[asset] == {"numMaterialized": materialized, "numFailed": 0}
    ui.picture("partitions")


def look_at_the_pages(ui: Ui) -> None:
    page = ui.page
    tables = {"raw_toast_orders": "per_restaurant", "toast_orders_s3_export": "per_restaurant", "toast/names": "kinds"}
    for asset, table in {**tables, "amperity_delivery": "by_method", "toast/restaurants": "list"}.items():
        ui.see(f"/assets/{asset}", "Columns", "Metadata", table)
        ui.picture(asset.replace("/", "-"))
    ui.see("/assets/toast/orders", "Metadata", "per_restaurant")
    row = page.locator("tr", has_text="per_restaurant")
    expect(row).to_contain_text("Harbor & Thistle")
    expect(row).to_contain_text("net sales")
    page.locator("tr", has_text="orders_by_hour").get_by_text("[Show Markdown]").click()
    picture = page.locator("img[src^='data:image/png']").first
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.naturalWidth") > 100
    ui.picture("picture")
    for asset in ("toast", "amperity"):
        ui.see(f"/assets/{asset}", "External Asset", "data-engineering", asset)
    ui.open(f"{ui.location}/resources/amperity")
    expect(page.get_by_text("AMPERITY_API_KEY")).to_be_visible()
    ui.see("/runs", "Launched by")
    expect(page.get_by_text("toast-assets/pid")).not_to_be_attached()


def switch_the_sensor_on_and_off(ui: Ui) -> None:
    page, closed = ui.page, ui.weeks[0]
    before = len(ui.runs())
    ui.open(f"{ui.location}/sensors/{SENSOR}")
    switch = page.locator("tr", has_text="Running").get_by_role("checkbox")
    expect(switch).not_to_be_checked()
    # What one sees is a drawing over the real switch, which lies outside of the view.
    switch.evaluate("one => one.click()")
    ui.wait_for("the sensor's run", lambda: len(ui.runs()) > before)
    run = ui.runs()[0]
    assert run["tags"]["dagster/partition"] == closed
    assert run["tags"]["dagster/sensor_name"] == SENSOR
    assert "it has closed" in run["tags"]["toast/reason"]
    ui.wait_for("the tick's end", lambda: ui.last_tick(SENSOR)["status"] != "STARTED")
    tick = ui.last_tick(SENSOR)
    assert tick["status"] == "SUCCESS"
    assert any(f"week {closed}: it has closed" in said for said in tick["said"])
    expect(page.get_by_text("1 run requested").first).to_be_visible()
    assert ui.ended(before + 1)["status"] == "SUCCESS"
    ui.picture("sensor")
    switch.evaluate("one => one.click()")
    expect(switch).not_to_be_checked()


def _lists(box: Locator, oldest: Locator) -> bool:
    """Whether the list of partitions is open; it has the oldest ones before one types. A click that comes before
    Dagster has them opens nothing, also later, so it is repeated."""
    if oldest.is_visible():
        return True
    box.blur()
    box.click()
    return False


def _switch_off(environment: Mapping[str, str]) -> None:
    """The sensor runs by default; here it has to wait until somebody switches it on."""
    command = [sys.executable, "-m", "dagster", "sensor", "stop", "-m", DEFINITIONS, SENSOR]
    subprocess.run(command, env=dict(environment), check=True, capture_output=True)  # noqa: S603 - fixed arguments
