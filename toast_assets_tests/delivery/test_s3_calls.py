"""What a delivery asks of S3, tens of milliseconds away: how often for each restaurant, and how much at once."""

from __future__ import annotations

import json
import logging
import threading
from collections import defaultdict
from datetime import date, timedelta
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from toast_assets.delivery.deliver import DeliveryReport, WeekDelivery
from toast_assets.delivery.retries import retry_rejects
from toast_assets.sandbox import Kind, Sandbox
from toast_assets.store.bucket import Bucket
from toast_assets.store.order_store import OrderStore
from toast_assets.week import Week
from toast_assets_tests.support.data.invented import check, customer, encode, order, selection
from toast_assets_tests.support.faults import s3_faults
from toast_assets_tests.support.services.clients import s3_client
from toast_assets_tests.support.stores.deliveries import ROW_STREAMS, amperity_client, guids, prepare

LOG = logging.getLogger(__name__)
PLACES = ("place-1", "place-2", "place-3")
# One call each. What is exported is read where something may be sent.
LOOKS = ["GET deliveries", "HEAD toast-orders"]
DUE = ["GET deliveries", "GET toast-orders"]
# The month's file of the order index, and what months there are, where it is a new one.
NEW_MONTH = ["GET index", "GET index", "PUT index", "PUT index"]
FIRST = [*DUE, "GET raw", *NEW_MONTH, "PUT deliveries"]
AGAIN = [*DUE, "GET raw", "GET index", "PUT index", "PUT deliveries"]
# Rows are noted in the index before they are sent, and orders once they have arrived.
FIRST_WITH_ROWS = [*FIRST[:-1], "PUT index", FIRST[-1]]
# All restaurants' guests are known before the first row of one is sent.
GUESTS = ["GET raw"]


def orders(count: int) -> list[bytes]:
    guest = customer(email="guest@example.com")
    return encode(*(order(check(selection(f"{number + 5}.00"), guest=guest)) for number in range(count)))


class CountedDelivery:
    """A delivery through a client whose calls are counted."""

    def __init__(self, sandbox: Sandbox, week: Week) -> None:
        self.sandbox, self.week = sandbox, week
        self.client = s3_client(sandbox)
        self.calls: dict[str, list[str]] = defaultdict(list)
        """Method and folder of each call, by restaurant; those of the week as a whole under no name."""
        self.store = OrderStore(Bucket(self.client, sandbox.bucket), sandbox.config.prefix)
        self.client.meta.events.register("before-send.s3", self._count)

    def _count(self, request: Any, **_: Any) -> None:
        key = unquote(urlsplit(request.url).path).partition("toast-orders/")[2]
        place = next((one for one in PLACES if one in key), "")
        folder = "segment" if "/open/" in key else key.partition("/")[0].partition("_")[0]
        self.calls[place].append(f"{request.method} {folder}")

    async def run(self, *, dry_run: bool = False, **changes: Any) -> DeliveryReport:
        """One run; ``calls`` are its own."""
        self.calls.clear()
        async with amperity_client(self.sandbox, **changes) as amperity:
            delivery = WeekDelivery(self.week, amperity, self.store, dry_run, log=LOG)
            report = await delivery.run()
            await retry_rejects(delivery)
            return report


@pytest.fixture
def counted(sandbox: Sandbox, week: Week) -> CountedDelivery:
    return CountedDelivery(sandbox, week)


@pytest.mark.parametrize("methods", ["stream", "stream,notify"])
async def test_all_methods_together_fetch_the_orders_once_besides_guests_and_nothing_again_where_nothing_is_due(
    counted: CountedDelivery, methods: str
) -> None:
    stored = prepare(counted.sandbox, counted.week, {place: orders(3) for place in PLACES})
    changes = ROW_STREAMS | {
        "AMPERITY_DELIVERY": methods,
        "AMPERITY_API_URL": f"{counted.sandbox.amperity_url}/api/v1/streaming",
    }
    first = await counted.run(**changes)
    assert first.accepted == 9 + 9 + 9 + 3 + 3 * ("notify" in methods)
    assert [sorted(counted.calls[place]) for place in PLACES] == [sorted([*FIRST_WITH_ROWS, *GUESTS])] * 3
    for_the_week = len(counted.calls[""])
    second = await counted.run(**changes)
    assert [counted.calls[place] for place in PLACES] == [LOOKS] * 3
    # One of them fetches the names. The first delivery looks for its streams, here and in other weeks, and notes them.
    # It also begins the week's summary and the index of open rejects.
    assert len(counted.calls[""]) <= for_the_week < 13 + 3 + 5
    assert {name: counts.records for name, counts in second.methods.items()} == {
        name: counts.records for name, counts in first.methods.items()
    }
    assert all(counts.unchanged == counts.records for counts in second.methods.values())
    edited = json.dumps(json.loads(stored[PLACES[1]][0]) | {"numberOfGuests": 9}).encode()
    prepare(counted.sandbox, counted.week, stored | {PLACES[1]: [edited, *stored[PLACES[1]][1:]]})
    await counted.run(**changes)
    looks, again = sorted([*LOOKS, *GUESTS]), sorted([*AGAIN, *GUESTS])
    assert [sorted(counted.calls[place]) for place in PLACES] == [looks, again, looks]


async def test_notices_alone_fetch_no_orders(counted: CountedDelivery) -> None:
    prepare(counted.sandbox, counted.week, {PLACES[0]: orders(3)})
    url = f"{counted.sandbox.amperity_url}/api/v1/streaming"
    await counted.run(AMPERITY_DELIVERY="notify", AMPERITY_API_URL=url)
    assert counted.calls[PLACES[0]] == [*DUE, "PUT deliveries"]


async def test_a_dry_run_writes_nothing_and_a_second_one_reads_the_orders_again(counted: CountedDelivery) -> None:
    prepare(counted.sandbox, counted.week, {PLACES[0]: orders(3)})
    for _ in range(2):
        assert (await counted.run(dry_run=True)).would_send == 3
        assert counted.calls[PLACES[0]] == [*DUE, "GET raw", *["GET index"] * 2]


async def test_many_records_are_stored_in_segments_on_the_way(
    counted: CountedDelivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("toast_assets.delivery.ledger.SEGMENT", 4)
    prepare(counted.sandbox, counted.week, {PLACES[0]: orders(11)})
    await counted.run()
    calls = counted.calls[PLACES[0]]
    assert sorted(calls) == sorted([*FIRST, *["PUT segment", "DELETE segment"] * 2])
    assert calls[-2:] == ["DELETE segment"] * 2


async def test_what_was_refused_is_due_again_and_other_settings_read_the_orders_once_more(
    counted: CountedDelivery,
) -> None:
    stored = prepare(counted.sandbox, counted.week, {place: orders(3) for place in PLACES})
    bad = guids(stored)[0]
    place = next(one for one, bodies in stored.items() if bad in guids({one: bodies}))
    counted.sandbox.faults.arm(Kind.STATUS, "stream", status=400, containing=bad.encode())
    await counted.run()
    assert (await counted.run()).accepted == 1
    # Once more to find out that nothing is refused any more.
    expected = {one: [*DUE, "GET raw", "GET index", "PUT index"] if one == place else LOOKS for one in PLACES}
    assert {one: counted.calls[one][:5] for one in PLACES} == expected
    rules: dict[str, Any] = {"AMPERITY_BRAND": "Another"}
    assert (await counted.run(**rules)).accepted == 0
    assert [counted.calls[one] for one in PLACES] == [[*DUE, "GET raw", "GET index", "PUT deliveries"]] * 3
    await counted.run(**rules)
    assert [counted.calls[one] for one in PLACES] == [LOOKS] * 3


async def test_the_summary_and_the_index_of_open_rejects_cost_a_few_calls_however_many_weeks_there_are(
    counted: CountedDelivery,
) -> None:
    stored = prepare(counted.sandbox, counted.week, {PLACES[0]: orders(200)})

    def notes() -> list[str]:
        return [call for call in counted.calls[""] if call.endswith((" status", " rejects"))]

    # Of rejects there is the week's file, too.
    await counted.run()
    assert notes() == ["GET rejects", "GET rejects", "PUT rejects", "GET status", "PUT status"]
    await counted.run()
    assert notes() == ["GET rejects", "GET rejects", "GET status"]
    index = counted.store.layout.open_rejects
    tried = {"rejects": {"notify": 1}}
    weeks = {f"{date(2020, 1, 6) + timedelta(weeks=number)}": tried for number in range(200)}
    counted.store.bucket.write(index, json.dumps({"weeks": weeks}).encode())
    counted.sandbox.faults.arm(Kind.STATUS, "stream", status=400, last=1)
    prepare(counted.sandbox, counted.week, {PLACES[0]: [*stored[PLACES[0]], *orders(1)]})
    await counted.run()
    assert notes() == ["GET rejects", "PUT rejects", "GET rejects", "PUT rejects", "GET status", "PUT status"]
    await counted.run()
    removed = ["GET rejects", "HEAD rejects", "DELETE rejects"]
    assert notes() == [*removed, "GET rejects", "PUT rejects", "GET status", "PUT status"]


async def test_restaurants_wait_for_s3_at_the_same_time(sandbox: Sandbox, week: Week) -> None:
    places = [f"place-{number:02}" for number in range(16)]
    prepare(sandbox, week, {place: orders(1) for place in places})
    counted = CountedDelivery(sandbox, week)
    together = threading.Barrier(len(places), timeout=60)
    s3_faults.before(counted.client, "PutObject", lambda number: number <= len(places) and together.wait())
    assert (await counted.run()).accepted == len(places)
