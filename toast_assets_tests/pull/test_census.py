"""The census: what Toast lists by business day against what all weeks hold, and what becomes of the rest."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from toast_assets.index.orders import OrderEntry, StoredVersion, store_month
from toast_assets.pull.week import PullReport, WeekPull
from toast_assets.sandbox import Kind, Sandbox
from toast_assets.sandbox.config import Restaurant
from toast_assets.sandbox.order_builder import decode
from toast_assets.store.manifest import CensusDay, CensusRecord
from toast_assets.store.order_store import OrderStore
from toast_assets.week import Week, WeekCalendar
from toast_assets_tests.support.services.clients import order_store, toast_client
from toast_assets_tests.support.services.toast_orders import edit, edited
from toast_assets_tests.support.stores.pulls import (
    LOG,
    bucket_content,
    check_export,
    export,
    stored_versions,
)

CALENDAR = WeekCalendar()
BEFORE, AFTER = CALENDAR.week("2025-09-08"), CALENDAR.week("2025-09-22")
GUID = "0b1f6a52-7c3d-4e8f-9a10-4d2c6b7e8f01"
ONE = (Restaurant(GUID, "Pier 9", orders_per_week=120),)


@pytest.fixture
def sandbox(start_sandbox: Callable[..., Sandbox]) -> Sandbox:
    """One restaurant in New York, whose business days begin at 08:00 UTC."""
    return start_sandbox(restaurants=ONE)


async def look(
    sandbox: Sandbox, week: Week, *, after: Week | None = None, hours: float = 1.0, **variables: Any
) -> PullReport:
    """One run's pull, ``hours`` after its own week or a later one has closed, which is the last closed week then."""
    now = (after or week).end + timedelta(hours=hours)
    refresh = variables.pop("refresh", None)
    async with toast_client(sandbox, **variables) as toast:
        return await WeekPull(
            week, toast, order_store(sandbox), refresh=refresh, log=LOG, now=lambda: now, calendar=CALENDAR
        ).run()


def census_of(report: PullReport) -> CensusRecord:
    found = report.manifest.restaurants[GUID].census
    assert found is not None
    return found


def totals(days: Iterable[CensusDay], of: str = "orders") -> Counter[str]:
    counts = Counter[str]()
    for day in days:
        if (verdicts := getattr(day, of)) is not None:
            counts.update({name: getattr(verdicts, name) for name in verdicts.__struct_fields__})
    return +counts


def orders_of(sandbox: Sandbox, week: Week) -> list[Any]:
    return sandbox.toast.orders[GUID].between(week.start_ms, week.end_ms)


def lose(sandbox: Sandbox, week: Week, number: int = 60) -> Any:
    """An order of the week that is on no page of ordersBulk."""
    order = orders_of(sandbox, week)[number]
    sandbox.toast.orders[GUID].lost.add(order.guid)
    return order


def asked(sandbox: Sandbox) -> Counter[str]:
    return Counter(entry.path for entry in sandbox.toast.log.entries)


async def test_every_business_day_of_the_week_is_asked_for_once(sandbox: Sandbox, week: Week) -> None:
    await look(sandbox, BEFORE, after=week)
    before = asked(sandbox)
    report = await look(sandbox, week)
    days = census_of(report).days
    assert [day.business_date for day in days] == [f"{date(2025, 9, 14) + timedelta(days=n)}" for n in range(8)]
    took = asked(sandbox) - before
    # The payments of the last day are complete six hours after closeout.
    assert (took["order list"], took["payment list"]) == (8, 7)
    assert [day.payments is None for day in days] == [False] * 7 + [True]
    counts = totals(days)
    assert counts["listed"] == counts["held"] + counts["pending"]
    assert counts["held"] >= 100
    assert totals(days, "payments")["held"] >= 100
    assert (report.census_requests, report.configuration_requests) == (took["order list"] + 7 + took["order"], 13)


async def test_the_second_look_counts_the_last_days_payments_too(sandbox: Sandbox, week: Week) -> None:
    await look(sandbox, week)
    report = await look(sandbox, week, hours=72)
    assert all(day.payments is not None for day in census_of(report).days)


async def test_a_week_whose_neighbours_were_not_pulled_costs_a_request_a_day_and_fetches_nothing(
    sandbox: Sandbox, week: Week
) -> None:
    orders = sandbox.toast.orders[GUID]
    moved = orders_of(sandbox, week)[60]
    edit(orders, moved.guid, AFTER.start_ms + 5_000_000)
    report = await look(sandbox, week, after=AFTER)
    counts = totals(census_of(report).days)
    assert counts["pending"] >= 2
    assert counts["held"] + counts["pending"] == counts["listed"]
    took = asked(sandbox)
    assert took["order"] == took["payment"] == 0
    assert took["order list"] + took["payment list"] + took["configuration"] <= 30


async def test_an_order_that_ordersbulk_never_shows_is_found_stored_and_exported_in_the_same_run(
    sandbox: Sandbox, store: OrderStore, week: Week, caplog: pytest.LogCaptureFixture
) -> None:
    lost = lose(sandbox, week)
    with caplog.at_level(logging.WARNING):
        report = await look(sandbox, week)
    export(sandbox, week)
    assert stored_versions(store, week, GUID)[lost.guid] == (lost.modified_ms, lost.json)
    check_export(store, week, GUID)
    record = report.manifest.restaurants[GUID]
    assert record.pull is not None
    (piece,) = (one for one in record.pull.slices if one.evidence == "census")
    assert (piece.orders, piece.requests) == (1, 1)
    assert piece.start <= _iso(lost.modified_ms) < piece.end
    assert census_of(report).found == {lost.guid: f"[{piece.start}, {piece.end})"}
    assert totals(census_of(report).days)["found"] == 1
    assert lost.guid in caplog.text
    assert (record.pull.orders, report.restaurants[0].new) == (120, 120)


def _iso(milliseconds: int) -> str:
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{milliseconds % 1000:03d}Z"


async def test_what_was_found_once_is_held_then_and_its_evidence_stays(sandbox: Sandbox, week: Week) -> None:
    lost = lose(sandbox, week)
    first = await look(sandbox, week)
    content = bucket_content(sandbox)
    second = await look(sandbox, week)
    changed = {key for key, body in bucket_content(sandbox).items() if content.get(key) != body}
    assert changed == {key for key in content if "manifests/" in key}, "the counts of the census"
    assert totals(census_of(second).days)["found"] == 0
    assert census_of(second).found == census_of(first).found != {}
    fetched = [entry for entry in sandbox.toast.log.entries if entry.path == "order"]
    assert len([one for one in fetched if one.status == 200]) >= 1
    # A later look that brings something else keeps the evidence, and no window is sized by it.
    edit(sandbox.toast.orders[GUID], orders_of(sandbox, week)[3].guid, week.end_ms - 1)
    third = await look(sandbox, week)
    pull = third.manifest.stored[GUID]
    assert [one.evidence for one in pull.slices].count("census") == 1
    assert len(pull.windows) == len(pull.slices) - 1
    assert lost.guid in census_of(third).found
    third_again = await look(sandbox, week)
    assert third_again.restaurants[0].failure is None


async def test_an_order_that_was_modified_later_is_pending_and_arrives_next_week(
    sandbox: Sandbox, store: OrderStore, week: Week
) -> None:
    await look(sandbox, BEFORE, after=week)
    late = orders_of(sandbox, week)[60]
    edit(sandbox.toast.orders[GUID], late.guid, AFTER.start_ms + 50_000_000)
    report = await look(sandbox, week)
    counts = totals(census_of(report).days)
    assert counts["pending"] >= 1
    assert not counts["found"] + counts["unknown"]
    assert late.guid not in stored_versions(store, week, GUID)
    assert asked(sandbox)["order"] >= 1
    after = await look(sandbox, AFTER)
    assert late.guid in stored_versions(store, AFTER, GUID)
    assert not totals(census_of(after).days)["found"]
    again = await look(sandbox, week, after=AFTER)
    assert late.guid in stored_versions(store, AFTER, GUID)
    assert totals(census_of(again).days)["pending"] == 0, "held by the week after"


async def test_an_order_that_cannot_be_fetched_is_unknown_once_and_no_news_in_the_second_look(
    sandbox: Sandbox, week: Week
) -> None:
    lost = lose(sandbox, week)
    sandbox.faults.arm(Kind.STATUS, "order", status=404, last=None)
    first = census_of(await look(sandbox, week))
    assert first.unknown[lost.guid] == 1
    assert totals(first.days)["unknown"] >= 1
    second = census_of(await look(sandbox, week))
    assert second.unknown[lost.guid] == 2
    assert census_of(await look(sandbox, week)).unknown[lost.guid] == 2
    sandbox.faults.clear()
    last = census_of(await look(sandbox, week))
    assert (last.unknown, [*last.found]) == ({}, [lost.guid])


@pytest.mark.parametrize("status", [400, 401, 403, 404])
async def test_where_toast_refuses_the_list_it_is_not_available_at_the_cost_of_one_request(
    sandbox: Sandbox, store: OrderStore, week: Week, status: int
) -> None:
    sandbox.faults.arm(Kind.STATUS, "order list", status=status, last=None)
    lost = lose(sandbox, week)
    report = await look(sandbox, week)
    census = census_of(report)
    assert census.days == ()
    assert census.failure is not None
    assert f"answered {status}" in census.failure
    assert report.manifest.outcome == "complete"
    took = asked(sandbox)
    assert (took["order list"], took["payment list"], took["order"], took["login"]) == (1, 0, 0, 1)
    assert lost.guid not in stored_versions(store, week, GUID)
    assert GUID not in census.failure, "one reason for all restaurants"


async def test_where_only_payments_are_refused_orders_are_counted_all_the_same(sandbox: Sandbox, week: Week) -> None:
    sandbox.faults.arm(Kind.STATUS, "payment list", status=403, last=None)
    census = census_of(await look(sandbox, week))
    assert census.failure is None
    assert census.payments_failure is not None
    assert all(day.payments is None for day in census.days)
    assert totals(census.days)["held"] >= 100
    assert asked(sandbox)["payment list"] == 1


async def test_a_day_that_cannot_be_read_leaves_the_others(sandbox: Sandbox, week: Week) -> None:
    sandbox.faults.arm(Kind.HTML, "order list", first=4, last=None)
    census = census_of(await look(sandbox, week))
    assert 1 <= len(census.days) < 8
    assert census.failure is not None


async def test_a_list_that_never_has_an_order_is_no_witness(
    sandbox: Sandbox, week: Week, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(sandbox.toast.orders[GUID]), "since", lambda *_: iter(()))
    census = census_of(await look(sandbox, week))
    assert census.failure is not None
    assert "lists no order" in census.failure


async def test_with_the_census_off_nothing_is_asked(sandbox: Sandbox, week: Week) -> None:
    report = await look(sandbox, week, TOAST_CENSUS="off")
    assert report.manifest.restaurants[GUID].census is None
    assert not asked(sandbox).keys() & {"order list", "payment list", "order", "payment"}


async def test_a_payment_that_only_a_newer_version_has_brings_that_version(
    sandbox: Sandbox, store: OrderStore, week: Week
) -> None:
    """The order is stored without its payment, and ordersBulk does not show the version that has it."""
    orders = sandbox.toast.orders[GUID]
    paid = next(one for one in orders_of(sandbox, week)[40:] if len(decode(one.json)["checks"][0]["payments"]) == 1)
    unpaid = edited(paid, paid.modified_ms, lambda order: order["checks"][0].update(payments=[]))
    orders.newest[paid.guid] = unpaid
    await look(sandbox, week)
    newer = edited(paid, paid.modified_ms + 1000)
    orders.newest[paid.guid] = newer
    orders.lost.add(paid.guid)
    report = await look(sandbox, week)
    assert totals(census_of(report).days, "payments")["found"] == 1
    assert stored_versions(store, week, GUID)[paid.guid] == (newer.modified_ms, newer.json)
    took = asked(sandbox)
    assert took["payment"] == 1


async def test_a_listed_order_that_cannot_be_read_is_kept_aside(
    sandbox: Sandbox, store: OrderStore, week: Week
) -> None:
    lost = lose(sandbox, week)
    body = lost.json.replace(b'"modifiedDate"', b'"modified"', 1)
    orders = sandbox.toast.orders[GUID]
    orders.newest[lost.guid] = lost._replace(build=lambda: body)
    report = await look(sandbox, week)
    assert report.manifest.stored[GUID].unreadable == 1
    assert store.bucket.info(store.layout.unreadable(week, GUID)) is not None
    assert not totals(census_of(report).days)["found"]
    assert (await look(sandbox, week)).manifest.stored[GUID].unreadable == 1


async def test_a_run_that_was_killed_after_it_stored_a_restaurant_still_takes_the_census(
    sandbox: Sandbox, store: OrderStore, week: Week
) -> None:
    await look(sandbox, week, TOAST_CENSUS="off")
    lost = lose(sandbox, week, 30)
    await look(sandbox, week, TOAST_CENSUS="off")
    for key in (store.layout.raw(week, GUID), store.layout.manifest(week)):
        store.bucket.delete(key)
    await look(sandbox, week, TOAST_CENSUS="off")
    store.bucket.delete(store.layout.manifest(week))
    asked_before = asked(sandbox)["orders"]
    report = await look(sandbox, week)
    assert asked(sandbox)["orders"] == asked_before
    assert lost.guid in stored_versions(store, week, GUID)
    assert [*census_of(report).found] == [lost.guid]
    assert report.manifest.stored[GUID].orders == 120
    assert report.manifest.stored[GUID].new == 120
    # Killed once more: the raw file itself says how its orders were found.
    store.bucket.delete(store.layout.manifest(week))
    again = (await look(sandbox, week)).manifest.stored[GUID]
    assert [one.evidence for one in again.slices].count("census") == 1


@pytest.mark.parametrize(
    ("place", "closeout", "first", "last"),
    [
        ("America/Los_Angeles", 3, "2025-09-14", "2025-09-21"),
        ("Asia/Tokyo", 4, "2025-09-15", "2025-09-22"),
        ("Europe/London", 0, "2025-09-15", "2025-09-22"),
        ("Europe/London", 5, "2025-09-15", "2025-09-21"),
    ],
)
async def test_business_days_are_the_restaurants_own(
    start_sandbox: Callable[..., Sandbox], week: Week, place: str, closeout: int, first: str, last: str
) -> None:
    sandbox = start_sandbox(restaurants=(Restaurant(GUID, "Elsewhere", place, closeout, orders_per_week=20),))
    days = census_of(await look(sandbox, week)).days
    assert (days[0].business_date, days[-1].business_date) == (first, last)


async def test_orders_of_before_the_first_week_are_pending(sandbox: Sandbox, week: Week) -> None:
    calendar = WeekCalendar(first=date.fromisoformat(week.key))
    now = week.end + timedelta(hours=1)
    orders_of(sandbox, BEFORE)
    async with toast_client(sandbox) as toast:
        report = await WeekPull(week, toast, order_store(sandbox), log=LOG, now=lambda: now, calendar=calendar).run()
    (sunday, *_) = census_of(report).days
    assert sunday.orders.pending > 10
    assert sunday.orders.found == 0


async def test_an_order_that_only_the_index_knows_is_held(sandbox: Sandbox, store: OrderStore, week: Week) -> None:
    """Retention removed the raw file of the week that held it."""
    lost = lose(sandbox, week)
    unpaid = edited(lost, lost.modified_ms, lambda order: order["checks"][0].update(payments=[]))
    sandbox.toast.orders[GUID].newest[lost.guid] = unpaid
    expired = StoredVersion("2025-09-01", "", lost.modified_ms)
    store_month(store, GUID, "2025-09", [OrderEntry(lost.guid.upper(), (expired,))])
    fetched: list[str] = []
    sandbox.faults.arm(
        Kind.HOOK, "order", action=lambda call: fetched.append(call.request.path_params["guid"]), last=None
    )
    counts = totals(census_of(await look(sandbox, week)).days)
    assert counts["found"] == counts["unknown"] == 0
    assert fetched
    assert lost.guid not in fetched


async def test_payments_are_looked_for_where_the_index_knows_all_orders(
    sandbox: Sandbox, store: OrderStore, week: Week
) -> None:
    await look(sandbox, BEFORE, after=week)
    stored = [(one, each.key) for each in (BEFORE, AFTER) for one in orders_of(sandbox, each)]
    entries = [OrderEntry(one.guid, (StoredVersion(key, "", one.modified_ms),)) for one, key in stored]
    store_month(store, GUID, "2025-09", entries)
    await look(sandbox, week)
    assert asked(sandbox)["payment"] == 0


@pytest.mark.parametrize(("known_ms", "found"), [(0, 0), (-1, 1)])
async def test_an_order_that_was_created_in_another_month_is_looked_up_there(
    sandbox: Sandbox, store: OrderStore, week: Week, known_ms: int, found: int
) -> None:
    lost = lose(sandbox, week)
    older = edited(lost, lost.modified_ms, lambda order: order.update(createdDate="2025-07-31T10:00:00.000+0000"))
    sandbox.toast.orders[GUID].newest[lost.guid] = older
    expired = StoredVersion("2025-09-01", "", lost.modified_ms + known_ms)
    store_month(store, GUID, "2025-07", [OrderEntry(lost.guid, (expired,))])
    report = await look(sandbox, week)
    assert totals(census_of(report).days)["found"] == found
    assert (lost.guid in stored_versions(store, week, GUID)) == bool(found)


async def test_another_order_than_the_one_that_was_asked_for_is_none(
    sandbox: Sandbox, store: OrderStore, week: Week
) -> None:
    lost = lose(sandbox, week)
    other = lost.json.replace(lost.guid.encode(), b"another", 1)
    sandbox.toast.orders[GUID].newest[lost.guid] = lost._replace(build=lambda: other)
    census = census_of(await look(sandbox, week))
    assert lost.guid in census.unknown
    assert census.found == {}
    assert "another" not in stored_versions(store, week, GUID)


async def test_an_order_that_two_days_list_belongs_to_the_first_of_them(
    sandbox: Sandbox, week: Week, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The week that holds most of the first day was not pulled."""
    lost, orders = lose(sandbox, week), sandbox.toast.orders[GUID]
    of_day = orders.of_day
    sunday = date(2025, 9, 14)
    monkeypatch.setattr(orders, "of_day", lambda day: [*of_day(day), *([lost] if day == sunday else [])])
    census = census_of(await look(sandbox, week))
    assert lost.guid not in {*census.found, *census.unknown}


async def test_guids_compare_without_case(sandbox: Sandbox, week: Week) -> None:
    orders = sandbox.toast.orders[GUID]
    for order in orders_of(sandbox, week):
        orders.newest[order.guid] = order._replace(guid=order.guid.upper())
    counts = totals(census_of(await look(sandbox, week)).days)
    assert counts["held"] >= 90
    assert counts["found"] == counts["unknown"] == 0
