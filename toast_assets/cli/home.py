"""The local folder in which the commands keep Dagster's history, so that the UI shows it afterwards."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.resources import files
from pathlib import Path

import dagster as dg

FOLDER = Path(".toast-assets")
# The process that executes a run by itself: nobody else would notice that it died.
PID_TAG = "toast-assets/pid"
# What differs for runs that a command executes by itself, without Dagster's daemon.
_IN_PROCESS = {
    # Capturing output would send the command's own lines through a child process, which Ctrl-C ends with a traceback.
    "compute_logs": {
        "module": "dagster._core.storage.noop_compute_log_manager",
        "class": "NoOpComputeLogManager",
    },
    # Places in pools are for runs that the daemon watches: a command that is killed could not give its own back, and
    # the next one would wait for ever.
    "concurrency": {"pools": {"granularity": "run"}},
}


def dagster_home() -> Path:
    """``.toast-assets/dagster_home`` in the working directory, with the ``dagster.yaml`` that this package ships."""
    home = FOLDER.resolve() / "dagster_home"
    home.mkdir(parents=True, exist_ok=True)
    settings = files("toast_assets.cli").joinpath("dagster.yaml").read_bytes()
    (home / "dagster.yaml").write_bytes(settings)
    return home


@contextmanager
def in_process_instance(home: Path) -> Iterator[dg.DagsterInstance]:
    """Dagster's history in ``home``, for runs that this process executes itself."""
    with dg.DagsterInstance.local_temp(str(home), overrides=_IN_PROCESS) as instance:
        _end_lost_runs(instance)
        yield instance


def _end_lost_runs(instance: dg.DagsterInstance) -> None:
    """End the runs of commands that were killed: to Dagster they would run for ever, and their week wait for them."""
    for run in instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])):
        pid = run.tags.get(PID_TAG)
        if pid is not None and not _alive(int(pid)):
            instance.report_run_failed(run, "The command that executed this run was killed.")


def _alive(pid: int) -> bool:
    # A process of somebody else's may not be signalled, and is alive all the same.
    with suppress(PermissionError):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
    return True
