"""A machine that runs out of something is named in one sentence; everything else stays what it is."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pytest
from botocore.exceptions import EndpointConnectionError

from toast_assets.defs.brand import Brand
from toast_assets.defs.preflight import failures
from toast_assets.errors import MachineError
from toast_assets.machine import machine_problem
from toast_assets.scratch import scratch_folder


def of(number: int, path: str | None = None) -> OSError:
    return OSError(number, os.strerror(number), path)


def wrapped(error: OSError) -> Exception:
    """As an S3 client gives it on."""
    return EndpointConnectionError(endpoint_url="https://s3.test/", error=error)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            of(errno.ENOSPC, "/nowhere/scratch/orders"),
            r"no room left in /nowhere/scratch \(.* MB free\).*TMPDIR.* \[MACHINE-DISK\]$",
        ),
        (of(errno.EDQUOT), r"no room left in .*TMPDIR"),
        (of(errno.EMFILE), r"Too many files.* are allowed.*ulimit -n.* \[MACHINE-FILES\]$"),
        (of(errno.ENFILE, "/etc/hosts"), "Too many files"),
        (of(errno.ENOMEM), r"no memory left.*TOAST_CONCURRENT_RESTAURANTS.* \[MACHINE-MEMORY\]$"),
        (MemoryError(), "no memory left"),
        (pa.ArrowMemoryError("malloc of size 64 failed"), "no memory left"),
        (RuntimeError("can't start new thread"), r"no more threads.*ulimit -u.* \[MACHINE-THREADS\]$"),
        (wrapped(of(errno.EMFILE)), "Too many files"),
        (ExceptionGroup("several", [ValueError(), of(errno.ENOSPC)]), "no room left"),
    ],
)
def test_what_the_machine_lacks_is_named_with_the_way_out(error: Exception, words: str) -> None:
    problem = machine_problem(error)
    assert isinstance(problem, MachineError)
    assert problem.hint
    with pytest.raises(MachineError, match=words):
        raise problem


@pytest.mark.parametrize("error", [of(errno.ENOENT, "/no/such"), of(errno.ECONNRESET), RuntimeError("x"), KeyError()])
def test_what_is_no_matter_of_the_machine_stays_what_it_is(error: Exception) -> None:
    assert machine_problem(error) is None
    with pytest.raises(type(error)), failures(Brand()):
        raise error


def test_a_folder_for_temporary_files_that_is_gone_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    shutil.rmtree(folder)
    with pytest.raises(dg.Failure) as failed, failures(Brand()), scratch_folder():
        pass
    assert str(failed.value.description).startswith(f"Temporary files cannot be written to {folder}")
    assert "TMPDIR" in str(failed.value.description)
