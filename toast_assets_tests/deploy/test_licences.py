"""docs/licences.md lists the packages that are locked for the image, with the licences that they state."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from toast_assets_tests.support.services.compose import DEPLOY


@pytest.fixture
def licences() -> ModuleType:
    spec = importlib.util.spec_from_file_location("licences", DEPLOY / "licences.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_in_step(licences: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """By names and versions for all packages, by licences for those that are installed here: all but a few."""
    assert licences.main(["--check"]) == 0, capsys.readouterr().out
    here = [name for name, version in licences.locked().items() if licences.licence(name, version, sys.path)]
    assert len(here) > 0.9 * len(licences.written())


def test_every_package_states_its_licence_and_reciprocal_ones_are_named(licences: Any) -> None:
    stated = {name: licence for name, (_, licence) in licences.written().items()}
    assert [name for name, licence in stated.items() if licence == "not stated" or "opyright" in licence] == []
    reciprocal = {name for name, licence in stated.items() if licences.RECIPROCAL.search(licence)}
    assert f"Reciprocal: {', '.join(sorted(reciprocal))}." in licences.PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("| msgspec | ", "| msgspeck | ", "msgspec is locked and not listed\nmsgspeck is listed and not locked"),
        ("| aiohttp | 3", "| aiohttp | 2", "aiohttp is listed as 2"),
        ("| alembic | 1.20.1 | MIT |", "| alembic | 1.20.1 | Beerware |", "alembic is listed as Beerware"),
        ("# Licences\n", "# Licenses\n", "the page is not as it would be written"),
    ],
)
def test_a_page_out_of_step_is_found(
    licences: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], before: str, after: str, said: str
) -> None:
    text = licences.PAGE.read_text(encoding="utf-8")
    assert before in text
    licences.PAGE = tmp_path / "licences.md"
    licences.PAGE.write_text(text.replace(before, after), encoding="utf-8")
    assert licences.main(["--check"]) == 1
    assert said in capsys.readouterr().out
