"""``toast-assets sandbox``: it serves what it prints, and ends with everything it started."""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import time
from pathlib import Path

import boto3
import httpx
import pytest
from rich.console import Console

from toast_assets.cli.display import Display
from toast_assets.cli.environment import only, sandbox_config, sandbox_environment
from toast_assets.cli.folder import kept_sandbox
from toast_assets.cli.runs import last_closed_weeks, materialize
from toast_assets_tests.cli.conftest import PATIENCE_SECONDS, Start, run
from toast_assets_tests.support.services.ports import free_port

FREE = ("--port", "0", "--restaurants", "2", "--orders", "3")


def read_until(process: subprocess.Popen[str], text: str) -> str:
    """What the command prints up to the line that holds ``text``."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if text in line:
            return "".join(lines)
    raise AssertionError("".join(lines))


def exported(output: str) -> dict[str, str]:
    """The variables of the ``export`` lines, as a shell reads them."""
    lines = [shlex.split(line)[1] for line in output.splitlines() if line.startswith("export ")]
    return dict(line.split("=", 1) for line in lines)


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_what_its_export_lines_say_until_it_is_ended(start: Start, ending: signal.Signals) -> None:
    process = start("sandbox", *FREE)
    variables = exported(read_until(process, "Ctrl-C ends it"))
    assert len(variables["TOAST_RESTAURANT_GUID"].split(",")) == 2
    assert httpx.get(variables["TOAST_API_URL"], timeout=PATIENCE_SECONDS).is_success
    client = boto3.client(
        "s3",
        endpoint_url=variables["AWS_ENDPOINT_URL_S3"],
        aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
        region_name=variables["AWS_DEFAULT_REGION"],
    )
    assert client.list_objects_v2(Bucket=variables["S3_BUCKET_NAME"])["KeyCount"] == 0
    process.send_signal(ending)
    assert process.wait(PATIENCE_SECONDS) == 0
    with pytest.raises(httpx.ConnectError):
        httpx.get(variables["TOAST_API_URL"])


def test_with_the_ui_dagster_goes_on_with_what_is_there_and_nothing_of_it_stays_behind(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with (
        kept_sandbox(sandbox_config(restaurants=2, orders=3), Console(quiet=True)) as (sandbox, home, _),
        only(sandbox_environment(sandbox, home)),
    ):
        missing, there = last_closed_weeks(2)
        materialize(there, home, Display())
    port = free_port()
    process = start("sandbox", *FREE, "--ui", "--ui-port", str(port))
    output = read_until(process, "Ctrl-C ends everything")
    assert re.search(rf"Dagster's UI\s+http://127.0.0.1:{port}/", output)
    query = '{assetOrError(assetKey: {path: "raw_toast_orders"}) {... on Asset {assetMaterializations {partition}}}}'
    reply = httpx.post(f"http://127.0.0.1:{port}/graphql", json={"query": query}, timeout=PATIENCE_SECONDS).json()
    weeks = [each["partition"] for each in reply["data"]["assetOrError"]["assetMaterializations"]]
    assert {missing.key, there.key} <= set(weeks)
    assert f"Materializing {missing.key}," in output
    assert f"Materializing {there.key}," not in output
    children = _session_of(tmp_path)
    assert children
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE_SECONDS) == 0
    # Green weeks have their files.
    manifests = (tmp_path / ".toast-assets" / "bucket" / "toast-orders" / "manifests").iterdir()
    assert {path.stem for path in manifests} == {f"week={week}" for week in weeks}
    # The last of them are killed, and nobody waits for those that are not the command's own children.
    deadline = time.monotonic() + PATIENCE_SECONDS
    while left := [pid for pid in children if _runs(pid)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


@pytest.mark.parametrize("options", [("--port",), ("--port", "0", "--ui", "--ui-port")])
def test_a_port_that_is_taken_is_one_sentence_and_a_1(tmp_path: Path, options: tuple[str, ...]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        reply = run(tmp_path, "sandbox", *options, str(port))
    assert reply.returncode == 1
    assert reply.stderr.startswith("Error: ")
    assert str(port) in reply.stderr
    assert reply.stderr.count("\n") == 1


def _session_of(folder: Path) -> list[int]:
    """The processes that work in Dagster's folder: ``dagster dev`` and all that it started."""
    home = folder / ".toast-assets" / "dagster_home"
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and _working_folder(entry) == home:
            found.append(int(entry.name))
    return found


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def _working_folder(process: Path) -> Path | None:
    try:
        return Path(os.readlink(process / "cwd"))  # noqa: PTH115 - the link's text, not what it resolves to
    except OSError:
        return None
