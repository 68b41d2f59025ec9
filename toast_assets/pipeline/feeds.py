"""Writes Amperity's flat feeds of a week into the bucket, for its couriers to pull (Amperity: pull from S3).

Every file is a function of the stored raw orders alone: the same orders give the same bytes under the same key.
"""

from __future__ import annotations

import hashlib
import logging
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self, cast

from isal import igzip

from toast_assets.amperity.feeds.build import FEEDS, feed_batches
from toast_assets.amperity.feeds.couriers import CONTENT_TYPE
from toast_assets.amperity.feeds.privacy import FeedPrivacy
from toast_assets.amperity.feeds.schema import Row, encode
from toast_assets.errors import ExportError
from toast_assets.orders.files import read_raw
from toast_assets.pipeline.export import apart, fetch_raw, stored_restaurants
from toast_assets.store.manifest import RestaurantRecord
from toast_assets.store.order_store import OrderStore
from toast_assets.tables.reading import RawOrders, Rejection
from toast_assets.week import Week

_COMPRESSION = 2
_ORDERS_AT_ONCE = 250


@dataclass(frozen=True)
class FeedFile:
    """One object: ``rows`` in it, ``bytes`` as stored, and the hash of its lines before compression."""

    feed: str
    restaurant_guid: str
    key: str
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class FeedsReport:
    """All files of a week, the orders that could not be represented, how many are no guest's orders, and how often
    which optional field is null because it had an unexpected type."""

    week: Week
    files: Sequence[FeedFile]
    rejections: Sequence[Rejection]
    left_out: int
    nulled: Mapping[str, int]
    seconds: float

    @property
    def reasons(self) -> Counter[str]:
        """How many orders were rejected for which reason."""
        return Counter(f"{rejection.reason}: {rejection.detail}" for rejection in self.rejections)


def write_feeds(week: Week, store: OrderStore, brand: str, privacy: FeedPrivacy, log: logging.Logger) -> FeedsReport:
    """Write a file per feed and restaurant; ``brand`` is the purchase brand in the rows.

    Raises:
        ExportError: the week was never pulled, or raw orders and manifest do not belong together.
        StoreError: the bucket is missing or refuses access.
    """
    began = time.monotonic()
    files: list[FeedFile] = []
    rejections: list[Rejection] = []
    left_out = 0
    nulled: Counter[str] = Counter()
    for guid, record in stored_restaurants(week, store).items():
        written, rejected, no_guests = _write(week, guid, record, store, brand, privacy, nulled)
        files += written
        rejections += rejected
        left_out += no_guests
        rows = ", ".join(f"{file.rows} {file.feed}" for file in written)
        log.info("Restaurant %s: %s; %d orders rejected.", record.name or guid, rows, len(rejected))
    return FeedsReport(week, files, rejections, left_out, nulled, time.monotonic() - began)


def feeds_version(week: Week, store: OrderStore) -> str:
    """A hash of all feed files of a week: what Amperity would load.

    Raises:
        ExportError: a file is missing, or older than the raw orders.
    """
    digest = hashlib.sha256()
    for guid, record in sorted(stored_restaurants(week, store).items()):
        for feed in FEEDS:
            key = store.layout.feed(week, guid, feed)
            info = store.bucket.info(key)
            if info is None or record.pull is None or info.metadata.get("orders") != record.pull.orders_sha256:
                state = "is missing" if info is None else "is older than the raw orders"
                raise ExportError(
                    f"The feed file {store.bucket.uri(key)} {state}.",
                    hint="Materialize amperity_feeds for this week first.",
                )
            digest.update(info.metadata["sha256"].encode())
    return digest.hexdigest()


def _write(
    week: Week,
    guid: str,
    record: RestaurantRecord,
    store: OrderStore,
    brand: str,
    privacy: FeedPrivacy,
    nulled: Counter[str],
) -> tuple[list[FeedFile], list[Rejection], int]:
    rejections: list[Rejection] = []
    left_out = 0
    if record.pull is None:
        raise apart(week, guid, store)
    with tempfile.TemporaryDirectory(prefix="toast-assets-") as name:
        folder = Path(name)
        raw = folder / "raw.parquet"
        fetch_raw(week, guid, raw, store)
        with ExitStack() as stack:
            lines = {feed: stack.enter_context(_Lines(folder / feed)) for feed in FEEDS}
            for batch in feed_batches(_batches(raw, guid, record), brand):
                for feed, rows in batch.rows.items():
                    lines[feed].write(map(privacy.apply, rows))
                rejections += batch.rejections
                left_out += batch.left_out
                nulled.update(batch.nulled)
        files = [_store(week, guid, record.pull.orders_sha256, feed, lines[feed], store) for feed in FEEDS]
    return files, rejections, left_out


def _batches(raw: Path, guid: str, record: RestaurantRecord) -> Iterator[RawOrders]:
    orders = read_raw(raw)
    while batch := [order.body for order in islice(orders, _ORDERS_AT_ONCE)]:
        yield RawOrders(guid, batch, record.time_zone, record.currency)


def _store(week: Week, guid: str, orders: str, feed: str, lines: _Lines, store: OrderStore) -> FeedFile:
    key = store.layout.feed(week, guid, feed)
    store.bucket.write(
        key,
        lines.path,
        ContentType=CONTENT_TYPE,
        # No content encoding: couriers go by the key's ending. The hashes say what it holds, and of which orders.
        Metadata={"sha256": lines.sha256, "orders": orders, "rows": str(lines.rows)},
    )
    return FeedFile(feed, guid, key, lines.rows, lines.path.stat().st_size, lines.sha256)


class _Lines(AbstractContextManager["_Lines"]):
    """A gzipped NDJSON file under way; one member without name and time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows = 0
        self._hash = hashlib.sha256()

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def __enter__(self) -> Self:
        self._plain = self.path.open("wb")
        self._file = cast(BinaryIO, igzip.IGzipFile("", "wb", _COMPRESSION, self._plain, mtime=0))  # type: ignore[no-untyped-call]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._plain.close()

    def write(self, rows: Iterable[Row]) -> None:
        lines = [encode(row) + b"\n" for row in rows]
        chunk = b"".join(lines)
        self._file.write(chunk)
        self._hash.update(chunk)
        self.rows += len(lines)
