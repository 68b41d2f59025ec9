"""Takes the pictures in ``docs/images`` from a running Dagster UI: ``python -m docs.make_screenshots [NAME …]``.

Some weeks of the sandbox are materialized, as ``toast-assets sandbox --ui`` does with one; then Chromium
(``apt-get install chromium``; CHROMIUM names another one) visits the pages. Takes two minutes.
"""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path

import httpx
from PIL import Image
from playwright.sync_api import Page

from toast_assets.cli.display import Display
from toast_assets.cli.environment import dagster_home, only, sandbox_config, sandbox_environment
from toast_assets.cli.runs import last_closed_weeks, materialize
from toast_assets.cli.serve import GRAPH
from toast_assets.sandbox import Sandbox
from toast_assets_tests.support.services.browser import CHROMIUM, HOW_TO_GET_IT, open_browser
from toast_assets_tests.support.services.toast_orders import edit, late_arrivals

IMAGES = Path(__file__).parent / "images"
LARGEST_BYTES = 250_000
WEEKS = 6
PORT = 3900
_START_SECONDS = 120
_COLORS = 160
_SETTLED_MS = 2_500


def main(names: list[str]) -> None:
    """Take the pictures that are named, else all."""
    if unknown := sorted(set(names) - PICTURES.keys()):
        raise SystemExit(f"There is no picture {unknown[0]}; there are {', '.join(PICTURES)}.")
    if CHROMIUM is None:
        raise SystemExit(f"There are no pictures, because {HOW_TO_GET_IT}.")
    before = Path.cwd()
    with tempfile.TemporaryDirectory(prefix="screenshots-") as folder:
        os.chdir(folder)
        try:
            with _running_ui() as (ui, sandbox), open_browser(Path(folder) / "profile") as page:
                for name in names or PICTURES:
                    url, height, prepare = PICTURES[name]
                    page.set_viewport_size({"width": 1440, "height": height})
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
        with only(environment):
            for week in last_closed_weeks(WEEKS):
                materialize(week, home, Display())
        _second_look(sandbox, environment, home)
        with _webserver(environment, home) as ui:
            yield ui, sandbox.toast_url


def _second_look(sandbox: Sandbox, environment: Mapping[str, str], home: Path) -> None:
    """Materialize the last week again, after tips came late and a device that was offline sent its orders."""
    (last,), guid = last_closed_weeks(1), sandbox.restaurant_guids[0]
    late_arrivals(sandbox.toast.orders[guid], last.start, last.end, 3)
    for order in sandbox.toast.orders[guid].between(last.start_ms, last.end_ms)[10:15]:
        edit(sandbox.toast.orders[guid], order.guid, at=last.end - timedelta(hours=1))
    with only(environment):
        materialize(last, home, Display())


@contextmanager
def _webserver(environment: Mapping[str, str], home: Path) -> Iterator[str]:
    """Dagster's UI alone: its daemon would run the sensor, and weeks would change while they are looked at."""
    command = [sys.executable, "-m", "dagster_webserver", "-m", "toast_assets.definitions", "--port", str(PORT)]
    with Path("webserver.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, cwd=home, stdout=log, stderr=log)  # noqa: S603 - fixed
    try:
        url = f"http://127.0.0.1:{PORT}"
        with httpx.Client(trust_env=False, timeout=5) as client:
            for _ in range(_START_SECONDS):
                with suppress(httpx.TransportError):
                    client.get(f"{url}/server_info").raise_for_status()
                    break
                time.sleep(1)
            else:
                raise SystemExit(f"Dagster's UI did not answer within {_START_SECONDS} s.")
        yield url
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()


def _nothing(page: Page) -> None:
    del page


def _whole_graph(page: Page) -> None:
    """Give the graph, which fills the width of the page, more room; draw it again."""
    page.get_by_text("Hide navigation").click()
    page.reload(wait_until="load")
    page.get_by_text(" partitions").first.wait_for()
    page.get_by_text("Loading").first.wait_for(state="hidden")


def _check_details(page: Page) -> None:
    page.get_by_text("guests_reachable").first.click()


def _metadata(page: Page) -> None:
    """Fold what is above the metadata."""
    for section in ("Columns", "Description"):
        page.get_by_text(section, exact=True).first.click()


def _picture(name: str) -> Callable[[Page], None]:
    """Open a picture of the metadata: Dagster shows Markdown of more than a thousand characters on a click."""

    def show(page: Page) -> None:
        page.locator("tr", has_text=name).get_by_text("[Show Markdown]").click()

    return show


# Folded sections stay folded from one page to the next: the browser remembers them.
PICTURES: dict[str, tuple[str, int, Callable[[Page], None]]] = {
    "asset-graph": ("{ui}" + GRAPH, 900, _whole_graph),
    "asset-checks": ("{ui}/assets/raw_toast_orders?view=checks", 900, _check_details),
    "asset-page": ("{ui}/assets/toast/orders", 1300, _metadata),
    "sales-by-hour": ("{ui}/assets/toast/orders", 700, _picture("sales_by_hour")),
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
