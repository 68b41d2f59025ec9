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
from toast_assets.orders.names import NO_NAMES, Name, Names
from toast_assets.orders.read import RawOrders
from toast_assets_tests.support.data.invented import RESTAURANT, Json, encode

BRAND = "Example Brand"
WEEK = "2025-09-15"
ZONE = "America/New_York"
STORE = "Example Brand – Harbor"
_DECODER = msgspec.json.Decoder(float_hook=Decimal)


def batches(*orders: Json | bytes, timezone: str | None = ZONE, names: Names = NO_NAMES) -> list[FeedBatch]:
    data = [one if isinstance(one, bytes) else encode(one)[0] for one in orders]
    return list(feed_batches([RawOrders(RESTAURANT, data, timezone, "USD", STORE, names)], BRAND, WEEK, {}))


def names(**known: Name) -> Names:
    """The configuration's names of kinds, each of the GUID in capitals that is called like its kind."""
    return Names({(kind, f"guid of a {kind}"): name for kind, name in known.items()})


def ref(kind: str) -> Json:
    """A reference to what ``names`` has, in capitals."""
    return {"guid": f"GUID of a {kind}".upper(), "entityType": kind}


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


def rows(feed: str, *orders: Json | bytes, timezone: str | None = ZONE, names: Names = NO_NAMES) -> list[Json]:
    made = batches(*orders, timezone=timezone, names=names)
    assert not [rejection for batch in made for rejection in batch.rejections]
    return [_DECODER.decode(line) for line in lines(feed, made)]


def only(feed: str, *orders: Json, names: Names = NO_NAMES) -> Json:
    (row,) = rows(feed, *orders, names=names)
    return row
