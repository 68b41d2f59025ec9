"""Takes the pictures in ``docs/images`` from a running Dagster UI: ``python docs/make_screenshots.py [NAME …]``.

Some weeks of the sandbox are materialized, as ``toast-assets sandbox --ui`` does with one; then Chromium
(``apt-get install chromium``; CHROMIUM names another one) visits the pages. Takes two minutes.
"""

from __future__ import annotations

import io
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import httpx
from PIL import Image
from playwright.sync_api import Page, sync_playwright

from toast_assets.cli.dagster_dev import DagsterDev
from toast_assets.cli.display import Display
from toast_assets.cli.environment import only, sandbox_config, sandbox_environment
from toast_assets.cli.home import dagster_home, in_process_instance
from toast_assets.cli.runs import last_closed_week, materialize
from toast_assets.sandbox import Sandbox
from toast_assets.week import Week, WeekCalendar

IMAGES = Path(__file__).parent / "images"
LARGEST_BYTES = 250_000
WEEKS = 6
PORT = 3900
_ARGUMENTS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
_SENSOR = """query ($selector: SensorSelector!) {
  sensorOrError(sensorSelector: $selector) { ... on Sensor { sensorState { id } } } }"""
_STOP = "mutation ($id: String!) { stopSensor(id: $id) { __typename } }"
_RUNNING = "{ runsOrError(filter: {statuses: [QUEUED, STARTING, STARTED]}) { ... on Runs { results { id } } } }"
_COLORS = 160
_SETTLED_MS = 2_500


def main(names: list[str]) -> None:
    """Take the pictures that are named, else all."""
    if unknown := sorted(set(names) - PICTURES.keys()):
        raise SystemExit(f"There is no picture {unknown[0]}; there are {', '.join(PICTURES)}.")
    before = Path.cwd()
    with tempfile.TemporaryDirectory(prefix="screenshots-") as folder:
        os.chdir(folder)
        try:
            with _running_ui() as (ui, sandbox), _browser(Path(folder) / "profile") as page:
                for name in names or PICTURES:
                    url, height, prepare = PICTURES[name]
                    page.set_viewport_size({"width": 1400, "height": height})
                    page.goto(url.format(ui=ui, sandbox=sandbox), wait_until="load")
                    page.wait_for_timeout(_SETTLED_MS)
                    prepare(page)
                    page.wait_for_timeout(_SETTLED_MS)
                    _save(name, page.screenshot())
        finally:
            os.chdir(before)


@contextmanager
def _running_ui() -> Iterator[tuple[str, str]]:
    """The addresses of Dagster's UI, with some weeks to see, and of the sandbox's status page."""
    home = dagster_home()
    with Sandbox(sandbox_config()) as sandbox:
        environment = sandbox_environment(sandbox, home)
        with only(environment), in_process_instance(home) as instance:
            weeks = _last_weeks()
            for week in weeks:
                materialize(week, instance, Display())
            # What a second look finds: tips that came late, and orders of a device that was offline.
            last, guid = weeks[-1], sandbox.restaurant_guids[0]
            sandbox.toast_books.late_arrivals(guid, last.start, last.end, 3)
            for order in sandbox.toast_books.orders(guid, last.start, last.end)[10:15]:
                sandbox.toast_books.edit_order(guid, order.guid, at=last.end - timedelta(hours=1))
            materialize(last, instance, Display())
        with DagsterDev(PORT, environment) as ui:
            ui.wait_until_ready()
            _quiet(ui.url)
            yield ui.url, sandbox.toast_url


def _last_weeks() -> list[Week]:
    """The last closed weeks, oldest first."""
    last, calendar = last_closed_week(), WeekCalendar()
    days = (date.fromisoformat(last.key) - timedelta(days=7 * back) for back in reversed(range(WEEKS)))
    return [calendar.week(str(day)) for day in days]


def _quiet(ui: str) -> None:
    """Stop the sensor, which would ask for more weeks, and wait for the runs that it has asked for."""
    with httpx.Client(base_url=ui, trust_env=False, timeout=30) as client:

        def ask(query: str, **variables: object) -> dict[str, Any]:
            answer = client.post("/graphql", json={"query": query, "variables": variables}).raise_for_status().json()
            if "errors" in answer:
                raise SystemExit(f"Dagster: {answer['errors']}")
            found: dict[str, Any] = answer["data"]
            return found

        selector = {
            "repositoryName": "__repository__",
            "repositoryLocationName": "toast_assets.definitions",
            "sensorName": "weekly_toast_orders_sensor",
        }
        sensor = ask(_SENSOR, selector=selector)["sensorOrError"]
        ask(_STOP, id=sensor["sensorState"]["id"])
        while ask(_RUNNING)["runsOrError"]["results"]:
            time.sleep(2)


@contextmanager
def _browser(profile: Path) -> Iterator[Page]:
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            profile,
            executable_path=os.environ.get("CHROMIUM", "/usr/bin/chromium"),
            args=_ARGUMENTS,
            locale="en-GB",
            timezone_id="UTC",
        )
        try:
            yield context.pages[0] if context.pages else context.new_page()
        finally:
            context.close()


def _nothing(page: Page) -> None:
    del page


def _fit(page: Page) -> None:
    """Draw the whole graph into the window."""
    page.keyboard.press("Alt+0")


def _check_details(page: Page) -> None:
    page.get_by_text("guests_reachable").first.click()


def _metadata(page: Page) -> None:
    """Fold what stands above the metadata."""
    page.get_by_text("Hide navigation").click()
    for section in ("Columns", "Description"):
        page.get_by_text(section, exact=True).first.click()


def _plots(page: Page) -> None:
    page.get_by_text("Plots", exact=True).first.click()


_GROUPS = ",".join(
    f"__repository__@toast_assets.definitions:{group}" for group in ("toast_to_amperity", "toast_tables")
)
# Folded sections stay folded from one page to the next: the browser remembers them.
PICTURES: dict[str, tuple[str, int, Callable[[Page], None]]] = {
    "asset-graph": ("{ui}/asset-groups?expanded=" + _GROUPS, 640, _fit),
    "asset-checks": ("{ui}/assets/raw_toast_orders?view=checks", 900, _check_details),
    "asset-page": ("{ui}/assets/orders", 1700, _metadata),
    "asset-plots": ("{ui}/assets/orders", 1100, _plots),
    "sandbox": ("{sandbox}/", 900, _nothing),
}


def _save(name: str, png: bytes) -> None:
    """Store a picture, with as few colours as a page of text and tables needs.

    Raises:
        SystemExit: it is too large for a repository.
    """
    path = IMAGES / f"{name}.png"
    image = Image.open(io.BytesIO(png)).convert("RGB").quantize(_COLORS, dither=Image.Dither.NONE)
    image.save(path, optimize=True)
    size = path.stat().st_size
    sys.stdout.write(f"{path.relative_to(IMAGES.parent.parent)}  {size:,} bytes\n")
    if size > LARGEST_BYTES:
        raise SystemExit(f"{path.name} has {size:,} bytes, more than {LARGEST_BYTES:,}.")


if __name__ == "__main__":
    main(sys.argv[1:])
