"""Alerts: what is posted for a failed run or check, to a real webhook on loopback."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import dagster as dg
import pytest

from toast_assets.defs.alerts import AlertError, AlertsResource, build_alert_sensors
from toast_assets.sandbox import Sandbox
from toast_assets_tests.defs.conftest import PARTITION, RunWeek

FAILED_RUN, FAILED_CHECK = build_alert_sensors()


@dataclass
class Webhook:
    url: str
    messages: list[str] = field(default_factory=list)
    status: int = 200


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            hook.messages.append(json.loads(body)["text"])
            self.send_response(hook.status)
            self.end_headers()

        def log_message(self, *_arguments: Any) -> None:
            return

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        hook = Webhook(f"http://127.0.0.1:{server.server_port}/services/s3cret")
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield hook
        server.shutdown()
        thread.join()


def alert(
    sensor: dg.SensorDefinition, result: dg.ExecuteInProcessResult, instance: dg.DagsterInstance, alerts: AlertsResource
) -> object:
    kinds = {
        FAILED_RUN: dg.DagsterEventType.RUN_FAILURE,
        FAILED_CHECK: dg.DagsterEventType.RUN_SUCCESS,
    }
    (event,) = [event for event in result.all_events if event.event_type is kinds[sensor]]
    context = dg.build_run_status_sensor_context(
        sensor_name=sensor.name,
        dagster_instance=instance,
        dagster_run=result.dagster_run,
        dagster_event=event,
        resources={"alerts": alerts},
    )
    return sensor(context.for_run_failure() if sensor is FAILED_RUN else context)


@pytest.mark.usefixtures("sandbox_environment")
class TestAlerts:
    def test_a_failed_run_is_posted_with_asset_week_cause_and_link(
        self, run_week: RunWeek, sandbox: Sandbox, instance: dg.DagsterInstance, webhook: Webhook
    ) -> None:
        sandbox.faults.arm("status", "login", status=401, last=None)
        result = run_week("raw_toast_orders")
        alert(FAILED_RUN, result, instance, AlertsResource(webhook_url=webhook.url, ui_url="https://dagster.test/"))
        (text,) = webhook.messages
        for part in (
            "raw_toast_orders",
            PARTITION,
            "Check TOAST_CLIENT_ID",
            f"https://dagster.test/runs/{result.run_id}",
        ):
            assert part in text

    def test_a_failed_check_of_a_run_that_went_through_is_posted(
        self, run_week: RunWeek, sandbox: Sandbox, instance: dg.DagsterInstance, webhook: Webhook
    ) -> None:
        bad = sandbox.restaurant_guids[0]
        sandbox.faults.arm("status", "orders", target=bad, status=403, last=None)
        result = run_week("raw_toast_orders")
        alert(FAILED_CHECK, result, instance, AlertsResource(webhook_url=webhook.url))
        (text,) = webhook.messages
        assert "every_restaurant_complete" in text
        assert bad in text

    def test_a_run_with_nothing_worse_than_a_warning_posts_nothing(
        self, run_week: RunWeek, instance: dg.DagsterInstance, webhook: Webhook
    ) -> None:
        result = run_week("raw_toast_orders")
        failed = [one for one in result.get_asset_check_evaluations() if not one.passed]
        assert {one.severity for one in failed} == {dg.AssetCheckSeverity.WARN}
        alert(FAILED_CHECK, result, instance, AlertsResource(webhook_url=webhook.url))
        assert not webhook.messages

    def test_without_a_webhook_the_sensor_says_so(
        self, run_week: RunWeek, sandbox: Sandbox, instance: dg.DagsterInstance
    ) -> None:
        sandbox.faults.arm("status", "login", status=401, last=None)
        skipped = alert(FAILED_RUN, run_week("raw_toast_orders"), instance, AlertsResource())
        assert isinstance(skipped, dg.SkipReason)
        assert "ALERT_WEBHOOK_URL" in str(skipped.skip_message)


@pytest.mark.parametrize("broken", ["refuses", "is down", "is no URL"])
def test_a_webhook_that_fails_is_an_error_that_does_not_repeat_its_address(webhook: Webhook, broken: str) -> None:
    webhook.status = 500
    url = {"refuses": webhook.url, "is down": "http://127.0.0.1:9/s3cret", "is no URL": "s3cret"}[broken]
    with pytest.raises(AlertError) as caught:
        AlertsResource(webhook_url=url).post("text")
    assert "s3cret" not in str(caught.value)
