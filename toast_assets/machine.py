"""What a machine may run out of: room for temporary files, open files, memory, threads. Each in one sentence."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from toast_assets.errors import MachineError
from toast_assets.scratch import PREFIX

_FEWER = "lower TOAST_CONCURRENT_RESTAURANTS (docs/scaling.md)"


def machine_problem(error: BaseException, week_bytes: Callable[[], int | None] = lambda: None) -> MachineError | None:
    """What ``error`` or one of its causes says of the machine, or None. ``week_bytes`` gives the bytes of a week's
    orders, for the hint on a full disk."""
    for each in causes(error):
        if isinstance(each, MemoryError) or (isinstance(each, OSError) and each.errno == errno.ENOMEM):
            hint = f"Give the run more memory, or {_FEWER}."
            return MachineError(
                "The machine, or the run's container, has no memory left.", hint=hint, code="MACHINE-MEMORY"
            )
        if isinstance(each, RuntimeError) and "can't start new thread" in str(each):
            hint = f"Raise the limit of processes (ulimit -u, or the container's limit of PIDs), or {_FEWER}."
            return MachineError("The machine starts no more threads.", hint=hint, code="MACHINE-THREADS")
        if isinstance(each, OSError) and (problem := _of_files(each, week_bytes)):
            return problem
    return None


def causes(error: BaseException) -> Iterator[BaseException]:
    """``error``, the members of groups, and all that led to it: what Python chained, and what botocore or aiohttp
    wrapped."""
    waiting, seen = [error], set()
    while waiting:
        each = waiting.pop(0)
        if id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        wrapped = getattr(each, "kwargs", None)
        inner = wrapped.get("error") if isinstance(wrapped, dict) else None
        members = each.exceptions if isinstance(each, BaseExceptionGroup) else ()
        more = [*members, inner, each.__cause__, each.__context__, *each.args]
        waiting += [one for one in more if isinstance(one, BaseException)]


def _of_files(error: OSError, week_bytes: Callable[[], int | None]) -> MachineError | None:
    if error.errno in (errno.EMFILE, errno.ENFILE):
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        hint = f"Raise the limit (ulimit -n; LimitNOFILE of systemd; ulimits of a container), or {_FEWER}."
        text = f"Too many files and connections are open at once; {limit} are allowed."
        return MachineError(text, hint=hint, code="MACHINE-FILES")
    # pyarrow does not say where the file was to be written; it writes temporary files only. To ask tempfile may fail
    # for the very reason that is looked for here.
    temporary = Path(tempfile.tempdir or os.environ.get("TMPDIR") or "/tmp")  # noqa: S108
    path = Path(error.filename) if isinstance(error.filename, str) else None
    folder = path.parent if path else temporary
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        needed = week_bytes()
        size = f" The newest stored week has {_mb(needed)} of orders; compressed, they need less." if needed else ""
        hint = f"Make room there, or let TMPDIR name a folder with more of it.{size}"
        return MachineError(f"There is no room left in {folder}{_free(folder)}.", hint=hint, code="MACHINE-DISK")
    # The standard library says the first where no folder at all will do.
    unusable = "temporary directory" in (error.strerror or "")
    if path and any(part.startswith(PREFIX) for part in path.parts):
        unusable |= error.errno in (errno.EROFS, errno.EACCES, errno.EPERM) or not folder.exists()
    if unusable:
        hint = "Let TMPDIR name a folder that exists and that this user may write."
        text = f"Temporary files cannot be written to {folder} ({error.strerror})."
        return MachineError(text, hint=hint, code="MACHINE-TMPDIR")
    return None


def _free(folder: Path) -> str:
    with suppress(OSError):
        existing = next(each for each in (folder, *folder.parents) if each.exists())
        return f" ({_mb(shutil.disk_usage(existing).free)} free)"
    return ""


def _mb(size: int) -> str:
    return f"{size / 1_000_000:,.1f} MB"
