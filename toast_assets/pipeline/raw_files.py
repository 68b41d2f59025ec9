"""A week's raw files, one restaurant after the other, fetched ahead: reading a file hides the wait for the next."""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from toast_assets.orders.files import read_bodies
from toast_assets.pipeline.export import apart, fetch_raw
from toast_assets.store.manifest import PullRecord, RestaurantRecord
from toast_assets.store.order_store import OrderStore
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

    def bodies(self) -> Iterator[list[bytes]]:
        """The orders' JSON alone, a few hundred at a time: reading nothing else takes half the time.

        Raises:
            ExportError: the file holds more or fewer orders than the manifest says; known only at the end.
        """
        count = 0
        for column in read_bodies(self.path):
            count += len(column)
            for start in range(0, len(column), _ORDERS_AT_ONCE):
                yield column.slice(start, _ORDERS_AT_ONCE).to_pylist()
        self.check_count(count)

    def check_count(self, count: int) -> None:
        """Make sure that ``count`` orders are those that the manifest tells of.

        Raises:
            ExportError: they are not.
        """
        if count != self.pull.orders:
            raise apart(self.week, self.guid, self.store)


def raw_files(week: Week, records: Mapping[str, RestaurantRecord], store: OrderStore) -> Iterator[RawFile]:
    """The raw files of all restaurants of which the week is stored, by GUID; each is there until the next is asked for.

    Raises:
        ExportError: a file is missing, or is no raw file.
        StoreError: the bucket is missing or refuses access.
    """
    with (
        tempfile.TemporaryDirectory(prefix="toast-assets-") as folder,
        ThreadPoolExecutor(_AHEAD, thread_name_prefix="raw") as threads,
    ):
        stored = ((guid, record, record.pull) for guid, record in sorted(records.items()) if record.pull is not None)
        waiting: deque[Future[RawFile]] = deque()
        for number, (guid, record, pull) in enumerate(stored):
            file = RawFile(week, guid, record, pull, Path(folder) / f"{number}.parquet", store)
            waiting.append(threads.submit(_fetched, file))
            if len(waiting) >= _AHEAD:
                yield from _next(waiting)
        while waiting:
            yield from _next(waiting)


def _next(waiting: deque[Future[RawFile]]) -> Iterator[RawFile]:
    file = waiting.popleft().result()
    yield file
    file.path.unlink()


def _fetched(file: RawFile) -> RawFile:
    fetch_raw(file.week, file.guid, file.path, file.store)
    return file
