"""Alerts: what is posted for a failed run or check, to a real webhook on loopback."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import dagster as dg
import pytest

from toast_assets.defs import resources
from toast_assets.defs.alerts import build_alert_sensors
from toast_assets.defs.brand import Brand
from toast_assets.defs.build import build_defs
from toast_assets.defs.resources import AlertsResource
from toast_assets.errors import AlertError, SettingsError
from toast_assets.http import webhooks
from toast_assets.sandbox import Sandbox
from toast_assets.variables import Variables
from toast_assets_tests.defs.conftest import PARTITION, RunWeek

FAILED_RUN, FAILED_CHECK = build_alert_sensors(Brand(), running=True)


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What is waited between attempts, without waiting."""
    waited: list[float] = []
    monkeypatch.setattr(resources, "Webhook", partial(webhooks.Webhook, sleep=waited.append))
    return waited


@dataclass
class Webhook:
    url: str
    messages: list[str] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    """What is answered, one after the other; the last one for ever."""
    retry_after: str | None = None
    calls: int = 0


StartWebhook = Callable[[], Webhook]


@pytest.fixture
def start_webhook() -> Iterator[StartWebhook]:
    """Starts webhooks on loopback."""
    with ExitStack() as stack:

        def start() -> Webhook:
            class Handler(BaseHTTPRequestHandler):
                def do_POST(self) -> None:
                    body = self.rfile.read(int(self.headers["Content-Length"]))
                    status = (hook.statuses or [200])[min(hook.calls, max(0, len(hook.statuses) - 1))]
                    hook.calls += 1
                    if status == 200:
                        hook.messages.append(json.loads(body)["text"])
                    self.send_response(status)
                    if hook.retry_after:
                        self.send_header("Retry-After", hook.retry_after)
                    self.end_headers()

                def log_message(self, *_arguments: Any) -> None:
                    return

            server = stack.enter_context(HTTPServer(("127.0.0.1", 0), Handler))
            hook = Webhook(f"http://127.0.0.1:{server.server_port}/services/s3cret")
            threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
            stack.callback(server.shutdown)
            return hook

        yield start


@pytest.fixture
def webhook(start_webhook: StartWebhook) -> Webhook:
    return start_webhook()


@dataclass
class Ticks:
    """Ticks of a sensor, as Dagster's daemon makes them: the cursor goes from one to the next."""

    sensor: dg.SensorDefinition
    instance: dg.DagsterInstance
    cursor: str | None = None
    skipped: str | None = None
    brand: str = ""

    def tick(self, *urls: str, ui_url: str | None = None) -> list[str | None]:
        """One tick with webhooks; an item for each alert that was posted, its error if there was one."""
        resource = AlertsResource.from_environment(webhook_url=" ".join(urls) or None, ui_url=ui_url)
        context = dg.build_sensor_context(
            instance=self.instance,
            cursor=self.cursor,
            sensor_name=self.sensor.name,
            resources={f"{self.brand}alerts": resource},
        )
        result = self.sensor.evaluate_tick(context)
        self.cursor, self.skipped = result.cursor, result.skip_message
        return [one.error.message if one.error else None for one in result.dagster_run_reactions or ()]


def fail_a_run(instance: dg.DagsterInstance, cause: str = "no way", job: str = "weekly") -> str:
    """The id of a run that fails."""

    @dg.op
    def fail() -> None:
        raise dg.Failure(cause)

    @dg.job(name=job)
    def failing() -> None:
        fail()

    return failing.execute_in_process(instance=instance, raise_on_error=False).run_id


@pytest.mark.usefixtures("sandbox_environment")
class TestAlerts:
    def test_a_failed_run_is_posted_with_asset_week_cause_and_link(
        self, run_week: RunWeek, sandbox: Sandbox, instance: dg.DagsterInstance, webhook: Webhook
    ) -> None:
        sandbox.faults.arm("status", "login", status=401, last=None)
        ticks = Ticks(FAILED_RUN, instance)
        ticks.tick(webhook.url)
        result = run_week("raw_toast_orders")
        assert ticks.tick(webhook.url, ui_url="https://dagster.test/") == [None]
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
        ticks = Ticks(FAILED_CHECK, instance)
        ticks.tick(webhook.url)
        run_week("raw_toast_orders")
        assert ticks.tick(webhook.url) == [None]
        (text,) = webhook.messages
        assert "every_restaurant_complete" in text
        assert bad in text

    def test_a_run_with_nothing_worse_than_a_warning_posts_nothing(
        self, run_week: RunWeek, sandbox: Sandbox, instance: dg.DagsterInstance, webhook: Webhook
    ) -> None:
        # Without the names of Toast's configuration, names_known warns.
        sandbox.faults.arm("status", "configuration", status=403, last=None)
        ticks = Ticks(FAILED_CHECK, instance)
        ticks.tick(webhook.url)
        result = run_week("raw_toast_orders")
        failed = [one for one in result.get_asset_check_evaluations() if not one.passed]
        assert {one.severity for one in failed} == {dg.AssetCheckSeverity.WARN}
        assert ticks.tick(webhook.url) == []
        assert not webhook.messages


def test_one_of_several_brands_hears_of_its_own_runs_and_is_named(
    instance: dg.DagsterInstance, webhook: Webhook
) -> None:
    brand = Brand("brand_a", ("brand_a",), variables=Variables("BRAND_A_"))
    sensor, _ = build_alert_sensors(brand, running=True)
    assert str(sensor.description).endswith("to BRAND_A_ALERT_WEBHOOK_URL.")
    ticks = Ticks(sensor, instance, brand="brand_a_")
    assert (ticks.tick(), ticks.skipped) == ([], "BRAND_A_ALERT_WEBHOOK_URL is not set.")
    for job in ("brand_b_weekly_toast_orders", "brand_a_weekly_toast_orders", "somebodys_job"):
        fail_a_run(instance, f"the fault of {job}", job)
    assert ticks.tick(webhook.url) == [None]
    (text,) = webhook.messages
    assert text.startswith("toast-assets brand_a: week without a partition failed")
    assert "the fault of brand_a_weekly_toast_orders" in text


def test_the_only_brand_of_a_deployment_hears_of_every_run_of_its_code_location(
    instance: dg.DagsterInstance, webhook: Webhook
) -> None:
    ticks = Ticks(FAILED_RUN, instance)
    ticks.tick(webhook.url)
    fail_a_run(instance, job="somebodys_job")
    assert ticks.tick(webhook.url) == [None]
    assert webhook.messages[0].startswith("toast-assets: week")


def test_without_an_address_the_sensors_are_stopped_until_somebody_starts_them(
    bare_environment: pytest.MonkeyPatch,
) -> None:
    bare_environment.delenv("ALERT_WEBHOOK_URL", raising=False)
    for environment, status in (
        ({}, dg.DefaultSensorStatus.STOPPED),
        ({"ALERT_WEBHOOK_URL": "https://hooks.test/s3cret"}, dg.DefaultSensorStatus.RUNNING),
    ):
        repository = build_defs(environment=environment).get_repository_def()
        for name in ("failed_run_alert_sensor", "failed_check_alert_sensor"):
            assert repository.get_sensor_def(name).default_status is status


class TestNothingIsLost:
    def test_a_failed_attempt_is_repeated_within_the_tick(
        self, instance: dg.DagsterInstance, webhook: Webhook, waits: list[float]
    ) -> None:
        webhook.statuses, webhook.retry_after = [503, 429, 200], "7"
        ticks = Ticks(FAILED_RUN, instance)
        ticks.tick(webhook.url)
        fail_a_run(instance)
        assert ticks.tick(webhook.url) == [None]
        assert len(webhook.messages) == 1
        assert waits == [7.0, 7.0]

    def test_what_a_webhook_did_not_take_fails_the_tick_and_is_posted_by_a_later_one_in_its_order(
        self, instance: dg.DagsterInstance, webhook: Webhook
    ) -> None:
        webhook.statuses = [503, 503, 503, 200]
        ticks = Ticks(FAILED_RUN, instance)
        ticks.tick(webhook.url)
        for cause in ("first", "second"):
            fail_a_run(instance, cause)
        (problem,) = ticks.tick(webhook.url)
        assert problem == "The alert webhook (127.0.0.1) answered 503. Check ALERT_WEBHOOK_URL. [ALERT]"
        assert webhook.calls == 3
        assert ticks.tick(webhook.url) == [None, None]
        assert ticks.tick(webhook.url) == []
        assert ["first" in text for text in webhook.messages] == [True, False]

    def test_a_webhook_that_is_gone_holds_up_no_other_and_its_successor_gets_what_it_missed(
        self, instance: dg.DagsterInstance, start_webhook: StartWebhook
    ) -> None:
        gone, good, successor = start_webhook(), start_webhook(), start_webhook()
        gone.statuses = [404]
        ticks = Ticks(FAILED_RUN, instance)
        ticks.tick(gone.url, good.url)
        for _ in range(2):
            fail_a_run(instance)
            assert len([problem for problem in ticks.tick(gone.url, good.url) if problem]) == 1
        assert (len(good.messages), gone.calls) == (2, 2)
        assert ticks.tick(successor.url, good.url) == [None, None]
        assert (len(good.messages), len(successor.messages)) == (2, 2)

    def test_the_position_of_dagsters_own_sensors_is_taken_over(
        self, instance: dg.DagsterInstance, webhook: Webhook
    ) -> None:
        fail_a_run(instance)
        cursor = json.dumps({"__class__": "RunStatusSensorCursor", "record_id": -1, "update_timestamp": None})
        assert Ticks(FAILED_RUN, instance, cursor).tick(webhook.url) == [None]

    def test_without_a_webhook_the_sensor_says_so_and_later_begins_with_what_comes_then(
        self, instance: dg.DagsterInstance, webhook: Webhook
    ) -> None:
        ticks = Ticks(FAILED_RUN, instance)
        ticks.tick()
        fail_a_run(instance)
        assert ticks.tick() == []
        assert "ALERT_WEBHOOK_URL" in (ticks.skipped or "")
        assert ticks.tick(webhook.url) == []
        fail_a_run(instance)
        assert ticks.tick(webhook.url) == [None]

    def test_what_was_not_taken_for_days_is_given_up(
        self, instance: dg.DagsterInstance, webhook: Webhook, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        webhook.statuses = [410, 200]
        ticks = Ticks(FAILED_RUN, instance)
        ticks.tick(webhook.url)
        fail_a_run(instance)
        assert len(ticks.tick(webhook.url)) == 1
        monkeypatch.setattr("toast_assets.defs.alerts._OLDEST_SECONDS", -1.0)
        assert ticks.tick(webhook.url) == []
        assert not webhook.messages


def post(resource: AlertsResource) -> None:
    for webhook in resource.webhooks():
        webhook.post("text", 10.0)


class TestTheAddressIsASecret:
    @pytest.mark.parametrize("broken", ["refuses", "is down", "is no URL", "is plain HTTP", "has an odd port"])
    def test_a_webhook_that_fails_is_an_error_that_does_not_repeat_its_address(
        self, webhook: Webhook, broken: str
    ) -> None:
        webhook.statuses = [500]
        url = {
            "refuses": webhook.url,
            "is down": "http://127.0.0.1:9/s3cret",
            "is no URL": "s3cret",
            "is plain HTTP": "http://hooks.test/s3cret",
            "has an odd port": "https://hooks.test:s3cret/",
        }[broken]
        resource = AlertsResource.from_environment(webhook_url=url)
        with pytest.raises((AlertError, SettingsError), match="ALERT_WEBHOOK_URL") as caught:
            post(resource)
        assert "s3cret" not in str(caught.value)
        if isinstance(caught.value, AlertError):
            assert "s3cret" not in repr(resource.webhooks())

    def test_it_is_stripped_and_may_be_one_of_several(self, start_webhook: StartWebhook) -> None:
        one, other = start_webhook(), start_webhook()
        post(AlertsResource.from_environment(webhook_url=f"{one.url}\r\n {other.url}\n"))
        assert one.messages == other.messages == ["text"]

    def test_no_log_holds_it_at_any_level(self, webhook: Webhook, caplog: pytest.LogCaptureFixture) -> None:
        webhook.statuses = [503, 200]
        for level in (logging.INFO, logging.DEBUG):
            caplog.set_level(level)
            post(AlertsResource.from_environment(webhook_url=webhook.url))
        assert "s3cret" not in caplog.text
