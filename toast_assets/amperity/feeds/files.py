"""Writes Amperity's flat feeds of a week into the bucket, for its couriers to pull (Amperity: pull from S3).

Every file is a function of the stored raw orders alone: the same orders give the same bytes under the same key, and a
file that has them already is left as it is.
"""

from __future__ import annotations

import filecmp
import hashlib
import logging
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self, cast

from isal import igzip

from toast_assets.amperity.feeds.build import FEEDS, feed_batches
from toast_assets.amperity.feeds.couriers import CONTENT_TYPE
from toast_assets.amperity.feeds.privacy import FeedPrivacy
from toast_assets.amperity.feeds.schema import Row, encode
from toast_assets.amperity.redaction import Redaction
from toast_assets.errors import ExportError
from toast_assets.orders.read import RawOrders, Rejection
from toast_assets.scratch import scratch_folder
from toast_assets.store.bucket import Replacement, StoredObject
from toast_assets.store.manifest import PullRecord, RestaurantRecord
from toast_assets.store.order_store import OrderStore
from toast_assets.store.raw_weeks import RawFile, StoredWeek, all_failed, fetch_raw, one_restaurant
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
    """All files of a week, the orders that could not be represented, how many are no guest's orders, how often which
    optional field is null because it had an unexpected type (``nulled``), and why some restaurants have no files of
    their stored orders (``problems``, by restaurant)."""

    week: Week
    files: Sequence[FeedFile]
    rejections: Sequence[Rejection]
    left_out: int
    nulled: Mapping[str, int]
    problems: Mapping[str, str]
    seconds: float

    @property
    def reasons(self) -> Counter[str]:
        """How many orders were rejected for which reason."""
        return Counter(f"{rejection.reason}: {rejection.detail}" for rejection in self.rejections)


def write_feeds(week: Week, store: OrderStore, brand: str, privacy: FeedPrivacy, log: logging.Logger) -> FeedsReport:
    """Write a file per feed and restaurant; ``brand`` is the purchase brand in the rows. A restaurant that fails stops
    no other.

    Raises:
        ExportError: the week was never pulled, or files could be written of no restaurant.
        StoreError: the bucket is missing or refuses access.
    """
    began = time.monotonic()
    stored = StoredWeek(week, store)
    files: list[FeedFile] = []
    rejections: list[Rejection] = []
    left_out = 0
    nulled: Counter[str] = Counter()
    problems: dict[str, str] = {}
    for guid, record in stored.restaurants().items():
        with one_restaurant(guid, problems, store), scratch_folder() as folder:
            feeds = _Feeds(guid, stored, brand, privacy, folder)
            made = feeds.store()
            files += [made.files[feed] for feed in FEEDS]
            rejections += made.rejections
            left_out += made.left_out
            nulled += made.nulled
            rows = ", ".join(f"{made.lines[feed].rows} {feed}" for feed in FEEDS)
            log.info("Restaurant %s: %s; %d orders rejected.", record.name or guid, rows, len(made.rejections))
    for guid, problem in problems.items():
        log.error("Restaurant %s has no feed files of its stored orders: %s", guid, problem)
    if not files:
        raise all_failed(f"Week {week.key}: feed files", problems)
    return FeedsReport(week, files, rejections, left_out, nulled, problems, time.monotonic() - began)


def feeds_version(week: Week, store: OrderStore, redaction: Redaction) -> str:
    """A hash of all feed files of a week: what Amperity would load.

    Raises:
        ExportError: a file is missing, older than the raw orders, or made under other privacy rules.
    """
    found = stored_feeds(week, store, redaction)
    if found.problems:
        raise found.error()
    return found.version


@dataclass(frozen=True)
class StoredFeeds:
    """The feed files of a week that are of the stored orders and made under the rules that hold: a hash of them, of how
    many ``restaurants``, and what keeps those of others from being loaded (``problems``)."""

    version: str
    restaurants: int
    problems: Sequence[str]

    def error(self) -> ExportError:
        """The error that names the ``problems``."""
        others = len(self.problems) - 1
        more = f" So it is at {others} more restaurants." if others else ""
        return ExportError(f"{self.problems[0]}{more}", hint="Materialize amperity_feeds for this week first.")


def stored_feeds(week: Week, store: OrderStore, redaction: Redaction) -> StoredFeeds:
    """The feed files that are stored, restaurant by restaurant.

    Raises:
        ExportError: the week was never pulled.
        StoreError: the bucket is missing or refuses access.
    """
    digest = hashlib.sha256()
    problems: list[str] = []
    restaurants = StoredWeek(week, store).restaurants()
    for guid, record in sorted(restaurants.items()):
        hashes: list[str] = []
        for feed in FEEDS:
            key = store.layout.feed(week, guid, feed)
            info = store.bucket.info(key)
            state = None
            if info is None:
                state = "is missing"
            elif record.pull is None or info.metadata.get("orders") != record.pull.orders_sha256:
                state = "is older than the raw orders"
            elif info.metadata.get("privacy") != redaction.digest:
                state = "was made under other privacy rules than AMPERITY_REDACT has now"
            if info is None or state:
                problems.append(f"The feed file {store.bucket.uri(key)} {state}.")
                break
            hashes.append(info.metadata["sha256"])
        else:
            digest.update("".join(hashes).encode())
    return StoredFeeds(digest.hexdigest(), len(restaurants) - len(problems), problems)


@dataclass
class _Made:
    """A restaurant's files on the local disk, made of the orders that ``record`` describes."""

    record: RestaurantRecord
    lines: dict[str, _Lines] = field(default_factory=dict)
    files: dict[str, FeedFile] = field(default_factory=dict)
    rejections: list[Rejection] = field(default_factory=list)
    left_out: int = 0
    nulled: Counter[str] = field(default_factory=Counter)


class _Feeds:
    """The feed files of one restaurant's week, made in ``folder``; made again once newer orders are stored."""

    def __init__(self, guid: str, stored: StoredWeek, brand: str, privacy: FeedPrivacy, folder: Path) -> None:
        self._guid = guid
        self._stored = stored
        self._brand = brand
        self._privacy = privacy
        self._folder = folder
        self._newest: _Made | None = None

    def store(self) -> _Made:
        """Store them all, of the same orders, also where newer ones come meanwhile."""
        made = None
        while made is not (newest := self._made_now()):
            made = newest
            for feed in FEEDS:
                self._store(feed)
        return made

    def _store(self, feed: str) -> None:
        key = self._stored.store.layout.feed(self._stored.week, self._guid, feed)

        def change(before: StoredObject | None, target: Path) -> Replacement | None:
            del target
            made = self._made_now()
            lines, file = made.lines[feed], made.files[feed]
            orders = made.record.pull.orders_sha256 if made.record.pull else ""
            # No content encoding: couriers go by the key's ending. The hashes say what it holds, of which orders, and
            # under which privacy rules.
            rules = self._privacy.redaction.digest
            metadata = {"sha256": file.sha256, "orders": orders, "privacy": rules, "rows": str(file.rows)}
            same = before is not None and filecmp.cmp(before.path, lines.path, shallow=False)
            if before is not None and same and before.metadata.items() >= metadata.items():
                return None
            return Replacement(lines.path, {"ContentType": CONTENT_TYPE, "Metadata": metadata})

        self._stored.store.bucket.update(key, change)

    def _made_now(self) -> _Made:
        """The files of the orders that are stored now."""
        self._newest = self._stored.made_of(self._guid, self._made)
        return self._newest

    def _made(self, record: RestaurantRecord, pull: PullRecord) -> _Made:
        if self._newest is not None and self._newest.record == record:
            return self._newest
        week, store = self._stored.week, self._stored.store
        made = _Made(record)
        raw = RawFile(week, self._guid, record, pull, self._folder / f"{pull.orders_sha256}.parquet", store)
        fetch_raw(week, self._guid, raw.path, store)
        with ExitStack() as stack:
            for feed in FEEDS:
                made.lines[feed] = stack.enter_context(_Lines(self._folder / f"{pull.orders_sha256}.{feed}"))
            for batch in feed_batches(_batches(raw), self._brand):
                for feed, rows in batch.rows.items():
                    made.lines[feed].write(map(self._privacy.apply, rows))
                made.rejections += batch.rejections
                made.left_out += batch.left_out
                made.nulled.update(batch.nulled)
        for feed, lines in made.lines.items():
            key = store.layout.feed(week, self._guid, feed)
            made.files[feed] = FeedFile(feed, self._guid, key, lines.rows, lines.path.stat().st_size, lines.sha256)
        return made


def _batches(raw: RawFile) -> Iterator[RawOrders]:
    for bodies in raw.bodies(_ORDERS_AT_ONCE):
        yield RawOrders(raw.guid, bodies, raw.record.time_zone, raw.record.currency)


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
