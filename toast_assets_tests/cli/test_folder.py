"""History and bucket of the commands belong together: both come back, or both start empty."""

from __future__ import annotations

import fcntl
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import StringIO
from pathlib import Path

import dagster as dg
import pytest
from rich.console import Console

from toast_assets.cli.display import Display
from toast_assets.cli.environment import only, sandbox_config, sandbox_environment
from toast_assets.cli.folder import kept_sandbox
from toast_assets.cli.runs import last_closed_weeks, materialize
from toast_assets.sandbox import Sandbox, SandboxConfig
from toast_assets_tests.cli.conftest import PATIENCE_SECONDS, Start
from toast_assets_tests.cli.test_sandbox_command import read_until
from toast_assets_tests.support.services.ports import free_port

CONFIG = sandbox_config(restaurants=1, orders=3)
SAME = ("--port", "0", "--restaurants", "1", "--orders", "3")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The commands' folder, in a working directory of its own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path / ".toast-assets"


@contextmanager
def command(config: SandboxConfig = CONFIG, *, fresh: bool = False) -> Iterator[tuple[Sandbox, Path, StringIO]]:
    """What a command works with: the sandbox, Dagster's home, and what the command prints."""
    said = StringIO()
    with kept_sandbox(config, Console(file=said), fresh=fresh) as (sandbox, home, _):
        yield sandbox, home, said


def leave_something(config: SandboxConfig = CONFIG) -> None:
    with command(config) as (sandbox, home, said):
        sandbox.s3.put("key", b"1", {})
        (home / "history").touch()
    assert said.getvalue() == ""


def assert_empty(sandbox: Sandbox, home: Path) -> None:
    assert sandbox.objects() == []
    assert [path.name for path in home.iterdir()] == ["dagster.yaml"]


def test_the_next_command_goes_on_with_history_bucket_and_books_and_sends_nothing_twice(folder: Path) -> None:
    for number in (1, 2):
        with command() as (sandbox, home, said), only(sandbox_environment(sandbox, home)):
            (week,) = last_closed_weeks(1)
            raw = materialize(week, home, Display())["raw_toast_orders"]
            assert raw["new_orders"] == (3 if number == 1 else 0)
            assert len(sandbox.amperity.accepted) == 3
            with dg.DagsterInstance.from_config(str(home)) as instance:
                assert len(instance.get_runs()) == number
            keys = {key for key, _ in sandbox.objects()}
        assert said.getvalue() == ""
        bucket = folder / "bucket"
        assert {path.relative_to(bucket).as_posix() for path in bucket.rglob("*") if path.is_file()} == keys


def test_what_ends_with_an_error_is_kept_too() -> None:
    def end_early() -> None:
        with command() as (sandbox, _home, _said):
            sandbox.s3.put("key", b"1", {})
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        end_early()
    with command() as (sandbox, _home, _said):
        assert sandbox.objects() == [("key", 1)]


def test_a_fresh_start_empties_both_without_a_word() -> None:
    leave_something()
    with command(fresh=True) as (sandbox, home, said):
        assert_empty(sandbox, home)
    assert said.getvalue() == ""


def remove_rest(folder: Path) -> None:
    (folder / "sandbox.json").unlink()


def remove_object(folder: Path) -> None:
    (folder / "bucket" / "key").unlink()


@pytest.mark.parametrize("damage", [remove_rest, remove_object])
def test_where_history_and_bucket_do_not_fit_both_start_empty_and_a_line_says_so(folder: Path, damage: object) -> None:
    leave_something()
    assert callable(damage)
    damage(folder)
    with command() as (sandbox, home, said):
        assert_empty(sandbox, home)
    assert said.getvalue().strip().endswith("history and bucket in .toast-assets start empty.")
    assert said.getvalue().strip().count("\n") == 0


@pytest.mark.parametrize("other", [sandbox_config(seed=2, restaurants=1, orders=3), sandbox_config(restaurants=2)])
def test_another_seed_or_brand_starts_both_empty(other: SandboxConfig) -> None:
    leave_something()
    with command(other) as (sandbox, home, said):
        assert_empty(sandbox, home)
    assert "another seed" in said.getvalue()


def test_a_port_that_is_taken_loses_nothing() -> None:
    leave_something()
    with Sandbox(CONFIG) as other:
        port = int(other.toast_url.rpartition(":")[2])
        with pytest.raises(Exception, match="cannot listen"), command(sandbox_config(port, restaurants=1, orders=3)):
            pass
    with command() as (sandbox, _home, _said):
        assert sandbox.objects() == [("key", 1)]


def test_of_two_commands_at_a_time_the_second_has_a_folder_of_its_own_that_goes_with_it(folder: Path) -> None:
    leave_something()
    with command() as (first, _home, _said):
        # In one process, two sandboxes need two buckets.
        with command(SandboxConfig()) as (second, home, said):
            assert_empty(second, home)
            second.s3.put("other", b"1", {})
            assert not home.is_relative_to(folder)
        assert "Another command works in .toast-assets" in said.getvalue()
        assert not home.exists()
        assert first.objects() == [("key", 1)]
    with command() as (sandbox, _home, _said):
        assert sandbox.objects() == [("key", 1)]


def test_a_demo_that_is_ended_early_leaves_what_it_has_and_its_history(start: Start, folder: Path) -> None:
    process = start("demo")
    read_until(process, "✓ toast_orders_s3_export")
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE_SECONDS) != 0
    with command(sandbox_config()) as (sandbox, home, said):
        assert any(key.endswith(".json.gz") for key, _ in sandbox.objects())
        assert (home / "history").exists()
    assert said.getvalue() == ""


def test_a_killed_ui_keeps_the_folder_as_long_as_its_dagster_lives_and_then_both_start_empty(
    start: Start, folder: Path
) -> None:
    port = free_port()
    process = start("sandbox", *SAME, "--ui", "--ui-port", str(port))
    read_until(process, "Ctrl-C ends everything")
    process.kill()
    process.wait(PATIENCE_SECONDS)
    with command() as (_sandbox, home, said):
        assert not home.is_relative_to(folder)
    left = [
        int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit() and _has_open(path, folder / "lock")
    ]
    assert left
    for pid in left:
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
    with (folder / "lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
    with command() as (sandbox, home, said):
        assert_empty(sandbox, home)
    assert "did not come to its end" in said.getvalue()


def _has_open(process: Path, file: Path) -> bool:
    try:
        return any(each.resolve() == file for each in (process / "fd").iterdir())
    except OSError:
        return False
