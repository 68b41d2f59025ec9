"""The rows of feeds that are streamed: each row one record, to a stream of its own.

They are made from the raw orders, by the same rules as the files of ``amperity_feeds``, and do not need these files.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property, partial
from itertools import islice
from pathlib import Path

import pyarrow as pa

from toast_assets.amperity.feeds.build import feed_batches
from toast_assets.amperity.feeds.customers import CUSTOMERS
from toast_assets.amperity.feeds.order_items import ORDER_ITEMS
from toast_assets.amperity.feeds.privacy import FeedPrivacy
from toast_assets.amperity.feeds.schema import Feed, Row, encode
from toast_assets.amperity.records import RecordKey, destination, row_version
from toast_assets.amperity.settings import AmperitySettings
from toast_assets.delivery.later_weeks import LaterWeeks, Newer
from toast_assets.delivery.ledger import Known
from toast_assets.delivery.outgoing import (
    Due,
    MethodCounts,
    Notices,
    Orders,
    Outgoing,
    Refused,
    Source,
    is_due,
    newer_week,
    one_thread,
    order_guids,
    read_orders,
)
from toast_assets.delivery.rejects import FEED_METHODS, RejectKey
from toast_assets.orders.raw import RawOrder
from toast_assets.orders.read import RawOrders, Rejection
from toast_assets.scratch import scratch_folder
from toast_assets.store.manifest import RestaurantRecord
from toast_assets.store.order_store import OrderStore
from toast_assets.store.raw_weeks import fetch_raw
from toast_assets.week import Week, epoch_ms

_ORDERS_AT_ONCE = 100


@dataclass(frozen=True)
class Rows:
    """The rows of one feed, for the stream ``stream_id``. ``only`` limits them to what was refused before."""

    feed: Feed
    stream_id: str
    week: Week
    store: OrderStore
    settings: AmperitySettings
    later: LaterWeeks
    only: Set[RejectKey] | None = None

    @cached_property
    def privacy(self) -> FeedPrivacy:
        """What is left out of the rows or hashed."""
        return FeedPrivacy(self.settings.redaction)

    @property
    def method(self) -> str:
        """``stream_order_items`` or ``stream_customers``."""
        return FEED_METHODS + self.feed.name

    @cached_property
    def destination(self) -> str:
        """The stream at its tenant."""
        return destination(self.settings.tenant_id, self.stream_id)

    async def due(self, guid: str, record: RestaurantRecord, known: Known, counts: MethodCounts) -> AsyncGenerator[Due]:
        """Rows in a version that has not arrived, and the orders of which no rows can be made."""
        if self.only is not None and not any(_is_of(key, self.method, guid) for key in self.only):
            return
        with scratch_folder() as folder:
            raw = folder / "raw.parquet"
            orders = _batches(read_orders(self.week, guid, raw, self.store), guid, record)
            batches = feed_batches(orders, self.settings.purchase_brand)
            with one_thread() as run:
                await run(fetch_raw, self.week, guid, raw, self.store)
                wanted = await run(_Wanted.of, self, guid, raw)
                newer = await run(self._newer_items, guid, raw)
                while (batch := await run(next, batches, None)) is not None:
                    for rejection in batch.rejections:
                        refused = self._refused(guid, rejection)
                        if wanted(refused.key):
                            counts.records += 1
                            yield refused
                    rows = batch.rows.get(self.feed.name, ())
                    for outgoing in await run(self._outgoing, guid, rows, newer):
                        if wanted(outgoing.key) and is_due(outgoing.key, known, counts, None):
                            yield outgoing

    def _outgoing(self, guid: str, rows: Sequence[Row], newer: Mapping[str, Newer]) -> list[Outgoing]:
        due = []
        for row in rows:
            shown = self.privacy.apply(row)
            key = RecordKey(
                self.method,
                self.destination,
                guid,
                self.feed.key_of(shown),
                row_version(shown),
                getattr(row, "order_id", None),
                modified_ms=_modified_ms(self.feed.version_of(row)),
            )
            due.append(Outgoing(key, partial(encode, shown)))
        if self.feed is CUSTOMERS and due and self.later.any_of(guid):
            guests = pa.array([one.key.record_id for one in due], pa.string())
            newer = self.later.newest(guid, self.method, self.destination, guests)
        return [replace(one, newer_week=newer_week(newer, one.key)) for one in due] if newer else due

    def _newer_items(self, guid: str, raw: Path) -> dict[str, Newer]:
        """Newer rows of the orders in the raw file at ``raw``. Guests are looked up when they are known."""
        if self.feed is CUSTOMERS or not self.later.any_of(guid):
            return {}
        return self.later.newest(guid, self.method, self.destination, order_guids(raw), "order_guid")

    def _refused(self, guid: str, rejection: Rejection) -> Refused:
        order_guid = rejection.order_guid
        key = RecordKey(self.method, self.destination, guid, order_guid or "", "", order_guid)
        return Refused(key, f"{rejection.reason}: {rejection.detail}")


@dataclass(frozen=True)
class _Wanted:
    """Which rows are to be looked at; ``refused`` are the ids of records that were refused, None for all rows.

    Where orders were refused as a whole, ``all_guests`` is true: their guests cannot be told from others that are due.
    """

    refused: Set[str | None] | None
    all_guests: bool = False

    @classmethod
    def of(cls, rows: Rows, guid: str, raw: Path) -> _Wanted:
        if rows.only is None:
            return cls(None)
        refused = {key.record_id for key in rows.only if _is_of(key, rows.method, guid)}
        return cls(refused, not refused.isdisjoint(order_guids(raw).to_pylist()))

    def __call__(self, key: RecordKey) -> bool:
        if self.refused is None or key.record_id in self.refused:
            return True
        return self.all_guests if key.order_guid is None else key.order_guid in self.refused


def sources(
    week: Week, store: OrderStore, settings: AmperitySettings, only: Set[RejectKey] | None = None
) -> list[Source]:
    """What is to be sent by the methods that are set, ``only`` limiting it to what was refused before; s3_pull sends
    nothing itself."""
    found: list[Source] = []
    for method in dict.fromkeys(settings.methods):
        if method == "notify":
            found.append(Notices(week, store, settings, only))
        elif method == "stream":
            later = LaterWeeks(store, week)
            found.append(Orders(week, store, settings, later, only))
            found += [
                Rows(feed, stream_id, week, store, settings, later, only) for feed, stream_id in feed_streams(settings)
            ]
    return found


def feed_streams(settings: AmperitySettings) -> list[tuple[Feed, str]]:
    """The feeds whose rows are streamed, each with its stream."""
    streams = ((ORDER_ITEMS, settings.order_items_stream_id), (CUSTOMERS, settings.customers_stream_id))
    return [(feed, stream_id) for feed, stream_id in streams if stream_id]


def _is_of(key: RejectKey, method: str, restaurant_guid: str) -> bool:
    return (key.method, key.restaurant_guid) == (method, restaurant_guid)


def _modified_ms(text: str) -> int:
    return epoch_ms(datetime.fromisoformat(text).replace(tzinfo=UTC))


def _batches(orders: Iterator[RawOrder], guid: str, record: RestaurantRecord) -> Iterator[RawOrders]:
    while batch := [order.body for order in islice(orders, _ORDERS_AT_ONCE)]:
        yield RawOrders(guid, batch, record.time_zone, record.currency)
