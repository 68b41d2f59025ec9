"""``dagster dev`` in a process group of its own, asked through the interface that its UI uses."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import requests

# As committed: pools, four runs at once, nothing kept anywhere else.
_INSTANCE = Path(__file__).parent.parent / "dagster.yaml"
_POLL_SECONDS = 0.1
_LONGEST = 1800.0

_LOADED = """{ workspaceOrError { ... on Workspace { locationEntries { locationOrLoadError {
  __typename ... on PythonError { message } } } } } }"""
_LAUNCH = """mutation($params: ExecutionParams!) { launchPipelineExecution(executionParams: $params) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
_STATUS = "query($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"
_BACKFILL = """mutation($params: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $params) {
  __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""
_PROGRESS = """query($id: String!) { partitionBackfillOrError(backfillId: $id) {
  ... on PartitionBackfill { status } } }"""


class DagsterDev:
    """A running instance that has loaded a module's definitions."""

    def __init__(self, url: str, module: str) -> None:
        self._url = url
        self._module = module

    def ready(self) -> bool:
        """Whether the definitions are loaded.

        Raises:
            RuntimeError: they cannot be.
        """
        try:
            found = [
                entry["locationOrLoadError"] for entry in self._ask(_LOADED, {})["workspaceOrError"]["locationEntries"]
            ]
        except (requests.ConnectionError, requests.HTTPError):
            return False
        for error in (each["message"] for each in found if each and "message" in each):
            raise RuntimeError(f"{self._module} cannot be loaded: {error}")
        return bool(found) and all(found)

    def run(self, assets: Sequence[str], tags: Mapping[str, str]) -> float:
        """Seconds from launching a run to its success."""
        selector = {
            "repositoryLocationName": self._module,
            "repositoryName": "__repository__",
            "jobName": "__ASSET_JOB",
            "assetSelection": [{"path": [name]} for name in assets],
        }
        metadata = {"tags": [{"key": key, "value": value} for key, value in tags.items()]}
        params = {"selector": selector, "mode": "default", "runConfigData": {}, "executionMetadata": metadata}
        began = time.perf_counter()
        launched = self._ask(_LAUNCH, {"params": params})["launchPipelineExecution"]
        if "run" not in launched:
            raise RuntimeError(f"The run was not launched: {launched}")
        number = launched["run"]["runId"]
        _wait(lambda: self._ask(_STATUS, {"id": number})["runOrError"]["status"], "SUCCESS", ("FAILURE", "CANCELED"))
        return time.perf_counter() - began

    def backfill(self, assets: Sequence[str], weeks: Sequence[str]) -> float:
        """Seconds from launching a backfill, one run a week, to the success of the last run."""
        params = {"assetSelection": [{"path": [name]} for name in assets], "partitionNames": list(weeks)}
        began = time.perf_counter()
        launched = self._ask(_BACKFILL, {"params": params})["launchPartitionBackfill"]
        if "backfillId" not in launched:
            raise RuntimeError(f"The backfill was not launched: {launched}")
        number = launched["backfillId"]
        _wait(
            lambda: self._ask(_PROGRESS, {"id": number})["partitionBackfillOrError"]["status"],
            "COMPLETED_SUCCESS",
            ("COMPLETED_FAILED", "FAILED", "CANCELED"),
        )
        return time.perf_counter() - began

    def _ask(self, query: str, variables: Mapping[str, Any]) -> Any:
        reply = requests.post(f"{self._url}/graphql", json={"query": query, "variables": variables}, timeout=60)
        reply.raise_for_status()
        return reply.json()["data"]


@contextmanager
def dagster_dev(module: str, variables: Mapping[str, str]) -> Iterator[DagsterDev]:
    """An instance of its own on the definitions in ``module``, with ``variables`` as its environment.

    It is gone, with all its processes, at the end.
    """
    with TemporaryDirectory(prefix="benchmark-", ignore_cleanup_errors=True) as home:
        (Path(home) / "dagster.yaml").write_bytes(_INSTANCE.read_bytes())
        port = _free_port()
        command = [str(Path(sys.executable).with_name("dagster")), "dev", "-m", module, "-p", str(port)]
        with (Path(home) / "output").open("w") as output:
            process = subprocess.Popen(  # noqa: S603 - Dagster, with this package's module
                command, env={**variables, "DAGSTER_HOME": home}, stdout=output, stderr=output, start_new_session=True
            )
        try:
            instance = DagsterDev(f"http://127.0.0.1:{port}", module)
            _wait(lambda: "ready" if instance.ready() else "starting", "ready", ())
            yield instance
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)


def _wait(state: Callable[[], str], wanted: str, bad: Sequence[str]) -> None:
    until = time.monotonic() + _LONGEST
    while (now := state()) != wanted:
        if now in bad or time.monotonic() > until:
            raise RuntimeError(f"Dagster ended with {now} instead of {wanted}")
        time.sleep(_POLL_SECONDS)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port
