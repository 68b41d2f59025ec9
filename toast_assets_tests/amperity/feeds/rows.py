"""Feed rows as Amperity reads them: parsed from the lines that are written."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

import msgspec

from toast_assets.amperity.feeds.build import FeedBatch, feed_batches
from toast_assets.amperity.feeds.schema import encode as encode_row
from toast_assets.orders.read import RawOrders
from toast_assets_tests.support.data.invented import RESTAURANT, Json, encode

BRAND = "Example Brand"
WEEK = "2025-09-15"
ZONE = "America/New_York"
_DECODER = msgspec.json.Decoder(float_hook=Decimal)


def batches(*orders: Json | bytes, timezone: str | None = ZONE) -> list[FeedBatch]:
    data = [one if isinstance(one, bytes) else encode(one)[0] for one in orders]
    return list(feed_batches([RawOrders(RESTAURANT, data, timezone, "USD")], BRAND, WEEK, {}))


def lines(feed: str, made: Iterable[FeedBatch]) -> list[bytes]:
    return [encode_row(row) for batch in made for row in batch.rows.get(feed, ())]


def rows(feed: str, *orders: Json | bytes, timezone: str | None = ZONE) -> list[Json]:
    made = batches(*orders, timezone=timezone)
    assert not [rejection for batch in made for rejection in batch.rejections]
    return [_DECODER.decode(line) for line in lines(feed, made)]


def only(feed: str, *orders: Json) -> Json:
    (row,) = rows(feed, *orders)
    return row
