"""What of a week Amperity does not have yet: orders for its stream, notices of exports. Knows nothing of sending.

The rows of feeds that are streamed are in ``outgoing_rows``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import ParamSpec, Protocol, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from toast_assets.amperity.records import (
    RecordKey,
    destination,
    notice_body,
    notice_destination,
    order_key,
    stream_body,
)
from toast_assets.amperity.settings import AmperitySettings
from toast_assets.delivery.later_weeks import LaterWeeks, Newer
from toast_assets.delivery.ledger import Known
from toast_assets.delivery.rejects import RejectKey
from toast_assets.orders.raw import RawOrder, version_of
from toast_assets.orders.raw_file import read_raw
from toast_assets.scratch import scratch_folder
from toast_assets.store.manifest import PullRecord, RestaurantRecord
from toast_assets.store.order_store import OrderStore
from toast_assets.store.raw_weeks import fetch_raw, manifest_mismatch, reading_raw
from toast_assets.week import Week, iso_ms

P = ParamSpec("P")
T = TypeVar("T")

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
        """A restaurant's records that Amperity does not have, by what the ledger ``known``; all are counted.

        Raises:
            ExportError: the restaurant's raw orders are missing or damaged.
            StoreError: the bucket fails, or a ledger cannot be read.
        """
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
        redaction = self.settings.redaction
        place = destination(self.settings.tenant_id, self.settings.stream_id or "")
        with scratch_folder() as folder:
            path = folder / "raw.parquet"
            orders = read_orders(self.week, guid, path, self.store)
            with one_thread() as run:
                await run(fetch_raw, self.week, guid, path, self.store)
                newer: dict[str, Newer] | None = None
                while some := await run(list, islice(orders, _READ_AT_ONCE)):
                    for order in some:
                        key = order_key(order, guid, place, redaction)
                        if not is_due(key, known, counts, self.only):
                            continue
                        if newer is None:
                            newer = await run(self._newer, guid, place, path)
                        yield Outgoing(key, partial(stream_body, order, guid, redaction), newer_week(newer, key))

    def _newer(self, guid: str, place: str, raw: Path) -> dict[str, Newer]:
        if not self.later.any_of(guid):
            return {}
        return self.later.newest(guid, self.method, place, order_guids(raw))


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
        key = notice_key(self.week, guid, pull, self.store, self.settings)
        if is_due(key, known, counts, self.only):
            yield Outgoing(key, partial(self._body, key.record_id, pull))

    def _body(self, export: str, pull: PullRecord) -> bytes:
        return notice_body(
            self.store.bucket.uri(export),
            tenant_id=self.settings.tenant_id,
            orders=pull.orders,
            fetch_date=pull.finished_at,
            start_date=iso_ms(self.week.start),
            end_date=iso_ms(self.week.end),
        )


def notice_key(week: Week, guid: str, pull: PullRecord, store: OrderStore, settings: AmperitySettings) -> RecordKey:
    """The key of the notice of a restaurant's export."""
    place = notice_destination(settings.tenant_id, settings.api_url or "")
    return RecordKey("notify", place, guid, store.layout.export(week, guid), pull.orders_sha256)


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
    return later.week_key if later is not None and later.modified_ms > (key.modified_ms or 0) else None


def order_guids(raw: Path) -> pa.Array:
    """The GUIDs in a raw file."""
    return pq.read_table(raw, columns=["order_guid"])["order_guid"].combine_chunks()


def read_orders(week: Week, guid: str, path: Path, store: OrderStore) -> Iterator[RawOrder]:
    """The orders of a restaurant's raw file, which was fetched to ``path``.

    Raises:
        ExportError: the file is damaged; also where Parquet can be read, but an order is not what was stored.
    """
    with reading_raw(week, guid, store):
        for order in read_raw(path):
            if version_of(order.body) != order.version:
                raise manifest_mismatch(week, guid, store)
            yield order


class Run(Protocol):
    """Calls a function in another thread."""

    def __call__(self, function: Callable[P, T], /, *arguments: P.args, **_: P.kwargs) -> Awaitable[T]:
        """The call's result, once it is awaited."""
        ...


@contextmanager
def one_thread() -> Iterator[Run]:
    """One thread for blocking work, always the same, as each keeps memory of its own. Whoever leaves the block, by an
    error or because they are cancelled, waits until nothing is under way in it: files that it reads can be removed."""
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(1, thread_name_prefix="outgoing") as thread:
        yield partial(loop.run_in_executor, thread)
