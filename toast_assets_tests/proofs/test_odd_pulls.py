"""What a pull makes of odd orders, damaged objects, other runs and interruptions: no order affects another one, no
restaurant another restaurant, and no run a newer one."""

from __future__ import annotations

import asyncio
import gzip
import threading
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from toast_assets.errors import StoreError, WeekError
from toast_assets.export.write import export_week
from toast_assets.orders.raw import version_of
from toast_assets.orders.raw_file import RawFileWriter
from toast_assets.sandbox import Sandbox
from toast_assets.store.bucket import Bucket
from toast_assets.store.order_store import OrderStore
from toast_assets.toast.page import Window
from toast_assets.week import Week
from toast_assets_tests.checks.evaluating import evaluate
from toast_assets_tests.support.faults.s3_faults import after, before, refuse
from toast_assets_tests.support.services.clients import s3_client
from toast_assets_tests.support.services.odd_toast import OddToast, plain_order, pull_from
from toast_assets_tests.support.stores.pulls import LOG, bucket_content, check_export, manifest_of, stored_rows

DEEP = b"[" * 3_000 + b"]" * 3_000


@pytest.fixture
def toast(week: Week) -> OddToast:
    """Two restaurants with twenty plain orders each."""
    return OddToast(
        {
            guid: [(week.start_ms + n * 1000, plain_order(f"{guid}-{n}", week.start_ms + n * 1000)) for n in range(20)]
            for guid in ("here", "there")
        }
    )


def guids(store: OrderStore, week: Week, guid: str = "here") -> set[str]:
    return {order.guid for order in stored_rows(store, week, guid)}


def kept(store: OrderStore, week: Week, guid: str = "here") -> list[dict[str, Any]]:
    found = store.bucket.read(store.layout.unreadable(week, guid))
    return [msgspec.json.decode(line) for line in gzip.decompress(found[0]).splitlines()] if found else []


# Orders


async def test_orders_that_cannot_be_read_are_kept_beside_the_others_once(
    toast: OddToast, sandbox: Sandbox, store: OrderStore, week: Week
) -> None:
    time = week.start_ms + 5
    nan = plain_order("nan", time)[:-1] + b',"x":NaN}'
    toast.add("here", b"null", b"null", nan, b'{"guid":"\xff"}', b'{"guid":"undated"}', at=time)
    report = await pull_from(toast, store, week)
    assert [(result.orders, result.failure) for result in report.restaurants] == [(20, None)] * 2
    assert {guid: pull.unreadable for guid, pull in report.manifest.stored.items()} == {"here": 4, "there": 0}
    lines = kept(store, week)
    assert {line["body_sha256"] for line in lines} == {
        version_of(body) for body in (b"null", nan, b'{"guid":"\xff"}', b'{"guid":"undated"}')
    }
    assert {line["order_guid"] for line in lines} == {None, "nan", "undated"}
    assert {line["restaurant_guid"] for line in lines} == {"here"}
    assert all(line["window_start"] <= "2025-09-15T04:00:00.005Z" < line["window_end"] for line in lines)
    export_week(week, store, LOG)
    check_export(store, week, "here")
    content = bucket_content(sandbox)
    await pull_from(toast, store, week)
    export_week(week, store, LOG)
    assert bucket_content(sandbox) == content


async def test_those_of_a_later_pull_are_added_and_none_is_taken_away(
    toast: OddToast, sandbox: Sandbox, store: OrderStore, week: Week
) -> None:
    toast.add("here", b"1", at=week.start_ms)
    await pull_from(toast, store, week)
    toast.stored["here"][-1] = (week.start_ms, b"2")
    await pull_from(toast, store, week)
    toast.stored["here"].pop()
    report = await pull_from(toast, store, week)
    assert [line["body_base64"] for line in kept(store, week)] == ["MQ==", "Mg=="]
    assert report.manifest.stored["here"].unreadable == 2


async def test_the_check_names_restaurant_count_reason_window_and_object_and_no_content(
    toast: OddToast, sandbox: Sandbox, store: OrderStore, week: Week
) -> None:
    toast.add("here", b'{"guid":7,"email":"ann@example.com"}', b'{"guid":8}', at=week.start_ms)
    await pull_from(toast, store, week)
    found = evaluate("every_order_readable", week, manifest_of(store, week), store)
    assert (found.passed, found.warns, found.figures["unreadable_orders"]) == (False, True, 2)
    for part in ("Pier 9 (here): 2 orders", "$.guid", "2025-09-15T04:00:00.000Z to", "unreadable/week=2025-09-15/"):
        assert part in found.description
    assert "ann@example.com" not in f"{found.description}{found.rows}"
    store.bucket.write(store.layout.unreadable(week, "there"), b"no gzip")
    found = evaluate("every_order_readable", week, manifest_of(store, week), store)
    assert (found.passed, found.warns) == (False, True)
    assert "restaurant=there.ndjson.gz" in found.description
    assert "the object itself cannot be read" in found.description


async def test_a_damaged_object_of_unreadable_orders_fails_its_restaurant_by_name(
    toast: OddToast, sandbox: Sandbox, store: OrderStore, week: Week
) -> None:
    toast.add("here", b"null", at=week.start_ms)
    store.bucket.write(store.layout.unreadable(week, "here"), b"no gzip")
    report = await pull_from(toast, store, week)
    assert "unreadable/week=2025-09-15/restaurant=here.ndjson.gz cannot be read" in report.manifest.failures["here"]
    assert report.manifest.stored.keys() == {"there"}


async def test_deep_orders_and_such_that_name_nobody_are_exported_byte_for_byte(
    toast: OddToast, sandbox: Sandbox, store: OrderStore, week: Week
) -> None:
    deep = plain_order("deep", week.start_ms)[:-1] + b',"x":' + DEEP + b"}"
    nobody = plain_order("nobody", week.start_ms)[:-1] + b',"restaurantGuid":null}'
    elsewhere = plain_order("elsewhere", week.start_ms, restaurantGuid="there")
    toast.add("here", deep, nobody, elsewhere, at=week.start_ms)
    await pull_from(toast, store, week)
    export_week(week, store, LOG)
    found = store.bucket.read(store.layout.export(week, "here"))
    assert found is not None
    text = gzip.decompress(found[0])
    assert deep[:-1] + b',"restaurantGuid":"here"}' in text
    assert plain_order("nobody", week.start_ms)[:-1] + b',"restaurantGuid":"here"}' in text
    assert [line["order_guid"] for line in kept(store, week)] == ["elsewhere"]
    assert b"elsewhere" not in text


async def test_orders_from_outside_their_window_are_stored_with_evidence_and_warned_of(
    toast: OddToast, sandbox: Sandbox, store: OrderStore, week: Week
) -> None:
    early, late = plain_order("early", 0), plain_order("late", week.end_ms + 5)
    toast.add("here", late, early, at=week.start_ms + 5)
    report = await pull_from(toast, store, week)
    rows = stored_rows(store, week, "here")
    assert (rows[0].guid, rows[-1].guid, len(rows)) == ("early", "late", 22)
    evidence = [piece.evidence for piece in report.manifest.stored["here"].slices]
    assert "outside_window" in evidence
    assert sum(piece.orders for piece in report.manifest.stored["here"].slices) == 22
    found = evaluate("modified_times_inside_week", week, report.manifest, store)
    assert found.figures == {"orders_outside": 2, "farthest_outside_seconds": week.start_ms / 1000}
    assert found.description == "Pier 9 (here): 2 orders were modified outside, by up to 20346.2 days, such as early"
    export_week(week, store, LOG)
    check_export(store, week, "here")


async def test_a_toast_whose_windows_include_their_end_is_read_whole_and_warned_of(
    toast: OddToast, sandbox: Sandbox, store: OrderStore, week: Week
) -> None:
    for number in range(300):
        time = week.end_ms - 299 + number
        toast.add("here", plain_order(f"last-{number}", time), at=time)
    exact = toast.orders
    toast.orders = lambda guid, window: exact(guid, Window(window.start, window.end + 1))
    report = await pull_from(toast, store, week)
    rows = stored_rows(store, week, "here")
    assert (len(rows), len({order.guid for order in rows})) == (320, 320)
    assert "outside_window" in [piece.evidence for piece in report.manifest.stored["here"].slices]
    # What lies at the very end of the week is in the next one as well: it is delivered once for each version.
    found = evaluate("modified_times_inside_week", week, report.manifest, store)
    assert found.figures == {"orders_outside": 1, "farthest_outside_seconds": 0.001}


# Restaurants


async def test_a_restaurant_in_another_spelling_continues_its_files(
    toast: OddToast, sandbox: Sandbox, store: OrderStore, week: Week, caplog: pytest.LogCaptureFixture
) -> None:
    await pull_from(toast, store, week)
    keys = set(bucket_content(sandbox))
    toast.add("here", plain_order("late", week.start_ms + 7), at=week.start_ms + 7)
    report = await pull_from(toast, store, week, guids="HERE,there,Here")
    assert set(bucket_content(sandbox)) == keys
    assert {guid: pull.orders for guid, pull in report.manifest.stored.items()} == {"here": 21, "there": 20}
    assert "stored as here" in caplog.text


async def test_a_discovered_restaurant_in_two_spellings_is_one(
    toast: OddToast, sandbox: Sandbox, store: OrderStore, week: Week
) -> None:
    toast.listed = ("HERE", "here", "There")
    report = await pull_from(toast, store, week, guids="*")
    assert list(report.manifest.stored) == ["HERE", "There"]
    toast.listed = ("here", "there")
    report = await pull_from(toast, store, week, guids="*")
    assert list(report.manifest.stored) == ["HERE", "There"]


@pytest.mark.parametrize("damage", [lambda body: body[: len(body) // 2], lambda _: b"garbage", lambda _: b""])
async def test_a_damaged_raw_file_fails_its_restaurant_by_name_and_stops_no_other(
    toast: OddToast, sandbox: Sandbox, store: OrderStore, week: Week, damage: Callable[[bytes], bytes]
) -> None:
    await pull_from(toast, store, week)
    key = store.layout.raw(week, "here")
    found = store.bucket.read(key)
    assert found is not None
    store.bucket.write(key, damage(found[0]))
    toast.add("there", plain_order("late", week.start_ms + 7), at=week.start_ms + 7)
    report = await pull_from(toast, store, week)
    assert "restaurant=here.parquet cannot be read" in report.manifest.failures["here"]
    assert "Restore an earlier version" in report.manifest.failures["here"]
    assert "late" in guids(store, week, "there")


# The week


@pytest.mark.parametrize(
    ("date", "stops"),
    [
        ("Mon, 22 Sep 2025 03:59:59 GMT", True),
        ("Sun, 21 Sep 2025 12:00:00 GMT", True),
        ("Mon, 22 Sep 2025 04:00:01 GMT", False),
        ("Thu, 99 Foo 99999 99:99:99 GMT", False),
        ("Fri, 31 Dec 2020 23:59:59 +99999999999", False),
        ("", False),
    ],
)
async def test_a_week_that_is_open_by_toasts_clock_is_not_pulled(
    toast: OddToast, sandbox: Sandbox, store: OrderStore, week: Week, date: str, stops: bool
) -> None:
    toast.headers = {"Date": date}
    if stops:
        with pytest.raises(WeekError, match="has not closed yet by Toast's clock: it ends at 2025-09-22 04:00 UTC"):
            await pull_from(toast, store, week)
        assert bucket_content(sandbox) == {}
    else:
        assert (await pull_from(toast, store, week)).manifest.outcome == "complete"


# Other runs


class Stopped:
    """A run that is stopped before one write, until it is let go on."""

    def __init__(self, client: Any, number: int) -> None:
        self.reached, self.go_on = threading.Event(), threading.Event()
        before(client, "PutObject", lambda count: count == number and self._stop())

    def _stop(self) -> bool:
        self.reached.set()
        return self.go_on.wait(60)


def other_store(sandbox: Sandbox, store: OrderStore) -> tuple[Any, OrderStore]:
    client = s3_client(sandbox)
    return client, OrderStore(Bucket(client, sandbox.bucket), store.layout.prefix)


@pytest.mark.parametrize("number", [1, 2, 3])
async def test_a_run_that_was_stopped_before_a_write_and_goes_on_changes_nothing_back(
    toast: OddToast, sandbox: Sandbox, store: OrderStore, week: Week, number: int
) -> None:
    client, other = other_store(sandbox, store)
    stopped = Stopped(client, number)
    older = asyncio.create_task(pull_from(toast, other, week))
    await asyncio.to_thread(stopped.reached.wait, 60)
    for guid in ("here", "there"):
        toast.add(guid, plain_order("late", week.start_ms + 7), at=week.start_ms + 7)
    await pull_from(toast, store, week, refresh=True)
    stopped.go_on.set()
    await older
    assert {guid: pull.orders for guid, pull in manifest_of(store, week).stored.items()} == {"here": 21, "there": 21}
    export_week(week, store, LOG)
    for guid in ("here", "there"):
        check_export(store, week, guid)


async def test_a_manifest_that_does_not_describe_the_raw_file_is_repaired_without_asking_toast(
    toast: OddToast, sandbox: Sandbox, store: OrderStore, week: Week
) -> None:
    await pull_from(toast, store, week)
    older = store.bucket.read(store.layout.manifest(week))
    assert older is not None
    toast.add("here", plain_order("late", week.start_ms + 7), at=week.start_ms + 7)
    await pull_from(toast, store, week)
    store.bucket.write(store.layout.manifest(week), older[0])
    toast.stored = {"here": [], "there": []}
    report = await pull_from(toast, store, week, refresh=False)
    assert report.restaurants == []
    assert (report.manifest.stored["here"].orders, report.manifest.outcome) == (21, "complete")
    export_week(week, store, LOG)
    check_export(store, week, "here")


async def test_a_write_whose_answer_was_lost_is_known_again_and_counts_its_orders(
    toast: OddToast, sandbox: Sandbox, store: OrderStore, week: Week
) -> None:
    client, other = other_store(sandbox, store)
    after(
        client,
        "PutObject",
        lambda number: number == 1 and refuse(client, "PutObject", 412, "PreconditionFailed", times=1),
    )
    report = await pull_from(toast, other, week)
    assert [result.new for result in report.restaurants] == [20, 20]
    assert [pull.new for pull in report.manifest.stored.values()] == [20, 20]


# Interruptions


async def test_the_cause_that_ended_a_run_is_what_it_tells_and_what_was_finished_is_noted(
    toast: OddToast, sandbox: Sandbox, store: OrderStore, week: Week
) -> None:
    client, other = other_store(sandbox, store)
    after(client, "PutObject", lambda number: number == 1 and refuse(client, "PutObject", 403, "AccessDenied", times=1))
    with pytest.raises(StoreError, match="AccessDenied"):
        await pull_from(toast, other, week, TOAST_CONCURRENT_RESTAURANTS="1")
    manifest = manifest_of(store, week)
    assert (len(manifest.stored), len(manifest.pending), manifest.outcome) == (1, 1, "incomplete")
    report = await pull_from(toast, store, week)
    assert [result.guid for result in report.restaurants] == list(manifest.pending)
    assert report.manifest.outcome == "complete"


async def test_a_cancelled_pull_removes_its_folder_only_when_no_thread_works_in_it(
    toast: OddToast, sandbox: Sandbox, store: OrderStore, week: Week, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    flushing, go_on = threading.Event(), threading.Event()
    flush, closed = RawFileWriter.flush, RawFileWriter.__exit__

    def slow(writer: RawFileWriter) -> None:
        if threading.current_thread() is not threading.main_thread():
            flushing.set()
            go_on.wait(60)
            events.append("written")
        flush(writer)

    def noted(writer: RawFileWriter, *error: Any) -> None:
        events.append("closed")
        closed(writer, *error)

    monkeypatch.setattr(RawFileWriter, "flush", slow)
    monkeypatch.setattr(RawFileWriter, "__exit__", noted)
    task = asyncio.create_task(pull_from(toast, store, week, guids="here"))
    await asyncio.to_thread(flushing.wait, 60)
    task.cancel()
    await asyncio.sleep(0)
    assert events == []
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert events == ["written", "closed"]
    assert bucket_content(sandbox) == {}
