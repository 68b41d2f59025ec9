"""Feed rows as Amperity reads them: parsed from the lines that are written."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from toast_assets.amperity.feeds.build import FeedBatch, feed_batches
from toast_assets.amperity.feeds.customers import customer_row
from toast_assets.amperity.feeds.schema import Row
from toast_assets.amperity.feeds.schema import encode as encode_row
from toast_assets.amperity.redaction import Redaction
from toast_assets.index.guests import WeekGuests
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
    found = customers(made) if feed == "customers" else [row for batch in made for row in batch.rows[feed]]
    return [encode_row(row) for row in found]


def customers(made: Iterable[FeedBatch]) -> list[Row]:
    """The rows of the guests, where no other week knows them."""
    with TemporaryDirectory() as folder:
        guests = WeekGuests(Path(folder) / "guests.sqlite")
        for batch in made:
            guests.add(RESTAURANT, batch.guests)
        guests.merge((), Path(folder) / "index.parquet")
        return [
            Redaction().apply_to_row(customer_row(guest)) for some in guests.of_restaurant(RESTAURANT) for guest in some
        ]


def rows(feed: str, *orders: Json | bytes, timezone: str | None = ZONE) -> list[Json]:
    made = batches(*orders, timezone=timezone)
    assert not [rejection for batch in made for rejection in batch.rejections]
    return [_DECODER.decode(line) for line in lines(feed, made)]


def only(feed: str, *orders: Json) -> Json:
    (row,) = rows(feed, *orders)
    return row
