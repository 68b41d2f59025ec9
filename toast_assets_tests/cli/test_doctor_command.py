"""``toast-assets doctor``: lines for people, JSON for machines, and an exit code by the worst line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from toast_assets.cli import main
from toast_assets.sandbox import Sandbox


@pytest.fixture(autouse=True)
def environment(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").write_bytes((Path(__file__).parents[2] / "dagster.yaml").read_bytes())
    for name, value in (sandbox.environment() | {"S3_SSE": "AES256", "DAGSTER_HOME": str(tmp_path)}).items():
        monkeypatch.setenv(name, value)


def test_every_line_has_its_mark_and_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOAST_CLIENT_SECRET", "not-this-one")
    reply = CliRunner().invoke(main, ["doctor"])
    assert reply.exit_code == 2
    assert "✗ login: Toast refused the login" in reply.output
    assert " [TOAST-LOGIN]\n    → Check TOAST_CLIENT_ID, TOAST_CLIENT_SECRET and TOAST_API_URL." in reply.output
    assert "✓ multipart" in reply.output
    assert "? stream exists" in reply.output
    assert "not-this-one" not in reply.output


def test_machines_read_json() -> None:
    reply = CliRunner().invoke(main, ["doctor", "--json"])
    assert reply.exit_code == 0
    content = json.loads(reply.output)
    assert content["exit_code"] == 0
    assert {"area": "S3", "name": "delete", "state": "ok", "detail": "", "hint": "", "code": ""} in content["findings"]


def test_what_an_error_is_behind_has_its_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S3_BUCKET_NAME", "no-such-bucket")
    monkeypatch.setenv("AMPERITY_TENANT_ID", "")
    findings = json.loads(CliRunner().invoke(main, ["doctor", "--json"]).output)["findings"]
    codes = {(one["area"], one["code"]) for one in findings if one["state"] == "failed"}
    assert codes == {("S3", "STORE-BUCKET"), ("settings", "SETTINGS")}


def test_a_warning_ends_with_a_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DAGSTER_HOME")
    assert CliRunner().invoke(main, ["doctor"]).exit_code == 1
