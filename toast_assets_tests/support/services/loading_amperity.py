"""The tables that Amperity loads the feeds into: by upsert on the documented keys (docs/amperity-couriers.md).

Of two rows with one key the one with the newest ``modified_at`` stays, of equal ones the row that was loaded last.
"""

from __future__ import annotations

import gzip
from collections import defaultdict
from collections.abc import Iterable
from decimal import Decimal

import msgspec

from toast_assets.store.order_store import OrderStore
from toast_assets.week import Week
from toast_assets_tests.support.data.invented import Json

KEYS = {"transactions": "transaction_item_id", "order_items": "order_item_id", "customers": "customer_id"}
_DECODER = msgspec.json.Decoder(Json, float_hook=Decimal)


class LoadingAmperity:
    """Loads files and records; ``tables`` hold the rows of each feed by key."""

    def __init__(self) -> None:
        self.tables: dict[str, dict[str, Json]] = {feed: {} for feed in KEYS}

    def load(self, feed: str, rows: Iterable[Json]) -> None:
        """The rows of a file, or the records of a stream."""
        table, key = self.tables[feed], KEYS[feed]
        for row in rows:
            held = table.get(row[key])
            if held is None or row["modified_at"] >= held["modified_at"]:
                table[row[key]] = row

    def by_order(self, feed: str) -> dict[str, list[Json]]:
        """The rows of each order, by its GUID."""
        found: dict[str, list[Json]] = defaultdict(list)
        for row in self.tables[feed].values():
            found[row["order_id"]].append(row)
        return found


def feed_keys(store: OrderStore, week: Week) -> list[tuple[str, str]]:
    """The files that couriers find under a week's date: feed and key of each."""
    folders = {feed: store.layout.feed(week, "any", feed).rpartition("/")[0] + "/" for feed in KEYS}
    return [(feed, key) for feed, folder in folders.items() for key in store.bucket.keys(folder)]


def file_rows(store: OrderStore, key: str) -> list[Json]:
    """The rows of a feed file."""
    found = store.bucket.read(key)
    assert found is not None
    return decoded(gzip.decompress(found[0]).splitlines())


def decoded(lines: Iterable[bytes]) -> list[Json]:
    """Rows as Amperity reads them; amounts are exact."""
    return list(map(_DECODER.decode, lines))
