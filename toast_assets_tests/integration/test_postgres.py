"""The compose file's services, as processes, on a real PostgreSQL: sensor, queue and a backfill, two runs at once.

The backfill has two weeks, with ``--full`` four.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import dagster as dg
import httpx
import pytest
from dagster._core.storage.tags import BACKFILL_ID_TAG

from toast_assets.store.bucket import Bucket
from toast_assets.store.order_store import OrderStore
from toast_assets.week import Week, WeekCalendar
from toast_assets_tests.support.services import compose
from toast_assets_tests.support.services.compose import Process, listens
from toast_assets_tests.support.services.ports import free_port, free_ports
from toast_assets_tests.support.services.postgres import postgres, programs

PASSWORD = "correct-horse-battery"
SENSOR_WEEKS = 1
# Two are the fewest that can run at once and wait for each other's pool.
BACKFILL_WEEKS, ALL_BACKFILL_WEEKS = 2, 4
_LAUNCH = """
mutation ($weeks: [String!]!, $assets: [AssetKeyInput!]!) {
  launchPartitionBackfill(backfillParams: {partitionNames: $weeks, assetSelection: $assets}) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
  }
}
"""
_ASSETS = ("raw_toast_orders", "toast_orders_s3_export", "amperity_delivery")


@dataclass(frozen=True)
class Ports:
    """Loopback ports in place of the containers' own."""

    code: int
    webserver: int
    postgres: int
    toast: int
    amperity: int
    s3: int


class Stage:
    """The folders and ports that stand in for what a container network gives; starts the services."""

    def __init__(self, folder: Path, ports: Ports, first_week: str, stack: ExitStack) -> None:
        self.ports, self._folder, self._first_week, self._stack = ports, folder, first_week, stack
        self.home, self.state, self.tmp = folder / "opt", folder / "var", folder / "tmp"
        for each in (self.home, self.state, self.tmp):
            each.mkdir()
        (folder / "password").write_text(PASSWORD)
        for name in ("dagster.yaml", "workspace.yaml"):
            text = (compose.DEPLOY / name).read_text().replace("host: code", "host: 127.0.0.1")
            (self.home / name).write_text(self.translate(text))
        self.composition = compose.load({"TOAST_ASSETS_ENV_FILE": "sandbox.env"})

    def translate(self, text: str) -> str:
        """Container paths, names and ports to those of this machine."""
        if text == "postgres":
            return "127.0.0.1"
        ports = self.ports
        changes = {
            "/opt/dagster": str(self.home),
            "/var/lib/dagster": str(self.state),
            "/run/secrets/postgres-password": str(self._folder / "password"),
            "0.0.0.0": "127.0.0.1",  # noqa: S104 - what is replaced
            "5432": str(ports.postgres),
            "4000": str(ports.code),
            "3000": str(ports.webserver),
            "9300": str(ports.toast),
            "9301": str(ports.amperity),
            "9302": str(ports.s3),
        }
        for old, new in changes.items():
            if old in text:
                text = text.replace(old, new)
        return str(self.tmp) if text == "/tmp" else text  # noqa: S108 - what is replaced

    def environment(self, name: str) -> dict[str, str]:
        """All that a service's container would see."""
        service = compose.service(self.composition, name, self.translate) if name != "sandbox" else None
        return {
            **compose.image_environment(self.translate),
            **(service.environment if service else {}),
            # Beyond the compose file: a short history, and a limit that does not cost minutes.
            "TOAST_START_DATE": self._first_week,
        }

    def start(self, name: str, *more: str) -> Process:
        """The service's command as a process."""
        service = compose.service(self.composition, name, self.translate)
        log = self._folder / f"{name}.log"
        return self._stack.enter_context(Process([*service.command, *more], self.environment(name), self.home, log))


@pytest.fixture
def weeks(request: pytest.FixtureRequest) -> list[Week]:
    """The newest closed weeks, oldest first: the sensor asks for the newest, the rest is left to a backfill."""
    calendar = WeekCalendar()
    newest = calendar.last_closed(datetime.now(UTC))
    assert newest is not None
    monday = date.fromisoformat(newest.key)
    backfilled = ALL_BACKFILL_WEEKS if request.config.getoption("--full") else BACKFILL_WEEKS
    ages = range(SENSOR_WEEKS + backfilled - 1, -1, -1)
    return [calendar.week((monday - timedelta(weeks=age)).isoformat()) for age in ages]


@pytest.fixture
def stage(tmp_path: Path, weeks: list[Week], monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """PostgreSQL and the sandbox run; the rest is the test's to start."""
    programs()
    composition = compose.load({})
    database = composition["services"]["postgres"]["environment"]
    user, name = database["POSTGRES_USER"], database["POSTGRES_DB"]
    with ExitStack() as stack:
        port = stack.enter_context(postgres(user=user, password=PASSWORD, database=name))
        first = free_ports(3)
        ports = Ports(free_port(), free_port(), port, first, first + 1, first + 2)
        stage = Stage(tmp_path, ports, weeks[0].key, stack)
        sandbox = stage.start("sandbox", "--orders", "40")
        sandbox.wait_until(lambda: listens(ports.s3))
        for variable, value in stage.environment("daemon").items():
            if variable.startswith("DAGSTER_POSTGRES"):
                monkeypatch.setenv(variable, value)
        monkeypatch.setenv("DAGSTER_POSTGRES_PASSWORD", PASSWORD)
        yield stage


def launch_backfill(url: str, weeks: list[str]) -> str:
    """Asks the webserver for a backfill as its dialog does; the backfill's id."""
    variables = {"weeks": weeks, "assets": [{"path": [name]} for name in _ASSETS]}
    with httpx.Client(trust_env=False, timeout=compose.PATIENCE_SECONDS) as client:
        reply = client.post(f"{url}/graphql", json={"query": _LAUNCH, "variables": variables}).json()
    result = reply["data"]["launchPartitionBackfill"]
    assert result["__typename"] == "LaunchBackfillSuccess", reply
    return str(result["backfillId"])


def spans(instance: dg.DagsterInstance, runs: Sequence[dg.DagsterRun], step: str) -> list[tuple[float, float]]:
    """When ``step`` held its place in its pool, per run: Unix seconds."""
    found = []
    for run in runs:
        times = {
            entry.dagster_event.event_type: entry.timestamp
            for entry in instance.all_logs(run.run_id)
            if entry.dagster_event and entry.dagster_event.step_key == step
        }
        found.append((times[dg.DagsterEventType.STEP_START], times[dg.DagsterEventType.STEP_SUCCESS]))
    return found


def most_at_once(intervals: list[tuple[float, float]]) -> int:
    """How many intervals share a moment, at most."""
    edges = sorted([(start, 1) for start, _ in intervals] + [(end, -1) for _, end in intervals])
    at_once, most = 0, 0
    for _, change in edges:
        at_once += change
        most = max(most, at_once)
    return most


def metadata_sum(instance: dg.DagsterInstance, runs: Sequence[dg.DagsterRun], asset: str, name: str) -> int:
    """The sum of one metadata value over the runs' materializations of an asset."""
    total = 0
    for run in runs:
        for entry in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION):
            found = entry.asset_materialization
            if found and found.asset_key == dg.AssetKey(asset):
                total += int(found.metadata[name].value or 0)  # type: ignore[arg-type]
    return total


def order_store(environment: Mapping[str, str]) -> OrderStore:
    """The store on the sandbox's bucket."""
    client = boto3.client(
        "s3",
        endpoint_url=environment["AWS_ENDPOINT_URL_S3"],
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        region_name=environment["AWS_DEFAULT_REGION"],
    )
    return OrderStore(Bucket(client, environment["S3_BUCKET_NAME"]), environment["S3_PREFIX"])


def reasons(instance: dg.DagsterInstance, run: dg.DagsterRun) -> str:
    """What a failed run says of itself."""
    errors = [each.dagster_event for each in instance.all_logs(run.run_id) if each.dagster_event]
    return "\n".join(f"{each.step_key}: {each.event_specific_data}" for each in errors if each.is_failure)


def files(folder: Path) -> set[str]:
    return {str(Path(place).relative_to(folder) / name) for place, _, names in os.walk(folder) for name in names}


def test_sensor_queue_and_backfill_fill_every_week_within_the_pools(stage: Stage, weeks: list[Week]) -> None:
    url = f"http://127.0.0.1:{stage.ports.webserver}"
    stage.start("prepare").wait_for_success()
    code = stage.start("code")
    code.wait_until(lambda: listens(stage.ports.code))
    webserver = stage.start("webserver")
    webserver.wait_until(lambda: listens(stage.ports.webserver))
    shipped = files(stage.home)
    backfill = launch_backfill(url, [week.key for week in weeks[:-SENSOR_WEEKS]])
    daemon = stage.start("daemon")

    with dg.DagsterInstance.from_config(str(stage.home)) as instance:
        seen: dict[str, Any] = {"held": 0}

        def all_finished() -> bool:
            for pool in ("toast", "amperity"):
                info = instance.event_log_storage.get_concurrency_info(pool)
                assert info.active_slot_count <= (info.limit or 1)
                seen["held"] = max(seen["held"], info.active_slot_count)
            runs = instance.get_runs()
            failed = [run for run in runs if run.status is dg.DagsterRunStatus.FAILURE]
            assert not failed, reasons(instance, failed[0])
            return len([run for run in runs if run.is_finished]) == len(weeks)

        daemon.wait_until(all_finished)
        runs = instance.get_runs()

        by_backfill = [run for run in runs if run.tags.get(BACKFILL_ID_TAG) == backfill]
        assert len(by_backfill) == len(weeks) - SENSOR_WEEKS
        assert len([run for run in runs if "dagster/sensor_name" in run.tags]) == SENSOR_WEEKS
        assert {run.tags["dagster/partition"] for run in runs} == {week.key for week in weeks}

        # From its launch on: how long a process takes to start is the machine's affair.
        stats = [instance.get_run_stats(run.run_id) for run in runs]
        assert most_at_once([(one.launch_time or 0, one.end_time or 0) for one in stats]) >= 2
        assert most_at_once(spans(instance, runs, "raw_toast_orders")) == 1
        assert most_at_once(spans(instance, runs, "amperity_delivery")) == 1
        assert seen["held"] == 1

        store = order_store(stage.environment("code"))
        manifests = [store.load_manifest(week)[0] for week in weeks]
        assert [manifest and manifest.outcome for manifest in manifests] == ["complete"] * len(weeks)
        stored = sum(pull.orders for manifest in manifests if manifest for pull in manifest.stored.values())
        assert stored > 0
        assert metadata_sum(instance, runs, "amperity_delivery", "accepted") == stored

    assert files(stage.home) == shipped, "something was written where a container is read-only"
    assert any(name.endswith(".err") for name in files(stage.state)), "no output of a run is kept for the UI"
