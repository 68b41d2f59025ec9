"""Raw orders to the rows of all feeds, batch by batch: the one entry to this package."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import msgspec

from toast_assets.amperity.feeds.customers import CUSTOMERS
from toast_assets.amperity.feeds.order_items import ORDER_ITEMS, OrderItemRow, no_order_item, order_items
from toast_assets.amperity.feeds.schema import Feed, Row
from toast_assets.amperity.feeds.shared_columns import modified_times, shared_columns
from toast_assets.amperity.feeds.transactions import TRANSACTIONS, TransactionRow, no_transaction, transactions
from toast_assets.errors import UnrepresentableError
from toast_assets.index.guests import Guest, sightings
from toast_assets.index.orders import FedRow, FedVersion, OrderEntry
from toast_assets.orders.model import Order
from toast_assets.orders.names import Names
from toast_assets.orders.read import RawOrders, Reason, Rejection
from toast_assets.orders.times import zone
from toast_assets.tables.columns import is_representable
from toast_assets.tables.flatten import flatten
from toast_assets.week import epoch_ms, from_epoch_ms

FEEDS: dict[str, Feed] = {feed.name: feed for feed in (ORDER_ITEMS, TRANSACTIONS, CUSTOMERS)}
_OrderRow = OrderItemRow | TransactionRow
_R = TypeVar("_R", OrderItemRow, TransactionRow)


@dataclass(frozen=True)
class FeedBatch:
    """Rows by feed, the orders that were rejected, the number of orders that are no guest's, how often which optional
    field is null because it had an unexpected type, what the index keeps of each order's rows (``fed``), and what the
    orders say of ``guests``."""

    rows: Mapping[str, Sequence[Row]] = field(default_factory=dict)
    rejections: Sequence[Rejection] = ()
    left_out: int = 0
    nulled: Mapping[str, int] = field(default_factory=dict)
    fed: Mapping[str, FedVersion] = field(default_factory=dict)
    guests: Sequence[Guest] = ()


def feed_batches(
    batches: Iterable[RawOrders], brand: str, week: str, known: Mapping[str, OrderEntry]
) -> Iterator[FeedBatch]:
    """The rows of ``order_items`` and ``transactions``, and what those of ``customers`` are made of, batch by batch.

    ``brand`` is what Amperity calls the purchase brand, ``week`` the orders' week, ``known`` what the order index says
    of them. What an earlier version had in the feeds and the newest lacks has a row of 0. An order of which another
    week's feeds have a newer version has no other rows here.

    An order that cannot be sent is a rejection in every feed, and the others go on; so is every order of a restaurant
    whose time zone is unknown. Orders of the test mode and records of wasted food are left out and counted.
    """
    for batch in batches:
        yield _of_batch(batch, brand, week, known)


def _of_batch(batch: RawOrders, brand: str, week: str, known: Mapping[str, OrderEntry]) -> FeedBatch:
    found, _ = flatten(batch)
    rejections = found.rejections
    rows: dict[str, list[Row]] = {ORDER_ITEMS.name: [], TRANSACTIONS.name: []}
    guests: list[Guest] = []
    all_fed: dict[str, FedVersion] = {}
    clock, left_out = zone(batch.timezone), 0
    for order in found.orders:
        guid = order.guid or ""
        entry = known.get(guid)
        wanted = not (order.created_in_test_mode or order.excess_food)
        left_out += not wanted
        if clock is None:
            detail = "the restaurant's time zone is missing or no IANA name"
            rejections.append(Rejection(batch.restaurant_guid, guid, Reason.UNKNOWN_TIME_ZONE, detail))
            continue
        try:
            shared = shared_columns(batch, order, clock, brand)
            own = _own_rows(order, shared, clock, batch.names) if wanted else {}
            fed = _fed(week, shared, own, entry.fed if entry else None)
            if fed.week != week:
                shared |= modified_times(from_epoch_ms(fed.modified_ms), clock) | {"fk_customer": fed.customer}
                own = {}
            gone = [(one.feed, _gone_row(one, shared, clock)) for one in fed.rows if not one.current]
        except (UnrepresentableError, ArithmeticError) as error:
            unnamed = "an amount is too large, or is no number"
            detail = error.message if isinstance(error, UnrepresentableError) else unnamed
            rejections.append(Rejection(batch.restaurant_guid, guid, Reason.UNREPRESENTABLE, detail))
            continue
        all_fed[guid] = fed
        for feed, row in (*((feed, row) for (feed, _), row in own.items()), *gone):
            rows[feed].append(row)
        guests += sightings(order, batch.timezone) if wanted else ()
    return FeedBatch(rows, rejections, left_out, found.nulled, all_fed, guests)


def _own_rows(
    order: Order, shared: Mapping[str, Any], clock: ZoneInfo, names: Names
) -> dict[tuple[str, str], _OrderRow]:
    """An order's rows, by feed and key within the order."""
    rows: dict[tuple[str, str], _OrderRow] = {}
    for item in order_items(order, shared, names):
        # An item that was moved to another check can still be in its old one, deleted.
        key = (ORDER_ITEMS.name, item.selection_id)
        if key not in rows or not item.is_cancelled:
            rows[key] = _finite(item)
    for row in transactions(order, shared, clock, names):
        rows[TRANSACTIONS.name, row.transaction_item_id.removeprefix(f"{order.guid}|")] = _finite(row)
    return rows


def _fed(
    week: str, shared: Mapping[str, Any], own: Mapping[tuple[str, str], _OrderRow], before: FedVersion | None
) -> FedVersion:
    """What is in the feeds of an order once this week's version with its ``own`` rows is in them, too."""
    modified_ms = epoch_ms(datetime.fromisoformat(shared["modified_at"]).replace(tzinfo=UTC))
    newest = FedVersion(week, modified_ms, shared["fk_customer"])
    rows = {(one.feed, one.key): one for one in (before.rows if before else ())}
    if before is not None and (before.modified_ms, before.week) > (modified_ms, week):
        newest = before
    else:
        rows = {key: msgspec.structs.replace(one, current=False) for key, one in rows.items()}
    for key, row in own.items():
        if newest is not before or key not in rows:
            rows[key] = FedRow(*key, row.product_id, newest is not before)
    return msgspec.structs.replace(newest, rows=tuple(rows[key] for key in sorted(rows)))


def _gone_row(one: FedRow, shared: Mapping[str, Any], clock: ZoneInfo) -> Row:
    """The row of 0 for what the newest version of an order does not have."""
    if one.feed == ORDER_ITEMS.name:
        return no_order_item(shared, one.key, one.product_id)
    product, _, kind = one.key.rpartition("|")
    return no_transaction(shared, product, kind, clock)


def _finite(row: _R) -> _R:
    values: tuple[Any, ...] = msgspec.structs.astuple(row)
    if any(isinstance(value, Decimal) and not is_representable(value) for value in values):
        raise ArithmeticError
    return row
