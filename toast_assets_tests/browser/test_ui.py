"""The real UI in a real browser: ``dagster dev`` on the sandbox, driven as a person would drive it.

One test with its steps in a row, because starting Dagster takes longer than most of them. Chromium is Debian's
(``apt-get install chromium``); ``--screenshots FOLDER`` keeps a picture of each step. The backfill has three weeks,
with ``--full`` eight.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect

from toast_assets.cli.environment import dagster_home, sandbox_environment
from toast_assets.cli.runs import last_closed_weeks
from toast_assets.cli.serve import dagster_dev
from toast_assets.sandbox import Sandbox, SandboxConfig
from toast_assets.sandbox.config import invent_restaurants
from toast_assets_tests.support.services.browser import CHROMIUM, HOW_TO_GET_IT, open_browser
from toast_assets_tests.support.services.ports import free_port

LOCATION = "/locations/toast_assets.definitions"
SENSOR = "weekly_toast_orders_sensor"
# One week stays for the sensor, one is materialized by itself, the rest is left to the backfill.
WEEKS, ALL_WEEKS = 5, 10
PATIENCE_MS = 300_000
# For all weeks, also where other tests take most of the machine.
RUN_SECONDS = 600


class Ui:
    """Dagster's UI in a browser, and its GraphQL for what only time brings about; ``weeks`` are the partitions, the
    last one first."""

    def __init__(self, url: str, page: Page, weeks: list[str], pictures: Path | None) -> None:
        self.url = url
        self.page = page
        self.weeks = weeks
        self._pictures = pictures

    def open(self, path: str) -> None:
        self.page.goto(self.url + path, wait_until="load")

    def picture(self, name: str) -> None:
        if self._pictures is not None:
            self.page.screenshot(path=self._pictures / f"{name}.png")

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        asked = {"query": query, "variables": variables}
        reply = httpx.post(f"{self.url}/graphql", json=asked, trust_env=False, timeout=RUN_SECONDS)
        answer: dict[str, Any] = reply.json()
        assert "errors" not in answer, answer
        data: dict[str, Any] = answer["data"]
        return data

    def runs(self) -> list[dict[str, Any]]:
        """Status and tags of all runs, the newest first."""
        found = self.ask("{ runsOrError { ... on Runs { results { status runId tags { key value } } } } }")
        results: list[dict[str, Any]] = found["runsOrError"]["results"]
        return [run | {"tags": {tag["key"]: tag["value"] for tag in run["tags"]}} for run in results]

    def checks(self, asset: str) -> dict[str, str]:
        """The asset's checks with the latest result: passed, or the severity of the failure."""
        query = """query ($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode {
            assetChecksOrError { ... on AssetChecks { checks { name
                executionForLatestMaterialization { evaluation { success severity } } } } } } } }"""
        node = self.ask(query, key={"path": [asset]})["assetNodeOrError"]
        found = {
            check["name"]: check["executionForLatestMaterialization"]["evaluation"]
            for check in node["assetChecksOrError"]["checks"]
        }
        return {name: "passed" if one["success"] else one["severity"] for name, one in found.items()}

    def last_tick(self) -> dict[str, Any]:
        """The sensor's last tick: its status and what it said."""
        query = """query ($sensor: SensorSelector!) { sensorOrError(sensorSelector: $sensor) { ... on Sensor {
            sensorState { ticks(limit: 1) { status logEvents { events { message } } } } } } }"""
        sensor = {
            "repositoryLocationName": "toast_assets.definitions",
            "repositoryName": "__repository__",
            "sensorName": SENSOR,
        }
        ticks = self.ask(query, sensor=sensor)["sensorOrError"]["sensorState"]["ticks"]
        tick: dict[str, Any] = ticks[0]
        return {"status": tick["status"], "said": [event["message"] for event in tick["logEvents"]["events"]]}

    def wait_for(self, what: str, holds: Callable[[], bool]) -> None:
        """Return when ``holds``; a run takes seconds, and so does the daemon that starts it."""
        deadline = time.monotonic() + RUN_SECONDS
        while not holds():
            assert time.monotonic() < deadline, f"{what}: {[(run['status'], run['tags']) for run in self.runs()]}"
            time.sleep(0.5)

    def launch(self, partitions: str, button: str) -> None:
        """Materialize the weekly job for some partitions, through its dialog."""
        self.open(f"{LOCATION}/jobs/weekly_toast_orders")
        self.page.get_by_role("button", name="Materialize all").first.click()
        expect(self.page.get_by_text("Partition selection")).to_be_visible()
        box = self.page.locator("input[placeholder*='artition'], input[type='text']").last
        box.fill(partitions)
        box.press("Enter")
        self.picture("dialog")
        self.page.get_by_role("button", name=button).click()


@pytest.fixture
def ui(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Ui]:
    """The UI on a sandbox with two small restaurants and some closed weeks, the sensor switched off."""
    if CHROMIUM is None:
        pytest.skip(HOW_TO_GET_IT)
    monkeypatch.chdir(tmp_path)
    pictures = request.config.getoption("--screenshots")
    weeks = closed_weeks(ALL_WEEKS if request.config.getoption("--full") else WEEKS)
    with ExitStack() as stack:
        config = SandboxConfig(rate_limits=False, restaurants=invent_restaurants(2, orders_per_week=40))
        sandbox = stack.enter_context(Sandbox(config))
        environment = sandbox_environment(sandbox, dagster_home()) | {
            "TOAST_START_DATE": weeks[-1],
            "TOAST_REQUESTS_PER_SECOND": "1000",
            "TOAST_HISTORICAL_SPACING_SECONDS": "0",
        }
        _switch_off(environment)
        port = free_port()
        stack.enter_context(dagster_dev(port, environment, tmp_path / "dagster-dev.log"))
        page = stack.enter_context(open_browser(tmp_path / "profile"))
        page.set_default_timeout(PATIENCE_MS)
        expect.set_options(timeout=PATIENCE_MS)
        yield Ui(f"http://127.0.0.1:{port}", page, weeks, Path(pictures).resolve() if pictures else None)


def test_a_person_materializes_backfills_looks_and_lets_the_sensor_run(ui: Ui) -> None:
    see_the_graph(ui)
    materialize_one_week(ui)
    backfill_the_other_weeks(ui)
    look_at_an_asset(ui)
    switch_the_sensor_on(ui)


def see_the_graph(ui: Ui) -> None:
    ui.open(f"{LOCATION}/asset-groups/toast_to_amperity/lineage")
    for asset in ("raw_toast_orders", "toast_orders_s3_export", "amperity_delivery"):
        # Nodes of the graph, not the lines of the list beside it.
        expect(ui.page.locator("svg foreignObject", has_text=asset).first).to_be_visible()
    ui.picture("graph")


def materialize_one_week(ui: Ui) -> None:
    week = ui.weeks[1]
    ui.launch(week, "Launch 1 run")
    ui.wait_for("a run", lambda: bool(ui.runs()))
    ui.wait_for("the run's end", lambda: ui.runs()[0]["status"] in ("SUCCESS", "FAILURE"))
    (run,) = ui.runs()
    assert run["tags"]["dagster/partition"] == week
    ui.open(f"/runs/{run['runId']}")
    expect(ui.page.get_by_text("Success", exact=True).first).to_be_visible()
    ui.picture("run")


def backfill_the_other_weeks(ui: Ui) -> None:
    others = sorted(ui.weeks[2:])
    first, last, materialized = others[0], others[-1], len(others) + 1
    ui.launch(f"[{first}...{last}]", "Launch backfill")
    ui.wait_for("a run for each week", lambda: len(ui.runs()) == materialized)
    ui.wait_for("their end", lambda: all(run["status"] in ("SUCCESS", "FAILURE") for run in ui.runs()))
    assert {run["status"] for run in ui.runs()} == {"SUCCESS"}
    backfilled = [run["tags"]["dagster/partition"] for run in ui.runs() if "dagster/backfill" in run["tags"]]
    assert sorted(backfilled) == others
    ui.open("/assets/amperity_delivery?view=partitions")
    for status in (f"Materialized ({materialized})", "Failed (0)", "Missing (1)"):
        expect(ui.page.get_by_text(status)).to_be_visible()
    stats = ui.ask("{ assetNodes { assetKey { path } partitionStats { numMaterialized numFailed } } }")["assetNodes"]
    counts = {node["assetKey"]["path"][0]: node["partitionStats"] for node in stats}
    for asset in ("raw_toast_orders", "toast_orders_s3_export", "amperity_delivery", "orders"):
        assert counts[asset] == {"numMaterialized": materialized, "numFailed": 0}
    ui.picture("partitions")


def look_at_an_asset(ui: Ui) -> None:
    page = ui.page
    ui.open("/assets/orders")
    row = page.locator("tr", has_text="per_restaurant")
    expect(row).to_contain_text("Harbor & Thistle")
    expect(row).to_contain_text("net sales")
    ui.picture("asset")
    page.locator("tr", has_text="orders_by_hour").get_by_text("[Show Markdown]").click()
    picture = page.locator("img[src^='data:image/png']").first
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.naturalWidth") > 100
    ui.picture("picture")
    ui.open("/assets/raw_toast_orders?view=checks")
    results = ui.checks("raw_toast_orders")
    for check in results:
        expect(page.get_by_text(check).first).to_be_visible()
    assert set(results.values()) == {"passed"}
    ui.picture("checks")


def switch_the_sensor_on(ui: Ui) -> None:
    page, closed = ui.page, ui.weeks[0]
    before = len(ui.runs())
    ui.open(f"{LOCATION}/sensors/{SENSOR}")
    switch = page.locator("tr", has_text="Running").get_by_role("checkbox")
    expect(switch).not_to_be_checked()
    # What one sees is a drawing over the real switch, which lies outside of the view.
    switch.evaluate("one => one.click()")
    ui.wait_for("the sensor's run", lambda: len(ui.runs()) > before)
    run = ui.runs()[0]
    assert run["tags"]["dagster/partition"] == closed
    assert run["tags"]["dagster/sensor_name"] == SENSOR
    assert run["tags"]["toast/reason"] == f"week {closed}: closed"
    ui.wait_for("the tick's end", lambda: ui.last_tick()["status"] != "STARTED")
    tick = ui.last_tick()
    assert tick["status"] == "SUCCESS"
    assert any(f"week {closed}: closed" in said for said in tick["said"])
    expect(page.get_by_text("1 run requested").first).to_be_visible()
    ui.wait_for("its end", lambda: ui.runs()[0]["status"] in ("SUCCESS", "FAILURE"))
    assert ui.runs()[0]["status"] == "SUCCESS"
    ui.picture("sensor")


def closed_weeks(count: int) -> list[str]:
    """The keys of the last ``count`` closed weeks, the newest first."""
    last = date.fromisoformat(last_closed_weeks(1)[0].key)
    return [str(last - timedelta(days=7 * number)) for number in range(count)]


def _switch_off(environment: Mapping[str, str]) -> None:
    """The sensor runs by default; here it has to wait until somebody switches it on."""
    command = [sys.executable, "-m", "dagster", "sensor", "stop", "-m", "toast_assets.definitions", SENSOR]
    subprocess.run(command, env=dict(environment), check=True, capture_output=True)  # noqa: S603 - fixed arguments
