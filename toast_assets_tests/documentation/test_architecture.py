"""Imports only go down one list of layers, and the diagram of the architecture shows all folders."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import toast_assets
from toast_assets_tests.support.data.pages import ROOT

PACKAGE = Path(toast_assets.__file__).parent
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
FOLDERS = sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))

# A folder or file of the package imports only from itself and from what is above it in this list.
LAYERS = (
    *("errors", "codes", "markdown", "week", "scratch", "concurrency", "machine"),
    *("http", "setting_values", "settings"),
    "orders",
    "store",
    "toast",
    "tables",
    "index",
    "amperity",
    "variables",
    *("pull", "export", "delivery", "checks"),
    *("privacy", "lookup", "status"),
    *("doctor", "probe"),
    "defs",
    "definitions",
    "sandbox",
    "cli",
)
# What a folder may not import although it is above it in the list; of the sandbox, all but these is forbidden.
STRANGERS = {"toast": {"store"}, "amperity": {"toast"}, "delivery": {"toast", "pull"}, "defs": {"doctor"}}
SANDBOX_KNOWS = {"errors", "week", "sandbox"}
KNOW_DAGSTER = {"doctor", "defs", "definitions", "cli"}


def layer_of(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def modules() -> list[Path]:
    return [path for path in sorted(PACKAGE.rglob("*.py")) if path != PACKAGE / "__init__.py"]


def imported(path: Path) -> Iterator[str]:
    """The dotted names that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{each.name}" for each in node.names)
        elif isinstance(node, ast.Import):
            yield from (each.name for each in node.names)


def layers_used(path: Path) -> set[str]:
    names = (name.split(".") for name in imported(path))
    return {parts[1] for parts in names if parts[0] == "toast_assets" and len(parts) > 1}


def test_every_file_belongs_to_a_layer() -> None:
    assert sorted({layer_of(path) for path in modules()}) == sorted(LAYERS)


@pytest.mark.parametrize("layer", LAYERS)
def test_imports_only_go_down(layer: str) -> None:
    allowed = set(LAYERS[: LAYERS.index(layer) + 1]) - STRANGERS.get(layer, set())
    allowed = SANDBOX_KNOWS if layer == "sandbox" else allowed
    wrong = {path.name: layers_used(path) - allowed for path in modules() if layer_of(path) == layer}
    assert {name: layers for name, layers in wrong.items() if layers} == {}


def test_dagster_stays_above_the_domain() -> None:
    users = {
        layer_of(path)
        for path in modules()
        for name in imported(path)
        if name.partition("_")[0].split(".")[0] == "dagster"
    }
    assert users <= KNOW_DAGSTER


def test_nothing_private_of_dagster_is_imported() -> None:
    private = {
        name for path in modules() for name in imported(path) if name.startswith(("dagster._", "dagster_shared"))
    }
    assert private == set()


def test_every_folder_stands_in_the_diagram() -> None:
    diagram = PAGE.partition("```mermaid")[2].partition("```")[0]
    assert [folder for folder in FOLDERS if f'["{folder}/<br>' not in diagram] == []
