"""What ``make`` offers, and what each of its targets installs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from toast_assets_tests.support.services.compose import DEPLOY

ROOT = DEPLOY.parent

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="no make is installed: apt-get install make")


def make(*arguments: str) -> str:
    return subprocess.run(  # noqa: S603
        ["make", *arguments],  # noqa: S607
        cwd=ROOT,
        # `make test` runs this, and hands its own options on.
        env={name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_make_alone_lists_every_target_with_a_line() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    listed = re.findall(r"^  make ([a-z]+) +\S.*$", make(), re.MULTILINE)
    assert sorted(listed) == sorted(targets)


@pytest.mark.parametrize("target", ["demo", "ui"])
def test_a_demo_installs_what_it_needs_and_no_tools(target: str, tmp_path: Path) -> None:
    steps = make("--dry-run", target, f"VENV={tmp_path}")
    assert "deploy/sandbox.lock" in steps
    assert "requirements.lock" not in steps


def test_the_larger_set_builds_on_the_smaller_one_and_neither_is_installed_twice(tmp_path: Path) -> None:
    assert re.findall(r"install.sh (\S+)", make("--dry-run", "lint", f"VENV={tmp_path}")) == [
        "deploy/sandbox.lock",
        "requirements.lock",
    ]
    for stamp in (".demo", ".all"):
        (tmp_path / stamp).touch()
    assert "install.sh" not in make("--dry-run", "demo", "lint", f"VENV={tmp_path}")


def test_a_lock_that_changed_is_installed(tmp_path: Path) -> None:
    for stamp in (".demo", ".all"):
        (tmp_path / stamp).touch()
    changed = make("--dry-run", "lint", f"VENV={tmp_path}", "--what-if=requirements.lock")
    assert re.findall(r"install.sh (\S+)", changed) == ["requirements.lock"]
    changed = make("--dry-run", "demo", f"VENV={tmp_path}", "--what-if=deploy/sandbox.lock")
    assert re.findall(r"install.sh (\S+)", changed) == ["deploy/sandbox.lock"]


def test_ports_of_the_ui_can_be_chosen() -> None:
    steps = make("--dry-run", "ui", "UI_PORT=3100", "SANDBOX_PORT=9400")
    assert "--ui-port 3100 --port 9400" in steps
