"""Folders for local files while something is computed: removed at the end, or by the next run after a kill.

They hold guests' orders. A process that is killed cannot remove its folder, so each folder is locked while it is in
use, and a lock ends with its process: a folder without one is a leftover.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = "toast-assets.scratch-"


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """An empty folder below ``TMPDIR`` that only this user may read; it is gone when the block ends."""
    while True:
        path = Path(tempfile.mkdtemp(prefix=PREFIX))
        # Before it is locked, another process may take it for a leftover and remove it.
        with suppress(FileNotFoundError):
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(lock, fcntl.LOCK_EX)
            if path.exists():
                break
            os.close(lock)
    try:
        yield path
    finally:
        shutil.rmtree(path)
        os.close(lock)


def remove_leftovers() -> int:
    """Remove the folders of processes that were killed; how many there were. Folders in use stay."""
    removed = 0
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        # Another user's folder, or one that another process has just removed, is none of ours.
        with suppress(OSError):
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path)
                removed += 1
            finally:
                os.close(lock)
    return removed
