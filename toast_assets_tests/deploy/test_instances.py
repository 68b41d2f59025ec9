"""The deployments' instances: valid for Dagster itself, and in step with the committed dagster.yaml."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import boto3
import dagster as dg
import pytest
import yaml  # type: ignore[import-untyped]
from botocore.stub import Stubber
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.instance.config import dagster_instance_config
from dagster._core.instance.ref import InstanceRef
from dagster._core.scheduler.instigation import TickStatus
from dagster_aws.ecs.container_context import EcsContainerContext
from dagster_aws.ecs.tasks import get_task_definition_dict_from_current_task

from toast_assets_tests.support.services.compose import DEPLOY

ROOT = DEPLOY.parent
INSTANCES = {"compose": DEPLOY / "dagster.yaml", "ecs": DEPLOY / "ecs" / "dagster.yaml"}
# The pipeline's variables: the first column of README's table.
_TABLE = (ROOT / "README.md").read_text(encoding="utf-8").partition("### Variables")[2].partition("\n\nCard numbers")[0]
_FIRST_COLUMN = " ".join(line.split("|")[1] for line in _TABLE.splitlines() if line.startswith("| `"))
VARIABLES = sorted(set(re.findall(r"`([A-Z0-9_]+)`", _FIRST_COLUMN)))
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
    assert values["retention"] == {
        "enabled": True,
        **{kind: {"purgeAfterDays": kept["purge_after_days"]} for kind, kept in instance["retention"].items()},
    }


def test_ticks_without_anything_to_do_go_after_some_days_and_the_others_stay_longer(tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").write_bytes((ROOT / "dagster.yaml").read_bytes())
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        kept = instance.get_tick_retention_settings(InstigatorType.SENSOR)
    assert kept[TickStatus.SKIPPED] == 7
    assert all(days > kept[TickStatus.SKIPPED] for status, days in kept.items() if status is not TickStatus.SKIPPED)
    assert kept.keys() == set(TickStatus)


def test_runs_on_ecs_need_no_variable_to_be_set_and_have_all_of_the_daemons(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launcher = read(INSTANCES["ecs"])["run_launcher"]["config"]
    context = EcsContainerContext(env_vars=launcher.get("env_vars"), secrets_tags=[launcher["secrets_tag"]])
    assert {"TOAST_RESTAURANT_GUID", "AMPERITY_REDACT_SALT", "ALLOW_HTTP_HOSTS"} < set(VARIABLES)
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    assert context.get_environment_dict() == {}, "Dagster fails a run for each name here that is not set"
    monkeypatch.setattr("dagster_aws.ecs.tasks.current_ecs_container_name", lambda: "daemon")
    plain = [{"name": name, "value": "set"} for name in VARIABLES]
    ecs = boto3.client("ecs", region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b")
    with Stubber(ecs) as stub:
        daemon = {"name": "daemon", "image": "daemon", "environment": plain}
        stub.add_response("describe_task_definition", {"taskDefinition": {"containerDefinitions": [daemon]}})
        own = [{"name": "DAGSTER_RUN_JOB_NAME", "value": "weekly_toast_orders"}]
        task = get_task_definition_dict_from_current_task(
            ecs, "family", {"taskDefinitionArn": "arn"}, "code", "run", environment=own
        )
    (container,) = task["containerDefinitions"]
    assert (container["image"], container["environment"]) == ("code", plain + own)
