"""Writes Amperity's flat feeds of a week into the bucket, for its couriers to pull (Amperity: pull from S3).

Files are a function of what is stored: the raw orders, and the indexes of orders and guests, which say what other weeks
know of the same ones. Equal rows give equal bytes under the same key, and a file that has them already is left as it
is.
"""

from __future__ import annotations

import filecmp
import hashlib
import logging
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import BinaryIO, cast

from isal import igzip

from toast_assets.amperity.feeds.build import FEEDS, feed_batches
from toast_assets.amperity.feeds.customers import CUSTOMERS, customer_row
from toast_assets.amperity.feeds.schema import CONTENT_TYPE, Row, encode
from toast_assets.amperity.redaction import Redaction
from toast_assets.delivery.guests import update_guest_index
from toast_assets.delivery.history import DeliveredWeeks, History
from toast_assets.errors import ExportError
from toast_assets.index.guests import WeekGuests
from toast_assets.orders.read import Rejection
from toast_assets.scratch import scratch_folder
from toast_assets.store.bucket import Replacement, StoredObject
from toast_assets.store.client import CALLS_AT_ONCE
from toast_assets.store.manifest import PullRecord, RestaurantRecord
from toast_assets.store.order_store import OrderStore
from toast_assets.store.raw_weeks import RawFile, StoredWeek, all_failed, fetch_raw, manifest_mismatch, one_restaurant
from toast_assets.tables.names import StoredNames
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
    their stored orders (``problems``, by restaurant). ``records`` are those of the stored restaurants."""

    records: Mapping[str, RestaurantRecord] = field(default_factory=dict)
    files: list[FeedFile] = field(default_factory=list)
    rejections: list[Rejection] = field(default_factory=list)
    left_out: int = 0
    nulled: Counter[str] = field(default_factory=Counter)
    problems: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    def add(self, other: FeedsReport) -> None:
        """Take in the report of another restaurant."""
        self.files += other.files
        self.rejections += other.rejections
        self.left_out += other.left_out
        self.nulled += other.nulled


def write_feeds(week: Week, store: OrderStore, brand: str, redaction: Redaction, log: logging.Logger) -> FeedsReport:
    """Write a file per feed and restaurant; ``brand`` is the purchase brand in the rows. A restaurant that fails stops
    no other.

    The files of guests come after the others, when all restaurants' guests are in the guest index.

    Raises:
        ExportError: the week was never pulled, or files could be written of no restaurant.
        StoreError: the bucket is missing or refuses access.
    """
    began = time.monotonic()
    stored = StoredWeek(week, store)
    restaurants = stored.restaurants()
    report = FeedsReport(restaurants)
    with scratch_folder() as folder, ThreadPoolExecutor(_RESTAURANTS_AT_ONCE, thread_name_prefix="feeds") as threads:
        guests, delivered = WeekGuests(folder / "guests.sqlite"), DeliveredWeeks(store, log)
        writer = _FeedFiles(stored, brand, redaction, guests, delivered, StoredNames(store, folder, log))
        due = list(restaurants)
        try:
            while due:
                made: dict[str, _Made] = {}
                makers = {guid: partial(writer.of_orders, guid) for guid in due}
                orders = {guid: threads.submit(stored.made_of, guid, make) for guid, make in makers.items()}
                for guid, job in orders.items():
                    with one_restaurant(guid, report.problems, store):
                        made[guid] = job.result()
                    if guid not in made:
                        guests.drop(guid)
                update_guest_index(week, guests, delivered)
                due = []
                customers = {guid: threads.submit(writer.of_guests, one) for guid, one in made.items()}
                for guid, written in customers.items():
                    with one_restaurant(guid, report.problems, store):
                        if (found := written.result()) is None:
                            due.append(guid)
                            continue
                        report.add(found)
                        rows = ", ".join(f"{file.rows} {file.feed}" for file in found.files)
                        name = restaurants[guid].name or guid
                        log.info("%s: %s; %d orders rejected.", name, rows, len(found.rejections))
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
    return version, ExportError(text, hint="Materialize amperity_feeds for this week first.", code="FEEDS")


@dataclass(frozen=True)
class _Made:
    """The files of a restaurant's orders, by the manifest's ``record`` at that time."""

    guid: str
    record: RestaurantRecord
    pull: PullRecord
    report: FeedsReport


@dataclass(frozen=True)
class _FeedFiles:
    """Makes and stores the files of restaurants; ``guests`` are collected on the way."""

    stored: StoredWeek
    brand: str
    redaction: Redaction
    guests: WeekGuests
    delivered: DeliveredWeeks
    names: StoredNames

    def of_orders(self, guid: str, record: RestaurantRecord, pull: PullRecord) -> _Made:
        """All files of a restaurant but the one of its guests; an ExportError where a pull has stored newer orders
        meanwhile."""
        with scratch_folder() as folder:
            raw = RawFile(self.stored.week, guid, record, pull, folder / "raw.parquet", self.stored.store)
            fetch_raw(raw.week, guid, raw.path, raw.store)
            history = History(raw, self.delivered)
            # The index first: a row that may be in a file is known there, so that a later version can take it back.
            made, files = history.update(partial(self._made_of, raw, history))
            for feed, file in files.items():
                self._store(made, feed, file)
        return made

    def _made_of(self, raw: RawFile, history: History) -> tuple[_Made, dict[str, _Lines]]:
        """The files of a restaurant's orders, beside the raw file; ``history`` gets what is in them."""
        made = _Made(raw.guid, raw.record, raw.pull, FeedsReport())
        # Of an earlier attempt.
        self.guests.drop(raw.guid)
        names = self.names.of(raw.guid)
        orders = (raw.batch(some, names) for some in raw.bodies(_ORDERS_AT_ONCE))
        with ExitStack() as stack:
            feeds = [feed for feed in FEEDS if feed != CUSTOMERS.name]
            files = {feed: stack.enter_context(self._written(raw.path.with_name(feed))) for feed in feeds}
            for batch in feed_batches(orders, self.brand, raw.week.key, history.entries):
                history.put_fed(batch.fed)
                for feed, rows in batch.rows.items():
                    files[feed].write(rows)
                self.guests.add(raw.guid, batch.guests)
                made.report.rejections += batch.rejections
                made.report.left_out += batch.left_out
                made.report.nulled.update(batch.nulled)
        return made, files

    def of_guests(self, made: _Made) -> FeedsReport | None:
        """The report with the file of a restaurant's guests; None where a pull has stored newer orders meanwhile."""
        with scratch_folder() as folder:
            with self._written(folder / CUSTOMERS.name) as file:
                for some in self.guests.of_restaurant(made.guid):
                    file.write(list(map(customer_row, some)))
            try:
                self._store(made, CUSTOMERS.name, file)
            except ExportError:
                if self._is_outdated(made):
                    return None
                raise
        return made.report

    @contextmanager
    def _written(self, path: Path) -> Iterator[_Lines]:
        with gzipped(path) as file:
            yield _Lines(path, file, self.redaction)

    def _is_outdated(self, made: _Made) -> bool:
        return self.stored.restaurants().get(made.guid) != made.record

    def _store(self, made: _Made, feed: str, file: _Lines) -> None:
        """Store a file, unless it is there, and report it."""
        week, store = self.stored.week, self.stored.store
        size, sha256 = file.path.stat().st_size, file.digest.hexdigest()
        found = FeedFile(feed, made.guid, store.layout.feed(week, made.guid, feed), file.rows, size, sha256)

        def change(before: StoredObject | None, _target: Path) -> Replacement | None:
            if self._is_outdated(made):
                raise manifest_mismatch(week, made.guid, store)
            # No content encoding: couriers go by the key's ending. The hashes say what it holds, of which orders, and
            # under which privacy rules.
            metadata = {
                "sha256": sha256,
                "orders": made.pull.orders_sha256,
                "privacy": self.redaction.digest,
                "rows": str(file.rows),
            }
            same = before is not None and filecmp.cmp(before.path, file.path, shallow=False)
            if before is not None and same and before.metadata.items() >= metadata.items():
                return None
            return Replacement(file.path, {"ContentType": CONTENT_TYPE, "Metadata": metadata})

        store.bucket.update(found.key, change)
        made.report.files.append(found)


@dataclass
class _Lines:
    """A file that is being written: its rows, and the hash of its lines before compression."""

    path: Path
    file: BinaryIO
    redaction: Redaction
    rows: int = 0
    digest: hashlib._Hash = field(default_factory=hashlib.sha256)

    def write(self, rows: Sequence[Row]) -> None:
        lines = b"".join(encode(self.redaction.apply_to_row(row)) + b"\n" for row in rows)
        self.file.write(lines)
        self.digest.update(lines)
        self.rows += len(rows)


@contextmanager
def gzipped(path: Path) -> Iterator[BinaryIO]:
    """A file at ``path`` whose content is packed as it is written: one member without name and time, so that equal
    content gives equal bytes."""
    with path.open("wb") as plain, cast(BinaryIO, igzip.IGzipFile("", "wb", _COMPRESSION, plain, mtime=0)) as file:  # type: ignore[no-untyped-call]
        yield file
