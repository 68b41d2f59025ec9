"""docs/architecture.md says who uses whom: so do the imports."""

from __future__ import annotations

import ast

import pytest

from toast_assets_tests.support.pages import ROOT

PACKAGE = ROOT / "toast_assets"
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
FOLDERS = sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))
_ABOVE = {"defs", "cli", "doctor", "sandbox"}
_FORBIDDEN = {
    "orders": {"dagster", "toast", "amperity", "store", "pipeline", "privacy", *_ABOVE},
    "tables": {"dagster", "toast", "amperity", "store", "pipeline", "privacy", *_ABOVE},
    "http": {"dagster", "orders", "tables", "toast", "amperity", "store", "pipeline", "privacy", "settings", *_ABOVE},
    "toast": {"dagster", "amperity", "store", "pipeline", "privacy", *_ABOVE},
    "amperity": {"dagster", "toast", "store", "pipeline", "privacy", *_ABOVE},
    "store": {"dagster", "toast", "pipeline", "privacy", *_ABOVE},
    "pipeline": {"dagster", *_ABOVE},
    "privacy": {"dagster", "toast", *_ABOVE},
    "doctor": {"pipeline", "privacy", "defs", "cli", "sandbox"},
    "defs": {"cli", "doctor", "sandbox"},
    "sandbox": {"dagster", "toast", "amperity", "store", "pipeline", "privacy", "defs", "cli", "doctor"},
}


def used(folder: str) -> set[str]:
    """The folders of this package, and Dagster, that a folder's modules import anywhere."""
    modules: set[str] = set()
    for path in (PACKAGE / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                modules.add(node.module)
            elif isinstance(node, ast.Import):
                modules |= {alias.name for alias in node.names}
    names = {module.removeprefix("toast_assets.").partition(".")[0] for module in modules}
    return {"dagster" if name.startswith("dagster") else name for name in names}


@pytest.mark.parametrize("folder", _FORBIDDEN)
def test_a_folder_uses_only_what_lies_below_it(folder: str) -> None:
    assert used(folder) & _FORBIDDEN[folder] == set()


def test_every_folder_stands_in_the_diagram() -> None:
    diagram = PAGE.partition("```mermaid")[2].partition("```")[0]
    assert [folder for folder in FOLDERS if f'["{folder}/<br>' not in diagram] == []
