"""What a week's feeds and delivery ask of S3 does not grow with the weeks that are stored, in whichever sequence these
are delivered: also where orders were edited weeks later, so that a week has to know of other weeks."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from random import Random
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from toast_assets.amperity.redaction import Redaction
from toast_assets.delivery.deliver import WeekDelivery, check_delivery
from toast_assets.delivery.feed_files import write_feeds
from toast_assets.export.write import export_week
from toast_assets.sandbox import Sandbox
from toast_assets.store.bucket import Bucket
from toast_assets.store.order_store import OrderStore
from toast_assets.week import Week, WeekCalendar
from toast_assets_tests.support.data.invented import Json, check, encode, order, selection
from toast_assets_tests.support.services.clients import s3_client
from toast_assets_tests.support.stores.deliveries import ITEMS, amperity_client
from toast_assets_tests.support.stores.stored_weeks import store_week

LOG = logging.getLogger(__name__)
PLACES = ("place-1", "place-2")
FIRST = WeekCalendar().first
WEEKS = [WeekCalendar().week(f"{FIRST + timedelta(weeks=number)}") for number in range(21)]
NEW_ORDERS = 3
# How many weeks before the edited orders were made, and which of that week's.
EDITED = ((1, 0), (5, 1))
ALLOWED_GROWTH = 1.1
OLDEST_FIRST = range(len(WEEKS))
SEQUENCES = {
    "oldest first": OLDEST_FIRST,
    "newest first": OLDEST_FIRST[::-1],
    # The last one is a week in the middle.
    "shuffled": Random(0).sample(OLDEST_FIRST, len(WEEKS)),
}


class CountedRuns:
    """Feeds and deliveries of weeks through a client whose calls are counted."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        client = s3_client(sandbox)
        self.store = OrderStore(Bucket(client, sandbox.bucket), sandbox.config.prefix)
        self._calls: Counter[str] = Counter()
        client.meta.events.register("before-send.s3", self._count)

    def _count(self, request: Any, **_: Any) -> None:
        key = unquote(urlsplit(request.url).path).partition(self.sandbox.config.prefix)[2]
        self._calls[f"{request.method} {key.partition('/')[0].partition('_')[0]}"] += 1

    async def run(self, week: Week, orders: Mapping[str, Iterable[bytes]]) -> Counter[str]:
        """The calls for feeds and delivery of a week that was stored with these orders, by method and folder."""
        store_week(self.store, week, orders)
        export_week(week, self.store, LOG)
        self._calls.clear()
        write_feeds(week, self.store, "Example Brand", Redaction(), LOG)
        async with amperity_client(self.sandbox, AMPERITY_ORDER_ITEMS_STREAM_ID=ITEMS) as amperity:
            check_delivery(await WeekDelivery(week, amperity, self.store, log=LOG).run(), 0.0)
        return Counter(self._calls)


def orders() -> Iterator[dict[str, list[bytes]]]:
    """The orders of each week by restaurant: new ones, and newer versions of orders of earlier weeks, without the item
    that those had last."""
    made: list[dict[str, list[Json]]] = []
    for number, week in enumerate(WEEKS):
        moment = f"{week.start + timedelta(days=2):%Y-%m-%dT%H:%M:%S.000+0000}"
        times: dict[str, Any] = {"openedDate": moment, "createdDate": moment, "modifiedDate": moment}
        found = {}
        for place in PLACES:
            bills = [check(selection("9.00"), selection("5.00")) for _ in range(NEW_ORDERS)]
            new = [order(bill, **times) for bill in bills]
            earlier = [made[number - back][place][which] for back, which in EDITED if number >= back]
            found[place] = [*new, *(_edited(one, moment) for one in earlier)]
        made.append(found)
        yield {place: encode(*some) for place, some in found.items()}


def _edited(made: Json, moment: str) -> Json:
    (bill,) = made["checks"]
    return made | {"modifiedDate": moment, "checks": [bill | {"selections": bill["selections"][:-1]}]}


@pytest.mark.parametrize("sequence", SEQUENCES.values(), ids=SEQUENCES)
async def test_feeds_and_delivery_of_a_week_ask_s3_no_more_often_with_twenty_other_weeks_stored(
    sequence: Sequence[int], start_sandbox: Callable[..., Sandbox]
) -> None:
    weeks = list(orders())
    last = sequence[-1]
    alone, among = (CountedRuns(start_sandbox()) for _ in range(2))
    wanted = await alone.run(WEEKS[last], weeks[last])
    for number in sequence:
        found = await among.run(WEEKS[number], weeks[number])
    assert found.total() <= ALLOWED_GROWTH * wanted.total(), f"more: {found - wanted}, less: {wanted - found}"
