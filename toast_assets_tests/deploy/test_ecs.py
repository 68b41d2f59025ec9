"""The task, service and policies for ECS, held against AWS's own description of its interfaces; nothing is called."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from botocore.loaders import Loader
from botocore.model import ListShape, MapShape, ServiceModel, Shape, StructureShape
from botocore.validate import ParamValidator

from toast_assets.amperity.settings import AmperitySettings
from toast_assets.store.settings import StoreSettings
from toast_assets.toast.settings import ToastSettings
from toast_assets_tests.support.data import dockerfile
from toast_assets_tests.support.services.compose import DEPLOY

TASK: dict[str, Any] = yaml.safe_load((DEPLOY / "ecs" / "task-definition.yaml").read_text())
SERVICE: dict[str, Any] = yaml.safe_load((DEPLOY / "ecs" / "service.yaml").read_text())
INSTANCE: dict[str, Any] = yaml.safe_load((DEPLOY / "ecs" / "dagster.yaml").read_text())
CONTAINERS = {container["name"]: container for container in TASK["containerDefinitions"]}
POLICIES = sorted(path.name for path in (DEPLOY / "aws").glob("ecs-*.json"))


def model(service: str) -> ServiceModel:
    return ServiceModel(Loader().load_service_model(service, "service-2"), service)


def strange_values(value: Any, shape: Shape, path: str = "") -> Iterator[str]:
    """Values that are not among those that AWS lists: its Python library looks at names and types only."""
    if isinstance(shape, StructureShape):
        for name, below in value.items():
            yield from strange_values(below, shape.members[name], f"{path}.{name}")
    elif isinstance(shape, ListShape):
        for below in value:
            yield from strange_values(below, shape.member, path)
    elif not isinstance(shape, MapShape) and (allowed := getattr(shape, "enum", ())) and value not in allowed:
        yield f"{path}: {value}"


@pytest.mark.parametrize(("operation", "values"), [("RegisterTaskDefinition", TASK), ("CreateService", SERVICE)])
def test_ecs_would_take_it(operation: str, values: dict[str, Any]) -> None:
    shape = model("ecs").operation_model(operation).input_shape
    assert shape is not None
    report = ParamValidator().validate(values, shape)
    assert not report.has_errors(), report.generate_report()
    assert list(strange_values(values, shape)) == []


def test_a_name_or_value_that_ecs_does_not_know_is_found() -> None:
    shape = model("ecs").operation_model("RegisterTaskDefinition").input_shape
    assert shape is not None
    assert ParamValidator().validate({**TASK, "familyname": "x"}, shape).has_errors()
    assert list(strange_values({"networkMode": "vpc"}, shape)) == [".networkMode: vpc"]


@pytest.mark.parametrize("name", CONTAINERS)
def test_containers_are_as_locked_down_as_elsewhere(name: str) -> None:
    container = CONTAINERS[name]
    assert container["readonlyRootFilesystem"] is True
    assert container["linuxParameters"]["capabilities"] == {"drop": ["ALL"]}
    (user,) = dockerfile.parse(DEPLOY / "Dockerfile")["runtime"].all("USER")
    assert container["user"] == user.rest
    assert [mount["containerPath"] for mount in container["mountPoints"]] == ["/tmp"]  # noqa: S108 - what is mounted


def test_the_service_keeps_this_task_and_never_two_daemons() -> None:
    assert SERVICE["taskDefinition"] == TASK["family"]
    assert SERVICE["deploymentConfiguration"]["maximumPercent"] == 100
    assert SERVICE["desiredCount"] == 1


@pytest.mark.parametrize("settings", [ToastSettings, StoreSettings, AmperitySettings])
def test_the_code_location_has_all_that_has_to_be_set(settings: Any) -> None:
    container = CONTAINERS["code"]
    values = {entry["name"]: entry["value"] for entry in container["environment"]}
    values |= {entry["name"]: "secret" for entry in container["secrets"]}
    # GUIDs and tenants have forms; what counts here is which names there are.
    values["TOAST_RESTAURANT_GUID"] = "*"
    values["AMPERITY_STREAM_ID"], values["AMPERITY_TENANT_ID"] = "is-1", "tenant"
    values["S3_BUCKET_NAME"] = "bucket"
    names = {field.alias for field in settings.model_fields.values()}
    assert settings.parse({name: value for name, value in values.items() if name in names})


def test_the_daemon_has_every_variable_of_the_instance_and_of_the_runs() -> None:
    def variables(node: Any) -> Iterator[str]:
        if isinstance(node, dict):
            yield from [node["env"]] if isinstance(node.get("env"), str) else []
            for below in node.values():
                yield from variables(below)

    daemon = CONTAINERS["daemon"]
    plain = {entry["name"] for entry in daemon["environment"]}
    assert set(variables(INSTANCE)) <= plain | {entry["name"] for entry in daemon["secrets"]}
    # A run is a copy of the daemon's container; what it has besides are the secrets with the tag.
    assert plain == {entry["name"] for entry in CONTAINERS["code"]["environment"]}
    assert INSTANCE["run_launcher"]["config"]["secrets_tag"] == "toast-assets"


@pytest.mark.parametrize("name", POLICIES)
def test_policies_name_actions_that_exist(name: str) -> None:
    statements = json.loads((DEPLOY / "aws" / name).read_text())["Statement"]
    actions = [action for statement in statements for action in _listed(statement["Action"])]
    assert actions
    for action in actions:
        service, _, operation = action.partition(":")
        # Handing over a role and taking one on are no calls of ECS's own.
        if service in {"ecs", "ecr", "ec2", "logs", "secretsmanager"}:
            assert operation in model(service).operation_names, action
        else:
            assert action in {"iam:PassRole", "sts:AssumeRole"}


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value
