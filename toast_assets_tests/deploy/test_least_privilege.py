"""The policies allow exactly what is called: no call is refused, and no permission is superfluous."""

from __future__ import annotations

import json
import os
from pathlib import Path

import dagster as dg
import pytest
from click.testing import CliRunner

from toast_assets.cli import main
from toast_assets.defs.brand import Brand
from toast_assets.defs.build import build_defs
from toast_assets.sandbox import Restaurant, Sandbox
from toast_assets.store.layout import Layout
from toast_assets.store.order_store import OrderStore
from toast_assets.week import Week
from toast_assets_tests.conftest import StartSandbox
from toast_assets_tests.support.data.iam import ACTIONS, FOLDER, Call, actions_of, allowed, recorded, statements
from toast_assets_tests.support.faults.s3_faults import refuse
from toast_assets_tests.support.services.clients import s3_client

PIPELINE, DOCTOR = "pipeline-policy.json", "doctor-policy.json"
# AWS: these look something up, or register a description, and know no resource to be bound to.
NO_RESOURCE = {
    "ecr:GetAuthorizationToken",
    "ec2:DescribeNetworkInterfaces",
    "ecs:DescribeTaskDefinition",
    "ecs:RegisterTaskDefinition",
    "secretsmanager:ListSecrets",
}


@pytest.fixture
def sandbox(start_sandbox: StartSandbox) -> Sandbox:
    """One restaurant, and a workflow that is done when it is first asked for."""
    return start_sandbox(
        restaurants=(Restaurant("place-1", "Harbor & Thistle, Pier 9", orders_per_week=20),), polls_until_done=0
    )


@pytest.fixture
def environment(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith(("TOAST_", "S3_", "AMPERITY_", "AWS_"))]:
        monkeypatch.delenv(name)
    more = {"TOAST_REQUESTS_PER_SECOND": "100000", "DAGSTER_HOME": str(tmp_path), "RETENTION_RAW_DAYS": "1"}
    methods = {"AMPERITY_DELIVERY": "stream,s3_pull", "AMPERITY_WORKFLOW_CONFIG_ID": "cg-weekly"}
    for name, value in (sandbox.environment() | more | methods).items():
        monkeypatch.setenv(name, value)


def materialize(week: Week) -> None:
    """Every asset of the week and all checks, twice."""
    everything = dg.define_asset_job("everything", selection=dg.AssetSelection.groups(Brand.group).materializable())
    job = dg.Definitions.merge(build_defs(), dg.Definitions(jobs=[everything])).resolve_job_def("everything")
    with dg.DagsterInstance.ephemeral() as instance:
        for _ in range(2):
            assert job.execute_in_process(instance=instance, partition_key=week.key).success


def command(*arguments: str) -> None:
    reply = CliRunner().invoke(main, arguments)
    assert reply.exit_code in (0, 1), reply.output


@pytest.mark.usefixtures("environment")
def test_what_is_called_is_what_is_allowed(sandbox: Sandbox, week: Week, monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox.faults.arm("status", "stream", status=400, first=5, last=5)
    pipeline = statements(PIPELINE, bucket=sandbox.bucket)
    with recorded() as calls:
        monkeypatch.setenv("AMPERITY_MAX_REJECT_SHARE", "1")
        materialize(week)
        command("replay-rejects")
        OrderStore.from_environment().load_table("orders", week.key)
        command("forget", "--yes", "nobody@example.com")
        command("retention", "--yes")
    assert {call.operation for call in calls} - ACTIONS.keys() == set()
    assert [call for call in calls if not allowed(pipeline, call)] == []
    assert {call.action for call in calls} == actions_of(pipeline)


@pytest.mark.usefixtures("environment")
def test_the_doctor_needs_a_little_more(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    from toast_assets.doctor.checks import run_checks

    client = s3_client(sandbox)
    refuse(client, "UploadPart", 500, "InternalError", times=None)
    monkeypatch.setattr("toast_assets.doctor.checks.s3_client", lambda: client)
    with recorded() as calls:
        run_checks(dict(os.environ))
    both = statements(PIPELINE, DOCTOR, bucket=sandbox.bucket)
    assert [call for call in calls if not allowed(both, call)] == []
    more = {call.action for call in calls} - actions_of(statements(PIPELINE, bucket=sandbox.bucket))
    assert more == actions_of(statements(DOCTOR, bucket=sandbox.bucket))


def test_amperity_sees_the_feeds_and_nothing_else(week: Week) -> None:
    layout, policy = Layout("toast-orders/"), statements("amperity-policy.json", bucket="bucket")
    feeds = "toast-orders/amperity/"
    assert allowed(policy, Call("ListObjectsV2", "bucket", prefix=f"{feeds}customers/2025/09/22/"))
    assert allowed(policy, Call("GetObject", "bucket", layout.feed(week, "place", "customers")))
    hidden = [layout.raw(week, "p"), layout.export(week, "p"), layout.forgotten, layout.table("customers", week.key)]
    assert not [key for key in hidden if allowed(policy, Call("GetObject", "bucket", key))]
    assert not allowed(policy, Call("ListObjectsV2", "bucket", prefix="toast-orders/raw/"))
    assert not allowed(policy, Call("ListObjectsV2", "bucket"))
    assert not allowed(policy, Call("PutObject", "bucket", layout.feed(week, "place", "customers")))


def test_only_amperity_with_the_external_id_may_assume_its_role() -> None:
    (statement,) = json.loads((FOLDER / "amperity-trust-policy.json").read_text())["Statement"]
    assert statement["Action"] == "sts:AssumeRole"
    assert statement["Condition"]["StringEquals"].keys() == {"sts:ExternalId"}
    assert "*" not in json.dumps(statement["Principal"])


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.json")), ids=lambda path: path.name)
def test_no_policy_allows_everything_of_anything(path: Path) -> None:
    for statement in json.loads(path.read_text())["Statement"]:
        assert statement["Effect"] == "Allow"
        assert not [one for one in actions_of([statement]) if "*" in one]
        if statement.get("Resource", "") == "*":
            assert set(actions_of([statement])) <= NO_RESOURCE


def test_the_readme_shows_the_pipelines_policy() -> None:
    root = Path(__file__).parents[2]
    policy = (root / "deploy" / "aws" / "pipeline-policy.json").read_text()
    assert f"```json\n{policy.rstrip()}\n```" in (root / "README.md").read_text()
