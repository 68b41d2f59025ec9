"""Dagster's UI in a real browser, driven as a person would drive it: ``dagster dev`` on the definitions of a module.

Chromium is Debian's (``apt-get install chromium``); ``--screenshots FOLDER`` keeps a picture of each step.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, ViewportSize, expect

from toast_assets.cli.runs import last_closed_weeks
from toast_assets.cli.serve import dagster_dev
from toast_assets_tests.support.services.browser import CHROMIUM, HOW_TO_GET_IT, open_browser
from toast_assets_tests.support.services.ports import free_port

NEEDS_CHROMIUM = pytest.mark.skipif(CHROMIUM is None, reason=HOW_TO_GET_IT)
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

    def __init__(self, url: str, module: str, page: Page, weeks: list[str], pictures: Path | None) -> None:
        self.url = url
        self.module = module
        self.location = f"/locations/{module}"
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
        """Status, job and tags of all runs, the newest first."""
        found = self.ask("{ runsOrError { ... on Runs { results { status runId jobName tags { key value } } } } }")
        results: list[dict[str, Any]] = found["runsOrError"]["results"]
        return [run | {"tags": {tag["key"]: tag["value"] for tag in run["tags"]}} for run in results]

    def see(self, path: str, *texts: str) -> None:
        """Open a page, wait for its texts, and see that nothing of it is cut off."""
        self.open(path)
        for text in texts:
            expect(self.page.get_by_text(text, exact=True).first).to_be_visible()
        assert self.cut_off() == [], path

    def cut_off(self) -> list[str]:
        """What of the page one cannot see, however one scrolls."""
        found: list[str] = self.page.evaluate(CUT_OFF)
        return found

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
            "repositoryLocationName": self.module,
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

    def last_tick(self, sensor_name: str) -> dict[str, Any]:
        """The last tick of a sensor: its status and what it said."""
        query = """query ($sensor: SensorSelector!) { sensorOrError(sensorSelector: $sensor) { ... on Sensor {
            sensorState { ticks(limit: 1) { status logEvents { events { message } } } } } } }"""
        sensor = {
            "repositoryLocationName": self.module,
            "repositoryName": "__repository__",
            "sensorName": sensor_name,
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

    def launch(self, partitions: str, button: str, job: str = "weekly_toast_orders") -> None:
        """Materialize a weekly job for some partitions, through its dialog."""
        self.open(f"{self.location}/jobs/{job}")
        self.page.get_by_role("button", name="Materialize all").first.click()
        expect(self.page.get_by_text("Partition selection")).to_be_visible()
        box = self.page.locator("input[placeholder*='artition'], input[type='text']").last
        box.fill(partitions)
        box.press("Enter")
        self.picture("dialog")
        self.page.get_by_role("button", name=button).click()


@contextmanager
def driven(
    module: str, environment: Mapping[str, str], weeks: list[str], folder: Path, pictures: str | None
) -> Iterator[Ui]:
    """The UI of the definitions of a ``module`` in a browser; ``folder`` is for its log and profile."""
    port = free_port()
    with (
        dagster_dev(port, environment, folder / "dagster-dev.log", module=module),
        open_browser(folder / "profile") as page,
    ):
        page.set_viewport_size(SCREEN)
        page.set_default_timeout(PATIENCE_MS)
        expect.set_options(timeout=PATIENCE_MS)
        yield Ui(f"http://127.0.0.1:{port}", module, page, weeks, Path(pictures).resolve() if pictures else None)


def closed_weeks(count: int) -> list[str]:
    """The keys of the last ``count`` closed weeks, the newest first."""
    last = date.fromisoformat(last_closed_weeks(1)[0].key)
    return [str(last - timedelta(days=7 * number)) for number in range(count)]
