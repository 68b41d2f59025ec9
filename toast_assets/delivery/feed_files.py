"""Writes Amperity's flat feeds of a week into the bucket, for its couriers to pull (Amperity: pull from S3).

Every file is a function of what is stored: the same raw orders and the same index give the same bytes under the same
key, and a file that has them already is left as it is.
"""

from __future__ import annotations

import filecmp
import hashlib
import logging
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import BinaryIO, cast

from isal import igzip

from toast_assets.amperity.feeds.build import FEEDS, feed_batches
from toast_assets.amperity.feeds.schema import CONTENT_TYPE, encode
from toast_assets.amperity.redaction import Redaction
from toast_assets.delivery.history import DeliveredWeeks, History
from toast_assets.errors import ExportError
from toast_assets.orders.read import RawOrders, Rejection
from toast_assets.scratch import scratch_folder
from toast_assets.store.bucket import Replacement, StoredObject
from toast_assets.store.client import CALLS_AT_ONCE
from toast_assets.store.manifest import PullRecord, RestaurantRecord
from toast_assets.store.order_store import OrderStore
from toast_assets.store.raw_weeks import RawFile, StoredWeek, all_failed, fetch_raw, manifest_mismatch, one_restaurant
from toast_assets.week import Week

_COMPRESSION = 2
_ORDERS_AT_ONCE = 250
_RESTAURANTS_AT_ONCE = 8


@dataclass(frozen=True)
class FeedFile:
    """One object: ``rows`` in it, ``bytes`` as stored, and the hash of its lines before compression."""

    feed: str
    restaurant_guid: str
    key: str
    rows: int
    bytes: int
    sha256: str


@dataclass
class FeedsReport:
    """All files of a week, the orders that could not be represented, how many are no guest's orders, how often which
    optional field is null because it had an unexpected type (``nulled``), and why some restaurants have no files of
    their stored orders (``problems``, by restaurant)."""

    files: list[FeedFile] = field(default_factory=list)
    rejections: list[Rejection] = field(default_factory=list)
    left_out: int = 0
    nulled: Counter[str] = field(default_factory=Counter)
    problems: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


def write_feeds(week: Week, store: OrderStore, brand: str, redaction: Redaction, log: logging.Logger) -> FeedsReport:
    """Write a file per feed and restaurant; ``brand`` is the purchase brand in the rows. A restaurant that fails stops
    no other.

    Raises:
        ExportError: the week was never pulled, or files could be written of no restaurant.
        StoreError: the bucket is missing or refuses access.
    """
    report = FeedsReport()
    began = time.monotonic()
    stored, delivered = StoredWeek(week, store), DeliveredWeeks(store, log)
    restaurants = stored.restaurants()
    with ThreadPoolExecutor(_RESTAURANTS_AT_ONCE, thread_name_prefix="feeds") as threads:
        makers = {guid: partial(_written, stored, guid, brand, redaction, delivered) for guid in restaurants}
        jobs = {guid: threads.submit(stored.made_of, guid, make) for guid, make in makers.items()}
        try:
            for guid, job in jobs.items():
                with one_restaurant(guid, report.problems, store):
                    made = job.result()
                    report.files += made.files
                    report.rejections += made.rejections
                    report.left_out += made.left_out
                    report.nulled += made.nulled
                    rows = ", ".join(f"{file.rows} {file.feed}" for file in made.files)
                    log.info("%s: %s; %d orders rejected.", restaurants[guid].name or guid, rows, len(made.rejections))
        finally:
            # A run that ends here waits for the restaurants under way, and not for all that have not begun.
            threads.shutdown(cancel_futures=True)
    for guid, problem in report.problems.items():
        log.error("%s has no feed files of its stored orders: %s", restaurants[guid].name or guid, problem)
    if not report.files:
        raise all_failed(f"Week {week.key}: feed files", report.problems)
    report.seconds = time.monotonic() - began
    return report


def stored_feeds(week: Week, store: OrderStore, redaction: Redaction) -> tuple[str, ExportError | None]:
    """A hash of the feed files that are of the stored orders and made under the rules that hold, empty where no
    restaurant has them; and the error that says why others have none.

    Raises:
        ExportError: the week was never pulled.
        StoreError: the bucket is missing or refuses access.
    """

    def look(guid: str, record: RestaurantRecord) -> tuple[str, str]:
        """The hashes of a restaurant's files, or why they may not be loaded."""
        hashes = ""
        for feed in FEEDS:
            key = store.layout.feed(week, guid, feed)
            info = store.bucket.info(key)
            if info is None:
                state = "is missing"
            elif record.pull is None or info.metadata.get("orders") != record.pull.orders_sha256:
                state = "is older than the raw orders"
            elif info.metadata.get("privacy") != redaction.digest:
                state = "was made under other privacy rules than AMPERITY_REDACT has now"
            else:
                hashes += info.metadata["sha256"]
                continue
            return "", f"The feed file {store.bucket.uri(key)} {state}."
        return hashes, ""

    restaurants = dict(sorted(StoredWeek(week, store).restaurants().items()))
    with ThreadPoolExecutor(CALLS_AT_ONCE) as threads:
        hashes, reasons = zip(*threads.map(look, restaurants, restaurants.values()), strict=True)
    version = hashlib.sha256("".join(hashes).encode()).hexdigest() if any(hashes) else ""
    problems = list(filter(None, reasons))
    if not problems:
        return version, None
    text = f"{problems[0]} {len(problems)} of {len(restaurants)} restaurants have no feed files that can be loaded."
    return version, ExportError(text, hint="Materialize amperity_feeds for this week first.")


def _written(
    stored: StoredWeek,
    guid: str,
    brand: str,
    redaction: Redaction,
    delivered: DeliveredWeeks,
    record: RestaurantRecord,
    pull: PullRecord,
) -> FeedsReport:
    """Make and store the files of a restaurant, all of the same orders; an ExportError where a pull has stored newer
    ones meanwhile."""
    week, store = stored.week, stored.store

    def change(file: FeedFile, before: StoredObject | None, _target: Path) -> Replacement | None:
        if stored.restaurants().get(guid) != record:
            raise manifest_mismatch(week, guid, store)
        # No content encoding: couriers go by the key's ending. The hashes say what it holds, of which orders, and under
        # which privacy rules.
        metadata = {
            "sha256": file.sha256,
            "orders": pull.orders_sha256,
            "privacy": redaction.digest,
            "rows": str(file.rows),
        }
        same = before is not None and filecmp.cmp(before.path, folder / file.feed, shallow=False)
        if before is not None and same and before.metadata.items() >= metadata.items():
            return None
        return Replacement(folder / file.feed, {"ContentType": CONTENT_TYPE, "Metadata": metadata})

    with scratch_folder() as folder:
        raw = RawFile(week, guid, record, pull, folder / "raw.parquet", store)
        fetch_raw(week, guid, raw.path, store)
        history = History(raw, delivered)
        # The index first: a row that may be in a file is known there, so that a later version can take it back.
        made = history.update(partial(_made_of, raw, history, brand, redaction, folder))
        for file in made.files:
            store.bucket.update(file.key, partial(change, file))
    return made


def _made_of(raw: RawFile, history: History, brand: str, redaction: Redaction, folder: Path) -> FeedsReport:
    """The files of a restaurant, each in ``folder`` under its feed's name; ``history`` gets what is in them."""
    made, week, guid, record = FeedsReport(), raw.week, raw.guid, raw.record
    orders = (RawOrders(guid, bodies, record.time_zone, record.currency) for bodies in raw.bodies(_ORDERS_AT_ONCE))
    rows, digests = Counter(dict.fromkeys(FEEDS, 0)), {feed: hashlib.sha256() for feed in FEEDS}
    with ExitStack() as stack:
        files = {feed: stack.enter_context(gzipped(folder / feed)) for feed in FEEDS}
        for batch in feed_batches(orders, brand, week.key, history.entries):
            history.put_fed(batch.fed)
            for feed, some in batch.rows.items():
                lines = b"".join(encode(redaction.apply_to_row(row)) + b"\n" for row in some)
                files[feed].write(lines)
                digests[feed].update(lines)
                rows[feed] += len(some)
            made.rejections += batch.rejections
            made.left_out += batch.left_out
            made.nulled.update(batch.nulled)
    for feed in FEEDS:
        key, size = raw.store.layout.feed(week, guid, feed), (folder / feed).stat().st_size
        made.files.append(FeedFile(feed, guid, key, rows[feed], size, digests[feed].hexdigest()))
    return made


@contextmanager
def gzipped(path: Path) -> Iterator[BinaryIO]:
    """A file at ``path`` whose content is packed as it is written: one member without name and time, so that equal
    content gives equal bytes."""
    with path.open("wb") as plain, cast(BinaryIO, igzip.IGzipFile("", "wb", _COMPRESSION, plain, mtime=0)) as file:  # type: ignore[no-untyped-call]
        yield file
