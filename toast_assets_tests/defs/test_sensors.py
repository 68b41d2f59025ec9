"""The weekly sensor through Dagster: its requests, its cursor, its words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
from dagster_aws.s3 import S3Resource

from toast_assets.definitions import build_defs
from toast_assets.defs.resources import OrderStoreResource
from toast_assets.defs.sensors import REASON_TAG, build_sensor
from toast_assets.sandbox import Sandbox
from toast_assets_tests.defs.conftest import RunWeek

MONDAY = datetime(2025, 9, 22, 4, 15, tzinfo=UTC)


def tick(instance: dg.DagsterInstance, now: datetime, cursor: str | None = None) -> dg.SensorResult:
    repository = build_defs().get_repository_def()
    resources = {"order_store": OrderStoreResource.from_environment(s3=S3Resource())}
    with dg.build_sensor_context(
        instance=instance, repository_def=repository, cursor=cursor, resources=resources
    ) as context:
        data = build_sensor(lambda: now).evaluate_tick(context)
    requests = list(data.run_requests or ())
    return dg.SensorResult(run_requests=requests, skip_reason=data.skip_message, cursor=data.cursor)


@pytest.mark.usefixtures("bare_environment")
def test_the_first_tick_asks_for_the_last_closed_week_and_says_why(instance: dg.DagsterInstance) -> None:
    (request,) = tick(instance, MONDAY).run_requests or ()
    assert (request.partition_key, request.run_key) == ("2025-09-15", "week-2025-09-15")
    assert request.tags[REASON_TAG] == "week 2025-09-15: closed"


@pytest.mark.usefixtures("bare_environment")
def test_the_next_tick_has_nothing_to_do_and_says_what_comes(instance: dg.DagsterInstance) -> None:
    first = tick(instance, MONDAY)
    second = tick(instance, MONDAY + timedelta(minutes=5), first.cursor)
    assert not second.run_requests
    assert "Second look due for 2025-09-15" in str(second.skip_reason)


@pytest.mark.usefixtures("sandbox_environment")
def test_three_days_later_a_second_look_asks_toast_again(instance: dg.DagsterInstance, run_week: RunWeek) -> None:
    cursor = tick(instance, MONDAY).cursor
    run_week()
    (request,) = tick(instance, MONDAY + timedelta(hours=72), cursor).run_requests or ()
    assert request.tags[REASON_TAG] == "week 2025-09-15: second look"
    assert request.run_config == {"ops": {"raw_toast_orders": {"config": {"refresh": True}}}}


@pytest.mark.usefixtures("sandbox_environment")
def test_a_week_with_a_missing_restaurant_is_asked_for_again(
    instance: dg.DagsterInstance, run_week: RunWeek, sandbox: Sandbox
) -> None:
    cursor = tick(instance, MONDAY).cursor
    sandbox.faults.arm("status", "orders", target=sandbox.restaurant_guids[0], status=403, last=None)
    run_week("raw_toast_orders")
    (request,) = tick(instance, MONDAY + timedelta(hours=2), cursor).run_requests or ()
    assert "attempt 2" in request.tags[REASON_TAG]


@pytest.mark.usefixtures("bare_environment")
def test_without_settings_a_tick_says_what_is_missing_and_goes_on(instance: dg.DagsterInstance) -> None:
    cursor = tick(instance, MONDAY).cursor
    later = tick(instance, MONDAY + timedelta(hours=2), cursor)
    assert "S3_BUCKET_NAME" in str(later.skip_reason)
    (request,) = tick(instance, MONDAY + timedelta(days=7), later.cursor).run_requests or ()
    assert request.partition_key == "2025-09-22"
