"""The week's rejects: what Amperity refused, with the reason, in one file that people read and replay.

Rejects are spooled to a local file while a delivery runs, so that a delivery of which everything is refused takes no
more memory than a good one.
"""

from __future__ import annotations

import gzip
import tempfile
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self, cast

import msgspec

from toast_assets.amperity.records import RecordKey
from toast_assets.store.order_store import OrderStore
from toast_assets.week import Week


class RejectLine(msgspec.Struct, frozen=True):
    """One line of the file. ``status`` is HTTP's, None where the record was not even sent; ``record`` is what was, or
    would have been, sent."""

    order_guid: str
    restaurant_guid: str
    method: str
    status: int | None
    reason: str
    record: msgspec.Raw


class Rejects:
    """Collects one delivery's rejects; ``save`` makes them the week's."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="toast-assets-")
        self._path = Path(self._folder.name) / "rejects.ndjson.gz"
        self._plain = self._path.open("wb")
        self._file = cast(BinaryIO, gzip.GzipFile(filename="", mode="wb", fileobj=self._plain, mtime=0))
        self.count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()
        self._folder.cleanup()

    def add(self, key: RecordKey, status: int | None, reason: str, record: bytes) -> None:
        """Note one reject; ``record`` is its JSON."""
        line = RejectLine(key.record_id, key.restaurant_guid, key.method, status, reason, msgspec.Raw(record))
        self._file.write(msgspec.json.encode(line) + b"\n")
        self.count += 1

    def save(self, store: OrderStore, week: Week) -> None:
        """Store the file instead of the one of the last delivery; without rejects there is none."""
        self._close()
        key = store.layout.rejects(week)
        if self.count:
            store.bucket.write(key, self._path, ContentType="application/x-ndjson", ContentEncoding="gzip")
        elif store.bucket.info(key) is not None:
            store.bucket.delete(key)

    def _close(self) -> None:
        self._file.close()
        self._plain.close()
