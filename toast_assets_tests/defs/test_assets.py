"""The assets through Dagster, against the sandbox over real HTTP and S3."""

from __future__ import annotations

import gzip
import json
import logging
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pytest

from toast_assets.defs.build import build_defs
from toast_assets.sandbox import Kind, Sandbox
from toast_assets.store.order_store import OrderStore
from toast_assets.week import Week, WeekCalendar
from toast_assets_tests.defs.conftest import RunWeek
from toast_assets_tests.support.services.toast_orders import late_arrivals, replace_all

DRY_RUN = {"amperity_delivery": {"dry_run": True}}


def objects(store: OrderStore) -> dict[str, bytes]:
    found = {key: store.bucket.read(key) for key in store.bucket.keys("")}
    return {key: content[0] for key, content in found.items() if content}


def failure_of(result: dg.ExecuteInProcessResult) -> str:
    """Of the one step that failed; the status, which comes last, can fail by the same bucket."""
    failed = [event for event in result.all_events if event.is_step_failure]
    assert [event for event in failed[1:] if event.step_key != "toast__status"] == []
    data = failed[0].step_failure_data
    return str(data.user_failure_data.description if data.user_failure_data else data.error)


def metadata_of(result: dg.ExecuteInProcessResult, asset: str) -> Mapping[str, Any]:
    (event,) = [event for event in result.get_asset_materialization_events() if event.asset_key == dg.AssetKey(asset)]
    return {name: value.value for name, value in event.materialization.metadata.items()}


@pytest.mark.usefixtures("sandbox_environment")
class TestAWeek:
    def test_every_order_is_stored_exported_and_delivered_once(
        self, run_week: RunWeek, sandbox: Sandbox, store: OrderStore, week: Week
    ) -> None:
        assert run_week().success
        for guid in sandbox.restaurant_guids:
            truth = {order.guid for order in sandbox.toast.orders[guid].between(week.start_ms, week.end_ms)}
            export = json.loads(gzip.decompress(objects(store)[store.layout.export(week, guid)]))
            assert {order["guid"] for order in export["orders"]} == truth
            assert all(order["restaurantGuid"] == guid for order in export["orders"])
            assert export["metadata"]["total_orders"] == len(truth) == len(export["orders"])
            delivered = [str(record.guid) for record in sandbox.amperity.accepted if record.restaurant == guid]
            assert sorted(delivered) == sorted(truth)

    def test_a_second_run_changes_no_object_and_sends_nothing(
        self, run_week: RunWeek, sandbox: Sandbox, store: OrderStore
    ) -> None:
        assert run_week().success
        before, sent = objects(store), len(sandbox.amperity.accepted)
        assert run_week().success
        assert objects(store) == before
        assert len(sandbox.amperity.accepted) == sent

    def test_metadata_counts_what_was_done(self, run_week: RunWeek, sandbox: Sandbox, week: Week) -> None:
        result = run_week()
        orders = sum(
            len(sandbox.toast.orders[guid].between(week.start_ms, week.end_ms)) for guid in sandbox.restaurant_guids
        )
        raw = metadata_of(result, "raw_toast_orders")
        assert (raw["orders"], raw["new_orders"], raw["restaurants"]) == (orders, orders, 3)
        assert raw["requests"] == sum(sandbox.toast.log.count(path=path) for path in ("orders", "restaurants"))
        assert metadata_of(result, "toast_orders_s3_export")["orders"] == orders
        delivered = metadata_of(result, "amperity_delivery")
        assert delivered["accepted"] == orders
        assert f"| stream | {orders} | {orders} accepted |" in delivered["by_method"]

    def test_no_metadata_or_log_holds_a_secret_or_a_guest(
        self, run_week: RunWeek, sandbox: Sandbox, instance: dg.DagsterInstance, week: Week
    ) -> None:
        result = run_week()
        text = "\n".join(str(entry) for entry in instance.all_logs(result.run_id))
        environment = sandbox.environment()
        for name in ("TOAST_CLIENT_SECRET", "AMPERITY_API_KEY", "AWS_SECRET_ACCESS_KEY"):
            assert environment[name] not in text
        orders = sandbox.toast.orders[sandbox.restaurant_guids[0]].between(week.start_ms, week.end_ms)
        customers = [check.get("customer") or {} for order in orders for check in json.loads(order.json)["checks"]]
        guests = {customer["email"] for customer in customers if customer.get("email")}
        assert guests
        assert not [guest for guest in guests if guest in text]

    def test_the_data_version_changes_with_the_orders_only(
        self, run_week: RunWeek, sandbox: Sandbox, week: Week
    ) -> None:
        versions = [self._version(run_week("raw_toast_orders")) for _ in range(2)]
        late_arrivals(sandbox.toast.orders[sandbox.restaurant_guids[0]], week.start, week.end, 1)
        versions.append(self._version(run_week("raw_toast_orders")))
        assert versions[0] == versions[1] != versions[2]

    def _version(self, result: dg.ExecuteInProcessResult) -> str:
        (event,) = result.get_asset_materialization_events()
        return (event.materialization.tags or {})["dagster/data_version"]

    def test_an_empty_week_is_exported_and_says_so(
        self, run_week: RunWeek, sandbox: Sandbox, store: OrderStore, week: Week
    ) -> None:
        for guid in sandbox.restaurant_guids:
            replace_all(sandbox.toast.orders[guid], [])
        assert run_week().success
        for guid in sandbox.restaurant_guids:
            export = json.loads(gzip.decompress(objects(store)[store.layout.export(week, guid)]))
            assert (export["orders"], export["metadata"]["total_orders"]) == ([], 0)

    def test_one_restaurant_that_is_forbidden_stops_no_other_and_fails_the_check(
        self, run_week: RunWeek, sandbox: Sandbox, store: OrderStore, week: Week
    ) -> None:
        bad, *good = sandbox.restaurant_guids
        sandbox.faults.arm("status", "orders", target=bad, status=403, last=None)
        result = run_week()
        assert result.success
        (check,) = [
            one for one in result.get_asset_check_evaluations() if one.check_name == "every_restaurant_complete"
        ]
        assert not check.passed
        assert bad in str(check.description)
        assert "403" in str(check.description)
        assert {store.layout.export(week, guid) for guid in good} <= objects(store).keys()
        assert store.layout.export(week, bad) not in objects(store)

    def test_the_run_after_an_incomplete_one_asks_only_for_what_is_missing(
        self, run_week: RunWeek, sandbox: Sandbox
    ) -> None:
        bad, *good = sandbox.restaurant_guids
        sandbox.faults.arm("status", "orders", target=bad, status=403, last=None)
        run_week("raw_toast_orders")
        sandbox.faults.clear()
        asked = {guid: sandbox.toast.log.count(path="orders", target=guid) for guid in good}
        result = run_week("raw_toast_orders")
        assert {guid: sandbox.toast.log.count(path="orders", target=guid) for guid in good} == asked
        checks = {one.check_name: one.passed for one in result.get_asset_check_evaluations()}
        assert checks["every_restaurant_complete"]

    def test_refresh_asks_for_every_restaurant_again(self, run_week: RunWeek, sandbox: Sandbox) -> None:
        run_week("raw_toast_orders")
        asked = sandbox.toast.log.count(path="orders")
        run_week("raw_toast_orders", config={"raw_toast_orders": {"refresh": False}})
        assert sandbox.toast.log.count(path="orders") == asked
        run_week("raw_toast_orders", config={"raw_toast_orders": {"refresh": True}})
        assert sandbox.toast.log.count(path="orders") > asked

    def test_a_dry_run_sends_and_writes_nothing(self, run_week: RunWeek, sandbox: Sandbox, store: OrderStore) -> None:
        run_week("raw_toast_orders", "toast_orders_s3_export")
        before = objects(store)
        assert run_week("amperity_delivery", config=DRY_RUN).success
        assert (objects(store), list(sandbox.amperity.log.entries)) == (before, [])

    def test_a_dry_run_is_an_observation_of_the_week_and_neither_a_materialization_nor_checked(
        self, run_week: RunWeek, sandbox: Sandbox, instance: dg.DagsterInstance, week: Week
    ) -> None:
        run_week("raw_toast_orders", "toast_orders_s3_export")
        result = run_week("amperity_delivery", config=DRY_RUN)
        assert result.success
        assert not result.get_asset_materialization_events()
        assert not result.get_asset_check_evaluations()
        delivery = dg.AssetKey("amperity_delivery")
        assert instance.get_latest_materialization_event(delivery) is None
        (observed,) = instance.fetch_observations(delivery, limit=10).records
        observation = observed.asset_observation
        assert observation is not None
        assert observation.partition == week.key
        orders = sum(
            len(sandbox.toast.orders[guid].between(week.start_ms, week.end_ms)) for guid in sandbox.restaurant_guids
        )
        counts = {name: value.value for name, value in observation.metadata.items()}
        assert re.match(rf"Nothing was sent; .*\b{orders}\b", str(counts["dry_run"]))
        assert not counts.get("accepted")

    def test_a_real_delivery_after_a_dry_run_sends_everything_and_materializes(
        self, run_week: RunWeek, sandbox: Sandbox
    ) -> None:
        run_week("raw_toast_orders", "toast_orders_s3_export")
        run_week("amperity_delivery", config=DRY_RUN)
        result = run_week("amperity_delivery")
        assert metadata_of(result, "amperity_delivery")["accepted"] == len(sandbox.amperity.accepted) > 0
        (check,) = result.get_asset_check_evaluations()
        assert (check.check_name, check.passed) == ("delivered_equals_exported", True)

    @pytest.mark.parametrize("cause", ["gone", "still there", "amperity down"])
    def test_the_next_weeks_delivery_retries_rejects_says_so_and_succeeds_whatever_becomes_of_them(
        self, run_week: RunWeek, sandbox: Sandbox, sandbox_environment: pytest.MonkeyPatch, week: Week, cause: str
    ) -> None:
        sandbox_environment.setenv("AMPERITY_MAX_REJECT_SHARE", "1")
        guid = sandbox.toast.orders[sandbox.restaurant_guids[0]].between(week.start_ms, week.end_ms)[0].guid
        refused = sandbox.faults.arm(Kind.STATUS, "stream", status=400, containing=f'"{guid}"'.encode(), last=None)
        line = ("raw_toast_orders", "toast_orders_s3_export", "amperity_delivery")
        assert run_week(*line).success
        assert refused.fired == 1
        if cause != "still there":
            sandbox.faults.clear()
        if cause == "amperity down":
            sandbox.faults.arm(Kind.STATUS, "stream", status=403, containing=f'"{guid}"'.encode(), last=None)
        result = run_week(*line, partition="2025-09-22")
        assert result.success
        assert {check.passed for check in result.get_asset_check_evaluations()} == {True}
        found = metadata_of(result, "amperity_delivery")
        assert (found["accepted"] > 1, found["requests"], found["retried_weeks"]) == (True, found["accepted"], week.key)
        outcome = {"gone": (1, 0), "still there": (0, 1), "amperity down": (0, 0)}[cause]
        assert (found["retried_accepted"], found["retried_rejected"]) == outcome
        assert ("retry_problems" in found) == (cause == "amperity down")

    def test_a_dry_run_without_an_export_fails_and_says_what_to_materialize(self, run_week: RunWeek) -> None:
        run_week("raw_toast_orders")
        result = run_week("amperity_delivery", config=DRY_RUN)
        assert not result.success
        assert "Materialize toast_orders_s3_export" in failure_of(result)

    @pytest.mark.parametrize(
        "asset", ["raw_toast_orders", "toast_orders_s3_export", "amperity_delivery", "toast/orders"]
    )
    def test_an_asset_that_is_launched_without_a_week_says_how_to_choose_one_and_changes_nothing(
        self, instance: dg.DagsterInstance, sandbox: Sandbox, asset: str
    ) -> None:
        # As Dagster's API launches it.
        chosen = dg.AssetKey.from_user_string(asset)
        selected = [*build_defs().get_repository_def().asset_graph.get(chosen).execution_set_asset_keys]
        result = (
            build_defs()
            .resolve_implicit_global_asset_job_def()
            .execute_in_process(instance=instance, asset_selection=selected, raise_on_error=False)
        )
        last = WeekCalendar().last_closed(datetime.now(UTC))
        assert last is not None
        assert failure_of(result) == (
            f"This run names no week. The newest one that has closed is {last.key}. Choose one or several under"
            " Partitions when you press Materialize; dg launch takes --partition. [WEEK]"
        )
        assert not sandbox.objects()
        assert not sandbox.toast.log.entries


class TestBadInput:
    def test_all_settings_of_all_selected_assets_are_named_before_the_first_request(
        self, bare_environment: pytest.MonkeyPatch, run_week: RunWeek
    ) -> None:
        bare_environment.setenv("TOAST_START_DATE", "last year")
        failure = failure_of(run_week())
        for name in (
            *("TOAST_CLIENT_ID", "TOAST_CLIENT_SECRET", "TOAST_RESTAURANT_GUID", "TOAST_START_DATE"),
            *("S3_BUCKET_NAME", "AMPERITY_TENANT_ID", "AMPERITY_API_KEY", "AMPERITY_STREAM_ID"),
        ):
            assert name in failure

    def test_what_is_misspelt_or_malformed_without_harm_is_a_warning_once_a_run(
        self, sandbox_environment: pytest.MonkeyPatch, sandbox: Sandbox, run_week: RunWeek, instance: dg.DagsterInstance
    ) -> None:
        guid = sandbox.restaurant_guids[0]
        sandbox_environment.setenv("TOAST_STARTDATE", "2025-01-06")
        sandbox_environment.setenv("RETENTION_RAW_DAYS", "soon")
        sandbox_environment.setenv("ALERT_WEBHOOK_URL", "hooks/s3cret")
        sandbox_environment.setenv("TOAST_RESTAURANT_GUID", f"{guid},{guid.upper()}")
        result = run_week()
        assert result.success
        warnings = [each.user_message for each in instance.all_logs(result.run_id) if each.level == logging.WARNING]
        for line in (
            "TOAST_STARTDATE is no variable of this pipeline; the nearest is TOAST_START_DATE.",
            "RETENTION_RAW_DAYS holds 'soon', which is no whole number; write a whole number from 1 to 36500.",
            "ALERT_WEBHOOK_URL is not an http(s) URL such as https://host.example.",
            f"TOAST_RESTAURANT_GUID lists more than once, and is read once: {guid}",
        ):
            assert warnings.count(line) == 1
        assert len([key for key, _ in sandbox.objects() if "/raw/" in key]) == 1

    def test_settings_of_assets_that_are_not_selected_are_not_asked_for(
        self, sandbox_environment: pytest.MonkeyPatch, sandbox: Sandbox, run_week: RunWeek
    ) -> None:
        for name in sandbox.environment():
            if name.startswith("AMPERITY_"):
                sandbox_environment.delenv(name)
        assert run_week("raw_toast_orders", "toast_orders_s3_export").success

    def test_a_missing_bucket_is_one_sentence_and_nothing_is_asked_of_toast(
        self, sandbox_environment: pytest.MonkeyPatch, sandbox: Sandbox, run_week: RunWeek
    ) -> None:
        sandbox_environment.setenv("S3_BUCKET_NAME", "no-such-bucket")
        assert failure_of(run_week()).startswith("The bucket no-such-bucket does not exist.")
        assert not sandbox.toast.log.entries

    def test_wrong_credentials_are_one_sentence_and_nothing_is_written(
        self, sandbox_environment: pytest.MonkeyPatch, run_week: RunWeek, store: OrderStore
    ) -> None:
        sandbox_environment.setenv("TOAST_CLIENT_SECRET", "wrong")
        assert "Check TOAST_CLIENT_ID, TOAST_CLIENT_SECRET" in failure_of(run_week())
        assert not objects(store)

    def test_an_unknown_restaurant_alone_fails_and_nothing_is_written(
        self, sandbox_environment: pytest.MonkeyPatch, run_week: RunWeek, store: OrderStore
    ) -> None:
        sandbox_environment.setenv("TOAST_RESTAURANT_GUID", "nobody")
        failure = failure_of(run_week())
        assert "nobody" in failure
        assert "404" in failure
        assert not objects(store)

    def test_a_wrong_tenant_is_one_sentence_and_nothing_counts_as_delivered(
        self, sandbox_environment: pytest.MonkeyPatch, run_week: RunWeek, store: OrderStore, week: Week
    ) -> None:
        sandbox_environment.setenv("AMPERITY_TENANT_ID", "other")
        assert "Check AMPERITY_TENANT_ID" in failure_of(run_week())
        assert not [key for key in objects(store) if key.startswith(store.layout.deliveries(week))]

    @pytest.mark.usefixtures("sandbox_environment")
    def test_an_export_before_its_pull_says_what_to_materialize(self, run_week: RunWeek) -> None:
        assert "Materialize raw_toast_orders" in failure_of(run_week("toast_orders_s3_export"))

    @pytest.mark.usefixtures("sandbox_environment")
    def test_a_delivery_before_its_export_says_what_to_materialize(self, run_week: RunWeek) -> None:
        run_week("raw_toast_orders")
        assert "Materialize toast_orders_s3_export" in failure_of(run_week("amperity_delivery"))
