"""Every fault of Toast that is known, one row each: a pull and an export end complete, or fail naming the cause.

Over real HTTP against the sandbox; only waiting is skipped. Printed as a table by

    python -m pytest toast_assets_tests/proofs/test_fault_matrix.py --fault-table
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

import httpx
import pytest

from toast_assets.errors import ToastAssetsError
from toast_assets.http.retry import RetryPolicy
from toast_assets.pull.week import PullReport, WeekPull
from toast_assets.sandbox import Call, Kind, Sandbox
from toast_assets.store.order_store import OrderStore
from toast_assets.week import Week
from toast_assets_tests.support.faults import fault_table
from toast_assets_tests.support.services.clients import SkippedTime, order_store, toast_client
from toast_assets_tests.support.services.guide_dialect import GuideDialect
from toast_assets_tests.support.services.toast_orders import (
    SORTS,
    add,
    edit,
    late_arrivals,
    sort_pages,
)
from toast_assets_tests.support.stores.pulls import (
    Versions,
    bucket_content,
    check_complete,
    check_export,
    export,
    manifest_of,
    pull,
    stored_versions,
    true_versions,
)

Arrange = Callable[[Sandbox, Week], object]


@dataclass(frozen=True)
class Scenario:
    """``arrange`` breaks something. ``failing`` maps restaurants (by number) to what their failure has to say;
    ``stops`` is what the error says that stops all of it. ``edits``: orders leave the week while it is read."""

    name: str
    arrange: Arrange = lambda _sandbox, _week: None
    failing: dict[int, str] = field(default_factory=dict)
    stops: str = ""
    edits: bool = False
    environment: dict[str, str] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    sort: str = "shuffled"
    second_run: bool = False
    transport: Callable[[], httpx.AsyncBaseTransport] | None = None


def armed(kind: Kind, path: str = "orders", *, number: int | None = None, **settings: Any) -> Arrange:
    """A fault on calls of ``path``, for restaurant ``number`` only if that is given."""

    def arrange(sandbox: Sandbox, _week: Week) -> None:
        target = None if number is None else sandbox.restaurant_guids[number]
        sandbox.faults.arm(kind, path, target=target, **settings)

    return arrange


def on_call(number: int, kind: Kind = Kind.STATUS, **settings: Any) -> Arrange:
    """A fault on the first restaurant's ``number``-th call for orders: the restaurants are asked beside each other, so
    that nobody can say what the ``number``-th call of all is about."""
    return armed(kind, number=0, first=number, last=number, **settings)


def at_each(kind: Kind, **settings: Any) -> Arrange:
    """A fault at every restaurant, whose calls are counted for themselves."""

    def arrange(sandbox: Sandbox, week: Week) -> None:
        for number in range(len(sandbox.restaurant_guids)):
            armed(kind, number=number, **settings)(sandbox, week)

    return arrange


def edits(**when: Any) -> Arrange:
    """An order of the window that is asked for is tipped just before the reply: it leaves the week."""

    def arrange(sandbox: Sandbox, week: Week) -> None:
        def leave(call: Call) -> None:
            assert call.target is not None
            orders = sandbox.toast.orders[call.target]
            for order in orders.view(week.start_ms, week.end_ms)[:1]:
                edit(orders, order.guid)

        sandbox.faults.arm(Kind.HOOK, "orders", action=leave, **when)

    return arrange


def device_was_offline(sandbox: Sandbox, week: Week) -> None:
    """Its orders of Monday appear when the week is nearly read."""
    guid = sandbox.restaurant_guids[0]

    def arrive(_call: Call) -> None:
        late_arrivals(sandbox.toast.orders[guid], week.start, week.start_ms + 3_600_000, 12)

    sandbox.faults.arm(Kind.HOOK, "orders", target=guid, first=6, last=6, action=arrive)


def crowd(sandbox: Sandbox, week: Week) -> None:
    """The point of sale adjusts the tips of 250 orders in one millisecond."""
    for guid in sandbox.restaurant_guids[:2]:
        for _ in range(250):
            add(sandbox.toast.orders[guid], week.start_ms + 90_000_000)


def everything(sandbox: Sandbox, week: Week) -> None:
    """A bad day: one fault after the other, and edits all the time."""
    kinds = (
        Kind.RESET,
        Kind.HTML,
        Kind.EMPTY_PAGE,
        Kind.CUT_JSON,
        Kind.SHORT_PAGE,
        Kind.CUT_TRANSFER,
        Kind.REPEATED_PAGE,
    )
    for guid in sandbox.restaurant_guids[:2]:
        for number, kind in enumerate(kinds):
            sandbox.faults.arm(kind, "orders", target=guid, first=2 + number, last=None, every=9)
        sandbox.faults.arm(Kind.STATUS, "orders", target=guid, status=429, retry_after=1, first=4, last=None, every=10)
    edits(first=3, last=None, every=5)(sandbox, week)


SCENARIOS = (
    Scenario("clean"),
    Scenario("429 with Retry-After", on_call(2, status=429, retry_after=3)),
    Scenario("429 with a reset of now", on_call(2, status=429, reset_header=True)),
    Scenario("429 bare", on_call(2, status=429)),
    Scenario("429 eight times in a row", armed(Kind.STATUS, number=0, status=429, first=2, last=9)),
    Scenario("500 once", on_call(2, status=500)),
    Scenario("503 three times", armed(Kind.STATUS, number=0, status=503, first=2, last=4)),
    Scenario("502 with a gateway's page of HTML", on_call(2, status=502, html=True)),
    Scenario("401 in the middle of the run", on_call(4, Kind.REVOKE)),
    Scenario("connection reset", on_call(3, Kind.RESET)),
    Scenario("connection reset after the answer", on_call(3, Kind.RESET_AFTER)),
    Scenario("truncated body (Content-Length promised more)", on_call(3, Kind.CUT_TRANSFER)),
    Scenario("truncated body (Content-Length fits)", on_call(3, Kind.CUT_JSON)),
    Scenario("HTML with 200", on_call(3, Kind.HTML)),
    Scenario("empty body with 200", on_call(3, Kind.EMPTY_BODY)),
    Scenario("an object instead of an array", on_call(3, Kind.OBJECT)),
    Scenario("one wrongly empty page", on_call(3, Kind.EMPTY_PAGE)),
    Scenario("a wrongly empty first page of each restaurant", at_each(Kind.EMPTY_PAGE)),
    Scenario("a short page with next", on_call(1, Kind.SHORT_PAGE, keep=40)),
    Scenario("every page short, with next", armed(Kind.SHORT_PAGE, last=None, keep=30)),
    Scenario("a page that came before once more", on_call(5, Kind.REPEATED_PAGE)),
    Scenario("an order outside its window", on_call(3, Kind.STRAY_ORDER)),
    Scenario("an order edited while paging", edits(first=2, last=2), edits=True),
    Scenario("edits on every third call", edits(last=None, every=3), edits=True),
    Scenario("edits on every call", edits(last=None), edits=True),
    Scenario("late arrivals in a past window", device_was_offline, second_run=True),
    Scenario("250 orders in one millisecond", crowd),
    Scenario("250 orders in one millisecond, in random order", crowd, sort="random"),
    Scenario("pages in a new random order on each request", sort="random"),
    Scenario("pages by descending time", sort="modified, newest first"),
    Scenario("the guide's dialect", transport=GuideDialect),
    Scenario("a call that never answers", on_call(3, Kind.NEVER), environment={"TOAST_TIMEOUT_SECONDS": "1"}),
    Scenario("everything at once, over and over", everything, edits=True),
    Scenario("403 at one restaurant of three", armed(Kind.STATUS, number=1, status=403, last=None), {1: "403"}),
    Scenario("404 at one restaurant of three", armed(Kind.STATUS, number=1, status=404, last=None), {1: "404"}),
    Scenario("401 at one restaurant of three", armed(Kind.STATUS, number=1, status=401, last=None), {1: "401"}),
    Scenario("endless 500 at one restaurant of three", armed(Kind.STATUS, number=1, status=500, last=None), {1: "500"}),
    Scenario(
        "500 from the fourth page of one restaurant on",
        armed(Kind.STATUS, number=1, status=500, first=4, last=None),
        {1: "500"},
    ),
    Scenario("endless 429 at one restaurant", armed(Kind.STATUS, number=1, status=429, last=None), {1: "429"}),
    Scenario("HTML for ever at one restaurant", armed(Kind.HTML, number=1, last=None), {1: "200 .*no JSON array"}),
    Scenario("login down twice", armed(Kind.STATUS, "login", status=503, last=2)),
    Scenario("login answers HTML once", armed(Kind.HTML, "login")),
    Scenario(
        "login down for ever", armed(Kind.STATUS, "login", status=503, last=None), stops="login .*stayed down.*503"
    ),
    Scenario(
        "wrong credentials",
        environment={"TOAST_CLIENT_SECRET": "wrong"},
        stops="refused the login.*401.*TOAST_CLIENT_SECRET",
    ),
    Scenario(
        "403 at every restaurant",
        armed(Kind.STATUS, status=403, last=None),
        stops="none of 3 restaurants .*403.*403.*403",
    ),
)


@dataclass
class Run:
    """A scenario that is played."""

    scenario: Scenario
    sandbox: Sandbox
    week: Week
    before: dict[str, Versions]
    waited: float = 0.0
    report: PullReport | None = None

    async def pull(self) -> None:
        """As a run pulls, with the real patience, of which only the waiting is skipped."""
        skipped = SkippedTime()
        scenario = self.scenario
        transport = scenario.transport() if scenario.transport else None
        client = toast_client(
            self.sandbox, retry=RetryPolicy(), skipped=skipped, transport=transport, **scenario.environment
        )
        async with client as toast:
            try:
                self.report = await WeekPull(self.week, toast, order_store(self.sandbox)).run()
            finally:
                self.waited += skipped.skipped

    @property
    def store(self) -> OrderStore:
        """The sandbox's bucket."""
        return order_store(self.sandbox)

    @property
    def failing(self) -> set[str]:
        """The restaurants that have to fail."""
        return {self.sandbox.restaurant_guids[number] for number in self.scenario.failing}

    def row(self, ended: str) -> fault_table.FaultRow:
        """What the table says of it."""
        calls: Counter[str] = Counter()
        for result in self.report.restaurants if self.report else ():
            calls.update(retries=result.calls.retries, throttled=result.calls.throttled)
        requests = self.sandbox.toast.log.count("orders")
        orders = sum(len(stored_versions(self.store, self.week, guid)) for guid in self.sandbox.restaurant_guids)
        return fault_table.FaultRow(
            self.scenario.name, ended, orders, requests, calls["retries"], calls["throttled"], self.waited
        )

    def check_fired(self) -> None:
        """What was to go wrong went wrong: a scenario that does not happen proves nothing."""
        assert [fault.described() for fault in self.sandbox.faults.armed if not fault.fired] == []

    def check_edited(self) -> None:
        """Everything that stayed is stored in its only version; what was edited may be stored as it was before."""
        now = {guid: true_versions(self.sandbox, self.week, guid) for guid in self.sandbox.restaurant_guids}
        assert now != self.before
        for guid in self.sandbox.restaurant_guids:
            stored = stored_versions(self.store, self.week, guid)
            assert true_versions(self.sandbox, self.week, guid).items() <= stored.items()
            assert stored.items() <= self.before[guid].items()
            check_export(self.store, self.week, guid)

    def check_partial(self) -> None:
        """What could be pulled is whole; of the others nothing is stored, and the manifest says why."""
        guids = self.sandbox.restaurant_guids
        manifest = manifest_of(self.store, self.week)
        assert manifest.outcome == "incomplete"
        assert set(manifest.failures) == self.failing
        for number, reason in self.scenario.failing.items():
            assert re.search(reason, manifest.failures[guids[number]])
            assert not any(guids[number] in key for key in bucket_content(self.sandbox))
        check_complete(self.sandbox, self.week, set(guids) - set(manifest.failures))


@pytest.fixture
def table(request: pytest.FixtureRequest) -> fault_table.FaultTable:
    """The table of this test run."""
    return request.config.stash[fault_table.KEY]


def play(scenario: Scenario, sandbox: Sandbox, week: Week) -> Run:
    run = Run(scenario, sandbox, week, {})
    sort_pages(sandbox, scenario.sort)
    scenario.arrange(sandbox, week)
    run.before = {guid: true_versions(sandbox, week, guid) for guid in sandbox.restaurant_guids}
    assert sandbox.toast.log.count("orders") == 0
    return run


@pytest.mark.parametrize("scenario", SCENARIOS, ids=[scenario.name for scenario in SCENARIOS])
async def test_a_fault_ends_complete_or_named(
    scenario: Scenario, start_sandbox: Callable[..., Sandbox], week: Week, table: fault_table.FaultTable
) -> None:
    sandbox = start_sandbox(**scenario.config)
    run = play(scenario, sandbox, week)
    if scenario.stops:
        with pytest.raises(ToastAssetsError, match=re.compile(scenario.stops, re.DOTALL)):
            await run.pull()
        run.check_fired()
        assert bucket_content(sandbox) == {}
        table.rows.append(run.row("stopped, cause named, nothing stored"))
        return
    await run.pull()
    if scenario.second_run:
        await run.pull()
    run.check_fired()
    export(sandbox, week)
    if scenario.failing:
        run.check_partial()
        table.rows.append(run.row("the others complete, cause named"))
        # Once the cause is gone, the next run asks for that restaurant alone.
        sandbox.faults.clear()
        report = await pull(sandbox, week)
        assert {result.guid for result in report.restaurants} == run.failing
        export(sandbox, week)
        check_complete(sandbox, week)
    elif scenario.edits:
        run.check_edited()
        table.rows.append(run.row("complete"))
    else:
        assert check_complete(sandbox, week) > 0
        table.rows.append(run.row("complete"))


SINGLE = (
    Kind.RESET,
    Kind.RESET_AFTER,
    Kind.CUT_TRANSFER,
    Kind.CUT_JSON,
    Kind.HTML,
    Kind.EMPTY_BODY,
    Kind.OBJECT,
    Kind.EMPTY_PAGE,
    Kind.SHORT_PAGE,
    Kind.REPEATED_PAGE,
    Kind.STRAY_ORDER,
    Kind.REVOKE,
    Kind.STATUS,
)


@pytest.mark.parametrize("seed", range(12))
async def test_any_two_faults_at_any_calls_lose_nothing(
    seed: int, start_sandbox: Callable[..., Sandbox], week: Week
) -> None:
    rng = Random(seed)
    sandbox = start_sandbox(seed=seed)
    sort_pages(sandbox, rng.choice(list(SORTS)))
    crowd(sandbox, week)
    for guid in sandbox.restaurant_guids[:2]:
        kind, first, more = rng.choice(SINGLE), rng.randrange(1, 9), rng.randrange(3)
        # A token that is rejected right after its renewal is a credential that Toast does not want: that ends a run.
        last = first + (0 if kind is Kind.REVOKE else more)
        sandbox.faults.arm(kind, "orders", target=guid, first=first, last=last)
    await pull(sandbox, week)
    export(sandbox, week)
    check_complete(sandbox, week)


def test_the_scenarios_have_names_of_their_own() -> None:
    assert len({scenario.name for scenario in SCENARIOS}) == len(SCENARIOS)
