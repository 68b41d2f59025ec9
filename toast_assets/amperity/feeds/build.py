"""Raw orders to the rows of all feeds, batch by batch: the one entry to this package."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import islice
from typing import Any

import msgspec

from toast_assets.amperity.feeds.customers import CUSTOMERS, NewestGuests, sightings
from toast_assets.amperity.feeds.order_items import ORDER_ITEMS, order_items
from toast_assets.amperity.feeds.schema import Feed, Row
from toast_assets.amperity.feeds.shared_columns import shared_columns
from toast_assets.amperity.feeds.transactions import TRANSACTIONS, transactions
from toast_assets.errors import UnrepresentableError
from toast_assets.orders.read import RawOrders, Reason, Rejection
from toast_assets.orders.times import zone
from toast_assets.tables.columns import is_representable
from toast_assets.tables.flatten import flatten

FEEDS: dict[str, Feed] = {feed.name: feed for feed in (ORDER_ITEMS, TRANSACTIONS, CUSTOMERS)}
_GUESTS_AT_A_TIME = 1000


@dataclass(frozen=True)
class FeedBatch:
    """Rows by feed, the orders that were rejected, the number of orders that are no guest's, and how often which
    optional field is null because it had an unexpected type."""

    rows: Mapping[str, Sequence[Row]] = field(default_factory=dict)
    rejections: Sequence[Rejection] = ()
    left_out: int = 0
    nulled: Mapping[str, int] = field(default_factory=dict)


def feed_batches(batches: Iterable[RawOrders], brand: str) -> Iterator[FeedBatch]:
    """The rows of ``order_items`` and ``transactions`` batch by batch, then those of ``customers``, a row per guest.

    ``brand`` is what Amperity calls the purchase brand. An order that cannot be sent is a rejection in every feed, and
    the others go on; so is every order of a restaurant whose time zone is unknown. Orders of the test mode and records
    of wasted food are left out and counted.
    """
    guests = NewestGuests()
    for batch in batches:
        yield _of_batch(batch, brand, guests)
    remaining = guests.rows()
    while chunk := list(islice(remaining, _GUESTS_AT_A_TIME)):
        yield FeedBatch({CUSTOMERS.name: chunk})


def _of_batch(batch: RawOrders, brand: str, guests: NewestGuests) -> FeedBatch:
    found, _ = flatten(batch)
    rejections = found.rejections
    rows: dict[str, list[Row]] = {ORDER_ITEMS.name: [], TRANSACTIONS.name: []}
    wanted = [order for order in found.orders if not (order.created_in_test_mode or order.excess_food)]
    clock = zone(batch.timezone)
    for order in wanted:
        if clock is None:
            detail = "the restaurant's time zone is missing or no IANA name"
            rejections.append(Rejection(batch.restaurant_guid, order.guid, Reason.UNKNOWN_TIME_ZONE, detail))
            continue
        try:
            shared = shared_columns(batch, order, clock, brand)
            items = list(map(_finite, order_items(order, shared)))
            itemized = list(map(_finite, transactions(order, shared)))
            guests.add(sightings(order, shared))
        except (UnrepresentableError, ArithmeticError) as error:
            is_named = isinstance(error, UnrepresentableError)
            detail = str(error) if is_named else "an amount is too large, or is no number"
            rejections.append(Rejection(batch.restaurant_guid, order.guid, Reason.UNREPRESENTABLE, detail))
        else:
            rows[ORDER_ITEMS.name] += items
            rows[TRANSACTIONS.name] += itemized
    return FeedBatch(rows, rejections, len(found.orders) - len(wanted), found.nulled)


def _finite(row: Row) -> Row:
    values: tuple[Any, ...] = msgspec.structs.astuple(row)
    if any(isinstance(value, Decimal) and not is_representable(value) for value in values):
        raise ArithmeticError
    return row
