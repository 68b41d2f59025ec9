"""docs/doctor.md lists the lines that the doctor prints: each of them, and no other."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from toast_assets.doctor import checks, s3, services
from toast_assets.doctor.findings import Area
from toast_assets.sandbox import Restaurant, Sandbox
from toast_assets_tests.conftest import StartSandbox
from toast_assets_tests.support.data.pages import ROOT
from toast_assets_tests.support.services.clients import s3_client

PACKAGE = Path(checks.__file__).parent
AREAS = {
    name: area.name
    for module in (checks, s3, services)
    for name, area in vars(module).items()
    if isinstance(area, Area)
}
_ROW = re.compile(r"^\| (\w*) ?\| ([^|]+) \|", re.MULTILINE)
_MARKS = {"ok", "unknown", "warning", "failed"}
Line = tuple[str, str]


def listed() -> list[Line]:
    """Area and name of every line on the page; a part that differs from case to case is left off."""
    lines, area = [], ""
    table = (ROOT / "docs" / "doctor.md").read_text(encoding="utf-8").partition("| --- |")[2]
    for place, names in _ROW.findall(table):
        area = place or area
        lines += [(area, re.sub(r"(…|GUID)$", "", name)) for name in re.findall(r"`([^`]+)`", names)]
    return lines


def written() -> set[Line]:
    """Area and name of every line that the code names outright, also of those that only odd cases bring."""
    lines = set()
    for path in PACKAGE.glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _MARKS:
                name = node.args[0]
                area = AREAS.get(ast.unparse(node.func.value))
                if area and isinstance(name, ast.Constant):
                    lines.add((area, str(name.value)))
    return lines


def printed(sandbox: Sandbox, home: Path, monkeypatch: pytest.MonkeyPatch) -> set[Line]:
    """Area and name of every line of examinations that take every way through the settings."""
    usual = {**sandbox.environment(), "DAGSTER_HOME": str(home), "TOAST_RESTAURANT_GUID": "*"}
    pulled = usual | {"AMPERITY_DELIVERY": "s3_pull,notify"}
    client = s3_client(sandbox)
    monkeypatch.setattr(checks, "s3_client", lambda: client)
    environments = (
        (usual | {"ALERT_WEBHOOK_URL": f"{sandbox.toast_url}/a/s3cret"}, True),
        (usual | {"ALERT_WEBHOOK_URL": ""}, True),
        (pulled, False),
        (pulled | {"AMPERITY_DELIVERY": "stream,s3_pull", "AMPERITY_WORKFLOW_CONFIG_ID": "cg-weekly"}, False),
        ({"S3_SSE": "rot13"}, False),
    )
    return {
        (finding.area, finding.name)
        for environment, writes in environments
        for finding in checks.run_checks(environment, canary=writes, alert=writes)
    }


def matches(line: Line, pattern: Line) -> bool:
    """Whether a line is the listed one; a name that ends with a space or a hyphen stands for all that begin so."""
    (area, name), (its_area, its_name) = line, pattern
    return area == its_area and (name == its_name or (its_name[-1] in " -" and name.startswith(its_name)))


@pytest.fixture
def lines(start_sandbox: StartSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> set[Line]:
    place = Restaurant("6513270e-2b0a-4c57-a1de-0c5a4f8c1d01", "Harbor & Thistle, Pier 9", orders_per_week=1)
    sandbox = start_sandbox(restaurants=(place,))
    found = printed(sandbox, tmp_path, monkeypatch) | written()
    variables = {line for line in found if line[0] == "settings" and line[1].isupper()}
    assert variables >= {("settings", "S3_SSE"), ("settings", "TOAST_CLIENT_ID")}
    return found - variables


def test_the_page_lists_what_is_printed_and_nothing_else(lines: set[Line]) -> None:
    patterns = listed()
    assert len(patterns) == len(set(patterns))
    assert {line for line in lines if not any(matches(line, pattern) for pattern in patterns)} == set()
    assert [pattern for pattern in patterns if not any(matches(line, pattern) for line in lines)] == []
