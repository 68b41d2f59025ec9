"""Half a year of two restaurants through the real pull, export, feeds and delivery: for every order, ``trace`` says
what the simulation's own diary says."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest

from toast_assets.amperity.redaction import Redaction
from toast_assets.delivery.feed_files import write_feeds
from toast_assets.errors import StoreError
from toast_assets.export.write import export_week
from toast_assets.lookup.search import Search
from toast_assets.lookup.trace import Tracer
from toast_assets.pull.week import WeekPull
from toast_assets.sandbox import Call, Kind, Restaurant, Sandbox
from toast_assets.store.bucket import Bucket, Change, StoredObject, Version
from toast_assets.store.order_store import OrderStore
from toast_assets.week import Week, iso_ms
from toast_assets_tests.support.data.half_year import CALENDAR, PLACES, WEEKS, Deed, Simulation, deeds
from toast_assets_tests.support.data.invented import Json
from toast_assets_tests.support.services.clients import SkippedTime, order_store, s3_client, toast_client
from toast_assets_tests.support.services.toast_orders import replace_all
from toast_assets_tests.support.stores.deliveries import amperity_settings, deliver
from toast_assets_tests.support.stores.pulls import LOG

METHODS: Any = {"AMPERITY_DELIVERY": "stream,s3_pull"}


@dataclass
class SimulatedTime(SkippedTime):
    """Toast's client takes the simulation's time for its own."""

    at: Callable[[], datetime] = lambda: datetime.now(UTC)

    def now(self) -> float:
        """Unix seconds."""
        return self.at().timestamp()


class DyingBucket(Bucket):
    """The run that uses it dies when the orders are stored, before the manifest is."""

    def update(self, key: str, change: Change, *, content: bool = True, exists: bool = True) -> Version:
        if "index/weeks/" in key:
            raise StoreError("The run was killed.")
        return super().update(key, change, content=content, exists=exists)


class FrozenBucket(Bucket):
    """Nothing changes any more: each object and list is asked for once."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._known: dict[tuple[str, str], Any] = {}

    def _once(self, what: str, key: str, ask: Callable[[], Any]) -> Any:
        if (what, key) not in self._known:
            self._known[what, key] = ask()
        return self._known[what, key]

    def read(self, key: str) -> tuple[bytes, Version] | None:
        read = super().read
        found: tuple[bytes, Version] | None = self._once("read", key, lambda: read(key))
        return found

    def fetch(self, key: str, path: Path) -> StoredObject | None:
        found = self.read(key)
        if found is None:
            return None
        path.write_bytes(found[0])
        return StoredObject(len(found[0]), version=found[1], path=path)

    def info(self, key: str) -> StoredObject | None:
        info = super().info
        found: StoredObject | None = self._once("info", key, lambda: info(key))
        return found

    def listed(self, prefix: str) -> Iterator[tuple[str, Version]]:
        listed = super().listed
        return iter(self._once("listed", prefix, lambda: [*listed(prefix)]))


@dataclass
class HalfYear:
    """The simulation, and the pipeline that lives through it."""

    sandbox: Sandbox
    clock: SimulatedTime
    simulation: Simulation = field(default_factory=lambda: Simulation(Random(7)))
    now: datetime = WEEKS[0].start
    delivered: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.store, self.diary = order_store(self.sandbox), self.simulation.diary
        self.clock.at = lambda: self.now
        self.sandbox.faults.arm(Kind.STATUS, "order", status=404, target=PLACES[1], last=None)

    async def do(self, deed: Deed, week: Week, newest: Week, number: int) -> None:
        """One deed. Each takes an hour, after the newest week has closed."""
        self.now = max(self.now + timedelta(hours=1), newest.end + timedelta(hours=2))
        if deed == "live":
            self.simulation.live(week, number)
        elif deed == "arrive late":
            self.simulation.arrive_late(week)
        elif deed == "files":
            export_week(week, self.store, LOG)
            write_feeds(week, self.store, "Brand", Redaction({}), LOG)
            self.diary.files_made(week, self.now)
        elif deed == "deliver":
            await self.deliver(week)
        else:
            await self.pull(week, is_killed=deed == "killed pull")

    async def pull(self, week: Week, *, is_killed: bool) -> None:
        """Pull the week from Toast as it is now."""
        for place in PLACES:
            orders = self.simulation.orders[place].values()
            replace_all(self.sandbox.toast.orders[place], [one.json for one in orders])
            self.sandbox.toast.orders[place].lost = {one.guid for one in orders if one.lost}
            if not self._is_resumed(week):
                self.diary.pulled(week, place, [*orders], self.now)
        store = self.store
        if is_killed:
            store = OrderStore(DyingBucket(s3_client(self.sandbox), self.sandbox.bucket), "toast-orders/")
        async with toast_client(self.sandbox, skipped=self.clock, TOAST_NAMES="off") as toast:
            run = WeekPull(week, toast, store, log=LOG, now=lambda: self.now, calendar=CALENDAR)
            if is_killed:
                with pytest.raises(StoreError, match="killed"):
                    await run.run()
            else:
                await run.run()

    def _is_resumed(self, week: Week) -> bool:
        """Whether the run finishes what another one stored that was killed."""
        has_raw = bool(self.store.raw_restaurants(week))
        return has_raw and self.store.load_manifest(week)[0] is None

    async def deliver(self, week: Week) -> None:
        """Deliver the week; the first time Amperity refuses some records, and does not answer to others."""
        first = week.key not in self.delivered
        self.delivered.add(week.key)
        bad, silent = (
            {guid for guid in self.diary.held[week.key, place] if first and guid[0] in "0123"}
            for place in (PLACES[1], PLACES[0])
        )
        hook = self.sandbox.faults.arm("hook", "stream", action=self._called, last=None)
        faults = [hook]
        for guids, status in ((bad, 400), (silent, 503)):
            for guid in guids:
                containing = b'"guid":"%s"' % guid.encode()
                faults.append(
                    self.sandbox.faults.arm(Kind.STATUS, "stream", status=status, containing=containing, last=None)
                )
        await deliver(self.sandbox, week, **METHODS)
        for fault in faults:
            self.sandbox.faults.armed.remove(fault)
        self.diary.delivered(week, bad, silent)

    def _called(self, call: Call) -> None:
        body = json.loads(call.body)
        self.diary.calls[body["guid"], body["modifiedDate"]].append(call.header("x-request-id") or "")


def without_times(answer: Any, since: str) -> Json:
    """A trace's JSON; the times of receipts and rejects are by the machine's clock, and not before ``since``."""
    found: Json = json.loads(msgspec.json.encode(answer))
    for version in found["versions"]:
        for one in (*version["receipts"], *version["rejects"]):
            assert since <= one.pop("updated_at") <= iso_ms(datetime.now(UTC))
    return found


def is_done(order: Json) -> bool:
    """Whether everything of the order is made and sent."""
    return bool(order["versions"]) and all(
        all(one["state"] == "current" for one in (version["export"], *version["feed_files"]))
        and not version["rejects"]
        and all(one["state"] in ("accepted", "superseded") for one in version["receipts"])
        and all(due["outcome"] == "superseded" for outlook in version["outlook"] for due in outlook["due"])
        for version in order["versions"]
    )


async def test_for_every_order_of_half_a_year_trace_says_what_the_diary_says(
    start_sandbox: Callable[..., Sandbox],
) -> None:
    since = iso_ms(datetime.now(UTC))
    clock = SimulatedTime()
    restaurants = tuple(Restaurant(place, f"Corner {place[-1]}") for place in PLACES)
    sandbox = start_sandbox(restaurants=restaurants, late_changes=False, now=clock.now)
    world = HalfYear(sandbox, clock)
    for deed, number, newest in deeds():
        await world.do(deed, WEEKS[number], WEEKS[newest], number)

    store = OrderStore(FrozenBucket(s3_client(sandbox), sandbox.bucket), sandbox.config.prefix)
    settings = amperity_settings(sandbox, **METHODS)
    seen: set[str] = set()
    for place in PLACES:
        for guid in world.simulation.orders[place]:
            expected = world.diary.expected(place, guid, f"Corner {place[-1]}")
            trace = Tracer(store, Search(store), settings).order(guid.upper() if expected["versions"] else guid)
            (order,) = trace.orders
            assert without_times(order, since) == expected
            assert (trace.problems, trace.is_done) == ((), is_done(expected))
            seen |= _kinds(expected)
    # The half-year had everything that a trace can say.
    assert seen >= {
        *("accepted", "superseded", "rejected", "pending", "would_send", "unchanged", "due superseded"),
        *("found", "unknown", "earlier pull", "outdated", "missing", "not current", "deleted", "voided", "removed"),
    }


def _kinds(order: Json) -> set[str]:
    found = {"unknown"} if order["unknown"] else set()
    found |= {"not current" for row in order["feed_rows"] if not row["current"]}
    for version in order["versions"]:
        found |= {receipt["state"] for receipt in version["receipts"]} | {version["export"]["state"]}
        found |= {name for name in ("deleted", "voided") if version[name]} | {version["census"]["verdict"]}
        found |= {"earlier pull"} if version["window"]["earlier_pull"] else set()
        found |= {change["what"] for change in version["changed"] or ()}
        for outlook in version["outlook"] or ():
            found |= {"unchanged"} if outlook["unchanged"] else set()
            found |= {due["outcome"].replace("superseded", "due superseded") for due in outlook["due"]}
    return found
