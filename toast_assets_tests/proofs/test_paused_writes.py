"""A run that is paused before any one of its calls to S3, while another run does the week again with newer orders.

When it goes on, the newest content stays everywhere.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from itertools import count
from typing import Any

import httpx
import pytest

from toast_assets.amperity.feeds.build import FEEDS
from toast_assets.amperity.redaction import Redaction
from toast_assets.delivery.feed_files import write_feeds
from toast_assets.privacy.retention import Retained, Retention
from toast_assets.settings import RetentionSettings
from toast_assets.store.deliveries import load_delivered
from toast_assets.week import Week, WeekCalendar
from toast_assets_tests.support.faults.world import LOG, Hook, KilledError, Operation, Side, Stop, World, stopped

PLACE = "r-1"
MONTH = "2025-09"
Run = Callable[[World, Hook | None], object]


Choice = Callable[[Operation, str], bool]


@dataclass
class StopAt(Stop):
    """Holds the call with this ``number`` among the ``chosen`` ones, from 1 on."""

    number: int = 0
    chosen: Choice = lambda _operation, _key: True
    calls: int = 0

    def __call__(self, operation: Operation, key: str, side: Side) -> None:
        """One call to S3."""
        if side == "before" and self.chosen(operation, key):
            self.calls += 1
            if self.calls == self.number:
                self.operation, self.part = operation, key
                super().__call__(operation, key, side)


def first_pull(week: Week) -> World:
    """A week of ten orders that was pulled."""
    world = World(week)
    for number in range(10):
        world.put(PLACE, f"o{number}", week.start_ms + number * 4_000_000, numberOfGuests=1)
    world.pull()
    return world


def second_pull(world: World) -> None:
    """The same week with an order more, one in a newer version, and one that changed without a new modified time."""
    world.put(PLACE, "o3", world.week.start_ms + 500_000_000, numberOfGuests=2)
    world.put(PLACE, "o4", world.week.start_ms + 4 * 4_000_000, numberOfGuests=2)
    world.put(PLACE, "late", world.week.start_ms + 77, numberOfGuests=2)
    world.pull()


NEWEST = {f"o{number}": 1 for number in range(10)} | {"o3": 2, "o4": 2, "late": 2}


def guests(rows: Any) -> dict[str, int]:
    return {row["order_guid"]: row["number_of_guests"] for row in rows}


def paused_everywhere(
    week: Week, run: Run, meanwhile: Callable[[World], object], chosen: Choice = lambda _operation, _key: True
) -> Iterator[tuple[World, str]]:
    """Worlds in which ``run`` was paused before one of its (``chosen``) calls, which is told, until ``meanwhile`` was
    over."""
    counting = StopAt("get", "", chosen=chosen)
    run(first_pull(week), counting)
    assert counting.calls
    for number in range(1, counting.calls + 1):
        world, stop = first_pull(week), StopAt("get", "", number=number, chosen=chosen)
        with stopped(partial(run, world, stop), stop) as outcome:
            meanwhile(world)
        where = f"{stop.operation} {stop.part}"
        assert outcome.error is None, f"paused before {where}: {outcome.error!r}"
        yield world, where


def feeds(world: World, hook: Hook | None = None) -> None:
    write_feeds(world.week, world.store(hook), "brand", Redaction(), LOG)


def test_an_export_that_was_paused_anywhere_leaves_the_newest_orders(week: Week) -> None:
    def meanwhile(world: World) -> None:
        second_pull(world)
        world.export()

    for world, where in paused_everywhere(week, lambda world, hook: world.export(hook=hook), meanwhile):
        exported = world.exported(PLACE)
        assert {guid: order["numberOfGuests"] for guid, order in exported.items()} == NEWEST, where


def test_tables_that_were_paused_anywhere_leave_the_newest_orders_there_and_in_the_current_ones(week: Week) -> None:
    def meanwhile(world: World) -> None:
        second_pull(world)
        world.tables()
        world.current_orders()

    def chosen(_operation: Operation, key: str) -> bool:
        # What happens to one of the later tables happens to all.
        return "/tables/" not in key or "/orders/" in key or "/customers/" in key

    for world, where in paused_everywhere(week, lambda world, hook: world.tables(hook=hook), meanwhile, chosen):
        layout = world.store().layout
        assert guests(world.rows(layout.table("orders", week.key))) == NEWEST, where
        before = dict(world.objects)
        world.tables()
        assert world.objects == before, where
        world.current_orders()
        assert guests(world.rows(layout.current_orders(PLACE, MONTH))) == NEWEST, where


def test_current_orders_that_were_paused_anywhere_hold_and_count_what_is_newest(week: Week) -> None:
    def run(world: World, hook: Hook | None) -> None:
        if (hook is not None and isinstance(hook, StopAt)) or hook is not None:
            world.tables()
        world.current_orders(hook=hook)

    def meanwhile(world: World) -> None:
        second_pull(world)
        world.tables()
        world.current_orders()

    for world, where in paused_everywhere(week, run, meanwhile):
        store = world.store()
        assert guests(world.rows(store.layout.current_orders(PLACE, MONTH))) == NEWEST, where
        state = json.loads(world.objects[store.layout.current_orders_state()].body)
        assert state["restaurants"][PLACE]["rows"] == len(NEWEST), where
        world.current_orders()
        assert guests(world.rows(store.layout.current_orders(PLACE, MONTH))) == NEWEST, where


def test_feeds_that_were_paused_anywhere_leave_the_newest_orders(week: Week) -> None:
    def meanwhile(world: World) -> None:
        second_pull(world)
        feeds(world)

    for world, where in paused_everywhere(week, feeds, meanwhile):
        files = [world.store().layout.feed(week, PLACE, feed) for feed in FEEDS]
        found = {key: world.objects[key].body for key in files}
        feeds(world)
        assert {key: world.objects[key].body for key in files} == found, where
        manifest, _ = world.store().load_manifest(week)
        assert manifest is not None
        hashes = {world.objects[key].metadata["orders"] for key in files}
        assert hashes == {manifest.stored[PLACE].orders_sha256}, where


def delivered_once(world: World) -> None:
    """Every stored version has arrived, and another delivery sends nothing."""
    sent = len(world.received)
    report = world.deliver()
    assert (len(world.received), report.methods["stream"].unchanged) == (sent, len(NEWEST))


def test_a_delivery_that_was_paused_anywhere_leaves_a_ledger_by_which_nothing_is_sent_again(week: Week) -> None:
    def run(world: World, hook: Hook | None) -> None:
        world.export()
        world.deliver(hook=hook)

    def meanwhile(world: World) -> None:
        second_pull(world)
        world.export()
        world.deliver()

    def chosen(operation: Operation, key: str) -> bool:
        return operation in ("put", "delete") or (operation == "get" and "/deliveries/" in key)

    for world, where in paused_everywhere(week, run, meanwhile, chosen):
        newest = {one.record["guid"]: one.record["numberOfGuests"] for one in world.received if late(one.record, week)}
        assert newest == {"o3": 2}, where
        manifest, _ = world.store().load_manifest(week)
        known = load_delivered(world.store(), week.key)
        assert manifest is not None
        assert known is not None
        summary = known.restaurants[PLACE]
        assert (summary.orders_sha256, summary.problem) == (manifest.stored[PLACE].orders_sha256, None), where
        assert summary.methods["stream"].arrived == summary.methods["stream"].records == len(NEWEST), where
        world.export()
        world.deliver()
        delivered_once(world)


def late(record: dict[str, Any], week: Week) -> bool:
    return str(record["modifiedDate"]) > f"{week.start + timedelta(days=3):%Y-%m-%d}"


def rejected(world: World) -> list[str]:
    found = world.objects.get(world.store().layout.rejects(world.week))
    return sorted(json.loads(line)["order_guid"] for line in gzip.decompress(found.body).splitlines()) if found else []


def refusing(*guids: str) -> Callable[[httpx.Request], httpx.Response | None]:
    def answer(request: httpx.Request) -> httpx.Response | None:
        bad = any(f'"{guid}"'.encode() in request.content for guid in guids)
        return httpx.Response(400, json={"message": "bad"}) if bad else None

    return answer


def test_rejects_of_a_paused_delivery_hide_no_newer_ones_and_bring_none_back(week: Week) -> None:
    world = first_pull(week)
    world.export()
    world.amperity_answer = refusing("o1", "o2")
    stop = Stop("put", "/rejects/")
    with stopped(lambda: world.deliver(hook=stop), stop) as outcome:
        second_pull(world)
        world.export()
        world.amperity_answer = refusing("o1", "late")
        world.deliver()
        assert rejected(world) == ["late", "o1"]
    assert outcome.error is None
    assert rejected(world) == ["late", "o1"]
    assert open_weeks(world) == {week.key: 2}
    world.amperity_answer = lambda _: None
    world.deliver()
    assert rejected(world) == []
    assert open_weeks(world) == {}
    delivered_once(world)


def open_weeks(world: World) -> dict[str, int]:
    """How many rejects of each week the index of open rejects knows."""
    weeks = json.loads(world.objects[world.store().layout.open_rejects].body)["weeks"]
    return {key: sum(found["rejects"].values()) for key, found in weeks.items()}


def two_weeks(week: Week) -> tuple[World, Week]:
    """A week of which two orders were refused, and the next one, which was not delivered yet; Amperity takes all."""
    world, later = first_pull(week), WeekCalendar().week(f"{week.end:%Y-%m-%d}")
    world.now = later.end + timedelta(hours=1)
    world.put(PLACE, "later", later.start_ms + 77)
    world.pull(later)
    for one in (week, later):
        world.export(one)
    world.amperity_answer = refusing("o1", "o2")
    world.deliver()
    world.amperity_answer = lambda _: None
    return world, later


def is_of_rejects(week: Week, key: str) -> bool:
    """Whether an object is about rejects, or the week that has them."""
    return "/rejects/" in key or week.key in key


def recovered(world: World, week: Week) -> None:
    """The rejects have arrived, and nothing says otherwise."""
    assert (rejected(world), open_weeks(world)) == ([], {})
    assert {row["state"] for row in world.rows(world.store().layout.ledger(week, PLACE))} == {"accepted"}


def test_two_deliveries_at_once_retry_another_weeks_rejects_once(week: Week) -> None:
    counting = StopAt("get", "")
    counting.chosen = lambda operation, key: operation in ("put", "delete") and is_of_rejects(week, key)
    world, later = two_weeks(week)
    world.deliver_and_retry(later, hook=counting)
    assert counting.calls >= 5
    for number in range(1, counting.calls + 1):
        world, later = two_weeks(week)
        stop = StopAt("get", "", number=number, chosen=counting.chosen)
        with stopped(partial(world.deliver_and_retry, later, hook=stop), stop) as outcome:
            world.deliver_and_retry(later)
        where = f"{stop.operation} {stop.part}"
        assert outcome.error is None, f"{where}: {outcome.error!r}"
        # The one that counted the try has made it, or still does when it goes on.
        recovered(world, week)
        sent = [one.record["guid"] for one in world.received]
        assert (sent.count("o1"), sent.count("o2")) == (1, 1), where


def test_a_retry_that_is_killed_before_any_write_is_made_by_the_delivery_of_the_next_week(week: Week) -> None:
    for number in count(1):
        world, later = two_weeks(week)
        last = WeekCalendar().week(f"{later.end:%Y-%m-%d}")
        world.now = last.end + timedelta(hours=1)
        world.put(PLACE, "last", last.start_ms + 77)
        world.pull(last)
        world.export(last)
        calls = 0

        def kill(operation: Operation, key: str, side: Side) -> None:
            nonlocal calls
            calls += operation in ("put", "delete") and side == "before" and is_of_rejects(week, key)
            if calls == number:  # noqa: B023 - the run ends within this round
                raise KilledError

        with suppress(KilledError):
            world.deliver_and_retry(later, hook=kill)
        if calls < number:
            break
        world.deliver_and_retry(last)
        recovered(world, week)
    assert number > 5


def test_a_damaged_file_of_rejects_is_made_again_by_the_next_delivery(week: Week) -> None:
    world = first_pull(week)
    world.export()
    world.amperity_answer = refusing("o1", "o2")
    world.deliver()
    key = world.store().layout.rejects(week)
    world.store().bucket.write(key, world.objects[key].body[:40])
    world.deliver()
    assert rejected(world) == ["o1", "o2"]


def retained(world: World, hook: Hook | None = None) -> Retained:
    settings = RetentionSettings.parse(dict.fromkeys(("RETENTION_RAW_DAYS", "RETENTION_EXPORT_DAYS"), "1"))
    now = world.week.end + timedelta(days=30)
    return Retention(world.store(hook), settings, world.amperity_settings(), now).run()


def test_retention_that_was_paused_anywhere_removes_no_order_that_was_not_delivered(week: Week) -> None:
    def run(world: World, hook: Hook | None) -> None:
        world.export()
        world.deliver()
        retained(world, hook)

    def chosen(operation: Operation, key: str) -> bool:
        return operation == "delete" or "/raw/" in key or "/manifests/" in key

    def meanwhile(world: World) -> None:
        second_pull(world)
        del world.orders[PLACE]["late"]

    for world, where in paused_everywhere(week, run, meanwhile, chosen):
        raw = world.store().layout.raw(week, PLACE)
        assert raw not in world.objects or "late" in {row["order_guid"] for row in world.rows(raw)}, where
        world.pull(refresh=None)
        world.export()
        world.deliver()
        assert "late" in {one.record["guid"] for one in world.received}, where
    world = first_pull(week)
    run(world, None)
    assert world.store().layout.raw(week, PLACE) not in world.objects


@pytest.mark.parametrize("kind", ["another week", "no manifest", "marker"])
def test_what_only_looks_like_a_manifest_keeps_retention_from_nothing(week: Week, kind: str) -> None:
    world = first_pull(week)
    world.export()
    world.deliver()
    store, other = world.store(), WeekCalendar().week("2025-09-08")
    strange = {
        "another week": (store.layout.manifest(other), world.objects[store.layout.manifest(week)].body),
        "no manifest": (store.layout.manifest(other), b"\xff["),
        "marker": (store.layout.manifests, b""),
    }
    store.bucket.write(*strange[kind])
    result = retained(world)
    assert len(result.removed) == 2
    assert list(result.kept) == ([] if kind == "marker" else [other.key])
