"""Links, images and files that README and docs name exist."""

from __future__ import annotations

from pathlib import Path

import pytest

from toast_assets_tests.support.data.pages import ROOT, anchors, links, named_files, pages

PAGES = {str(page.relative_to(ROOT)): page for page in pages()}


@pytest.mark.parametrize("name", PAGES)
def test_links_and_images_lead_somewhere(name: str) -> None:
    page = PAGES[name]
    broken = []
    for link in links(page):
        path, _, fragment = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (fragment and fragment not in anchors(target)):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("name", PAGES)
def test_files_that_are_named_exist(name: str) -> None:
    page = PAGES[name]
    places = (ROOT, ROOT / "toast_assets", page.parent)
    tests = {path.name for path in (ROOT / "toast_assets_tests").rglob("test_*.py")}
    known = {path for path in named_files(page) if path in tests or any((place / path).exists() for place in places)}
    assert named_files(page) - known == set()


@pytest.mark.parametrize("name", [name for name in PAGES if name.startswith("docs/")])
def test_every_page_can_be_found_from_another(name: str) -> None:
    elsewhere = {(page.parent / link.partition("#")[0]).resolve() for page in PAGES.values() for link in links(page)}
    assert PAGES[name].resolve() in elsewhere


def test_a_link_to_nowhere_would_be_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A *day* `out`, again\n[one](#a-day-out-again) ![two](gone.png) [three](https://example.com)\n")
    assert links(page) == ["#a-day-out-again", "gone.png"]
    assert anchors(page) == {"a-day-out-again"}
