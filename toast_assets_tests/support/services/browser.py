"""Debian's Chromium, driven by Playwright: for the test of the UI and for the pictures in the documentation."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium")
HOW_TO_GET_IT = "no Chromium is installed: apt-get install chromium, or set CHROMIUM to one"
_ARGUMENTS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]


@contextmanager
def open_browser(profile: Path) -> Iterator[Page]:
    """A page of a browser with an empty ``profile`` folder of its own, in English, with times in UTC."""
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            profile,
            executable_path=CHROMIUM,
            args=_ARGUMENTS,
            locale="en-GB",
            timezone_id="UTC",
            viewport={"width": 1400, "height": 900},
        )
        try:
            yield context.pages[0] if context.pages else context.new_page()
        finally:
            context.close()
