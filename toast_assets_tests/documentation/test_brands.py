"""The page on several brands is in step with the component, and Dagster's ``dg`` accepts what it says."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]

from toast_assets import ToastToAmperity
from toast_assets_tests.support.data.pages import ROOT

PAGE = (ROOT / "docs" / "brands.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_every_attribute_is_described_as_in_the_component() -> None:
    table = PAGE.partition("| attribute | meaning |")[2].partition("\n\n")[0]
    described = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", table, re.MULTILINE))
    properties = ToastToAmperity.model().model_json_schema()["properties"]
    assert described == {name: attribute["description"] for name, attribute in properties.items()}


def test_the_example_sets_every_attribute() -> None:
    minimal, full = map(yaml.safe_load, blocks("yaml"))
    assert minimal["attributes"] == {"name": "brand_a", "variables": "BRAND_A_"}
    assert full["attributes"].keys() == ToastToAmperity.model_fields.keys()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project of the page, under a name that only this test has, with both of its examples as brands."""
    module = f"brands_of_{tmp_path.name}"
    defs = tmp_path / module / "defs"
    defs.mkdir(parents=True)
    (toml,), (python,) = blocks("toml"), blocks("python")
    (tmp_path / "pyproject.toml").write_text(toml.replace("my_brands", module))
    (tmp_path / module / "definitions.py").write_text(python)
    for package in (tmp_path / module, defs):
        (package / "__init__.py").touch()
    minimal, full = blocks("yaml")
    for folder, text in {
        "brand_a": full,
        "brand_b": minimal.replace("brand_a", "brand_b").replace("BRAND_A", "BRAND_B"),
    }.items():
        (defs / folder).mkdir()
        (defs / folder / "defs.yaml").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_the_project_of_the_page_loads(project: Path) -> None:
    module = next(path.parent.name for path in project.glob("*/definitions.py"))
    code = f"import {module}.definitions as d; print(*sorted(s.name for s in d.defs.get_repository_def().sensor_defs))"
    done = subprocess.run([sys.executable, "-c", code], cwd=project, capture_output=True, text=True, check=True)  # noqa: S603
    assert done.stdout.split() == [
        "brand_a_weekly_toast_orders_sensor",
        "brand_b_alert_sensor",
        "brand_b_weekly_toast_orders_sensor",
    ]


@pytest.mark.skipif(find_spec("dagster_dg_cli") is None, reason="dg is not installed: pip install dagster-dg-cli")
def test_dg_lists_the_component_and_accepts_the_files(project: Path) -> None:
    def run(*words: str) -> str:
        code = "import sys; from dagster_dg_cli.cli import main; sys.argv[0] = 'dg'; main()"
        command = [sys.executable, "-c", code, *words]
        done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)  # noqa: S603
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert "toast_assets.ToastToAmperity" in run("list", "components", "--json")
    assert "validated successfully" in run("check", "yaml")
