"""Orders that change at any moment of any pull, over several weeks: what stayed visible is stored, nothing else is,
and nothing goes backwards.

Hypothesis decides what happens and when: between pulls and between any two replies of one. The path is the product's
own from the HTTP client of Toast to the calls of S3; both services are in memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from random import Random
from threading import RLock
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from toast_assets.errors import ToastIncompleteError
from toast_assets.export.write import export_week
from toast_assets.pull.week import WeekPull
from toast_assets.store.bucket import Bucket
from toast_assets.store.order_store import OrderStore
from toast_assets.toast.page import Window
from toast_assets.week import Week, WeekCalendar
from toast_assets_tests.support.faults.world import MemoryS3
from toast_assets_tests.support.services.brand import FAULTS, Brand, Version
from toast_assets_tests.support.stores.pulls import LOG, check_export, stored_versions

CALENDAR = WeekCalendar()
WEEKS = [CALENDAR.week(key) for key in ("2025-09-15", "2025-09-22", "2025-09-29")]
RESTAURANTS = ("one", "two")
HOUR = 3_600_000

seeds = st.integers(0, 2**32 - 1)
restaurants = st.sampled_from(RESTAURANTS)
# What may happen at the n-th reply of a pull: (n, what, at which restaurant, by which chance).
HAPPENINGS = ("tip", "void", "late edit", "late order", "rewrite", "crowd leaves")
happenings = st.lists(
    st.tuples(st.integers(1, 40), st.sampled_from(HAPPENINGS), restaurants, seeds),
    max_size=12,
    unique_by=lambda it: it[0],
)
faults = st.dictionaries(st.integers(1, 40), st.sampled_from(FAULTS), max_size=4)


def window_of(week: Week) -> Window:
    return Window(week.start_ms, week.end_ms)


class MovingOrders(RuleBasedStateMachine):
    """``last`` is what each week's file held after the last pull, ``complete`` says which weeks have no gap."""

    def __init__(self) -> None:
        super().__init__()
        client: Any = MemoryS3({}, RLock())
        self.store = OrderStore(Bucket(client, "bucket"), "toast-orders/")
        self.brand = Brand(RESTAURANTS, WEEKS[0].end_ms + HOUR)
        self.last: dict[tuple[str, str], set[Version]] = {}

    @initialize(seed=seeds, orders=st.integers(0, 260))
    def opened(self, seed: int, orders: int) -> None:
        rng = Random(seed)
        for guid in RESTAURANTS:
            self.brand.sell(guid, [rng.randrange(WEEKS[0].start_ms, self.brand.now) for _ in range(orders)])

    @rule(guid=restaurants, seed=seeds, orders=st.integers(1, 150), hours=st.integers(1, 72))
    def time_passes_and_orders_are_sold(self, guid: str, seed: int, orders: int, hours: int) -> None:
        rng, before = Random(seed), self.brand.now
        self.brand.now += hours * HOUR
        self.brand.sell(guid, [rng.randrange(before, self.brand.now) for _ in range(orders)])

    @rule(guid=restaurants, seed=seeds, orders=st.integers(2, 230))
    def many_orders_are_adjusted_in_one_millisecond(self, guid: str, seed: int, orders: int) -> None:
        at = Random(seed).randrange(WEEKS[0].start_ms, self.brand.now)
        self.brand.sell(guid, [at] * orders)

    @rule(guid=restaurants, seed=seeds, what=st.sampled_from(HAPPENINGS))
    def something_happens(self, guid: str, seed: int, what: str) -> None:
        self._happen(what, guid, seed)

    @rule(
        choice=st.integers(0, len(WEEKS) - 1),
        planned=happenings,
        broken=faults,
        forbidden=st.sets(restaurants, max_size=1),
        refresh=st.sampled_from([None, True]),
    )
    def pull(
        self,
        choice: int,
        planned: list[tuple[int, str, str, int]],
        broken: dict[int, Any],
        forbidden: set[str],
        refresh: bool | None,
    ) -> None:
        closed = [week for week in WEEKS if week.end_ms <= self.brand.now]
        self.brand.forbidden = forbidden
        happens = {number: partial(self._happen, what, guid, seed) for number, what, guid, seed in planned}
        self._pull(closed[choice % len(closed)], happens, broken, refresh)

    def teardown(self) -> None:
        """Once nothing moves any more, another look at each week leaves nothing out, and the exports agree."""
        self.brand.forbidden = set()
        closed = [week for week in WEEKS if week.end_ms <= self.brand.now]
        for week in closed:
            self._pull(week, {}, {}, True)
            export_week(week, self.store, LOG)
        for guid in RESTAURANTS:
            newest: dict[str, tuple[int, bytes]] = {}
            for week in closed:
                check_export(self.store, week, guid)
                for order, at, body in sorted(self.last[week.key, guid], key=lambda version: version[1]):
                    newest[order] = (at, body)
            for week in closed:
                for order, at, body in self.brand.visible(guid, window_of(week)):
                    assert newest[order] == (at, body)

    def _happen(self, what: str, guid: str, seed: int) -> None:
        rng, brand = Random(seed), self.brand
        match what:
            case "tip" | "void":
                brand.touch(guid, rng, voided=what == "void")
            case "late edit":
                brand.touch(guid, rng, late=True)
            case "late order":
                brand.sell(guid, [rng.randrange(WEEKS[0].start_ms, brand.now)])
            case "rewrite":
                brand.rewrite(guid, rng)
            case "crowd leaves":
                for _ in range(20):
                    brand.touch(guid, rng)

    def _pull(
        self, week: Week, happens: Mapping[int, Callable[[], object]], broken: Mapping[int, Any], refresh: bool | None
    ) -> None:
        window = window_of(week)
        before = {guid: self.brand.visible(guid, window) for guid in RESTAURANTS}
        self.brand.begin_pull(happens, broken)

        async def run() -> set[str]:
            async with self.brand.client() as toast:
                try:
                    report = await WeekPull(week, toast, self.store, refresh=refresh, log=LOG).run()
                except ToastIncompleteError:
                    return set()
            return {result.guid for result in report.restaurants if result.failure is None}

        read = asyncio.run(run())
        for guid in RESTAURANTS:
            stored = {(order, at, body) for order, (at, body) in stored_versions(self.store, week, guid).items()}
            self._check(week, guid, stored)
            if guid in read:
                assert before[guid] & self.brand.visible(guid, window) <= stored, "what stayed visible is stored"
            self.last[week.key, guid] = stored

    def _check(self, week: Week, guid: str, stored: set[Version]) -> None:
        window = window_of(week)
        assert stored <= self.brand.ever[guid], "nothing is invented"
        assert all(window.start <= at < window.end for _, at, _ in stored)
        times = {order: at for order, at, _ in stored}
        for order, at, _ in self.last.get((week.key, guid), set()):
            assert times[order] >= at, "nothing goes backwards or away"


def test_orders_that_move_while_they_are_pulled_are_neither_lost_nor_invented() -> None:
    run_state_machine_as_test(
        MovingOrders,
        settings=settings(
            max_examples=25,
            stateful_step_count=12,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
