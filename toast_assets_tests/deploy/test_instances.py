"""The deployments' instances: valid for Dagster itself, and in step with the committed dagster.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from dagster._core.instance.config import dagster_instance_config
from dagster._core.instance.ref import InstanceRef

from toast_assets_tests.support.compose import DEPLOY

ROOT = DEPLOY.parent
INSTANCES = {"compose": DEPLOY / "dagster.yaml", "ecs": DEPLOY / "ecs" / "dagster.yaml"}
OF_THE_PLACE = {"storage", "local_artifact_storage", "compute_logs", "run_launcher"}


def read(path: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(path.read_text()))


@pytest.mark.parametrize("name", INSTANCES)
def test_limits_monitoring_and_retries_are_those_of_the_repository(name: str) -> None:
    deployed = read(INSTANCES[name])
    assert {key: value for key, value in deployed.items() if key not in OF_THE_PLACE} == read(ROOT / "dagster.yaml")


@pytest.mark.parametrize("name", INSTANCES)
def test_dagster_accepts_the_instance_and_all_of_its_classes(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    variables = {"HOST": "h", "PORT": "5432", "USER": "u", "PASSWORD": "p", "DB": "d"}
    for variable, value in variables.items():
        monkeypatch.setenv(f"DAGSTER_POSTGRES_{variable}", value)
    monkeypatch.setenv("DAGSTER_LOG_BUCKET", "logs")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    (tmp_path / "dagster.yaml").write_bytes(INSTANCES[name].read_bytes())
    _, custom = dagster_instance_config(str(tmp_path))
    assert custom is None
    ref = InstanceRef.from_dir(str(tmp_path))
    for data in (ref.run_launcher_data, ref.compute_logs_data, ref.run_coordinator_data):
        assert data is not None
        rehydrated = data.rehydrate(as_type=object)
        assert type(rehydrated).__name__ == data.class_name
    assert ref.run_storage_data is not None
    assert "postgres" in ref.run_storage_data.module_name


def test_the_chart_has_the_limits_of_the_repository() -> None:
    values, instance = read(DEPLOY / "helm" / "values.yaml"), read(ROOT / "dagster.yaml")
    pools, runs = values["concurrency"]["pools"], values["concurrency"]["runs"]
    ours = instance["concurrency"]
    assert (pools["defaultLimit"], pools["granularity"], pools["opGranularityRunBuffer"]) == (
        ours["pools"]["default_limit"],
        ours["pools"]["granularity"],
        ours["pools"]["op_granularity_run_buffer"],
    )
    assert runs["maxConcurrentRuns"] == ours["runs"]["max_concurrent_runs"]
    assert runs["tagConcurrencyLimits"] == ours["runs"]["tag_concurrency_limits"]
    retries, monitoring = values["dagsterDaemon"]["runRetries"], values["dagsterDaemon"]["runMonitoring"]
    assert (retries["maxRetries"], retries["retryOnAssetOrOpFailure"]) == (
        instance["run_retries"]["max_retries"],
        instance["run_retries"]["retry_on_asset_or_op_failure"],
    )
    snake = {"".join(f"_{c.lower()}" if c.isupper() else c for c in key): value for key, value in monitoring.items()}
    assert snake == instance["run_monitoring"]
