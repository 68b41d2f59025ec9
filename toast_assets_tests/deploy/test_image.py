"""The image's build file: linted, and as small and unprivileged as it says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]

from toast_assets_tests.support.data import dockerfile
from toast_assets_tests.support.services.compose import DEPLOY

FILE = DEPLOY / "Dockerfile"
ROOT = DEPLOY.parent
STAGES = dockerfile.parse(FILE)
FINAL = ("runtime", "sandbox")


def lint(path: Path) -> subprocess.CompletedProcess[str]:
    hadolint = Path(sys.executable).with_name("hadolint")
    command = [str(hadolint), "--no-color", "--failure-threshold", "style", str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603


def test_hadolint_finds_nothing() -> None:
    done = lint(FILE)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_hadolint_would_find_something(tmp_path: Path) -> None:
    spoilt = tmp_path / "Dockerfile"
    spoilt.write_text(FILE.read_text() + "\nUSER root\nRUN cd /opt && sudo true\n")
    found = set(re.findall(r"DL\d+", lint(spoilt).stdout))
    assert found >= {"DL3002", "DL3003", "DL3004"}


@pytest.mark.parametrize("name", FINAL)
def test_what_is_run_has_an_ordinary_user(name: str) -> None:
    assert [each.rest for each in STAGES[name].all("USER")] == ["10001"]
    assert "--uid 10001" in " ".join(each.rest for each in STAGES["base"].all("RUN"))
    assert STAGES[name].instructions[-1].keyword == "CMD"


@pytest.mark.parametrize("name", FINAL)
def test_neither_sources_nor_build_tools_reach_the_image(name: str) -> None:
    assert STAGES[name].base == "base"
    copied = STAGES[name].all("COPY")
    assert all(each.flags["from"].startswith("build") for each in copied)
    assert [each.arguments for each in copied] == [["/opt/venv", "/opt/venv"]]
    assert "slim" in STAGES["base"].base
    assert STAGES["base"].base == STAGES["build"].base


def test_everything_is_installed_by_hash_and_checked() -> None:
    runs = [each.rest for name in ("build", "build-sandbox") for each in STAGES[name].all("RUN")]
    installs = [part for run in runs for part in run.split("&&") if "pip install" in part]
    assert len(installs) == 4
    assert all("--no-deps" in each and ("--require-hashes" in each or "--no-index" in each) for each in installs)
    assert sum("pip check" in run for run in runs) == 2


@pytest.mark.parametrize("name", FINAL)
def test_what_is_written_to_is_a_volume(name: str) -> None:
    """A read-only file system needs them, and Fargate gives an undeclared one to root alone."""
    (declared,) = STAGES[STAGES[name].base].all("VOLUME")
    home = dockerfile.environment(STAGES, name, {"PATH": ""})["HOME"]
    assert home in declared.words
    instance = yaml.safe_load((DEPLOY / "dagster.yaml").read_text())
    assert instance["local_artifact_storage"]["config"]["base_dir"] in declared.words


@pytest.mark.parametrize("name", FINAL)
def test_a_backfill_delays_no_alert_of_dagsters_own_sensors(name: str) -> None:
    """By default they look at five runs in a tick."""
    limit = dockerfile.environment(STAGES, name, {"PATH": ""})["DAGSTER_RUN_STATUS_SENSOR_PROCESS_LIMIT"]
    assert int(limit) >= 100


def test_trying_the_image_says_what_it_needs(tmp_path: Path) -> None:
    command = [sys.executable, str(DEPLOY / "try_image.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={"PATH": str(tmp_path)})  # noqa: S603
    assert done.returncode == 2
    assert "apt-get install buildah mmdebstrap bubblewrap" in done.stderr


def test_what_is_copied_exists_and_is_sent_to_the_builder() -> None:
    sent = {each.removeprefix("!") for each in (ROOT / ".dockerignore").read_text().split() if each.startswith("!")}
    for stage in STAGES.values():
        for each in stage.all("COPY"):
            if "from" not in each.flags:
                for source in each.arguments[:-1]:
                    assert (ROOT / source).exists(), source
                    assert source in sent


def test_links_in_the_package_lead_to_what_is_copied_too() -> None:
    copied = {source for each in STAGES["build"].all("COPY") for source in each.arguments[:-1]}
    links = [path for path in (ROOT / "toast_assets").rglob("*") if path.is_symlink()]
    assert {f"{path.resolve().relative_to(ROOT)}" for path in links} <= copied
