"""The values for Dagster's Helm chart, against the schema that the chart publishes.

The schema comes with the chart; without --chart-schema only the check itself is tested, on a small chart.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from toast_assets_tests.support.data.chart import problems
from toast_assets_tests.support.services.compose import DEPLOY

PULL = "helm pull dagster/dagster --version 1.13.27 --untar"
VALUES: dict[str, Any] = yaml.safe_load((DEPLOY / "helm" / "values.yaml").read_text())
SMALL: dict[str, Any] = {
    "$defs": {
        "Server": {
            "type": "object",
            "properties": {"port": {"type": "integer"}, "host": {"type": "string"}},
            "required": ["port", "host"],
        },
        "Pod": {"$ref": "https://example.com/kubernetes.json#/Pod", "type": "object", "properties": {}},
    },
    "type": "object",
    "properties": {
        "server": {"anyOf": [{"$ref": "#/$defs/Server"}, {"type": "null"}]},
        "more": {"type": "array", "items": {"$ref": "#/$defs/Server"}},
        "pod": {"$ref": "#/$defs/Pod"},
    },
    "required": ["server", "more", "pod"],
}
Spoil = Callable[[dict[str, Any]], object]
# How the values are spoilt, and where that has to be seen.
SPOILT: dict[str, tuple[Spoil, str]] = {
    "a key at the top is misspelt": (lambda values: values.update(globl={}), "$"),
    "a key in the chart's case only": (lambda values: values["concurrency"]["pools"].update(limit=1), "$.concurrency"),
    "a limit in words": (lambda values: values["concurrency"]["pools"].update(defaultLimit="one"), "$.concurrency"),
    "a tag's limit without a tag": (
        lambda v: v["concurrency"]["runs"].update(tagConcurrencyLimits=[{"limit": 1}]),
        "key",
    ),
    "no such launcher": (lambda values: values["runLauncher"].update(type="K8RunLauncher"), "$.runLauncher.type"),
    "a launcher without its settings": (lambda values: values["runLauncher"].update(config={}), "k8sRunLauncher"),
    "a launcher's key is misspelt": (lambda values: launcher(values).update(envSecret=[]), "envSecret"),
    "no such policy": (lambda values: launcher(values).update(imagePullPolicy="Sometimes"), "Sometimes"),
    "a number as text": (lambda values: values["dagsterDaemon"]["runRetries"].update(maxRetries="2"), "maxRetries"),
    "a deployment without a port": (lambda values: deployment(values).pop("port"), "port"),
    "an image without a policy": (lambda values: deployment(values)["image"].pop("pullPolicy"), "pullPolicy"),
    "a deployment's key is misspelt": (lambda values: deployment(values).update(securityContex={}), "securityContex"),
    "logs without a bucket's settings": (lambda values: values["computeLogManager"].update(config={}), "s3Compute"),
    "the database's key is misspelt": (lambda values: values["postgresql"].update(postgresqlHots="db"), "Hots"),
}


def launcher(values: dict[str, Any]) -> Any:
    return values["runLauncher"]["config"]["k8sRunLauncher"]


def deployment(values: dict[str, Any]) -> Any:
    (only,) = values["dagster-user-deployments"]["deployments"]
    return only


@pytest.fixture
def schema(request: pytest.FixtureRequest) -> dict[str, Any]:
    path = request.config.getoption("--chart-schema")
    if path is None:
        pytest.skip(f"needs --chart-schema FILE: {PULL} has it as dagster/values.schema.json")
    return dict(json.loads(Path(path).read_text()))


def test_the_chart_takes_the_values(schema: dict[str, Any]) -> None:
    assert problems(VALUES, schema) == []


@pytest.mark.parametrize("name", SPOILT)
def test_the_chart_does_not_take_spoilt_values(schema: dict[str, Any], name: str) -> None:
    spoil, where = SPOILT[name]
    values = copy.deepcopy(VALUES)
    spoil(values)
    (problem,) = problems(values, schema)
    assert where in problem


@pytest.mark.parametrize(
    ("values", "wrong"),
    [
        ({}, []),
        ({"server": None, "pod": {"anything": 1}}, []),
        ({"server": {"port": 1}}, []),
        ({"more": [{"port": 1}]}, ["$.more[0]: 'host' is a required property"]),
        ({"servr": {}}, ["$: Additional properties are not allowed ('servr' was unexpected)"]),
        ({"server": {"prot": 1}}, ["$.server: Additional properties are not allowed ('prot' was unexpected)"]),
        ({"server": {"port": "1"}}, ["$.server: '1' is not of type 'integer'"]),
    ],
)
def test_the_check_asks_for_what_the_chart_does_not_bring(values: dict[str, Any], wrong: list[str]) -> None:
    assert problems(values, SMALL) == wrong
