"""What of a week Amperity does not have yet: orders for its stream, notices of exports. Knows nothing of sending."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Set
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

from toast_assets.amperity.ledger import Known
from toast_assets.amperity.records import RecordKey, notice_body, notice_destination, order_version, stream_body
from toast_assets.orders.files import read_raw
from toast_assets.orders.raw import RawOrder
from toast_assets.pipeline.later_weeks import LaterWeeks
from toast_assets.pipeline.rejects import RejectKey
from toast_assets.settings import AmperitySettings
from toast_assets.store.manifest import PullRecord
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


class Source(Protocol):
    """The records of one delivery method."""

    @property
    def method(self) -> str:
        """The delivery method's name."""
        ...

    def due(self, guid: str, pull: PullRecord, known: Known, counts: MethodCounts) -> AsyncGenerator[Outgoing]:
        """A restaurant's records that Amperity does not have, by what the ledger ``known``; all are counted."""
        ...


@dataclass(frozen=True)
class Orders:
    """The method ``stream``: each order as one record. ``only`` limits it to some records."""

    week: Week
    store: OrderStore
    settings: AmperitySettings
    only: Set[RejectKey] | None = None
    later: LaterWeeks = field(init=False)
    method: str = field(init=False, default="stream")

    def __post_init__(self) -> None:
        object.__setattr__(self, "later", LaterWeeks(self.store, self.week))

    async def due(self, guid: str, pull: PullRecord, known: Known, counts: MethodCounts) -> AsyncGenerator[Outgoing]:
        """Orders in a version that has not arrived."""
        del pull
        stream_id = self.settings.stream_id or ""
        with TemporaryDirectory(prefix="toast-assets-") as folder:
            path = Path(folder) / "raw.parquet"
            await asyncio.to_thread(self.store.download_raw, self.week, guid, path)
            newer: dict[str, tuple[int, str]] | None = None
            async with aclosing(_batches(path)) as batches:
                async for order in batches:
                    key = RecordKey(self.method, stream_id, guid, order.guid, order_version(order))
                    if not _is_due(key, known, counts, self.only):
                        continue
                    if newer is None:
                        newer = await asyncio.to_thread(self.later.newest, guid, stream_id, path)
                    at, week = newer.get(order.guid, (0, ""))
                    body = partial(stream_body, order, guid, self.settings.redaction)
                    yield Outgoing(key, body, week if at > order.modified_ms else None)


@dataclass(frozen=True)
class Notices:
    """The method ``notify``: one notice per export. ``only`` limits it to some of them."""

    week: Week
    store: OrderStore
    settings: AmperitySettings
    only: Set[RejectKey] | None = None
    method: str = field(init=False, default="notify")

    async def due(self, guid: str, pull: PullRecord, known: Known, counts: MethodCounts) -> AsyncGenerator[Outgoing]:
        """The notice, unless it was taken for this very content."""
        export = self.store.layout.export(self.week, guid)
        destination = notice_destination(self.settings.api_url or "")
        key = RecordKey(self.method, destination, guid, export, pull.orders_sha256)
        if _is_due(key, known, counts, self.only):
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


def sources(
    week: Week, store: OrderStore, settings: AmperitySettings, only: Set[RejectKey] | None = None
) -> list[Source]:
    """What is to be sent by the methods that are set; s3_pull sends nothing itself."""
    known: dict[str, Callable[[], Source]] = {
        "stream": lambda: Orders(week, store, settings, only),
        "notify": lambda: Notices(week, store, settings, only),
    }
    return [known[method]() for method in dict.fromkeys(settings.methods) if method in known]


def _is_due(key: RecordKey, known: Known, counts: MethodCounts, only: Set[RejectKey] | None) -> bool:
    if only is not None and RejectKey.of(key) not in only:
        return False
    counts.records += 1
    if key.request_id in known.settled:
        counts.unchanged += 1
        return False
    return True


async def _batches(path: Path) -> AsyncGenerator[RawOrder]:
    """The orders of a raw file, which is read in a thread."""
    orders = read_raw(path)
    while batch := await asyncio.to_thread(lambda: list(islice(orders, _READ_AT_ONCE))):
        for order in batch:
            yield order
