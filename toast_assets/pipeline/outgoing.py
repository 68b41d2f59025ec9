"""What of a week Amperity does not have yet: orders for its stream, notices of exports. Knows nothing of sending.

The rows of feeds that are streamed are in ``outgoing_rows``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from toast_assets.amperity.ledger import Known
from toast_assets.amperity.records import (
    RecordKey,
    modified_of,
    notice_body,
    notice_destination,
    order_version,
    stream_body,
)
from toast_assets.orders.files import read_raw
from toast_assets.orders.raw import RawOrder
from toast_assets.pipeline.later_weeks import LaterWeeks, Newer
from toast_assets.pipeline.rejects import RejectKey
from toast_assets.settings import AmperitySettings
from toast_assets.store.manifest import PullRecord, RestaurantRecord
from toast_assets.store.order_store import OrderStore
from toast_assets.week import Week, iso_ms

_READ_AT_ONCE = 200


@dataclass
class MethodCounts:
    """What became of the records of one method.

    ``unchanged`` had arrived before and were not sent, nor were ``superseded`` ones, of which a newer version had
    arrived with a later week. In a dry run ``would_send`` would have been sent.
    """

    records: int = 0
    unchanged: int = 0
    superseded: int = 0
    accepted: int = 0
    rejected: int = 0
    pending: int = 0
    would_send: int = 0


@dataclass(frozen=True)
class Outgoing:
    """One record that is due. ``body`` renders its JSON; ``newer_week`` is the week with which a newer version of it
    arrived, None where there is none, and then it is to be sent."""

    key: RecordKey
    body: Callable[[], bytes]
    newer_week: str | None = None


@dataclass(frozen=True)
class Refused:
    """An order of which no rows can be made, so that there is nothing to send; ``reason`` holds no guest's data."""

    key: RecordKey
    reason: str


Due = Outgoing | Refused


class Source(Protocol):
    """The records of one delivery method."""

    @property
    def method(self) -> str:
        """The delivery method's name."""
        ...

    def due(self, guid: str, record: RestaurantRecord, known: Known, counts: MethodCounts) -> AsyncGenerator[Due]:
        """A restaurant's records that Amperity does not have, by what the ledger ``known``; all are counted."""
        ...


@dataclass(frozen=True)
class Orders:
    """The method ``stream``: each order as one record. ``only`` limits it to some records."""

    week: Week
    store: OrderStore
    settings: AmperitySettings
    later: LaterWeeks
    only: Set[RejectKey] | None = None
    method: str = field(init=False, default="stream")

    async def due(self, guid: str, record: RestaurantRecord, known: Known, counts: MethodCounts) -> AsyncGenerator[Due]:
        """Orders in a version that has not arrived."""
        del record
        stream_id = self.settings.stream_id or ""
        with TemporaryDirectory(prefix="toast-assets-") as folder:
            path = Path(folder) / "raw.parquet"
            await asyncio.to_thread(self.store.download_raw, self.week, guid, path)
            newer: dict[str, Newer] | None = None
            async with aclosing(_batches(path)) as batches:
                async for order in batches:
                    version = order_version(order)
                    key = RecordKey(self.method, stream_id, guid, order.guid, version, order_guid=order.guid)
                    if not is_due(key, known, counts, self.only):
                        continue
                    if newer is None:
                        newer = await asyncio.to_thread(self._newer, guid, stream_id, path)
                    body = partial(stream_body, order, guid, self.settings.redaction)
                    yield Outgoing(key, body, newer_week(newer, key))

    def _newer(self, guid: str, stream_id: str, raw: Path) -> dict[str, Newer]:
        if not self.later.any_of(guid):
            return {}
        return self.later.newest(guid, self.method, stream_id, order_guids(raw))


@dataclass(frozen=True)
class Notices:
    """The method ``notify``: one notice per export. ``only`` limits it to some of them."""

    week: Week
    store: OrderStore
    settings: AmperitySettings
    only: Set[RejectKey] | None = None
    method: str = field(init=False, default="notify")

    async def due(self, guid: str, record: RestaurantRecord, known: Known, counts: MethodCounts) -> AsyncGenerator[Due]:
        """The notice, unless it was taken for this very content."""
        pull = record.pull
        if pull is None:
            return
        export = self.store.layout.export(self.week, guid)
        destination = notice_destination(self.settings.api_url or "")
        key = RecordKey(self.method, destination, guid, export, pull.orders_sha256)
        if is_due(key, known, counts, self.only):
            yield Outgoing(key, partial(self._body, export, pull))

    def _body(self, export: str, pull: PullRecord) -> bytes:
        return notice_body(
            self.store.bucket.uri(export),
            tenant_id=self.settings.tenant_id,
            orders=pull.orders,
            fetch_date=pull.finished_at,
            start_date=iso_ms(self.week.start),
            end_date=iso_ms(self.week.end),
        )


def is_due(key: RecordKey, known: Known, counts: MethodCounts, only: Set[RejectKey] | None) -> bool:
    """Whether a record is to be looked at (``only`` limits it to some) and has not arrived; counts it."""
    if only is not None and RejectKey.of(key) not in only:
        return False
    counts.records += 1
    if key.request_id in known.settled:
        counts.unchanged += 1
        return False
    return True


def newer_week(newer: Mapping[str, Newer], key: RecordKey) -> str | None:
    """The week with which a newer version of a record has arrived, None where there is none."""
    later = newer.get(key.record_id)
    return later.week_key if later is not None and later.modified_ms > modified_of(key.version) else None


def order_guids(raw: Path) -> pa.Array:
    """The GUIDs in a raw file."""
    return pq.read_table(raw, columns=["order_guid"])["order_guid"].combine_chunks()


async def _batches(path: Path) -> AsyncGenerator[RawOrder]:
    """The orders of a raw file, which is read in a thread: always the same one, as each keeps memory of its own."""
    orders = read_raw(path)
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(1, thread_name_prefix="outgoing") as thread:
        while batch := await loop.run_in_executor(thread, lambda: list(islice(orders, _READ_AT_ONCE))):
            for order in batch:
                yield order
