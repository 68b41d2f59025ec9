"""The table ``status``: what each row says, and that a run reads only weeks that have changed."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec
import pytest

from toast_assets.settings import CalendarSettings, SensorSettings
from toast_assets.status.table import Status
from toast_assets.store.manifest import CensusRecord, RestaurantRecord
from toast_assets.store.order_store import OrderStore
from toast_assets.tables.schema import STATUS
from toast_assets.week import WeekCalendar
from toast_assets_tests.support.stores.status_weeks import (
    delivered,
    pulled,
    store_delivery,
    store_pull,
    store_weeks,
)

CALENDAR = WeekCalendar()
FIRST, SECOND, THIRD = WEEKS = [CALENDAR.week(key) for key in ("2025-09-15", "2025-09-22", "2025-09-29")]
HERE, THERE = "here", "there"
BOTH = {HERE: "Pier 9", THERE: "Old Mill"}
# Four days after the third week's end: its second look is over, a fourth week is still open.
NOW = THIRD.end + timedelta(days=4)
FAILED = RestaurantRecord(outcome="failed", name="Pier 9", failure="Toast refused (403). [TOAST-REFUSED]")
Rows = dict[tuple[str, str], dict[str, Any]]


def status(store: OrderStore, now: datetime = NOW, **variables: str) -> Status:
    return Status(store, CalendarSettings.parse(variables), SensorSettings.parse(variables), now)


def rows(store: OrderStore, now: datetime = NOW, **variables: str) -> Rows:
    """The rows by week and restaurant."""
    found = status(store, now, **variables).current().table.to_pylist()
    return {(str(row["week"]), row["restaurant_guid"]): row for row in found}


def states(found: Rows) -> dict[tuple[str, str], str]:
    return {key: row["state"] for key, row in found.items()}


class Reads:
    """The objects that were read, and the lists that were asked for, of a store's bucket."""

    def __init__(self, store: OrderStore) -> None:
        self.keys: list[str] = []
        self.calls: Counter[str] = Counter()
        store.bucket.client.meta.events.register("before-parameter-build.s3", self._note)

    def _note(self, params: dict[str, Any], model: Any, **_: Any) -> None:
        self.calls[model.name] += 1
        if model.name == "GetObject":
            self.keys.append(params["Key"])

    def clear(self) -> None:
        self.keys.clear()
        self.calls.clear()


def test_a_week_that_is_stored_and_delivered_is_complete(store: OrderStore) -> None:
    store_weeks(store, WEEKS, BOTH)
    row = rows(store)[THIRD.key, HERE]
    assert row == {
        "week": date(2025, 9, 29),
        "restaurant_guid": HERE,
        "restaurant_name": "Pier 9",
        "state": "complete",
        "reason": None,
        "next": "nothing",
        "orders": 1000,
        "unreadable": 0,
        "delivery": "delivered",
        "records": 1000,
        "delivered": 1000,
        "rejected": 0,
        "pending": 0,
        "superseded": 0,
        "second_look": "done",
        "second_look_at": row["pulled_at"],
        "census": "taken",
        "census_held": 1000,
        "census_found": 0,
        "census_pending": 0,
        "census_unknown": 0,
        "pulled_at": THIRD.end + timedelta(days=3.1),
        "delivered_at": THIRD.end + timedelta(days=3.2),
    }
    assert list(row) == STATUS.schema.names


def test_without_a_stored_week_there_are_no_rows(store: OrderStore) -> None:
    assert rows(store) == {}
    assert status(store).refresh().table.num_rows == 0
    assert rows(store) == {}


class TestPulled:
    def test_a_restaurant_without_any_orders_failed_and_one_with_earlier_ones_is_incomplete(
        self, store: OrderStore
    ) -> None:
        again = msgspec.structs.replace(pulled(FIRST, "Old Mill"), outcome="failed", failure="Toast answered 503.")
        store_pull(store, FIRST, {HERE: FAILED, THERE: again})
        found = rows(store, FIRST.end + timedelta(hours=2))
        assert (found[FIRST.key, HERE]["state"], found[FIRST.key, HERE]["reason"]) == ("failed", FAILED.failure)
        assert found[FIRST.key, HERE]["orders"] is found[FIRST.key, HERE]["delivery"] is None
        assert (found[FIRST.key, THERE]["state"], found[FIRST.key, THERE]["orders"]) == ("incomplete", 1000)
        assert found[FIRST.key, THERE]["reason"] == "Toast answered 503."
        assert {row["next"] for row in found.values()} == {"the sensor asks again"}

    def test_the_sensor_gives_up_two_days_after_its_second_look(self, store: OrderStore) -> None:
        store_pull(store, FIRST, {HERE: FAILED})
        for hours, step in ((119, "the sensor asks again"), (121, "nothing by itself: materialize the week")):
            assert rows(store, FIRST.end + timedelta(hours=hours))[FIRST.key, HERE]["next"] == step
        off = rows(store, FIRST.end + timedelta(hours=2), TOAST_SENSOR="off")
        assert off[FIRST.key, HERE]["next"] == "nothing by itself: materialize the week"

    def test_what_a_run_has_not_asked_for_yet_says_so(self, store: OrderStore) -> None:
        store_pull(store, FIRST, {HERE: pulled(FIRST, "Pier 9")}, pending=(HERE, THERE))
        found = rows(store)
        assert (found[FIRST.key, HERE]["state"], found[FIRST.key, THERE]["state"]) == ("incomplete", "failed")
        assert "ended before" in found[FIRST.key, THERE]["reason"]

    def test_orders_that_the_census_could_not_fetch_are_missing_until_the_last_look(self, store: OrderStore) -> None:
        for looks, state in ((1, "incomplete"), (2, "complete")):
            census = CensusRecord(unknown={"order": looks})
            store_pull(store, FIRST, {HERE: msgspec.structs.replace(pulled(FIRST, "Pier 9"), census=census)})
            assert rows(store)[FIRST.key, HERE]["state"] == state

    def test_a_census_that_was_refused_or_not_taken_says_so(self, store: OrderStore) -> None:
        refused = msgspec.structs.replace(pulled(FIRST, "Pier 9"), census=CensusRecord(failure="403"))
        store_pull(store, FIRST, {HERE: refused, THERE: msgspec.structs.replace(refused, census=None)})
        found = rows(store)
        assert found[FIRST.key, HERE]["census"] == "not available"
        assert (found[FIRST.key, THERE]["census"], found[FIRST.key, THERE]["census_held"]) == ("not taken", None)

    def test_a_failed_restaurant_that_is_not_wanted_any_more_has_no_row(self, store: OrderStore) -> None:
        gone = RestaurantRecord(outcome="complete", name="Pier 9")
        store_pull(store, FIRST, {HERE: gone, THERE: pulled(FIRST, "Old Mill")})
        assert [guid for _, guid in rows(store, SECOND.start)] == [THERE]


class TestNeverPulled:
    def test_weeks_between_and_after_stored_ones_are_missing(self, store: OrderStore) -> None:
        store_weeks(store, [FIRST], BOTH)
        store_weeks(store, [THIRD], BOTH)
        found = rows(store, THIRD.end + timedelta(days=8))
        assert [key for key, state in states(found).items() if state == "not pulled"] == [
            (SECOND.key, HERE),
            ("2025-10-06", HERE),
            (SECOND.key, THERE),
            ("2025-10-06", THERE),
        ]
        assert found[SECOND.key, HERE]["restaurant_name"] == "Pier 9"
        assert found[SECOND.key, HERE]["reason"] == "The week was not pulled."
        assert found[SECOND.key, HERE]["next"] == "nothing by itself: materialize the week"
        assert found["2025-10-06", HERE]["next"] == "the sensor asks for it"

    def test_weeks_before_the_first_stored_one_count_only_by_the_start_date(self, store: OrderStore) -> None:
        store_weeks(store, [SECOND, THIRD], {HERE: "Pier 9"})
        assert (FIRST.key, HERE) not in rows(store)
        assert states(rows(store, TOAST_START_DATE=FIRST.key))[FIRST.key, HERE] == "not pulled"

    def test_weeks_before_the_start_date_are_left_out(self, store: OrderStore) -> None:
        store_weeks(store, WEEKS, {HERE: "Pier 9"})
        assert [week for week, _ in rows(store, TOAST_START_DATE=SECOND.key)] == [SECOND.key, THIRD.key]

    def test_a_restaurant_is_missed_neither_before_it_opened_nor_after_it_closed(self, store: OrderStore) -> None:
        store_pull(store, FIRST, {HERE: pulled(FIRST, "Pier 9"), "closed": pulled(FIRST, "Closed")})
        store_pull(store, SECOND, {HERE: pulled(SECOND, "Pier 9")})
        store_pull(store, THIRD, {HERE: pulled(THIRD, "Pier 9"), "opened": pulled(THIRD, "Opened")})
        assert {key for key in rows(store) if key[1] != HERE} == {(FIRST.key, "closed"), (THIRD.key, "opened")}

    def test_a_week_that_was_pulled_without_a_restaurant_between_two_of_its_weeks_is_missing(
        self, store: OrderStore
    ) -> None:
        store_weeks(store, WEEKS, BOTH)
        store_pull(store, SECOND, {HERE: pulled(SECOND, "Pier 9")})
        found = rows(store)[SECOND.key, THERE]
        assert (found["state"], found["reason"]) == ("not pulled", "The week was pulled without it.")


class TestDelivered:
    @pytest.mark.parametrize(
        ("made", "delivery", "reason"),
        [
            (delivered(FIRST, sha="older"), "out of date", "It was not delivered yet since the last pull."),
            (delivered(FIRST, arrived=990, rejected=10), "refused", "Amperity refused records."),
            (delivered(FIRST, arrived=990, pending=10), "partly", "Records had no answer yet."),
            (delivered(FIRST, problem="The export is missing."), "partly", "The export is missing."),
            (delivered(FIRST, arrived=990, superseded=10), "delivered", None),
            (None, "not delivered", "It was not delivered yet."),
        ],
    )
    def test_what_amperity_does_not_have_has_a_reason(
        self, store: OrderStore, made: Any, delivery: str, reason: str | None
    ) -> None:
        store_pull(store, FIRST, {HERE: pulled(FIRST, "Pier 9")})
        store_delivery(store, FIRST, {HERE: made} if made else {})
        row = rows(store, FIRST.end + timedelta(days=4))[FIRST.key, HERE]
        assert (row["state"], row["delivery"], row["reason"]) == ("complete", delivery, reason)
        assert row["rejected"] == (made.methods["stream"].rejected if made else None)

    def test_the_next_step_depends_on_what_is_missing(self, store: OrderStore) -> None:
        store_pull(store, FIRST, {guid: pulled(FIRST, guid, days_later=0.1) for guid in ("a", "b", "c")})
        store_delivery(store, FIRST, {"a": delivered(FIRST), "b": delivered(FIRST, arrived=999, rejected=1)})

        def steps(days: float) -> list[str]:
            return [row["next"] for _, row in sorted(rows(store, FIRST.end + timedelta(days=days)).items())]

        refused = "refused records are sent again with the next delivery"
        assert steps(1) == ["second look at 2025-09-25 04:00 UTC", refused, "the week's next run delivers it"]
        assert steps(4) == ["the sensor takes the second look", refused, "the week's next run delivers it"]
        assert steps(6) == ["nothing", refused, "nothing by itself: materialize amperity_delivery"]

    def test_methods_are_added_up(self, store: OrderStore) -> None:
        one = delivered(FIRST)
        store_pull(store, FIRST, {HERE: pulled(FIRST, "Pier 9")})
        both = {**one.methods, "stream_order_items": one.methods["stream"]}
        store_delivery(store, FIRST, {HERE: msgspec.structs.replace(one, methods=both)})
        assert rows(store)[FIRST.key, HERE]["delivered"] == 2000

    def test_a_summary_that_cannot_be_read_is_the_reason(self, store: OrderStore) -> None:
        store_weeks(store, [FIRST], {HERE: "Pier 9"})
        store.bucket.write(store.layout.delivered(FIRST.key), b"{")
        row = rows(store, SECOND.start)[FIRST.key, HERE]
        assert row["delivery"] == "not delivered"
        assert "status/week=2025-09-15.json cannot be read" in row["reason"]


class TestSecondLook:
    @pytest.mark.parametrize(
        ("pulled_days", "now_days", "look", "at_days"),
        [(0.1, 1, "due", 3), (0.1, 3.5, "overdue", 3), (3.1, 3.5, "done", 3.1)],
    )
    def test_it_is_due_three_days_after_the_week(
        self, store: OrderStore, pulled_days: float, now_days: float, look: str, at_days: float
    ) -> None:
        store_pull(store, FIRST, {HERE: pulled(FIRST, "Pier 9", days_later=pulled_days)})
        row = rows(store, FIRST.end + timedelta(days=now_days))[FIRST.key, HERE]
        assert (row["second_look"], row["second_look_at"]) == (look, FIRST.end + timedelta(days=at_days))

    def test_its_delay_is_a_setting(self, store: OrderStore) -> None:
        store_pull(store, FIRST, {HERE: pulled(FIRST, "Pier 9", days_later=0.1)})
        row = rows(store, FIRST.end + timedelta(days=1), TOAST_SECOND_LOOK_HOURS="48")[FIRST.key, HERE]
        assert row["second_look_at"] == FIRST.end + timedelta(days=2)


class TestExpired:
    def test_a_week_whose_raw_orders_were_removed_is_expired_and_needs_nothing(self, store: OrderStore) -> None:
        store_pull(store, FIRST, {HERE: pulled(FIRST, "Pier 9", days_later=0.1), THERE: FAILED}, raw=False)
        found = rows(store, SECOND.start)
        row = found[FIRST.key, HERE]
        assert (row["state"], row["reason"], row["second_look"], row["next"]) == (
            *("expired", None),
            *("not needed", "nothing"),
        )
        assert found[FIRST.key, THERE]["state"] == "failed"

    def test_a_removal_after_the_table_was_made_is_seen(self, store: OrderStore) -> None:
        store_weeks(store, WEEKS, BOTH)
        status(store).refresh()
        store.bucket.delete(store.layout.raw(FIRST, "any"))
        report = status(store).refresh()
        assert report.weeks == (FIRST.key,)
        assert states(rows(store))[FIRST.key, HERE] == "expired"


class TestRefreshing:
    def test_a_run_reads_only_the_weeks_that_have_changed(self, store: OrderStore) -> None:
        store_weeks(store, WEEKS, BOTH)
        status(store).refresh()
        reads, table = Reads(store), store.layout.whole_table("status")
        assert status(store).refresh().weeks == ()
        assert reads.keys == [table]
        assert reads.calls == {"ListObjectsV2": 3, "GetObject": 1, "PutObject": 1}
        store_pull(store, SECOND, {HERE: FAILED, THERE: pulled(SECOND, "Old Mill")})
        store_delivery(store, THIRD, {})
        reads.clear()
        assert status(store).refresh().weeks == (SECOND.key, THIRD.key)
        weeks = [store.layout.manifest(SECOND), store.layout.manifest(THIRD)]
        summaries = [store.layout.delivered(week.key) for week in (SECOND, THIRD)]
        assert sorted(reads.keys) == sorted([table, *weeks, *summaries])
        assert states(rows(store))[SECOND.key, HERE] == "failed"
        assert rows(store)[THIRD.key, HERE]["delivery"] == "not delivered"

    def test_a_refreshed_table_is_what_one_made_from_nothing_would_be(self, store: OrderStore) -> None:
        store_weeks(store, [FIRST], {HERE: "Pier 9"})
        status(store, SECOND.start).refresh()
        store_weeks(store, [THIRD], BOTH)
        refreshed = status(store).refresh().table
        store.bucket.delete(store.layout.whole_table("status"))
        assert status(store).current().table.equals(refreshed)

    def test_what_follows_from_the_clock_is_new_without_any_read(self, store: OrderStore) -> None:
        store_pull(store, FIRST, {HERE: pulled(FIRST, "Pier 9", days_later=0.1)})
        store_delivery(store, FIRST, {HERE: delivered(FIRST)})
        status(store, FIRST.end + timedelta(days=1)).refresh()
        report = status(store, FIRST.end + timedelta(days=4)).current()
        assert report.weeks == ()
        assert report.table["second_look"].to_pylist() == ["overdue"]

    def test_looking_at_it_writes_nothing(self, store: OrderStore) -> None:
        store_weeks(store, WEEKS, BOTH)
        before = list(store.bucket.listed(""))
        status(store).current()
        assert list(store.bucket.listed("")) == before

    @pytest.mark.parametrize("body", [b"", b"PAR1 and nothing else"])
    def test_a_damaged_table_is_made_again_out_of_all_weeks(self, store: OrderStore, body: bytes) -> None:
        store_weeks(store, WEEKS, BOTH)
        store.bucket.write(store.layout.whole_table("status"), body)
        assert status(store).refresh().weeks == tuple(week.key for week in WEEKS)
        assert status(store).refresh().weeks == ()

    def test_two_runs_at_once_leave_what_both_have_stored(self, store: OrderStore) -> None:
        store_weeks(store, [FIRST], BOTH)
        slow = status(store)
        put, others = store.bucket.write, [status(store).refresh]

        def write(key: str, *arguments: Any, **options: Any) -> str:
            if others and key == store.layout.whole_table("status"):
                other = others.pop()
                store_weeks(store, [SECOND], BOTH)
                other()
            return put(key, *arguments, **options)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(store.bucket, "write", write)
            slow.refresh()
        assert others == []
        assert states(rows(store))[SECOND.key, HERE] == "complete"

    def test_a_manifest_that_cannot_be_read_hides_no_other_week_and_is_tried_again(self, store: OrderStore) -> None:
        store_weeks(store, WEEKS, BOTH)
        store.bucket.write(store.layout.manifest(SECOND), b"{")
        found = status(store).refresh()
        row = rows(store)[SECOND.key, HERE]
        assert (row["state"], row["next"]) == ("unreadable", "nothing by itself: restore or remove the manifest")
        assert "manifests/week=2025-09-22.json cannot be read" in row["reason"]
        assert states(rows(store))[THIRD.key, HERE] == "complete"
        assert SECOND.key in found.weeks
        assert status(store).refresh().weeks == (SECOND.key,)

    def test_it_is_loaded_like_other_tables(self, store: OrderStore) -> None:
        store_weeks(store, WEEKS, BOTH)
        status(store).refresh()
        frame = store.load_table("status", columns=["week", "restaurant_guid", "state"])
        assert len(frame) == 6
        assert set(frame["state"]) == {"complete"}


def test_objects_of_other_names_are_no_weeks(store: OrderStore) -> None:
    store_weeks(store, [FIRST], {HERE: "Pier 9"})
    for key in ("manifests/readme.txt", "manifests/week=2025-09-16.json", "status/notes.json", "raw/notes/x"):
        store.bucket.write(f"{store.layout.prefix}{key}", b"{}")
    assert list(rows(store, SECOND.start)) == [(FIRST.key, HERE)]


def test_a_week_in_which_nobody_trades_yet_is_no_week_of_the_table(store: OrderStore) -> None:
    store_pull(store, FIRST, {}, pending=())
    assert rows(store, datetime(2025, 9, 23, tzinfo=UTC)) == {}
