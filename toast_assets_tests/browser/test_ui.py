"""The real UI in a real browser: ``dagster dev`` on the sandbox, driven as a person would drive it.

One test with its steps in a row, because starting Dagster takes longer than most of them. Chromium is Debian's
(``apt-get install chromium``); ``--screenshots FOLDER`` keeps a picture of each step. The backfill has two weeks,
with ``--full`` eight.
"""

from __future__ import annotations

import re
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
from playwright.sync_api import Page, ViewportSize, expect

from toast_assets.checks.table import CHECKS
from toast_assets.cli.environment import dagster_home, sandbox_environment
from toast_assets.cli.runs import last_closed_weeks
from toast_assets.cli.serve import GRAPH, dagster_dev
from toast_assets.sandbox import Sandbox, SandboxConfig
from toast_assets.sandbox.config import invent_restaurants
from toast_assets_tests.support.services.browser import CHROMIUM, HOW_TO_GET_IT, open_browser
from toast_assets_tests.support.services.ports import free_port

LOCATION = "/locations/toast_assets.definitions"
SENSOR = "weekly_toast_orders_sensor"
# One week stays for the sensor, one is materialized by itself, the rest is left to the backfill.
WEEKS, ALL_WEEKS = 4, 10
PATIENCE_MS = 300_000
# What a person sees on a small laptop.
SCREEN: ViewportSize = {"width": 1440, "height": 900}
# Tables that reach beyond a part of the page that cuts off what does not fit, or a page that is too wide.
CUT_OFF = """() => {
  const found = document.documentElement.scrollWidth > innerWidth ? ["the page"] : [];
  for (const table of document.querySelectorAll("table")) {
    const right = table.getBoundingClientRect().right;
    for (let around = table.parentElement; around; around = around.parentElement) {
      const cuts = getComputedStyle(around).overflowX !== "visible";
      if (cuts && right > around.getBoundingClientRect().right + 1) {
        found.push(table.innerText.slice(0, 100));
        break;
      }
    }
  }
  return found;
}"""
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

    def see(self, path: str, *texts: str) -> None:
        """Open a page, wait for its texts, and see that nothing of it is cut off."""
        self.open(path)
        for text in texts:
            expect(self.page.get_by_text(text, exact=True).first).to_be_visible()
        assert self.page.evaluate(CUT_OFF) == [], path

    def evaluations(self, run: dict[str, Any]) -> list[dict[str, Any]]:
        """The checks that a run evaluated."""
        query = """query ($run: ID!) { runOrError(runId: $run) { ... on Run { eventConnection { events {
            ... on AssetCheckEvaluationEvent { evaluation { checkName success description } } } } } } }"""
        events = self.ask(query, run=run["runId"])["runOrError"]["eventConnection"]["events"]
        return [event["evaluation"] for event in events if event.get("evaluation")]

    def reasons(self, run: dict[str, Any]) -> list[str]:
        """Why steps of a run failed."""
        query = """query ($run: ID!) { runOrError(runId: $run) { ... on Run { eventConnection { events {
            ... on ExecutionStepFailureEvent { failureMetadata { description } } } } } } }"""
        events = self.ask(query, run=run["runId"])["runOrError"]["eventConnection"]["events"]
        return [event["failureMetadata"]["description"] for event in events if event.get("failureMetadata")]

    def ended(self, number: int) -> dict[str, Any]:
        """The newest run, once there are ``number`` and it has ended."""
        self.wait_for(f"run {number}", lambda: len(self.runs()) == number)
        self.wait_for("its end", lambda: self.runs()[0]["status"] in ("SUCCESS", "FAILURE"))
        return self.runs()[0]

    def launch_by_api(self, *assets: str, week: str | None) -> None:
        """Launch assets as a program would, without a partition if there is no ``week``."""
        query = """mutation ($given: ExecutionParams!) { launchRun(executionParams: $given) { __typename } }"""
        selector = {
            "repositoryLocationName": "toast_assets.definitions",
            "repositoryName": "__repository__",
            "jobName": "__ASSET_JOB",
            "assetSelection": [{"path": [asset]} for asset in assets],
            "assetCheckSelection": [],
        }
        tags = [{"key": "dagster/partition", "value": week}] if week else []
        given = {"selector": selector, "mode": "default", "executionMetadata": {"tags": tags}}
        assert self.ask(query, given=given)["launchRun"]["__typename"] == "LaunchRunSuccess"

    def events_of(self, asset: str, week: str) -> dict[str, Any]:
        """The materializations and observations of an asset's week."""
        query = """query ($key: AssetKeyInput!, $weeks: [String!]) { assetOrError(assetKey: $key) { ... on Asset {
            assetMaterializations(partitions: $weeks) { runId } assetObservations(partitions: $weeks) {
                runId metadataEntries { label ... on TextMetadataEntry { text } } } } } }"""
        found: dict[str, Any] = self.ask(query, key={"path": [asset]}, weeks=[week])["assetOrError"]
        return found

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
        page.set_viewport_size(SCREEN)
        page.set_default_timeout(PATIENCE_MS)
        expect.set_options(timeout=PATIENCE_MS)
        yield Ui(f"http://127.0.0.1:{port}", page, weeks, Path(pictures).resolve() if pictures else None)


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
    box.click()
    # The list has the oldest weeks before one types.
    expect(page.get_by_text(ui.weeks[-1], exact=True).last).to_be_visible()
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
    assert all(one["description"].startswith(f"Week {ui.weeks[1]}, the newest one that is stored: ") for one in found)
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
    ui.open(f"{LOCATION}/resources/amperity")
    expect(page.get_by_text("AMPERITY_API_KEY")).to_be_visible()
    ui.see("/runs", "Launched by")
    expect(page.get_by_text("toast-assets/pid")).not_to_be_attached()


def switch_the_sensor_on_and_off(ui: Ui) -> None:
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
    assert "it has closed" in run["tags"]["toast/reason"]
    ui.wait_for("the tick's end", lambda: ui.last_tick()["status"] != "STARTED")
    tick = ui.last_tick()
    assert tick["status"] == "SUCCESS"
    assert any(f"week {closed}: it has closed" in said for said in tick["said"])
    expect(page.get_by_text("1 run requested").first).to_be_visible()
    assert ui.ended(before + 1)["status"] == "SUCCESS"
    ui.picture("sensor")
    switch.evaluate("one => one.click()")
    expect(switch).not_to_be_checked()


def closed_weeks(count: int) -> list[str]:
    """The keys of the last ``count`` closed weeks, the newest first."""
    last = date.fromisoformat(last_closed_weeks(1)[0].key)
    return [str(last - timedelta(days=7 * number)) for number in range(count)]


def _switch_off(environment: Mapping[str, str]) -> None:
    """The sensor runs by default; here it has to wait until somebody switches it on."""
    command = [sys.executable, "-m", "dagster", "sensor", "stop", "-m", "toast_assets.definitions", SENSOR]
    subprocess.run(command, env=dict(environment), check=True, capture_output=True)  # noqa: S603 - fixed arguments
