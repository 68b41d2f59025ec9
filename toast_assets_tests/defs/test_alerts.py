"""Alerts: what is posted when something breaks and when it has recovered, to a real webhook on loopback."""

from __future__ import annotations

import json
import logging
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import dagster as dg
import pytest

from toast_assets.defs import resources
from toast_assets.defs.alerts import AlertCursor, build_alert_sensor
from toast_assets.defs.brand import Brand
from toast_assets.defs.build import build_defs
from toast_assets.defs.resources import AlertsResource
from toast_assets.errors import AlertError, SettingsError
from toast_assets.http import webhooks
from toast_assets.sandbox import Sandbox
from toast_assets.variables import Variables
from toast_assets_tests.defs.conftest import PARTITION, RunWeek


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
    """Ticks of the sensor, as Dagster's daemon makes them: the cursor goes from one to the next."""

    instance: dg.DagsterInstance
    brand: Brand = field(default_factory=Brand)
    cursor: str | None = None
    skipped: str | None = None
    now: float = field(default_factory=time.time)

    def tick(self, *urls: str, ui_url: str | None = None) -> list[str | None]:
        """One tick with webhooks; an item for each alert of a run that was posted, its error if there was one."""
        sensor = build_alert_sensor(self.brand, running=True, now=lambda: self.now)
        resource = AlertsResource.from_environment(webhook_url=" ".join(urls) or None, ui_url=ui_url)
        context = dg.build_sensor_context(
            instance=self.instance,
            cursor=self.cursor,
            sensor_name=sensor.name,
            resources={self.brand.named("alerts"): resource},
        )
        result = sensor.evaluate_tick(context)
        self.cursor, self.skipped = result.cursor, result.skip_message
        return [one.error.message if one.error else None for one in result.dagster_run_reactions or ()]


@pytest.fixture
def ticks(instance: dg.DagsterInstance) -> Ticks:
    return Ticks(instance)


def end_a_run(instance: dg.DagsterInstance, cause: str = "no way", job: str = "weekly", **tags: str) -> str:
    """The id of a run that fails by a cause, or succeeds without one."""

    @dg.op
    def work() -> None:
        if cause:
            raise dg.Failure(cause, metadata={"code": cause.upper().replace(" ", "-")})

    @dg.job(name=job)
    def made() -> None:
        work()

    return made.execute_in_process(instance=instance, tags=tags, raise_on_error=False).run_id


@pytest.mark.usefixtures("sandbox_environment")
class TestTheWeeklyJob:
    def test_a_failure_that_lasts_five_runs_is_exactly_two_messages(
        self, run_week: RunWeek, sandbox: Sandbox, ticks: Ticks, webhook: Webhook
    ) -> None:
        sandbox.faults.arm("status", "login", status=401, last=None)
        ticks.tick(webhook.url)
        first = run_week("raw_toast_orders")
        assert ticks.tick(webhook.url, ui_url="https://dagster.test/") == [None]
        for partition in ("2025-09-08", PARTITION, "2025-09-01", PARTITION):
            run_week("raw_toast_orders", partition=partition)
            assert ticks.tick(webhook.url) == []
        sandbox.faults.clear()
        last = run_week("raw_toast_orders")
        assert ticks.tick(webhook.url) == [None]
        broke, recovered = webhook.messages
        begin = f"toast-assets: week {PARTITION} failed – https://dagster.test/runs/{first.run_id}\n"
        assert broke.startswith(f"{begin}• raw_toast_orders: [TOAST-LOGIN] Toast refused the login")
        assert "Check TOAST_CLIENT_ID" in broke
        head, title, line = recovered.splitlines()
        assert (head, title) == (f"toast-assets: week {PARTITION} succeeded – run {last.run_id}", "Recovered:")
        assert line.startswith("• raw_toast_orders: [TOAST-LOGIN] broken since ")
        assert line.endswith(" UTC. Still to be materialized: 2025-09-01, 2025-09-08.")

    def test_a_failed_check_of_a_run_that_went_through_is_posted_and_so_is_its_recovery(
        self, run_week: RunWeek, sandbox: Sandbox, ticks: Ticks, webhook: Webhook
    ) -> None:
        bad = sandbox.restaurant_guids[0]
        sandbox.faults.arm("status", "orders", target=bad, status=403, last=None)
        ticks.tick(webhook.url)
        for _ in range(2):
            run_week("raw_toast_orders")
            ticks.tick(webhook.url)
        sandbox.faults.clear()
        run_week("raw_toast_orders")
        ticks.tick(webhook.url)
        broke, recovered = webhook.messages
        assert f"week {PARTITION} succeeded, but checks failed" in broke
        assert "• raw_toast_orders / every_restaurant_complete: [" in broke
        assert bad in broke
        assert f"week {PARTITION} succeeded – " in recovered
        assert "• raw_toast_orders / every_restaurant_complete: [" in recovered

    def test_a_run_with_nothing_worse_than_a_warning_posts_nothing(
        self, run_week: RunWeek, sandbox: Sandbox, ticks: Ticks, webhook: Webhook
    ) -> None:
        # Without the names of Toast's configuration, names_known warns.
        sandbox.faults.arm("status", "configuration", status=403, last=None)
        ticks.tick(webhook.url)
        result = run_week("raw_toast_orders")
        failed = [one for one in result.get_asset_check_evaluations() if not one.passed]
        assert {one.severity for one in failed} == {dg.AssetCheckSeverity.WARN}
        assert ticks.tick(webhook.url) == []
        assert not webhook.messages

    def test_a_dry_run_says_nothing_of_a_delivery_that_is_broken(
        self, run_week: RunWeek, sandbox: Sandbox, ticks: Ticks, webhook: Webhook
    ) -> None:
        ticks.tick(webhook.url)
        sandbox.faults.arm("status", "stream", status=401, last=None)
        run_week()
        sandbox.faults.clear()
        ticks.tick(webhook.url)
        run_week("amperity_delivery", config={"amperity_delivery": {"dry_run": True}})
        assert ticks.tick(webhook.url) == []
        run_week("amperity_delivery")
        assert ticks.tick(webhook.url) == [None]
        assert ["Recovered:\n• amperity_delivery" in text for text in webhook.messages] == [False, True]


def test_a_check_that_blocks_is_one_line_by_its_own_causes(ticks: Ticks, webhook: Webhook) -> None:
    @dg.asset
    def orders() -> None:
        return

    def checked(*causes: str) -> str:
        @dg.asset_check(asset=orders, blocking=True)
        def complete() -> dg.AssetCheckResult:
            metadata: dict[str, Any] = {"causes": list(causes), "week": PARTITION}
            return dg.AssetCheckResult(passed=not causes, description="the reasons [DAMAGED]", metadata=metadata)

        dg.materialize([orders, complete], instance=ticks.instance, raise_on_error=False)
        ticks.tick(webhook.url)
        return webhook.messages[-1].partition("\n")[2]

    ticks.tick(webhook.url)
    assert checked("DAMAGED r-2", "DAMAGED r-1") == "• orders / complete: [DAMAGED] the reasons (r-1, r-2)"
    broken, title, over = checked("DAMAGED r-2", "REFUSED r-3").splitlines()
    assert (broken, title) == ("• orders / complete: [REFUSED] the reasons [DAMAGED] (r-3)", "Recovered:")
    assert over.startswith("• orders / complete: [DAMAGED] r-1, broken since ")
    assert over.endswith(" UTC. Restaurants that still fail by it: 1.")
    assert checked().count("\n") == 2


def test_one_of_several_brands_hears_of_its_own_runs_and_is_named(
    instance: dg.DagsterInstance, webhook: Webhook
) -> None:
    brand = Brand("brand_a", ("brand_a",), variables=Variables("BRAND_A_"))
    sensor = build_alert_sensor(brand, running=True)
    assert "to BRAND_A_ALERT_WEBHOOK_URL what" in str(sensor.description)
    ticks = Ticks(instance, brand)
    assert (ticks.tick(), ticks.skipped) == ([], "BRAND_A_ALERT_WEBHOOK_URL is not set.")
    ticks.tick(webhook.url)
    for job in ("brand_b_weekly_toast_orders", "brand_a_weekly_toast_orders", "somebodys_job"):
        end_a_run(instance, f"the fault of {job}", job)
    assert ticks.tick(webhook.url) == [None]
    (text,) = webhook.messages
    assert text.startswith("toast-assets brand_a: a run without a partition failed")
    assert "the fault of brand_a_weekly_toast_orders" in text


def test_the_only_brand_of_a_deployment_hears_of_every_run_of_its_code_location(ticks: Ticks, webhook: Webhook) -> None:
    ticks.tick(webhook.url)
    end_a_run(ticks.instance, job="somebodys_job")
    assert ticks.tick(webhook.url) == [None]
    assert "• work: [NO-WAY] no way" in webhook.messages[0]


def test_a_run_that_ends_before_its_first_step_is_said_and_recovers_with_the_next_one_of_its_week(
    ticks: Ticks, webhook: Webhook
) -> None:
    instance = ticks.instance
    ticks.tick(webhook.url)
    run = instance.create_run_for_job(
        dg.GraphDefinition("weekly_toast_orders").to_job(), tags={"dagster/partition": PARTITION}
    )
    instance.report_run_failed(run, "the machine is gone")
    ticks.tick(webhook.url)
    end_a_run(instance, "", "weekly_toast_orders", **{"dagster/partition": "2025-09-08"})
    assert ticks.tick(webhook.url) == []
    end_a_run(instance, "", "weekly_toast_orders", **{"dagster/partition": PARTITION})
    ticks.tick(webhook.url)
    broke, recovered = webhook.messages
    assert "• the run: [RUN] the machine is gone" in broke
    assert "Recovered:\n• the run: [RUN] broken since " in recovered


def test_an_error_of_another_package_is_known_by_its_type_and_never_by_its_text(ticks: Ticks, webhook: Webhook) -> None:
    @dg.op
    def work() -> None:
        raise ZeroDivisionError("a guest's name")

    @dg.job
    def made() -> None:
        work()

    ticks.tick(webhook.url)
    made.execute_in_process(instance=ticks.instance, raise_on_error=False)
    ticks.tick(webhook.url)
    assert webhook.messages[0].splitlines()[1] == "• work: [ZeroDivisionError] ZeroDivisionError (see the run's log)"


def test_without_an_address_the_sensor_is_stopped_until_somebody_starts_it(
    bare_environment: pytest.MonkeyPatch,
) -> None:
    bare_environment.delenv("ALERT_WEBHOOK_URL", raising=False)
    for environment, status in (
        ({}, dg.DefaultSensorStatus.STOPPED),
        ({"ALERT_WEBHOOK_URL": "https://hooks.test/s3cret"}, dg.DefaultSensorStatus.RUNNING),
    ):
        repository = build_defs(environment=environment).get_repository_def()
        assert repository.get_sensor_def("alert_sensor").default_status is status


class TestSettings:
    def test_a_weekly_sensor_that_waits_for_settings_is_said_once_and_so_is_that_it_goes_on(
        self, sandbox_environment: pytest.MonkeyPatch, ticks: Ticks, webhook: Webhook
    ) -> None:
        sandbox_environment.setenv("TOAST_SENSOR", "on")
        secret = os.environ["TOAST_CLIENT_SECRET"]
        sandbox_environment.delenv("TOAST_CLIENT_SECRET")
        for _ in range(3):
            assert ticks.tick(webhook.url) == []
        sandbox_environment.setenv("TOAST_CLIENT_SECRET", secret)
        for _ in range(2):
            ticks.tick(webhook.url)
        broke, recovered = webhook.messages
        assert broke.startswith(
            "toast-assets: settings are missing or malformed\n• weekly_toast_orders_sensor: [SETTINGS]"
        )
        assert "TOAST_CLIENT_SECRET is not set" in broke
        assert recovered.startswith("toast-assets: the settings are complete\nRecovered:\n")

    def test_an_address_that_does_not_take_it_fails_the_tick_and_gets_it_later(
        self, bare_environment: pytest.MonkeyPatch, ticks: Ticks, webhook: Webhook
    ) -> None:
        bare_environment.setenv("TOAST_SENSOR", "on")
        webhook.statuses = [404, 200]
        assert len(ticks.tick(webhook.url)) == 1
        assert ticks.tick(webhook.url) == []
        assert len(webhook.messages) == 1

    @pytest.mark.parametrize("mode", ["off", "auto"])
    def test_a_sensor_that_is_off_or_has_a_temporary_instance_is_no_alert(
        self, bare_environment: pytest.MonkeyPatch, ticks: Ticks, webhook: Webhook, mode: str
    ) -> None:
        bare_environment.setenv("TOAST_SENSOR", mode)
        ticks.tick(webhook.url)
        assert not webhook.calls


class TestNothingIsLost:
    def test_a_failed_attempt_is_repeated_within_the_tick(
        self, ticks: Ticks, webhook: Webhook, waits: list[float]
    ) -> None:
        webhook.statuses, webhook.retry_after = [503, 429, 200], "7"
        ticks.tick(webhook.url)
        end_a_run(ticks.instance)
        assert ticks.tick(webhook.url) == [None]
        assert len(webhook.messages) == 1
        assert waits == [7.0, 7.0]

    def test_what_a_webhook_did_not_take_fails_the_tick_and_is_posted_by_a_later_one_in_its_order(
        self, ticks: Ticks, webhook: Webhook
    ) -> None:
        webhook.statuses = [503, 503, 503, 200]
        ticks.tick(webhook.url)
        for cause in ("first", "second"):
            end_a_run(ticks.instance, cause)
        (problem,) = ticks.tick(webhook.url)
        assert problem == "The alert webhook (127.0.0.1) answered 503. Check ALERT_WEBHOOK_URL. [ALERT]"
        assert webhook.calls == 3
        assert ticks.tick(webhook.url) == [None, None]
        assert ticks.tick(webhook.url) == []
        assert ["first" in text for text in webhook.messages] == [True, False]

    def test_of_several_addresses_one_that_is_down_gets_both_messages_later_and_no_other_gets_them_twice(
        self, ticks: Ticks, start_webhook: StartWebhook
    ) -> None:
        down, good = start_webhook(), start_webhook()
        down.statuses = [404, 404, 404, 200]
        ticks.tick(down.url, good.url)
        end_a_run(ticks.instance)
        assert ticks.tick(down.url, good.url) == [
            None,
            "The alert webhook (127.0.0.1) answered 404. Check ALERT_WEBHOOK_URL. [ALERT]",
        ]
        for cause in ("no way", ""):
            end_a_run(ticks.instance, cause)
            ticks.tick(down.url, good.url)
        assert (len(good.messages), len(down.messages)) == (2, 0)
        assert ticks.tick(down.url, good.url) == [None, None]
        assert good.messages == down.messages

    def test_the_successor_of_an_address_gets_what_that_has_missed(
        self, ticks: Ticks, start_webhook: StartWebhook
    ) -> None:
        gone, good, successor = start_webhook(), start_webhook(), start_webhook()
        gone.statuses = [404]
        ticks.tick(gone.url, good.url)
        end_a_run(ticks.instance)
        ticks.tick(gone.url, good.url)
        assert ticks.tick(successor.url, good.url) == [None]
        assert good.messages == successor.messages

    def test_a_further_address_hears_nothing_of_the_past(self, ticks: Ticks, start_webhook: StartWebhook) -> None:
        down, further = start_webhook(), start_webhook()
        down.statuses = [404]
        ticks.tick(down.url)
        end_a_run(ticks.instance)
        ticks.tick(down.url)
        ticks.tick(down.url, further.url)
        assert not further.messages
        end_a_run(ticks.instance, "")
        ticks.tick(down.url, further.url)
        assert ["Recovered:" in text for text in further.messages] == [True]

    def test_a_first_tick_begins_with_the_runs_that_end_from_then_on(self, ticks: Ticks, webhook: Webhook) -> None:
        end_a_run(ticks.instance)
        assert ticks.tick(webhook.url) == []
        assert ticks.skipped == "Begins with the runs that end from now on."
        end_a_run(ticks.instance)
        assert ticks.tick(webhook.url) == [None]

    @pytest.mark.parametrize("cursor", ['{"record_id": 1, "addresses": {"0a": 1}}', "{", "7", '{"position": "x"}'])
    def test_a_cursor_of_an_earlier_release_or_a_damaged_one_is_a_first_tick(
        self, ticks: Ticks, webhook: Webhook, cursor: str
    ) -> None:
        end_a_run(ticks.instance)
        ticks.cursor = cursor
        assert ticks.tick(webhook.url) == []
        assert AlertCursor.decode(ticks.cursor)

    def test_without_a_webhook_the_sensor_says_so_and_later_begins_with_what_comes_then(
        self, ticks: Ticks, webhook: Webhook
    ) -> None:
        ticks.tick()
        end_a_run(ticks.instance)
        assert ticks.tick() == []
        assert "ALERT_WEBHOOK_URL" in (ticks.skipped or "")
        assert ticks.tick(webhook.url) == []
        end_a_run(ticks.instance)
        assert ticks.tick(webhook.url) == [None]

    def test_more_runs_than_a_tick_reads_are_read_in_their_order_by_the_next_ones(
        self, ticks: Ticks, webhook: Webhook, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("toast_assets.defs.alerts._MOST_RUNS", 2)
        ticks.tick(webhook.url)
        # Read by kind, the last run would seem to come before the second one.
        for cause in ("first", "first", "", "second", ""):
            end_a_run(ticks.instance, cause)
        for _ in range(3):
            ticks.tick(webhook.url)
        assert [re.findall(r"\[(\w+)\]|(Recovered)", text) for text in webhook.messages] == [
            [("FIRST", "")],
            [("", "Recovered"), ("FIRST", "")],
            [("SECOND", "")],
            [("", "Recovered"), ("SECOND", "")],
        ]

    def test_what_was_not_taken_for_days_is_given_up(
        self, ticks: Ticks, webhook: Webhook, capfd: pytest.CaptureFixture[str]
    ) -> None:
        webhook.statuses = [410, 200]
        ticks.tick(webhook.url)
        end_a_run(ticks.instance)
        assert len(ticks.tick(webhook.url)) == 1
        ticks.now += 3 * 86_400 + 1
        assert ticks.tick(webhook.url) == []
        assert not webhook.messages
        assert "1 alerts are given up" in capfd.readouterr().err

    def test_a_long_message_is_cut_and_few_wait_for_an_address_that_is_gone(
        self, ticks: Ticks, webhook: Webhook
    ) -> None:
        webhook.statuses = [404]
        ticks.tick(webhook.url)
        for number in range(30):
            end_a_run(ticks.instance, f"{number}" * 3000)
            ticks.tick(webhook.url)
        cursor = AlertCursor.decode(ticks.cursor)
        assert cursor is not None
        assert len(cursor.messages) == 20
        assert all(len(message.text) < 4500 for message in cursor.messages)


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
