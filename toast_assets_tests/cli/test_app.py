"""The command line itself: help at once, errors as one sentence."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from toast_assets.cli import main
from toast_assets.cli.app import _Group
from toast_assets.errors import ToastAssetsError


def failing(error: Exception) -> click.Group:
    """A command line whose one command fails."""

    @click.group(cls=_Group)
    def group() -> None: ...

    @group.command()
    def fail() -> None:
        raise error

    return group


@pytest.mark.parametrize(("arguments", "named"), [((), "sandbox"), (("demo",), "counts"), (("sandbox",), "--ui-port")])
def test_help_tells_what_there_is(arguments: tuple[str, ...], named: str) -> None:
    reply = CliRunner().invoke(main, [*arguments, "--help"])
    assert reply.exit_code == 0
    assert named in reply.output


def test_without_a_command_the_help_is_no_error_and_every_summary_is_whole() -> None:
    reply = CliRunner().invoke(main, [], terminal_width=80)
    assert reply.exit_code == 0
    assert all(f"  {name} " in reply.output for name in main.commands)
    assert "..." not in reply.output.partition("Commands:")[2]


def test_help_needs_neither_dagster_nor_the_sandbox(tmp_path: Path) -> None:
    code = (
        "import sys; from toast_assets.cli import main; main(['--help'], standalone_mode=False);"
        "sys.exit(','.join({'dagster', 'moto', 'starlette', 'boto3'} & sys.modules.keys()) or 0)"
    )
    command = [sys.executable, "-c", code]
    reply = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)  # noqa: S603
    assert (reply.returncode, reply.stderr) == (0, "")


def test_an_error_of_this_package_is_one_sentence_and_a_1() -> None:
    reply = CliRunner().invoke(failing(ToastAssetsError("It broke.", hint="Fix it.")), ["fail"])
    assert (reply.exit_code, reply.output) == (1, "Error: It broke. Fix it. [TOAST-ASSETS]\n")


def test_a_missing_extra_is_named_with_the_way_to_install_it() -> None:
    reply = CliRunner().invoke(failing(ModuleNotFoundError("No module", name="moto.server")), ["fail"])
    assert reply.exit_code == 1
    assert "pip install 'toast-assets[sandbox]'" in reply.output


def test_a_module_that_no_extra_brings_is_a_mistake_of_ours() -> None:
    reply = CliRunner().invoke(failing(ModuleNotFoundError("No module", name="toast_assets.nothing")), ["fail"])
    assert isinstance(reply.exception, ModuleNotFoundError)
