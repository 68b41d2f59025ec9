"""Second looks: what the manifest says of them, and what they bring although it was modified long before."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from toast_assets.pull.week import WeekPull
from toast_assets.sandbox import Kind, Sandbox
from toast_assets.status.settling import SecondLooks, settling
from toast_assets.store.order_store import OrderStore
from toast_assets.tables.build import build_tables
from toast_assets.week import Week, WeekCalendar, iso_ms
from toast_assets_tests.conftest import StartSandbox
from toast_assets_tests.support.services.clients import SkippedTime, order_store, toast_client
from toast_assets_tests.support.services.toast_orders import late_arrivals
from toast_assets_tests.support.stores.pulls import LOG, bucket_content, manifest_of

HOUR = timedelta(hours=1)


@dataclass
class Clock(SkippedTime):
    """Toast's clock and ours."""

    at: datetime = datetime(2025, 9, 22, tzinfo=UTC)

    def now(self) -> float:
        """Unix seconds."""
        return self.at.timestamp()


@dataclass
class Looks:
    """A sandbox whose week is pulled some hours after its end."""

    sandbox: Sandbox
    clock: Clock
    week: Week

    async def pull(self, hours: float) -> None:
        self.clock.at = self.week.end + hours * HOUR
        async with toast_client(self.sandbox, skipped=self.clock, TOAST_CENSUS="off") as toast:
            await WeekPull(self.week, toast, self.store, log=LOG, now=lambda: self.clock.at).run()
        build_tables(self.week, self.store, LOG)

    @property
    def store(self) -> OrderStore:
        return order_store(self.sandbox)

    @property
    def noted(self) -> list[str | None]:
        """When the restaurants were first looked at again."""
        return [record.second_look_at for record in manifest_of(self.store, self.week).restaurants.values()]

    def brought(self, guid: str) -> SecondLooks:
        found = settling(self.store, WeekCalendar(), LOG).restaurants
        return next(one.looks for one in found if one.restaurant_guid == guid)


@pytest.fixture
def looks(start_sandbox: StartSandbox, week: Week) -> Looks:
    clock = Clock(at=week.end)
    return Looks(start_sandbox(now=clock.now), clock, week)


async def test_orders_of_an_offline_device_are_backdated_and_edits_after_the_week_are_not(looks: Looks) -> None:
    first, second, _ = looks.sandbox.restaurant_guids
    await looks.pull(0.25)
    assert looks.noted == [None] * 3
    orders = looks.sandbox.toast.orders[first]
    late = late_arrivals(orders, looks.week.start, looks.week.end, 3)
    late_arrivals(orders, looks.week.end, looks.week.end + 48 * HOUR, 2)
    await looks.pull(72)
    assert looks.noted == [iso_ms(looks.week.end + 72 * HOUR)] * 3
    rows = looks.store.load_table("orders", looks.week.key)
    sales = rows[rows["order_guid"].isin([order.guid for order in late])]["net_sales"]
    assert looks.brought(first) == SecondLooks(1, 323, 3, sum(sales, Decimal(0)))
    assert looks.brought(second) == SecondLooks(1, 240)


async def test_a_second_look_that_finds_nothing_is_noted_once_and_later_looks_change_no_byte(looks: Looks) -> None:
    await looks.pull(0.25)
    tables = {key: body for key, body in bucket_content(looks.sandbox).items() if "/manifests/" not in key}
    await looks.pull(72)
    content = bucket_content(looks.sandbox)
    assert {key: body for key, body in content.items() if "/manifests/" not in key} == tables
    await looks.pull(100)
    assert bucket_content(looks.sandbox) == content
    assert looks.noted == [iso_ms(looks.week.end + 72 * HOUR)] * 3


async def test_what_a_third_pull_brings_is_backdated_as_well(looks: Looks) -> None:
    guid = looks.sandbox.restaurant_guids[0]
    for hours in (0.25, 72, 24 * 30):
        await looks.pull(hours)
        late_arrivals(looks.sandbox.toast.orders[guid], looks.week.start, looks.week.end - HOUR * hours / 24, 1)
    await looks.pull(24 * 31)
    assert looks.brought(guid).backdated == 3


@pytest.mark.parametrize("first", [24, 24 * 30])
async def test_a_week_whose_first_pull_came_late_has_no_backdated_orders(looks: Looks, first: float) -> None:
    guid = looks.sandbox.restaurant_guids[0]
    await looks.pull(first)
    late_arrivals(looks.sandbox.toast.orders[guid], looks.week.start, looks.week.end, 3)
    await looks.pull(first + 48)
    assert looks.noted == [None] * 3
    assert looks.brought(guid) == SecondLooks()


async def test_a_pull_within_a_day_is_no_second_look(looks: Looks) -> None:
    guid = looks.sandbox.restaurant_guids[0]
    await looks.pull(0.25)
    late_arrivals(looks.sandbox.toast.orders[guid], looks.week.start, looks.week.end, 3)
    await looks.pull(23.9)
    assert looks.noted == [None] * 3
    await looks.pull(24)
    assert looks.brought(guid) == SecondLooks(1, 323)


async def test_a_restaurant_that_failed_at_first_has_no_second_look_until_it_was_read(looks: Looks) -> None:
    first, *others = looks.sandbox.restaurant_guids
    fault = looks.sandbox.faults.arm(Kind.STATUS, "orders", target=first, last=None, status=403)
    await looks.pull(0.25)
    looks.sandbox.faults.clear()
    assert fault.fired
    await looks.pull(30)
    await looks.pull(72)
    noted = dict(zip(sorted(looks.sandbox.restaurant_guids), looks.noted, strict=True))
    assert [bool(noted[guid]) for guid in (first, *others)] == [False, True, True]


async def test_a_second_look_that_was_killed_before_the_manifest_is_noted_by_the_next_run(looks: Looks) -> None:
    guid = looks.sandbox.restaurant_guids[0]
    await looks.pull(0.25)
    key = looks.store.layout.manifest(looks.week)
    before = looks.store.bucket.read(key)
    assert before is not None
    late_arrivals(looks.sandbox.toast.orders[guid], looks.week.start, looks.week.end, 2)
    await looks.pull(72)
    looks.store.bucket.write(key, before[0])
    looks.clock.at += HOUR
    async with toast_client(looks.sandbox, skipped=looks.clock, TOAST_CENSUS="off") as toast:
        await WeekPull(looks.week, toast, looks.store, refresh=False, log=LOG, now=lambda: looks.clock.at).run()
    build_tables(looks.week, looks.store, LOG)
    assert looks.noted.count(iso_ms(looks.week.end + 72 * HOUR)) == 1
    assert looks.brought(guid).backdated == 2
