"""Every command of README and docs: the program, sub-command, options and files that it names exist."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import click
import pytest
import yaml  # type: ignore[import-untyped]
from dagster._cli import create_dagster_cli
from dagster._daemon.cli import create_dagster_daemon_cli
from dagster_webserver.cli import create_dagster_webserver_cli

from toast_assets.cli import main
from toast_assets_tests.support.data import dockerfile
from toast_assets_tests.support.data.pages import ROOT, Command, commands, pages

_DEPLOY = ROOT / "deploy"
# dg imports typer, which names what click is about to drop.
pytestmark = pytest.mark.filterwarnings("ignore:'click:DeprecationWarning")
_VENV = ".venv/bin/"
_HAS_DG = find_spec("dagster_dg_cli") is not None
COMMANDS = [command for page in pages() for command in commands(page)]
# Of others, and not installed for the tests: what of them is this project's is checked, their own options are not.
_FOREIGN = {"aws", "helm", "kubectl", "openssl"}
_OF_THE_SHELL = {"cp", "export", "head", "mkdir", "zcat"}
# Files that the reader makes.
_OF_THE_READER = {
    "request.txt",
    "guest.json",
    "report.json",
    "values.schema.json",
    *(_DEPLOY / ".gitignore").read_text().split(),
}


@lru_cache
def click_programs() -> dict[str, click.Command]:
    """The programs whose options can be asked for without starting them."""
    return {
        "toast-assets": main,
        "dagster": create_dagster_cli(),  # type: ignore[no-untyped-call]
        "dagster-daemon": create_dagster_daemon_cli(),
        "dagster-webserver": create_dagster_webserver_cli(),  # type: ignore[no-untyped-call]
        **({"dg": importlib.import_module("dagster_dg_cli.cli").create_dg_cli()} if _HAS_DG else {}),
    }


@lru_cache
def help_of_module(module: str) -> str:
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-m", module, "--help"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def check(words: Sequence[str]) -> None:
    """Raises AssertionError or click.UsageError where the command cannot be what it says."""
    program, rest = words[0].removeprefix(_VENV), list(words[1:])
    special: dict[str, Callable[[list[str]], None]] = {
        "make": check_make,
        "python": check_python,
        "docker": check_docker,
        "kubectl": check_kubectl,
        "helm": check_helm,
        "with-secrets": check,
    }
    if program in click_programs():
        parse(click_programs()[program], program, rest)
    elif program in special:
        special[program](rest)
    else:
        assert program in _FOREIGN | _OF_THE_SHELL, f"{program} is neither this project's nor known here"
    check_files(words)


def parse(command: click.Command, name: str, arguments: list[str], parent: click.Context | None = None) -> None:
    """Parses as the program would, down to the last sub-command, and runs nothing."""
    context = command.make_context(name, list(arguments), parent=parent)
    if isinstance(command, click.Group) and context._protected_args + context.args:
        rest = context._protected_args + context.args
        found_name, found, left = command.resolve_command(context, rest)
        assert found is not None
        parse(found, str(found_name), left, context)


def check_make(targets: list[str]) -> None:
    known = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert targets
    assert set(targets) <= known


def check_python(rest: list[str]) -> None:
    assert rest[0] == "-m"
    module, arguments = rest[1], rest[2:]
    options = [word.partition("=")[0] for word in arguments if word.startswith("-")]
    for option in options:
        assert re.search(rf"(?<![\w-]){option}(?![\w-])", help_of_module(module)), f"{module} has no {option}"
    if not options:
        parts = ROOT.joinpath(*module.split("."))
        assert parts.with_suffix(".py").is_file() or (parts / "__main__.py").is_file(), f"no module {module}"


def check_docker(rest: list[str]) -> None:
    values = {word: rest[index + 1] for index, word in enumerate(rest[:-1]) if word.startswith("--")}
    if rest[0] == "compose":
        composition = yaml.safe_load((ROOT / values["--file"]).read_text())
        verb = next(index for index, word in enumerate(rest) if word in {"up", "exec", "down", "logs", "run"})
        named = [word for word in rest[verb + 1 :] if not word.startswith("--")]
        if rest[verb] in {"exec", "run"}:
            assert named[0] in composition["services"]
            check(named[1:])
        else:
            assert set(named) <= set(composition["services"])
    else:
        assert rest[0] == "build"
        assert values["--target"] in dockerfile.parse(ROOT / values["--file"])


def check_kubectl(rest: list[str]) -> None:
    if rest[0] == "exec":
        check(rest[rest.index("--") + 1 :])
    elif rest[:3] == ["create", "secret", "generic"]:
        assert f"name: {rest[3]}\n" in (_DEPLOY / "helm" / "values.yaml").read_text()


def check_helm(rest: list[str]) -> None:
    version = rest[rest.index("--version") + 1]
    assert f"dagster=={version} " in (_DEPLOY / "requirements.lock").read_text()


def check_files(words: Sequence[str]) -> None:
    for word in words:
        path = word.removeprefix("file://").partition("::")[0]
        suffix = Path(path).suffix in {".py", ".yaml", ".yml", ".json", ".env", ".txt", ".lock"}
        if path.startswith(("deploy/dagster-", "~", _VENV)) or not (suffix or path.startswith("deploy/")):
            continue
        base = _DEPLOY / "aws" if word.startswith("file://") else ROOT
        assert (base / path).exists() or Path(path).name in _OF_THE_READER, f"there is no {path}"


def test_pages_have_commands_of_every_program_that_is_checked() -> None:
    programs = {command.words[0].removeprefix(_VENV) for command in COMMANDS}
    assert programs >= {*click_programs(), "make", "python", "docker", "kubectl", "helm"}


@pytest.mark.parametrize("command", COMMANDS, ids=str)
def test_the_command_can_be_run_as_it_is_written(command: Command) -> None:
    if command.words[0] == "dg" and not _HAS_DG:
        pytest.skip("dg is not installed: pip install dagster-dg-cli")
    try:
        check(command.words)
    except click.MissingParameter:
        assert command.mentioned


@pytest.mark.parametrize(
    "wrong",
    [
        "toast-assets doctr",
        "toast-assets doctor --jason",
        "toast-assets forget --file",
        "dagster instance concurrency limit toast 1",
        "dagster instance concurrency set toast",
        "dagster instance concurrency set toast one",
        "make everything",
        "python -m benchmarks --slow",
        "python -m toast_assets.nothing",
        "docker build --file deploy/Dockerfile --target nothing",
        "docker compose --file deploy/compose.yaml up nothing",
        "docker compose --file deploy/compose.yaml exec code toast-assets doctr",
        "kubectl exec deploy/dagster-daemon -- dagster instance migrat",
        "helm upgrade --version 0.0.1",
        "cp deploy/nothing.env deploy/toast-assets.env",
        "nobody-knows-this",
    ],
)
def test_a_command_that_is_wrong_is_found(wrong: str) -> None:
    with pytest.raises((AssertionError, click.UsageError)):
        check(wrong.split())
