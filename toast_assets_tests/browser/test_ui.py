"""The real UI in a real browser: ``dagster dev`` on the sandbox, driven as a person would drive it.

One test with its steps in a row, because starting Dagster takes longer than most of them. Chromium is Debian's
(``apt-get install chromium``); ``--screenshots FOLDER`` keeps a picture of each step.
"""

from __future__ import annotations

import os
import shutil
import socket
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
from playwright.sync_api import Page, expect, sync_playwright

from toast_assets.cli.dagster_dev import DagsterDev
from toast_assets.cli.environment import sandbox_environment
from toast_assets.cli.home import dagster_home
from toast_assets.cli.runs import last_closed_week
from toast_assets.sandbox import Sandbox, SandboxConfig
from toast_assets.sandbox.config import invent_restaurants

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium")
ARGUMENTS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
LOCATION = "/locations/toast_assets.definitions"
SENSOR = "weekly_toast_orders_sensor"
WEEKS = 10
PATIENCE_MS = 30_000
RUN_SECONDS = 180


class Ui:
    """Dagster's UI in a browser, and its GraphQL for what only time brings about."""

    def __init__(self, url: str, page: Page, pictures: Path | None) -> None:
        self.url = url
        self.page = page
        self._pictures = pictures

    def open(self, path: str) -> None:
        self.page.goto(self.url + path, wait_until="load")

    def picture(self, name: str) -> None:
        if self._pictures is not None:
            self.page.screenshot(path=self._pictures / f"{name}.png")

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        reply = httpx.post(f"{self.url}/graphql", json={"query": query, "variables": variables}, trust_env=False)
        answer: dict[str, Any] = reply.json()
        assert "errors" not in answer, answer
        data: dict[str, Any] = answer["data"]
        return data

    def runs(self) -> list[dict[str, Any]]:
        """Status and tags of all runs, the newest first."""
        found = self.ask("{ runsOrError { ... on Runs { results { status runId tags { key value } } } } }")
        results: list[dict[str, Any]] = found["runsOrError"]["results"]
        return [run | {"tags": {tag["key"]: tag["value"] for tag in run["tags"]}} for run in results]

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
        pytest.skip("no Chromium is installed: apt-get install chromium, or set CHROMIUM to one")
    monkeypatch.chdir(tmp_path)
    pictures = request.config.getoption("--screenshots")
    with ExitStack() as stack:
        config = SandboxConfig(rate_limits=False, restaurants=invent_restaurants(2, orders_per_week=40))
        sandbox = stack.enter_context(Sandbox(config))
        environment = sandbox_environment(sandbox, dagster_home()) | {
            "TOAST_START_DATE": week_before(WEEKS - 1),
            "TOAST_REQUESTS_PER_SECOND": "1000",
            "TOAST_HISTORICAL_SPACING_SECONDS": "0",
        }
        _switch_off(environment)
        dagster = stack.enter_context(DagsterDev(_free_port(), environment))
        playwright = stack.enter_context(sync_playwright())
        browser = playwright.chromium.launch_persistent_context(
            tmp_path / "profile",
            executable_path=CHROMIUM,
            args=ARGUMENTS,
            locale="en-GB",
            timezone_id="UTC",
            viewport={"width": 1400, "height": 900},
        )
        stack.callback(browser.close)
        browser.set_default_timeout(PATIENCE_MS)
        expect.set_options(timeout=PATIENCE_MS)
        dagster.wait_until_ready()
        page = browser.pages[0] if browser.pages else browser.new_page()
        yield Ui(dagster.url, page, Path(pictures).resolve() if pictures else None)


def test_a_person_materializes_backfills_looks_and_lets_the_sensor_run(ui: Ui) -> None:
    see_the_graph(ui)
    materialize_one_week(ui)
    backfill_eight_weeks(ui)
    look_at_an_asset(ui)
    switch_the_sensor_on(ui)


def see_the_graph(ui: Ui) -> None:
    ui.open("/asset-groups")
    for group in ("toast_to_amperity", "toast_tables"):
        expect(ui.page.get_by_text(group, exact=True).locator("visible=true").first).to_be_visible()
    ui.picture("graph")


def materialize_one_week(ui: Ui) -> None:
    week = week_before(1)
    ui.launch(week, "Launch 1 run")
    ui.wait_for("a run", lambda: bool(ui.runs()))
    ui.wait_for("the run's end", lambda: ui.runs()[0]["status"] in ("SUCCESS", "FAILURE"))
    (run,) = ui.runs()
    assert run["tags"]["dagster/partition"] == week
    ui.open(f"/runs/{run['runId']}")
    expect(ui.page.get_by_text("Success", exact=True).first).to_be_visible()
    ui.picture("run")


def backfill_eight_weeks(ui: Ui) -> None:
    first, last = week_before(9), week_before(2)
    ui.launch(f"[{first}...{last}]", "Launch backfill")
    ui.wait_for("eight more runs", lambda: len(ui.runs()) == 9)
    ui.wait_for("their end", lambda: all(run["status"] in ("SUCCESS", "FAILURE") for run in ui.runs()))
    assert {run["status"] for run in ui.runs()} == {"SUCCESS"}
    backfilled = [run["tags"]["dagster/partition"] for run in ui.runs() if "dagster/backfill" in run["tags"]]
    assert sorted(backfilled) == [week_before(number) for number in range(9, 1, -1)]
    ui.open("/assets/amperity_delivery?view=partitions")
    expect(ui.page.get_by_text("Materialized", exact=False).first).to_be_visible()
    stats = ui.ask("{ assetNodes { assetKey { path } partitionStats { numMaterialized numFailed } } }")["assetNodes"]
    counts = {node["assetKey"]["path"][0]: node["partitionStats"] for node in stats}
    for asset in ("raw_toast_orders", "toast_orders_s3_export", "amperity_delivery", "orders"):
        assert counts[asset] == {"numMaterialized": 9, "numFailed": 0}
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
    for check in ("every_restaurant_complete", "order_guids_unique"):
        expect(page.get_by_text(check).first).to_be_visible()
    ui.picture("checks")


def switch_the_sensor_on(ui: Ui) -> None:
    page, closed = ui.page, week_before(0)
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
    expect(page.get_by_text("1 run requested").first).to_be_visible()
    ui.wait_for("its end", lambda: ui.runs()[0]["status"] in ("SUCCESS", "FAILURE"))
    assert ui.runs()[0]["status"] == "SUCCESS"
    ui.picture("sensor")


def week_before(number: int) -> str:
    """The key of the week so many weeks before the last closed one."""
    return str(date.fromisoformat(last_closed_week().key) - timedelta(days=7 * number))


def _switch_off(environment: Mapping[str, str]) -> None:
    """The sensor runs by default; here it has to wait until somebody switches it on."""
    command = [sys.executable, "-m", "dagster", "sensor", "stop", "-m", "toast_assets.definitions", SENSOR]
    subprocess.run(command, env=dict(environment), check=True, capture_output=True)  # noqa: S603 - fixed arguments


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
