"""The checks through Dagster: per partition, with reasons, blocking where a delivery must not go on."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any
from unittest.mock import Mock

import dagster as dg
import msgspec
import pytest

from toast_assets.checks.facts import week_fields
from toast_assets.checks.table import CHECKS
from toast_assets.defs.build import build_defs
from toast_assets.orders.raw_file import read_groups
from toast_assets.sandbox import Sandbox
from toast_assets.sandbox.order_builder import Json as SandboxOrder
from toast_assets.store.bucket import Bucket
from toast_assets.store.manifest import RestaurantRecord
from toast_assets.store.order_store import OrderStore
from toast_assets.tables.schema import TABLES
from toast_assets.week import Week, WeekCalendar
from toast_assets_tests.conftest import StartSandbox
from toast_assets_tests.defs.conftest import PARTITION, RunWeek
from toast_assets_tests.support.data.invented import check, customer, encode, order
from toast_assets_tests.support.services.toast_orders import edit
from toast_assets_tests.support.stores.names import names_of, store_names
from toast_assets_tests.support.stores.stored_weeks import save_manifest, store_week

ALL = {
    *("every_restaurant_complete", "order_guids_unique", "modified_times_inside_week", "no_schema_drift"),
    *("guests_scope_present", "guests_reachable", "names_known", "volume_as_usual", "export_equals_raw"),
    *("delivered_equals_exported", "totals_reconcile", "net_sales_agree_with_toast"),
    *("every_order_readable", "no_order_missing"),
}
Evaluate = Callable[[str], dg.AssetCheckEvaluation]
WARN, ERROR = dg.AssetCheckSeverity.WARN, dg.AssetCheckSeverity.ERROR


def evaluations(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
    found = {one.check_name: one for one in result.get_asset_check_evaluations()}
    assert len(found) == len(result.get_asset_check_evaluations())
    return found


def figures(evaluation: dg.AssetCheckEvaluation) -> dict[str, Any]:
    return {name: value.value for name, value in evaluation.metadata.items()}


@pytest.fixture
def stored(sandbox_environment: pytest.MonkeyPatch, store: OrderStore, week: Week) -> Callable[..., object]:
    """Puts orders of one restaurant into the store, as if they had been pulled."""
    del sandbox_environment
    return lambda *orders: store_week(store, week, {"here": encode(*orders)})


def run_check(instance: dg.DagsterInstance, name: str, partition: str | None) -> dg.ExecuteInProcessResult:
    """A run of one check by itself; without a partition as the button for all checks of an asset starts it."""
    (key,) = [
        dg.AssetCheckKey(dg.AssetKey.from_user_string(asset), name)
        for asset, checks in CHECKS.items()
        for one in checks
        if one.__name__ == name
    ]
    job = dg.define_asset_job("one_check", selection=dg.AssetSelection.checks(key))
    defs = dg.Definitions.merge(build_defs(), dg.Definitions(jobs=[job]))
    return defs.resolve_job_def("one_check").execute_in_process(
        instance=instance, tags={"dagster/partition": partition} if partition else {}, raise_on_error=False
    )


@pytest.fixture
def evaluate(sandbox_environment: object, instance: dg.DagsterInstance) -> Evaluate:
    """Runs one check for the week, by itself."""
    del sandbox_environment

    def run(name: str) -> dg.AssetCheckEvaluation:
        (found,) = run_check(instance, name, PARTITION).get_asset_check_evaluations()
        return found

    return run


class TestWithoutAPartition:
    """As the button for all checks of an asset starts them."""

    def test_the_newest_stored_week_is_checked_and_named(
        self, stored: Callable[..., object], store: OrderStore, instance: dg.DagsterInstance
    ) -> None:
        stored(order())
        doubled = order()
        store_week(store, WeekCalendar().week("2025-09-22"), {"here": encode(doubled, doubled)})
        (found,) = run_check(instance, "order_guids_unique", None).get_asset_check_evaluations()
        assert not found.passed
        assert str(found.description).startswith("The newest stored week is 2025-09-22. ")
        assert doubled["guid"] in str(found.description)
        assert str(found.description).endswith(" [CHECK-ORDER-GUIDS-UNIQUE]")
        assert (figures(found)["week"], figures(found)["causes"]) == ("2025-09-22", ["CHECK-ORDER-GUIDS-UNIQUE"])
        (of_a_week,) = run_check(instance, "order_guids_unique", PARTITION).get_asset_check_evaluations()
        assert (of_a_week.passed, of_a_week.partition) == (True, PARTITION)
        assert "newest" not in str(of_a_week.description)

    def test_a_stored_week_that_is_no_partition_any_more_is_passed_over(
        self, stored: Callable[..., object], store: OrderStore, instance: dg.DagsterInstance
    ) -> None:
        stored(order())
        # Weeks began on a Sunday when it was stored.
        sundays = WeekCalendar(date(2025, 1, 5), weekday=6)
        store_week(store, sundays.week("2025-10-05"), {"here": encode(order())})
        (found,) = run_check(instance, "order_guids_unique", None).get_asset_check_evaluations()
        assert (found.passed, figures(found)["week"]) == (True, PARTITION)

    @pytest.mark.usefixtures("sandbox_environment")
    def test_all_checks_of_a_materialized_asset_pass(self, run_week: RunWeek, instance: dg.DagsterInstance) -> None:
        assert run_week("raw_toast_orders").success
        for one in CHECKS["raw_toast_orders"]:
            result = run_check(instance, one.__name__, None)
            assert result.success
            (found,) = result.get_asset_check_evaluations()
            assert found.passed, found.description
            assert str(found.description).startswith(f"The newest stored week is {PARTITION}. ")

    @pytest.mark.usefixtures("stored")
    def test_without_a_stored_week_it_says_what_to_materialize(self, instance: dg.DagsterInstance) -> None:
        result = run_check(instance, "order_guids_unique", None)
        assert not result.success
        (failed,) = [event for event in result.all_events if event.is_step_failure]
        failure = failed.step_failure_data.user_failure_data
        assert failure is not None
        assert failure.description == (
            "No week is stored yet, so there is nothing to check. Materialize raw_toast_orders first. [WEEK-NOT-PULLED]"
        )

    @pytest.mark.usefixtures("stored")
    def test_weeks_before_a_later_first_week_are_no_weeks_to_check(
        self, stored: Callable[..., object], instance: dg.DagsterInstance, sandbox_environment: pytest.MonkeyPatch
    ) -> None:
        stored(order())
        sandbox_environment.setenv("TOAST_START_DATE", "2025-10-06")
        assert not run_check(instance, "order_guids_unique", None).success


def test_what_quotes_an_error_has_its_code_and_all_else_that_of_the_check(
    stored: Callable[..., object], store: OrderStore, week: Week, instance: dg.DagsterInstance
) -> None:
    del stored
    doubled = order()
    store_week(store, week, {"here": encode(doubled, doubled), "there": encode(order())})
    store.bucket.write(store.layout.raw(week, "there"), b"no raw file")
    (found,) = run_check(instance, "order_guids_unique", PARTITION).get_asset_check_evaluations()
    assert figures(found)["causes"] == ["STORE-DAMAGED there", "CHECK-ORDER-GUIDS-UNIQUE"]
    assert str(found.description).endswith(" [STORE-DAMAGED] [CHECK-ORDER-GUIDS-UNIQUE]")


def test_a_failure_that_an_earlier_release_stored_without_a_code_has_that_of_the_check(
    stored: Callable[..., object], store: OrderStore, week: Week, instance: dg.DagsterInstance
) -> None:
    stored(order())
    manifest, _ = store.load_manifest(week)
    assert manifest is not None
    failed = {
        "old": RestaurantRecord(outcome="failed", failure="Toast answered 500."),
        "new": RestaurantRecord(outcome="failed", failure="Toast answered 500. [TOAST-UNAVAILABLE]"),
    }
    save_manifest(store, week, msgspec.structs.replace(manifest, restaurants=manifest.restaurants | failed))
    (found,) = run_check(instance, "every_restaurant_complete", PARTITION).get_asset_check_evaluations()
    assert figures(found)["causes"] == ["TOAST-UNAVAILABLE new", "CHECK-EVERY-RESTAURANT-COMPLETE"]


@pytest.mark.usefixtures("sandbox_environment")
class TestAWeeklyRun:
    def test_every_check_gives_its_verdict_for_the_week(self, run_week: RunWeek) -> None:
        result = run_week()
        found = evaluations(result)
        assert set(found) == ALL
        assert {one.partition for one in found.values()} == {"2025-09-15"}
        failed = {name: one.description for name, one in found.items() if not one.passed}
        assert not failed

    def test_checks_of_one_data_version_read_the_raw_orders_once(
        self, run_week: RunWeek, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        read = Mock(wraps=read_groups)
        monkeypatch.setattr("toast_assets.checks.facts.read_groups", read)
        run_week()
        run_week()
        assert read.call_count == len(sandbox.restaurant_guids)

    def test_a_restaurant_that_is_missing_fails_its_own_check_only(self, run_week: RunWeek, sandbox: Sandbox) -> None:
        sandbox.faults.arm("status", "orders", target=sandbox.restaurant_guids[0], status=403, last=None)
        found = evaluations(run_week())
        assert {name for name, one in found.items() if not one.passed} == {"every_restaurant_complete"}
        complete = found["every_restaurant_complete"]
        assert str(complete.description).endswith(" [TOAST-403-RESTAURANT]")
        assert figures(complete)["causes"] == [f"TOAST-403-RESTAURANT {sandbox.restaurant_guids[0]}"]
        assert "causes" not in figures(found["order_guids_unique"])

    def test_no_check_names_a_guest(self, run_week: RunWeek, sandbox: Sandbox, week: Week, store: OrderStore) -> None:
        found = evaluations(run_week())
        text = str([(one.description, figures(one)) for one in found.values()])
        text += "".join(str(store.bucket.read(key)) for key in store.bucket.keys(store.layout.inspections))
        for guid in sandbox.restaurant_guids:
            for stored_order in sandbox.toast.orders[guid].between(week.start_ms, week.end_ms):
                for bill in json.loads(stored_order.json)["checks"]:
                    guest: SandboxOrder = bill.get("customer") or {}
                    assert not [one for name in ("email", "phone") if (one := guest.get(name)) and one in text]

    def test_names_that_are_switched_off_are_not_missed(
        self, run_week: RunWeek, sandbox_environment: pytest.MonkeyPatch
    ) -> None:
        sandbox_environment.setenv("TOAST_NAMES", "off")
        found = evaluations(run_week("raw_toast_orders"))["names_known"]
        assert found.passed
        assert "TOAST_NAMES is off" in str(found.description)

    def test_a_refused_census_is_never_shown_as_passed(
        self, run_week: RunWeek, sandbox: Sandbox, sandbox_environment: pytest.MonkeyPatch
    ) -> None:
        sandbox_environment.setenv("TOAST_CENSUS", "on")
        sandbox.faults.arm("status", "order list", status=403, last=None)
        found = evaluations(run_week("raw_toast_orders"))["no_order_missing"]
        assert (found.passed, found.severity) == (False, WARN)
        assert "not available: Toast answered 403" in str(found.description)
        assert str(found.description).endswith(" [TOAST-LIST]")
        assert figures(found)["causes"] == [f"TOAST-LIST {guid}" for guid in sandbox.restaurant_guids]
        sandbox_environment.setenv("TOAST_CENSUS", "off")
        assert "TOAST_CENSUS is off" in str(evaluations(run_week("raw_toast_orders"))["no_order_missing"].description)

    def test_an_order_that_ordersbulk_never_shows_is_delivered_in_the_same_run(
        self, run_week: RunWeek, sandbox: Sandbox, sandbox_environment: pytest.MonkeyPatch
    ) -> None:
        sandbox_environment.setenv("TOAST_CENSUS", "on")
        # The last closed week: all weeks from its business days on are pulled with it.
        week = WeekCalendar().last_closed(datetime.now(UTC))
        assert week is not None
        orders = sandbox.toast.orders[sandbox.restaurant_guids[0]]
        lost = orders.between(week.start_ms, week.end_ms)[100].guid
        orders.lost.add(lost)
        result = run_week(partition=week.key)
        assert result.success
        found = evaluations(result)["no_order_missing"]
        assert (found.passed, found.severity) == (False, WARN)
        assert lost in str(found.description)
        assert [record.guid for record in sandbox.amperity.accepted].count(lost) == 1
        (made,) = result.asset_materializations_for_node("raw_toast_orders")
        assert "1 found" in str(made.metadata["per_restaurant"].value)

    def test_refused_orders_warn(self, run_week: RunWeek, sandbox_environment: pytest.MonkeyPatch) -> None:
        sandbox_environment.setenv("AMPERITY_MAX_RECORD_BYTES", "9000")
        sandbox_environment.setenv("AMPERITY_MAX_REJECT_SHARE", "1")
        delivered = evaluations(run_week())["delivered_equals_exported"]
        assert (delivered.passed, delivered.severity) == (False, WARN)
        assert figures(delivered)["rejected"] > 0

    def test_orders_that_were_not_sent_are_an_error(self, run_week: RunWeek, evaluate: Evaluate) -> None:
        run_week("raw_toast_orders", "toast_orders_s3_export")
        delivered = evaluate("delivered_equals_exported")
        assert (delivered.passed, delivered.severity) == (False, ERROR)
        assert "0 of 320 stream records accepted" in str(delivered.description)

    def test_an_order_that_changed_after_its_delivery_is_an_error(
        self, run_week: RunWeek, evaluate: Evaluate, sandbox: Sandbox, week: Week
    ) -> None:
        run_week()
        guid = sandbox.restaurant_guids[0]
        edited = sandbox.toast.orders[guid].between(week.start_ms, week.end_ms)[5]
        edit(sandbox.toast.orders[guid], edited.guid, at=week.end_ms - 10)
        run_week("raw_toast_orders", "toast_orders_s3_export")
        delivered = evaluate("delivered_equals_exported")
        assert (delivered.passed, delivered.severity) == (False, ERROR)
        assert evaluations(run_week())["delivered_equals_exported"].passed


class TestBlocking:
    @pytest.fixture
    def spoil(
        self, sandbox_environment: object, store: OrderStore, week: Week, monkeypatch: pytest.MonkeyPatch
    ) -> Callable[..., None]:
        """Spoils the exports of restaurants while they are written."""
        del sandbox_environment
        write = Bucket.write

        def arm(*restaurants: str) -> None:
            keys = {store.layout.export(week, guid) for guid in restaurants}

            def spoilt(bucket: Bucket, key: str, body: Any, **given: Any) -> Any:
                return write(bucket, key, gzip.compress(b'{"orders":[\n') if key in keys else body, **given)

            monkeypatch.setattr(Bucket, "write", spoilt)

        return arm

    def test_exports_that_are_not_what_is_stored_are_not_delivered(
        self, run_week: RunWeek, sandbox: Sandbox, spoil: Callable[..., None]
    ) -> None:
        spoil(*sandbox.restaurant_guids)
        result = run_week()
        assert not result.success
        broken = evaluations(result)["export_equals_raw"]
        assert (broken.passed, broken.severity) == (False, ERROR)
        assert "cannot be read: it ends after 0 orders" in str(broken.description)
        assert not sandbox.amperity.log.entries

    def test_one_restaurants_export_that_is_not_what_is_stored_keeps_no_other_from_its_delivery(
        self, run_week: RunWeek, sandbox: Sandbox, spoil: Callable[..., None]
    ) -> None:
        spoil(broken_one := sandbox.restaurant_guids[0])
        result = run_week()
        broken = evaluations(result)["export_equals_raw"]
        assert (broken.passed, broken.severity) == (False, WARN)
        assert broken_one in str(broken.description)
        sent = {record.restaurant for record in sandbox.amperity.of_stream("is-toast-orders")}
        assert sent == set(sandbox.restaurant_guids[1:])
        delivered = evaluations(result).get("delivered_equals_exported")
        assert delivered is None or (delivered.passed, delivered.severity) == (False, ERROR)

    def test_a_doubled_order_is_neither_exported_nor_delivered(
        self, run_week: RunWeek, sandbox_environment: object, sandbox: Sandbox, store: OrderStore, week: Week
    ) -> None:
        del sandbox_environment
        doubled = order()
        bodies = {guid: encode(order()) for guid in sandbox.restaurant_guids}
        store_week(store, week, bodies | {sandbox.restaurant_guids[1]: encode(doubled, order(), doubled)})
        # A pull would merge, and keep each order once; so this one asks for nothing.
        result = run_week(config={"raw_toast_orders": {"refresh": False}})
        assert not result.success
        made = [event.asset_key for event in result.get_asset_materialization_events()]
        # The page of all weeks needs nothing that this run makes.
        assert made == [dg.AssetKey("raw_toast_orders"), dg.AssetKey(["toast", "status"])]
        found = evaluations(result)["order_guids_unique"]
        assert (found.passed, found.severity) == (False, ERROR)
        assert doubled["guid"] in str(found.description)
        exports = [store.bucket.read(store.layout.export(week, guid)) for guid in sandbox.restaurant_guids]
        assert exports == [None, None, None]
        assert not sandbox.amperity.log.entries


class TestSingleChecks:
    def test_a_week_that_was_never_pulled_fails_every_check(self, evaluate: Evaluate) -> None:
        found = evaluate("no_schema_drift")
        assert (found.passed, found.description) == (False, "Week 2025-09-15 was never pulled. [WEEK-NOT-PULLED]")

    def test_a_doubled_order_is_named(self, evaluate: Evaluate, stored: Callable[..., object]) -> None:
        doubled = order()
        stored(doubled, doubled, order())
        found = evaluate("order_guids_unique")
        assert (found.passed, found.severity) == (False, ERROR)
        assert doubled["guid"] in str(found.description)

    def test_an_order_outside_the_week_is_named(self, evaluate: Evaluate, stored: Callable[..., object]) -> None:
        stored(order(), stray := order(modifiedDate="2025-09-22T04:00:00.000+0000"))
        found = evaluate("modified_times_inside_week")
        assert not found.passed
        assert stray["guid"] in str(found.description)

    def test_a_new_field_warns_with_its_first_order(
        self, evaluate: Evaluate, stored: Callable[..., object], store: OrderStore
    ) -> None:
        earlier = WeekCalendar().week("2025-09-08")
        week_fields(earlier, store_week(store, earlier, {"here": encode(order())}), store)
        stored(order(), first := order(loyaltyTier="gold"))
        found = evaluate("no_schema_drift")
        assert (found.passed, found.severity) == (False, WARN)
        assert f"new field loyaltyTier (first in order {first['guid']})" in str(found.description)

    def test_missing_guests_warn_of_a_missing_scope(self, evaluate: Evaluate, stored: Callable[..., object]) -> None:
        stored(*(order(deliveryInfo={"address1": "1 Example Road"}) for _ in range(12)))
        found = evaluate("guests_scope_present")
        assert (found.passed, found.severity) == (False, WARN)
        assert "lacks the scope guest.pi:read" in str(found.description)

    def test_the_share_of_reachable_guests_is_reported_by_channel(
        self, evaluate: Evaluate, stored: Callable[..., object]
    ) -> None:
        guests = (customer(), customer(None, phone=None), None)
        stored(*(order(check(guest=guest), source="Online") for guest in guests), order())
        found = evaluate("guests_reachable")
        assert found.passed
        assert figures(found)["reachable_share"] == 0.25
        assert "| Online | 3 | 75% | 2 | 1 (33%) |" in figures(found)["details"]

    def test_guids_without_a_name_warn(
        self, evaluate: Evaluate, stored: Callable[..., object], store: OrderStore
    ) -> None:
        stored(made := order())
        store_names(store, "here", *names_of(made, "To go", "TAKE_OUT", "Food", "Soups"))
        found = evaluate("names_known")
        assert (found.passed, found.severity) == (False, WARN)
        assert (figures(found)["guids"], figures(found)["guids_without_name"]) == (6, 3)
        assert "| Place here (here) | menu_item | 1 | 1 | 100% |" in figures(found)["details"]

    def test_a_restaurant_far_from_its_usual_volume_warns(
        self,
        evaluate: Evaluate,
        stored: Callable[..., object],
        store: OrderStore,
    ) -> None:
        for number, key in enumerate(("2025-09-08", "2025-09-01", "2025-08-25")):
            store_week(store, WeekCalendar().week(key), {"here": encode(*(order() for _ in range(50 + number)))})
        stored(*(order() for _ in range(9)))
        found = evaluate("volume_as_usual")
        assert (found.passed, found.severity) == (False, WARN)
        assert "Place here (here): 9 orders, usually 51" in str(found.description)

    def test_an_order_that_is_in_no_table_is_named_with_the_reason(
        self,
        evaluate: Evaluate,
        stored: Callable[..., object],
        run_week: RunWeek,
    ) -> None:
        stored(order(), odd := order(businessDate=20251399))
        assert run_week(*(f"toast/{name}" for name in TABLES)).success
        found = evaluate("totals_reconcile")
        assert (found.passed, found.severity) == (False, WARN)
        assert f"Place here (here): order {odd['guid']} in no table (unrepresentable:" in str(found.description)


def test_without_the_scope_the_sandbox_shows_what_toast_would(
    start_sandbox: StartSandbox, bare_environment: pytest.MonkeyPatch, run_week: RunWeek
) -> None:
    sandbox = start_sandbox(scopes="orders:read restaurants:read")
    for name, value in sandbox.environment().items():
        bare_environment.setenv(name, value)
    bare_environment.setenv("TOAST_REQUESTS_PER_SECOND", "100000")
    found = evaluations(run_week("raw_toast_orders"))
    for name, scope in {"guests_scope_present": "guest.pi:read", "names_known": "config:read"}.items():
        assert (found[name].passed, found[name].severity) == (False, WARN)
        assert scope in (found[name].description or "")
