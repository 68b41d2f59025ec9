"""A week's raw files, one restaurant after the other, fetched ahead: reading a file hides the wait for the next."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Generator, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from toast_assets.orders.lines import OrderLines
from toast_assets.orders.raw_file import read_bodies
from toast_assets.scratch import scratch_folder
from toast_assets.store.manifest import PullRecord, RestaurantRecord
from toast_assets.store.order_store import OrderStore
from toast_assets.store.stored_week import fetch_raw, manifest_mismatch, one_restaurant, reading_raw
from toast_assets.week import Week

# So many files lie ready or are under way at once; a file is removed once it was read.
_AHEAD = 3
# Conversion works by column: fewer would cost time, more would cost memory. Of ordinary orders a row group has less.
_ORDERS_AT_ONCE = 1_000


@dataclass(frozen=True)
class RawFile:
    """The raw orders of one restaurant's week in a local file, and what the manifest says of them."""

    week: Week
    guid: str
    record: RestaurantRecord
    pull: PullRecord
    path: Path
    store: OrderStore

    def bodies(self, at_once: int = _ORDERS_AT_ONCE) -> Iterator[list[bytes]]:
        """The orders' JSON alone, ``at_once`` at a time: reading nothing else takes half the time.

        Raises:
            ExportError: the file cannot be read, or its orders are not those that the manifest tells of, by their hash;
                known only where it breaks, or at the end.
        """
        digest = hashlib.sha256()
        with reading_raw(self.week, self.guid, self.store):
            for column in read_bodies(self.path):
                digest.update(OrderLines(column, self.guid).ended_by(b"\n"))
                for start in range(0, len(column), at_once):
                    yield column.slice(start, at_once).to_pylist()
        if digest.hexdigest() != self.pull.orders_sha256:
            raise manifest_mismatch(self.week, self.guid, self.store)

    def check_count(self, count: int) -> None:
        """Make sure that ``count`` orders are those that the manifest tells of.

        Raises:
            ExportError: they are not.
        """
        if count != self.pull.orders:
            raise manifest_mismatch(self.week, self.guid, self.store)


def raw_files(
    week: Week, records: Mapping[str, RestaurantRecord], store: OrderStore, problems: dict[str, str] | None = None
) -> Generator[RawFile]:
    """The raw files of all restaurants of which the week is stored, by GUID; each is there until the next is asked for.

    With ``problems`` a restaurant whose file cannot be had is left out, and the reason added there.

    Raises:
        ExportError: a file is missing, or is no raw file.
        StoreError: the bucket is missing or refuses access.
    """
    with scratch_folder() as folder, ThreadPoolExecutor(_AHEAD, thread_name_prefix="raw") as threads:
        stored = ((guid, record, record.pull) for guid, record in sorted(records.items()) if record.pull is not None)
        waiting: deque[tuple[str, Future[RawFile]]] = deque()
        for number, (guid, record, pull) in enumerate(stored):
            file = RawFile(week, guid, record, pull, folder / f"{number}.parquet", store)
            waiting.append((guid, threads.submit(_fetched, file)))
            if len(waiting) >= _AHEAD:
                yield from _next(waiting, store, problems)
        while waiting:
            yield from _next(waiting, store, problems)


def _next(
    waiting: deque[tuple[str, Future[RawFile]]], store: OrderStore, problems: dict[str, str] | None
) -> Iterator[RawFile]:
    guid, job = waiting.popleft()
    with nullcontext() if problems is None else one_restaurant(guid, problems, store):
        file = job.result()
        yield file
        file.path.unlink()


def _fetched(file: RawFile) -> RawFile:
    fetch_raw(file.week, file.guid, file.path, file.store)
    return file
