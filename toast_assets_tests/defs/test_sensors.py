"""The weekly sensor through Dagster: its requests, its cursor, its words, and a year of them."""

from __future__ import annotations

import os
import uuid
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from toast_assets.defs import resources
from toast_assets.defs.brand import Brand
from toast_assets.defs.build import build_defs
from toast_assets.defs.due_weeks import REASON_TAG
from toast_assets.defs.resources import LazyS3Resource, OrderStoreResource
from toast_assets.defs.sensors import SENSOR_NAME, build_sensor
from toast_assets.errors import CalendarError
from toast_assets.sandbox import Sandbox
from toast_assets.store.manifest import Manifest
from toast_assets.store.order_store import OrderStore
from toast_assets.week import WeekCalendar, iso_ms
from toast_assets_tests.defs.conftest import RunWeek
from toast_assets_tests.support.services.clients import s3_client
from toast_assets_tests.support.services.toast_orders import late_arrivals
from toast_assets_tests.support.stores.stored_weeks import save_manifest

MONDAY = datetime(2025, 9, 22, 4, 15, tzinfo=UTC)
NEW_YORK = WeekCalendar(timezone="America/New_York")


@dataclass
class Daemon:
    """What the sensor daemon does with a tick: keeps the cursor, and starts what no run key has started before."""

    instance: dg.DagsterInstance
    cursor: str | None = None
    now: datetime = MONDAY
    started: list[dg.DagsterRun] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._repository = build_defs().get_repository_def()
        self._sensor = build_sensor(Brand(), lambda: self.now)

    def tick(self, now: datetime) -> dg.SensorResult:
        """The sensor's answer at ``now``; its requests are queued."""
        self.now = now
        resources = {"order_store": OrderStoreResource.from_environment(s3=LazyS3Resource())}
        with dg.build_sensor_context(
            instance=self.instance, repository_def=self._repository, cursor=self.cursor, resources=resources
        ) as context:
            data = self._sensor.evaluate_tick(context)
        self.cursor = data.cursor
        requests = list(data.run_requests or ())
        for request in requests:
            self._start(request)
        return dg.SensorResult(run_requests=requests, skip_reason=data.skip_message, cursor=data.cursor)

    def _start(self, request: dg.RunRequest) -> None:
        if self.instance.get_runs_count(dg.RunsFilter(tags={"dagster/run_key": str(request.run_key)})):
            return
        tags = {
            **request.tags,
            "dagster/sensor_name": SENSOR_NAME,
            "dagster/run_key": str(request.run_key),
            "dagster/partition": str(request.partition_key),
        }
        run = dg.DagsterRun(
            job_name="weekly_toast_orders",
            run_id=str(uuid.uuid4()),
            status=dg.DagsterRunStatus.STARTED,
            tags=tags,
        )
        self.started.append(self.instance.run_storage.add_historical_run(run, run_creation_time=self.now))

    def weeks(self, reason: str = "") -> list[str]:
        """The weeks of the runs that were started for a reason, oldest run first."""
        return [run.tags["dagster/partition"] for run in self.started if reason in run.tags[REASON_TAG]]


@pytest.fixture
def daemon(instance: dg.DagsterInstance) -> Daemon:
    """The sensor on an instance of its own."""
    return Daemon(instance)


@pytest.fixture
def switched_on(sandbox_environment: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The variables of the sandbox, and a sensor that also works on an instance that is gone after the test."""
    sandbox_environment.setenv("TOAST_SENSOR", "on")
    return sandbox_environment


class TestWhetherItStartsAnything:
    @pytest.fixture(params=["ephemeral", "of dagster dev"])
    def temporary(self, request: pytest.FixtureRequest, tmp_path: Path) -> dg.DagsterInstance:
        """What Dagster makes where DAGSTER_HOME is not set."""
        if request.param == "ephemeral":
            return dg.DagsterInstance.ephemeral()
        return stored_instance(tmp_path / ".tmp_dagster_home_x1y2")

    def test_by_default_it_works_on_an_instance_that_stays(
        self, sandbox_environment: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        assert Daemon(stored_instance(tmp_path / "home")).tick(MONDAY).run_requests
        sandbox_environment.setenv("TOAST_SENSOR", "auto")
        assert Daemon(stored_instance(tmp_path / "another")).tick(MONDAY).run_requests

    @pytest.mark.usefixtures("sandbox_environment")
    def test_on_a_temporary_instance_it_starts_nothing_and_says_what_to_set(
        self, temporary: dg.DagsterInstance
    ) -> None:
        assert idle(Daemon(temporary)) == (
            "Nothing starts by itself on a temporary Dagster instance, whose history ends with it. Set DAGSTER_HOME to"
            " a folder that stays, or TOAST_SENSOR to on."
        )

    @pytest.mark.usefixtures("switched_on")
    def test_switched_on_it_works_on_a_temporary_instance_too(self, temporary: dg.DagsterInstance) -> None:
        assert Daemon(temporary).tick(MONDAY).run_requests

    def test_switched_off_it_starts_nothing_and_says_so(
        self, sandbox_environment: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        sandbox_environment.setenv("TOAST_SENSOR", "off")
        assert idle(Daemon(stored_instance(tmp_path))) == (
            "The sensor is off: TOAST_SENSOR is off. Set it to on, or leave it out."
        )

    def test_without_settings_it_starts_nothing_and_names_them_all(
        self, bare_environment: pytest.MonkeyPatch, daemon: Daemon
    ) -> None:
        bare_environment.setenv("TOAST_SENSOR", "on")
        bare_environment.setenv("TOAST_WEEK_HOUR", "4 o'clock")
        bare_environment.setenv("AMPERITY_DELIVERY", "stream,s3_pull")
        bare_environment.setenv("AMPERITY_REDACT", "emial=drop")
        reason = idle(daemon)
        assert reason.startswith("Nothing starts by itself before the settings are complete: ")
        for name in (
            *("TOAST_CLIENT_ID", "TOAST_CLIENT_SECRET", "TOAST_RESTAURANT_GUID", "TOAST_WEEK_HOUR"),
            *("S3_BUCKET_NAME", "AMPERITY_TENANT_ID", "AMPERITY_API_KEY", "AMPERITY_STREAM_ID", "AMPERITY_REDACT"),
        ):
            assert reason.count(name) == 1, reason

    def test_a_switch_that_is_none_is_named(self, sandbox_environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
        sandbox_environment.setenv("TOAST_SENSOR", "maybe")
        reason = idle(Daemon(stored_instance(tmp_path)))
        assert reason.startswith("Nothing starts by itself: TOAST_SENSOR holds 'maybe'")

    def test_what_is_set_later_lets_it_go_on_where_it_was(
        self, switched_on: pytest.MonkeyPatch, daemon: Daemon
    ) -> None:
        daemon.tick(MONDAY)
        before = daemon.cursor
        secret = os.environ["TOAST_CLIENT_SECRET"]
        switched_on.delenv("TOAST_CLIENT_SECRET")
        assert "TOAST_CLIENT_SECRET" in idle(daemon, MONDAY + timedelta(days=10))
        assert daemon.cursor == before
        switched_on.setenv("TOAST_CLIENT_SECRET", secret)
        requests = daemon.tick(MONDAY + timedelta(days=15)).run_requests or ()
        assert {request.partition_key for request in requests} == {"2025-09-22", "2025-09-29"}


def stored_instance(folder: Path) -> dg.DagsterInstance:
    """An instance whose history is in a folder."""
    folder.mkdir(exist_ok=True)
    (folder / "dagster.yaml").touch()
    return dg.DagsterInstance.from_config(str(folder))


def idle(daemon: Daemon, now: datetime = MONDAY) -> str:
    """Why a tick started nothing."""
    before = daemon.cursor
    tick = daemon.tick(now)
    assert (tick.run_requests, daemon.cursor) == ([], before)
    return said(tick)


def said(tick: dg.SensorResult) -> str:
    """Why a tick started nothing, in its words."""
    assert isinstance(tick.skip_reason, dg.SkipReason)
    return str(tick.skip_reason.skip_message)


@pytest.mark.usefixtures("switched_on")
class TestOnAnEmptyBucket:
    def test_the_first_tick_asks_for_the_last_closed_week_and_says_why(self, daemon: Daemon) -> None:
        (request,) = daemon.tick(MONDAY).run_requests or ()
        assert (request.partition_key, request.run_key) == ("2025-09-15", "week-2025-09-15")
        assert request.tags[REASON_TAG] == "it has closed"

    def test_before_the_first_week_has_closed_it_says_when_it_will(self, daemon: Daemon) -> None:
        tick = daemon.tick(datetime(2025, 1, 8, tzinfo=UTC))
        assert said(tick) == "Nothing to do. Next: week 2025-01-06 at 2025-01-13 04:15 UTC."

    @pytest.mark.parametrize("is_reset", [False, True])
    def test_the_next_tick_has_nothing_to_do_and_says_what_comes(self, daemon: Daemon, *, is_reset: bool) -> None:
        daemon.tick(MONDAY)
        if is_reset:
            daemon.cursor = None
        second = daemon.tick(MONDAY + timedelta(minutes=5))
        assert not second.run_requests
        for words in (
            "Nothing to do. Next: ",
            "second look at week 2025-09-15 at 2025-09-25 04:00 UTC",
            "week 2025-09-22 at 2025-09-29 04:15 UTC.",
        ):
            assert words in str(second.skip_reason)

    def test_a_tick_says_that_the_bucket_cannot_be_read_and_goes_on(
        self, instance: dg.DagsterInstance, daemon: Daemon, switched_on: pytest.MonkeyPatch
    ) -> None:
        switched_on.setenv("S3_BUCKET_NAME", "no-such-bucket")
        daemon.tick(MONDAY)
        instance.report_run_failed(daemon.started[0])
        later = daemon.tick(MONDAY + timedelta(hours=2))
        assert "S3_BUCKET_NAME" in str(later.skip_reason)
        (request,) = daemon.tick(MONDAY + timedelta(days=7)).run_requests or ()
        assert request.partition_key == "2025-09-22"

    def test_resetting_the_cursor_starts_nothing_again_and_forgets_no_week(self, daemon: Daemon) -> None:
        daemon.tick(MONDAY)
        daemon.cursor = None
        assert not daemon.tick(MONDAY + timedelta(minutes=5)).run_requests
        daemon.cursor = None
        caught_up = daemon.tick(MONDAY + timedelta(weeks=3)).run_requests or ()
        assert [request.partition_key for request in caught_up] == ["2025-09-22", "2025-09-29", "2025-10-06"]


@pytest.mark.usefixtures("switched_on")
class TestOnABucket:
    def test_three_days_later_a_second_look_asks_toast_again(self, daemon: Daemon, run_week: RunWeek) -> None:
        daemon.tick(MONDAY)
        daemon.instance.report_run_canceled(daemon.started[0])
        run_week()
        (request,) = daemon.tick(MONDAY + timedelta(hours=72)).run_requests or ()
        assert request.tags[REASON_TAG] == "second look"
        assert request.run_config == {"ops": {"raw_toast_orders": {"config": {"refresh": True}}}}

    def test_a_setting_moves_the_second_look_also_where_the_cursor_was_reset(
        self, daemon: Daemon, run_week: RunWeek, switched_on: pytest.MonkeyPatch
    ) -> None:
        switched_on.setenv("TOAST_SECOND_LOOK_HOURS", "100.5")
        daemon.tick(MONDAY)
        daemon.instance.report_run_canceled(daemon.started[0])
        run_week("raw_toast_orders")
        daemon.cursor = None
        waiting = daemon.tick(MONDAY + timedelta(hours=72))
        assert "second look at week 2025-09-15 at 2025-09-26 08:30 UTC" in said(waiting)
        (request,) = daemon.tick(MONDAY + timedelta(hours=101)).run_requests or ()
        assert request.tags[REASON_TAG] == "second look"

    def test_a_second_look_delivers_late_arrivals_and_only_them(
        self, daemon: Daemon, run_week: RunWeek, sandbox: Sandbox
    ) -> None:
        daemon.tick(MONDAY)
        daemon.instance.report_run_canceled(daemon.started[0])
        run_week()
        sent = len(sandbox.amperity.accepted)
        week = WeekCalendar().week("2025-09-15")
        late = late_arrivals(sandbox.toast.orders[sandbox.restaurant_guids[0]], week.start, week.end, 2)
        (request,) = daemon.tick(MONDAY + timedelta(hours=72)).run_requests or ()
        run_week(config={name: op["config"] for name, op in request.run_config["ops"].items()})
        arrived = {str(record.guid) for record in list(sandbox.amperity.accepted)[sent:]}
        assert arrived == {order.guid for order in late}
        assert len(sandbox.amperity.accepted) == sent + 2

    def test_a_week_with_a_missing_restaurant_is_asked_for_again(
        self, daemon: Daemon, run_week: RunWeek, sandbox: Sandbox
    ) -> None:
        daemon.tick(MONDAY)
        daemon.instance.report_run_canceled(daemon.started[0])
        sandbox.faults.arm("status", "orders", target=sandbox.restaurant_guids[0], status=403, last=None)
        run_week("raw_toast_orders")
        (request,) = daemon.tick(MONDAY + timedelta(hours=2)).run_requests or ()
        assert request.tags[REASON_TAG] == "attempt 2 of 6, the last one was incomplete"

    def test_a_week_whose_delivery_failed_is_asked_for_again_without_a_refresh(
        self, daemon: Daemon, run_week: RunWeek, sandbox: Sandbox
    ) -> None:
        daemon.tick(MONDAY)
        daemon.instance.report_run_canceled(daemon.started[0])
        sandbox.faults.arm("status", "stream", status=401, last=None)
        assert not run_week().success
        sandbox.faults.clear()
        (request,) = daemon.tick(MONDAY + timedelta(hours=2)).run_requests or ()
        assert request.tags[REASON_TAG] == "attempt 2 of 6, the last one failed"
        assert not request.run_config

    @pytest.mark.parametrize(
        ("variables", "words"),
        [
            ({"AWS_PROFILE": "nope"}, "AWS_PROFILE"),
            ({"AWS_ENDPOINT_URL_S3": "minio:9000"}, "AWS_ENDPOINT_URL_S3"),
            ({"AWS_DEFAULT_REGION": "US East"}, "AWS_DEFAULT_REGION"),
        ],
    )
    def test_a_fault_of_the_aws_configuration_does_not_keep_a_week_from_being_asked_for(
        self,
        daemon: Daemon,
        switched_on: pytest.MonkeyPatch,
        capfd: pytest.CaptureFixture[str],
        variables: dict[str, str],
        words: str,
    ) -> None:
        for name, value in variables.items():
            switched_on.setenv(name, value)
        (request,) = daemon.tick(MONDAY).run_requests or ()
        assert request.partition_key == "2025-09-15"
        assert words in capfd.readouterr().err

    def test_whatever_is_raised_while_the_bucket_is_looked_at_the_week_is_asked_for(
        self, daemon: Daemon, switched_on: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        def fail(**_: object) -> None:
            raise ZeroDivisionError("a secret")

        switched_on.setattr(resources, "s3_client", fail)
        (request,) = daemon.tick(MONDAY).run_requests or ()
        assert request.partition_key == "2025-09-15"
        logged = capfd.readouterr().err
        assert "could not be read (ZeroDivisionError)" in logged
        assert "a secret" not in logged

    def test_a_setting_that_moves_stored_boundaries_fails_the_tick_with_an_explanation(
        self, daemon: Daemon, run_week: RunWeek, switched_on: pytest.MonkeyPatch
    ) -> None:
        run_week("raw_toast_orders")
        switched_on.setenv("TOAST_WEEK_HOUR", "5")
        with pytest.raises(CalendarError, match="would move their boundaries"):
            daemon.tick(MONDAY)

    def test_a_year_with_down_times_failures_clock_changes_and_resets(
        self, daemon: Daemon, store: OrderStore, sandbox: Sandbox, switched_on: pytest.MonkeyPatch
    ) -> None:
        switched_on.setenv("TOAST_WEEK_TIMEZONE", NEW_YORK.timezone)
        # A client takes a tenth of a second to make, and there are hundreds of ticks.
        client = s3_client(sandbox)
        switched_on.setattr(resources, "s3_client", lambda **_: client)
        year = Year(daemon, store, fails={"2025-03-03": 2, "2025-06-02": 1, "2025-10-27": 1})
        # Monday noon and evening, Tuesday and Thursday noon of every week, less those of two down-times.
        monday = datetime(2025, 1, 13, 12, tzinfo=UTC)
        ticks = [monday + timedelta(weeks=number, hours=hours) for number in range(53) for hours in (0, 6, 24, 72)]
        down = [(datetime(2025, 4, 15, tzinfo=UTC), 40), (datetime(2025, 8, 5, tzinfo=UTC), 16)]
        for number, now in enumerate(ticks):
            if not any(begin <= now < begin + timedelta(days=days) for begin, days in down):
                year.tick(now)
            if number % 10 == 0:
                daemon.cursor = None
        weeks = [f"{NEW_YORK.first + timedelta(weeks=number)}" for number in range(53)]
        assert daemon.weeks("has closed") == weeks
        looks = Counter(daemon.weeks("second look"))
        assert [key for key in weeks if looks[key] != 1] == year.late
        assert len(year.late) > 5
        assert Counter(daemon.weeks("attempt")) == year.fails


@dataclass
class Year:
    """Runs that are over by the next tick; the first pulls of a week that ``fails`` stay incomplete so often."""

    daemon: Daemon
    store: OrderStore
    fails: dict[str, int]
    late: list[str] = field(default_factory=list)
    _pulls: Counter[str] = field(default_factory=Counter)

    def tick(self, now: datetime) -> None:
        before = len(self.daemon.started)
        self.daemon.tick(now)
        for run in self.daemon.started[before:]:
            key = run.tags["dagster/partition"]
            if not self._pulls[key] and now >= NEW_YORK.week(key).end + timedelta(hours=72):
                self.late.append(key)
            self._pulls[key] += 1
            self._store(key, complete=self._pulls[key] > self.fails.get(key, 0))
            self.daemon.instance.report_run_canceled(run)

    def _store(self, key: str, *, complete: bool) -> None:
        week = NEW_YORK.week(key)
        manifest = Manifest(
            partition=key,
            start_date=iso_ms(week.start),
            end_date=iso_ms(week.end),
            outcome="complete" if complete else "incomplete",
        )
        save_manifest(self.store, week, manifest)
