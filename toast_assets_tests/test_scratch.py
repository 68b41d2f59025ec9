"""Scratch folders: gone when the block ends, and by the next run where the process was killed."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from toast_assets.scratch import remove_leftovers, scratch_folder

_KILLED = """
import os, signal
from toast_assets.scratch import scratch_folder
with scratch_folder() as folder:
    (folder / "orders").write_text("a guest's")
    print(folder, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)


def test_a_folder_is_private_and_gone_when_the_block_ends(tmp_path: Path) -> None:
    with scratch_folder() as folder:
        assert folder.parent == tmp_path
        assert folder.stat().st_mode & 0o077 == 0
        (folder / "orders").write_text("some")
    assert list(tmp_path.iterdir()) == []


def test_the_next_run_removes_the_folder_of_a_process_that_was_killed_and_no_other(tmp_path: Path) -> None:
    killed = subprocess.run(  # noqa: S603 - this very code
        [sys.executable, "-c", _KILLED], capture_output=True, text=True, check=False
    )
    left = Path(killed.stdout.strip())
    assert (left / "orders").exists()
    (tmp_path / "somebody-elses").mkdir()
    with scratch_folder() as in_use:
        assert remove_leftovers() == 1
        assert in_use.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["somebody-elses"]
    assert remove_leftovers() == 0
