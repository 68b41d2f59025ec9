"""The local folder in which the commands keep Dagster's history, so that the UI shows it afterwards."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import dagster as dg

FOLDER = Path(".toast-assets")
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


def in_process_instance(home: Path) -> dg.DagsterInstance:
    """Dagster's history in ``home``, for runs that this process executes itself."""
    return dg.DagsterInstance.local_temp(str(home), overrides=_IN_PROCESS)
