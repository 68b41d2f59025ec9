"""The workflows run what people run, with no more rights than they need; a release is what its tag says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from toast_assets_tests.support.data import dockerfile
from toast_assets_tests.support.services import compose
from toast_assets_tests.support.services.compose import DEPLOY

ROOT = DEPLOY.parent
FOLDER = ROOT / ".github" / "workflows"
CHANGELOG = (
    "# Changelog\n\n## Unreleased\n\n## 1.2.0 – 2026-01-05\n\n### Added\n- Tea.\n\n## 1.1.0\n\n## 1.0.0\n- All.\n"
)


def workflow(name: str) -> dict[str, Any]:
    # YAML 1.1 reads the key `on` as true.
    return {"on" if key is True else key: value for key, value in yaml.safe_load((FOLDER / name).read_text()).items()}


def steps(name: str, job: str) -> list[dict[str, Any]]:
    return list(workflow(name)["jobs"][job]["steps"])


def test_ci_runs_the_script_that_everybody_can_run() -> None:
    assert [step["run"] for step in steps("ci.yml", "test") if "run" in step] == [".ci/run"]
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111
    assert {"push", "pull_request", "workflow_call"} <= workflow("ci.yml")["on"].keys()


def test_nothing_is_published_before_it_is_tested_built_and_checked() -> None:
    jobs = workflow("release.yml")["jobs"]
    assert jobs["test"] == {"uses": "./.github/workflows/ci.yml"}
    assert set(jobs["publish"]["needs"]) == {"test", "build"}
    runs = [step.get("run", "") for step in steps("release.yml", "build")]
    check = next(index for index, run in enumerate(runs) if "deploy/check_release.py" in run)
    assert check < next(index for index, run in enumerate(runs) if "uv build" in run)


def test_only_publishing_may_write_and_no_secret_is_kept() -> None:
    for name in ("ci.yml", "release.yml"):
        assert workflow(name)["permissions"] == {"contents": "read"}
        writing = {job for job, its in workflow(name)["jobs"].items() if "write" in its.get("permissions", {}).values()}
        assert writing <= {"publish"}
        assert "secrets." not in (FOLDER / name).read_text()
        for job in workflow(name)["jobs"].values():
            for step in job.get("steps", ()):
                if step.get("uses", "").startswith("actions/checkout"):
                    assert step["with"] == {"persist-credentials": False}
    assert workflow("release.yml")["jobs"]["publish"]["permissions"]["id-token"] == "write"


def test_actions_are_pinned_by_commit_with_their_version_beside_it() -> None:
    used = [
        line.split("uses: ", 1)[1]
        for path in FOLDER.glob("*.yml")
        for line in path.read_text().splitlines()
        if "uses: " in line
    ]
    ours = [each for each in used if each.startswith("./")]
    assert ours == ["./.github/workflows/ci.yml"]
    pinned = re.compile(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")
    assert [each for each in used if each not in ours and not pinned.fullmatch(each)] == []


def test_images_are_pinned_by_digest() -> None:
    """Also what reads the build file (its syntax): it sees everything that is built."""
    containers = [
        job["container"]
        for path in FOLDER.glob("*.yml")
        for job in workflow(path.name)["jobs"].values()
        if "container" in job
    ]
    stages = dockerfile.parse(DEPLOY / "Dockerfile")
    bases = [stage.base for stage in stages.values() if stage.base not in stages]
    syntax = (DEPLOY / "Dockerfile").read_text().splitlines()[0].removeprefix("# syntax=")
    services = [service["image"] for service in compose.load({})["services"].values() if "build" not in service]
    pinned = re.compile(r"[\w./-]+:[\w.-]+@sha256:[0-9a-f]{64}")
    images = [*containers, *bases, syntax, *services]
    assert len(images) == 5
    assert [each for each in images if not pinned.fullmatch(each)] == []


def test_pins_are_renewed() -> None:
    updates = yaml.safe_load((ROOT / ".github" / "dependabot.yml").read_text())["updates"]
    assert {(each["package-ecosystem"], each["directory"]) for each in updates} == {
        ("github-actions", "/"),
        ("docker", "/deploy"),
        ("docker-compose", "/deploy"),
    }


def test_what_a_workflow_is_told_by_others_reaches_no_shell_unquoted() -> None:
    for path in FOLDER.glob("*.yml"):
        for run in re.findall(r"run: (.*)", path.read_text()):
            assert "${{" not in run


def check_release(tag: str, root: Path, *more: str) -> subprocess.CompletedProcess[str]:
    program = "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1]); import check_release;"
    program += " raise SystemExit(check_release.main(sys.argv[3:], Path(sys.argv[2])))"
    command = [sys.executable, "-c", program, str(DEPLOY), str(root), tag, *more]
    return subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text('[project]\nversion = "1.2.0"\n')
    (tmp_path / "CHANGELOG.md").write_text(CHANGELOG)
    return tmp_path


def test_a_tag_of_the_declared_version_with_a_changelog_is_released(checkout: Path) -> None:
    notes = checkout / "notes.md"
    done = check_release("v1.2.0", checkout, "--notes", str(notes))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert notes.read_text() == "### Added\n- Tea.\n"


@pytest.mark.parametrize(
    ("tag", "said"),
    [
        ("v1.0.0", "the tag is 1.0.0, pyproject.toml says 1.2.0"),
        ("v1.3.0", "CHANGELOG.md has no section '## 1.3.0'"),
        ("v1.1.0", "CHANGELOG.md has no section '## 1.1.0' with anything in it"),
        ("1.2.0", "no version tag"),
        ("v1.2", "no version tag"),
        ("v1.2.0; true", "no version tag"),
    ],
)
def test_any_other_tag_is_not_released(checkout: Path, tag: str, said: str) -> None:
    notes = checkout / "notes.md"
    done = check_release(tag, checkout, "--notes", str(notes))
    assert (done.returncode, said in done.stdout, notes.exists()) == (1, True, False)
