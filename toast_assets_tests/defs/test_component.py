"""Several brands in one deployment, each from a ``defs.yaml``, loaded as Dagster loads a project."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import dagster as dg
import pytest
import yaml  # type: ignore[import-untyped]
from dagster.components.component_scaffolding import scaffold_object

from toast_assets.defs.build import build_defs
from toast_assets.sandbox import Restaurant, Sandbox
from toast_assets_tests.conftest import StartSandbox
from toast_assets_tests.defs.conftest import PARTITION
from toast_assets_tests.support.services.brands import load_brands, own_orders_alone_arrived, variables_of
from toast_assets_tests.support.services.clients import s3_client

TWO = {
    "first": """
name: brand_a
variables: BRAND_A_
first_week: 2025-06-02
sensor: off
owners: [team:crm]
""",
    "second": """
name: brand_b
key_prefix: house/b
group: burgers
variables: BRAND_B_
alerts: false
""",
}
LINE = ("raw_toast_orders", "toast_orders_s3_export", "amperity_delivery", "toast/orders", "toast", "amperity")
Load = Callable[..., dg.RepositoryDefinition]
pytestmark = [
    pytest.mark.usefixtures("bare_environment"),
    # Of Dagster's own code, for any component with asset checks; it silences the warning while it loads a project.
    pytest.mark.filterwarnings("ignore:Parameter `execution_type`"),
]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Loads a project whose folders have these attributes."""
    return lambda **brands: load_brands(tmp_path, monkeypatch, brands).get_repository_def()


def keys_of(repository: dg.RepositoryDefinition) -> set[str]:
    return {key.to_user_string() for key in repository.asset_graph.get_all_asset_keys()}


class TestWhatABrandIsCalled:
    def test_assets_job_sensors_pools_and_resources_have_the_brands_name(self, load: Load) -> None:
        repository = load(**TWO)
        keys = keys_of(repository)
        assert {f"{prefix}/{name}" for prefix in ("brand_a", "house/b") for name in LINE} <= keys
        assert {re.sub("^(brand_a|house/b)/", "", key) for key in keys} == keys_of(build_defs().get_repository_def())
        assert {name for name in repository.job_names if not name.startswith("__")} == {
            *("brand_a_weekly_toast_orders", "brand_b_weekly_toast_orders")
        }
        assert {sensor.name for sensor in repository.sensor_defs} == {
            *("brand_a_weekly_toast_orders_sensor", "brand_b_weekly_toast_orders_sensor"),
            "brand_a_alert_sensor",
        }
        assert set(repository.get_top_level_resources()) == {
            f"{brand}_{name}"
            for brand in ("brand_a", "brand_b")
            for name in ("toast", "s3", "order_store", "amperity", "alerts")
        }
        assert {node.pools.pop() for node in map(repository.asset_graph.get, assets(repository)) if node.pools} == {
            f"{brand}_{pool}" for brand in ("brand_a", "brand_b") for pool in ("toast", "amperity", "current_orders")
        }

    def test_group_owners_and_first_week_are_the_brands_own(self, load: Load) -> None:
        graph = load(**TWO).asset_graph
        for prefix, group, owner, first in (
            ("brand_a", "brand_a", "team:crm", "2025-06-02"),
            ("house/b", "burgers", "team:data-engineering", "2025-01-06"),
        ):
            node = graph.get(dg.AssetKey.from_user_string(f"{prefix}/raw_toast_orders"))
            assert (node.group_name, list(node.owners)) == (group, [owner])
            assert isinstance(node.partitions_def, dg.TimeWindowPartitionsDefinition)
            assert node.partitions_def.get_first_partition_key() == first

    def test_the_line_of_a_brand_stays_within_it(self, load: Load) -> None:
        graph = load(**TWO).asset_graph
        for key in graph.get_all_asset_keys():
            assert {parent.path[0] for parent in graph.get(key).parent_keys} <= {key.path[0]}

    def test_descriptions_and_notes_name_the_brands_own_variables(
        self, load: Load, two: TwoBrands, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        del two
        monkeypatch.setenv("BRAND_A_TOAST_NAMES", "off")
        repository = load(**TWO)
        described = repository.get_sensor_def("brand_a_weekly_toast_orders_sensor").description
        assert "BRAND_A_TOAST_SENSOR switches it off." in str(described)
        assets = ("brand_a/raw_toast_orders", "brand_a/toast/names")
        (names,) = run_weekly(repository, "brand_a", None, *assets).asset_materializations_for_node(
            "brand_a_toast_configuration"
        )
        assert "BRAND_A_TOAST_NAMES is off" in str(names.metadata["note"].value)

    def test_a_component_without_attributes_is_what_the_module_of_the_only_brand_has(
        self, load: Load, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AMPERITY_DELIVERY", "s3_pull")
        monkeypatch.setenv("TOAST_WEEK_HOUR", "5")
        component, module = load(only=""), build_defs().get_repository_def()
        assert described(component) == described(module)

    def test_feeds_and_the_hour_of_a_week_follow_the_brands_own_variables(
        self, load: Load, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("BRAND_B_AMPERITY_DELIVERY", "s3_pull")
        monkeypatch.setenv("BRAND_B_TOAST_WEEK_HOUR", "7")
        monkeypatch.setenv("TOAST_WEEK_HOUR", "9")
        repository = load(**TWO)
        assert {key for key in keys_of(repository) if key.endswith("feeds")} == {"house/b/amperity_feeds"}
        for prefix, hour in (("brand_a", 4), ("house/b", 7)):
            node = repository.asset_graph.get(dg.AssetKey.from_user_string(f"{prefix}/raw_toast_orders"))
            assert isinstance(node.partitions_def, dg.TimeWindowPartitionsDefinition)
            assert node.partitions_def.hour_offset == hour


def assets(repository: dg.RepositoryDefinition) -> list[dg.AssetKey]:
    return sorted(repository.asset_graph.materializable_asset_keys)


def described(repository: dg.RepositoryDefinition) -> object:
    """What users see of definitions."""
    graph = repository.asset_graph
    nodes = sorted((graph.get(key) for key in graph.get_all_asset_keys()), key=lambda node: node.key)
    return (
        [
            (
                *(node.key, node.description, node.group_name, node.owners, node.kinds, node.parent_keys),
                *(node.partitions_def, node.pools, node.is_materializable, node.freshness_policy),
            )
            for node in nodes
        ],
        sorted(graph.asset_check_keys),
        sorted(repository.job_names),
        sorted((sensor.name, sensor.description, sensor.default_status.value) for sensor in repository.sensor_defs),
        {
            key: str(resource.config_schema.default_value)
            for key, resource in repository.get_top_level_resources().items()
        },
    )


class TestMistakesInTheFile:
    @pytest.mark.parametrize(
        ("attributes", "words"),
        [
            ("name: 2nd brand", ["name", "'2nd brand' is no name; write letters, digits and underscores"]),
            ("variables: brand_a", ["variables", "'brand_a' is not one such as BRAND_A_"]),
            ("sensor: perhaps", ["sensor", "holds 'perhaps'"]),
            ("first_week: 2025-06-03", ["first_week 2025-06-03 is a Tuesday; weeks begin on a Monday"]),
            ("first_week: soon", ["first_week holds 'soon', which is not a date; write one such as 2025-01-06"]),
            ("brand: a", ["brand", "Extra inputs are not permitted"]),
            ("alerts: [maybe]", ["alerts"]),
            ("owners: crm", ["owners"]),
            ("key_prefix: a//b", ["key_prefix"]),
            ("key_prefix: a b", ["key_prefix", "'a b'"]),
            ("group: my-group", ["group", "'my-group'"]),
            ("owners: [crm]", ["'crm'", "Owner must be an email address or a team name prefixed with 'team:'"]),
        ],
    )
    def test_each_is_named_with_its_field(self, load: Load, attributes: str, words: list[str]) -> None:
        with pytest.raises(Exception, match="first") as failed:
            load(first=attributes)
        said: list[str] = []
        error: BaseException | None = failed.value
        while error is not None:
            said.append(str(error))
            error = error.__cause__
        for word in words:
            assert word in "\n".join(said), said


# What ``dg list envs`` says a brand needs.
REQUIRED = (
    *("TOAST_CLIENT_ID", "TOAST_CLIENT_SECRET", "TOAST_RESTAURANT_GUID", "S3_BUCKET_NAME"),
    *("AMPERITY_TENANT_ID", "AMPERITY_API_KEY", "AMPERITY_STREAM_ID"),
)


@pytest.mark.parametrize("folder", ["brand_a", "brand-a"])
def test_a_scaffolded_brand_has_the_name_of_its_folder_and_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    load_brands(tmp_path, monkeypatch, {})
    (definitions,) = tmp_path.glob("*/defs")
    scaffold_object(definitions / folder, "toast_assets.ToastToAmperity", None, "yaml", tmp_path)
    assert yaml.safe_load((definitions / folder / "defs.yaml").read_text()) == {
        "type": "toast_assets.ToastToAmperity",
        "attributes": {"name": "brand_a", "variables": "BRAND_A_"},
        "requirements": {"env": [f"BRAND_A_{name}" for name in REQUIRED]},
    }
    repository = dg.load_from_defs_folder(path_within_project=tmp_path).get_repository_def()
    assert "brand_a/raw_toast_orders" in keys_of(repository)
    assert "brand_a_weekly_toast_orders" in repository.job_names


class TwoBrands(NamedTuple):
    """Two brands with services and buckets of their own."""

    a: Sandbox
    b: Sandbox


@pytest.fixture
def two(start_sandbox: StartSandbox, monkeypatch: pytest.MonkeyPatch) -> TwoBrands:
    """The variables of two brands."""
    sandboxes = {
        "BRAND_A_": start_sandbox(
            restaurants=(Restaurant("0b1f6a52-7c3d-4e8f-9a10-4d2c6b7e8f0a", "Of A", orders_per_week=30),),
            tenant="tenant-a",
            amperity_api_key="key-of-a",
            toast_client_secret="secret-of-a",
        ),
        "BRAND_B_": start_sandbox(
            seed=2,
            restaurants=(Restaurant("1c2e7b63-8d4e-4f90-8b21-5e3d7c8f901b", "Of B", orders_per_week=40),),
            tenant="tenant-b",
            amperity_api_key="key-of-b",
            toast_client_secret="secret-of-b",
        ),
    }
    for name, value in variables_of(sandboxes).items():
        monkeypatch.setenv(name, value)
    return TwoBrands(*sandboxes.values())


def run_weekly(
    repository: dg.RepositoryDefinition, brand: str, instance: dg.DagsterInstance | None = None, *assets: str
) -> dg.ExecuteInProcessResult:
    return repository.get_job(f"{brand}_weekly_toast_orders").execute_in_process(
        instance=instance,
        partition_key=PARTITION,
        asset_selection=[dg.AssetKey.from_user_string(name) for name in assets] or None,
        raise_on_error=False,
    )


def failure_of(result: dg.ExecuteInProcessResult) -> str:
    """The first one; the status, which comes last, can fail by the same bucket."""
    event = next(event for event in result.all_events if event.is_step_failure)
    data = event.step_failure_data.user_failure_data
    assert data is not None
    return str(data.description)


def keys_in(sandbox: Sandbox, bucket: str) -> set[str]:
    pages = s3_client(sandbox).get_paginator("list_objects_v2").paginate(Bucket=bucket)
    return {one["Key"] for page in pages for one in page.get("Contents", ())}


class TestRuns:
    def test_side_by_side_each_brands_orders_arrive_at_its_own_amperity_and_bucket_only(
        self, load: Load, two: TwoBrands
    ) -> None:
        repository = load(**TWO)
        with ThreadPoolExecutor(2) as pool:
            results = list(pool.map(lambda brand: run_weekly(repository, brand), ("brand_a", "brand_b")))
        assert [result.success for result in results] == [True, True]
        own_orders_alone_arrived("brand_a", two.a)
        own_orders_alone_arrived("brand_b", two.b)
        made = {event.asset_key for result in results for event in result.get_asset_materialization_events()}
        assert made == set(assets(repository))

    def test_a_brand_on_another_ones_bucket_is_refused_before_it_asks_or_writes_anything(
        self, load: Load, two: TwoBrands, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("BRAND_B_S3_BUCKET_NAME", two.a.bucket)
        repository = load(**TWO)
        assert run_weekly(repository, "brand_a", None, "brand_a/raw_toast_orders").success
        before = two.a.objects()
        failure = failure_of(run_weekly(repository, "brand_b"))
        assert (
            "holds the orders of the brand brand_a; the brand brand_b needs a bucket or a prefix of its own" in failure
        )
        assert "Set another BRAND_B_S3_BUCKET_NAME or BRAND_B_S3_PREFIX" in failure
        assert two.a.objects() == before
        assert not two.b.toast.log.count(path="orders")

    def test_two_brands_share_a_bucket_under_prefixes_of_their_own(
        self, load: Load, two: TwoBrands, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("BRAND_B_S3_BUCKET_NAME", two.a.bucket)
        monkeypatch.setenv("BRAND_B_S3_PREFIX", "b/")
        repository = load(**TWO)
        for brand, prefix in (("brand_a", "brand_a"), ("brand_b", "house/b")):
            assert run_weekly(repository, brand, None, f"{prefix}/raw_toast_orders").success
        assert {key.partition("/")[0] for key in keys_in(two.a, two.a.bucket)} == {"toast-orders", "b"}

    def test_a_failure_names_the_variables_as_the_brand_has_them_and_none_is_taken_from_the_bare_names(
        self, load: Load, two: TwoBrands, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("TOAST_CLIENT_SECRET", "AMPERITY_API_KEY"):
            monkeypatch.delenv(f"BRAND_A_{name}")
            monkeypatch.setenv(name, "bare")
        failure = failure_of(run_weekly(load(**TWO), "brand_a"))
        assert "BRAND_A_TOAST_CLIENT_SECRET is not set" in failure
        assert not re.search(r"(?<!BRAND_A_)(TOAST|AMPERITY|S3)_[A-Z]", failure)
        assert not two.a.toast.log.entries

    def test_a_refusal_of_a_service_names_the_brands_variables(
        self, load: Load, two: TwoBrands, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        del two
        monkeypatch.setenv("BRAND_A_TOAST_CLIENT_SECRET", "wrong")
        failure = failure_of(run_weekly(load(**TWO), "brand_a", None, "brand_a/raw_toast_orders"))
        assert "Check BRAND_A_TOAST_CLIENT_ID, BRAND_A_TOAST_CLIENT_SECRET and BRAND_A_TOAST_API_URL" in failure

    def test_a_check_of_a_brand_looks_at_its_own_bucket(self, load: Load, two: TwoBrands) -> None:
        del two
        result = run_weekly(load(**TWO), "brand_b", None, "house/b/raw_toast_orders")
        found = {one.check_name: one for one in result.get_asset_check_evaluations()}
        assert found["every_restaurant_complete"].passed
        assert {one.asset_key.path[0] for one in found.values()} == {"house"}


class TestSensors:
    @pytest.fixture
    def running(self, two: TwoBrands, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
        """Two brands that are switched on by variables."""
        del two
        for prefix in ("BRAND_A_", "BRAND_B_"):
            monkeypatch.setenv(f"{prefix}TOAST_SENSOR", "on")
        return TWO | {"first": TWO["first"].replace("sensor: off", "")}

    def test_a_component_switches_its_own_sensor_off(
        self, load: Load, instance: dg.DagsterInstance, running: dict[str, str]
    ) -> None:
        repository = load(**(running | {"first": TWO["first"]}))
        off, on = (tick(repository, instance, brand) for brand in ("brand_a", "brand_b"))
        assert off.skip_message == "The sensor is off: sensor of the component is off. Set it to on, or leave it out."
        assert len(on.run_requests or ()) == 1

    def test_a_missing_variable_is_named_as_the_brand_has_it(
        self, load: Load, instance: dg.DagsterInstance, running: dict[str, str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("BRAND_B_AMPERITY_STREAM_ID")
        repository = load(**running)
        assert "BRAND_B_AMPERITY_STREAM_ID is not set" in str(tick(repository, instance, "brand_b").skip_message)
        assert tick(repository, instance, "brand_a").run_requests

    def test_a_second_look_asks_the_brands_own_asset(
        self, load: Load, instance: dg.DagsterInstance, running: dict[str, str]
    ) -> None:
        repository = load(**running)
        assert run_weekly(repository, "brand_b", instance, "house/b/raw_toast_orders").success
        cursor = '{"newest":"%s","tracked":{"%s":{"attempts":1,"asked_at":"2025-09-22T04:15:00Z","second_look":false}}}'
        ticked = tick(repository, instance, "brand_b", cursor % ("2099-01-05", PARTITION))
        (request,) = list(ticked.run_requests or [])
        assert request.run_config == {"ops": {"house__b__raw_toast_orders": {"config": {"refresh": True}}}}
        job = repository.get_job("brand_b_weekly_toast_orders")
        assert job.execute_in_process(
            instance=instance,
            partition_key=PARTITION,
            run_config=request.run_config,
            asset_selection=[dg.AssetKey(["house", "b", "raw_toast_orders"])],
        ).success

    def test_a_running_run_of_another_brand_is_not_taken_for_its_own(
        self, load: Load, instance: dg.DagsterInstance, running: dict[str, str]
    ) -> None:
        repository = load(**running)
        cursor = '{"newest":"%s","tracked":{"%s":{"attempts":1,"asked_at":"2025-09-22T04:15:00Z","second_look":true}}}'
        cursor %= ("2099-01-05", PARTITION)
        under_way(instance, job_name="brand_b_weekly_toast_orders")
        under_way(instance, asset_selection=frozenset({dg.AssetKey(["house", "b", "amperity_delivery"])}))
        assert len(tick(repository, instance, "brand_a", cursor).run_requests or ()) == 1
        assert not tick(repository, instance, "brand_b", cursor).run_requests
        under_way(instance, asset_selection=frozenset({dg.AssetKey(["brand_a", "toast", "orders"])}))
        assert not tick(repository, instance, "brand_a", cursor).run_requests


def under_way(instance: dg.DagsterInstance, *, job_name: str = "__ASSET_JOB", **fields: object) -> None:
    run = dg.DagsterRun(job_name, status=dg.DagsterRunStatus.STARTED, tags={"dagster/partition": PARTITION}, **fields)  # type: ignore[arg-type]
    instance.add_run(run)


def tick(
    repository: dg.RepositoryDefinition, instance: dg.DagsterInstance, brand: str, cursor: str | None = None
) -> dg.SensorExecutionData:
    """A tick of the weekly sensor of a brand, with the resources of its definitions."""
    resources = repository.get_top_level_resources()
    with dg.build_sensor_context(
        instance=instance, repository_def=repository, cursor=cursor, resources=resources
    ) as context:
        return repository.get_sensor_def(f"{brand}_weekly_toast_orders_sensor").evaluate_tick(context)


def test_a_profile_of_a_brand_is_its_own_and_without_one_that_of_the_process_is_not_taken(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "of the process")
    monkeypatch.setenv("BRAND_A_AWS_PROFILE", "of a")
    monkeypatch.setenv("BRAND_A_TOAST_CLIENT_ID", "id")
    defs = load(**TWO).get_top_level_resources()
    a, b = (str(defs[f"{brand}_s3"].config_schema.default_value) for brand in ("brand_a", "brand_b"))
    assert "BRAND_A_AWS_PROFILE" in a
    assert "AWS_PROFILE" not in b
    assert os.environ["AWS_PROFILE"] not in a + b
