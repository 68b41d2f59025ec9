"""Toast, S3 and Amperity in memory, and runs of the pipeline in threads that stop at a chosen call and go on later.

No sockets and no waiting. What runs is the product's own code: S3 is a client with the methods of boto3's that the
product uses and AWS's semantics of conditions, Toast and Amperity are transports of httpx.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import BytesIO
from types import SimpleNamespace
from typing import Any, Generic, Literal, TypeVar

import httpx
import pyarrow.parquet as pq
from botocore.exceptions import ClientError
from botocore.response import StreamingBody

from toast_assets.amperity.client import AmperityClient
from toast_assets.amperity.settings import AmperitySettings
from toast_assets.delivery.deliver import DeliveryReport, WeekDelivery
from toast_assets.delivery.retries import Retries, retry_rejects
from toast_assets.export.write import ExportReport, export_week
from toast_assets.orders.times import format_time
from toast_assets.pull.week import PullReport, WeekPull
from toast_assets.store.bucket import Bucket
from toast_assets.store.order_store import OrderStore
from toast_assets.tables.build import TablesReport, build_tables
from toast_assets.tables.current_orders import CurrentReport, refresh_current_orders
from toast_assets.toast.client import ToastClient
from toast_assets.toast.page import Window
from toast_assets.week import Week
from toast_assets_tests.support.services.clients import QUICK, UNLIMITED, SkippedTime
from toast_assets_tests.support.services.scripted import MemoryToast

LOG = logging.getLogger("toast_assets.test")
# Nothing waits that long: it only keeps a test that fails from waiting for ever.
_PATIENCE_SECONDS = 60

Operation = Literal["head_bucket", "get", "head", "put", "delete", "list"]
Side = Literal["before", "after"]
Hook = Callable[[Operation, str, Side], object]
"""Called with the operation, the key (or prefix) and the side of each call to S3; may wait or raise."""
Result = TypeVar("Result")


class KilledError(BaseException):
    """The process died here: as an exception that no ``except Exception`` sees."""


def refusal(code: str, status: int, operation: str) -> ClientError:
    """An answer of S3's that boto3 raises."""
    answer: Any = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, operation)


@dataclass
class StoredObject:
    """What S3 holds under one key."""

    body: bytes
    etag: str
    metadata: Mapping[str, str]


@dataclass
class MemoryS3:
    """One process's S3 client on ``objects``, which several may share.

    After a ``KilledError`` from its hook every call raises it: the process is dead.
    """

    objects: dict[str, StoredObject]
    lock: threading.RLock
    hook: Hook | None = None
    dead: bool = False
    meta: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(endpoint_url="https://s3.test"))

    def head_bucket(self, Bucket: str) -> dict[str, Any]:  # noqa: N803 (boto3's names)
        """The bucket exists."""
        del Bucket
        self._call("head_bucket", "", "before")
        return {}

    def get_object(self, Bucket: str, Key: str, IfMatch: str | None = None) -> dict[str, Any]:  # noqa: N803
        """The object's body, ETag and metadata."""
        del Bucket
        self._call("get", Key, "before")
        with self.lock:
            found = self._existing(Key, "NoSuchKey", "GetObject")
            if IfMatch is not None and not _same(IfMatch, found.etag):
                raise refusal("PreconditionFailed", 412, "GetObject")
        self._call("get", Key, "after")
        body = StreamingBody(BytesIO(found.body), len(found.body))  # type: ignore[no-untyped-call, unused-ignore]
        return {"Body": body, "ContentLength": len(found.body), "ETag": found.etag, "Metadata": dict(found.metadata)}

    def head_object(self, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: N803
        """The object's size, ETag and metadata."""
        del Bucket
        self._call("head", Key, "before")
        with self.lock:
            found = self._existing(Key, "404", "HeadObject")
        return {"ContentLength": len(found.body), "ETag": found.etag, "Metadata": dict(found.metadata)}

    def put_object(
        self,
        Bucket: str,  # noqa: N803
        Key: str,  # noqa: N803
        Body: Any,  # noqa: N803
        IfMatch: str | None = None,  # noqa: N803
        IfNoneMatch: str | None = None,  # noqa: N803
        Metadata: Mapping[str, str] | None = None,  # noqa: N803
        **properties: str,
    ) -> dict[str, Any]:
        """Stores the object under AWS's conditions: a missing key does not match an ``IfMatch``, and the answer is a
        404."""
        del Bucket, properties
        body = Body if isinstance(Body, bytes) else Body.read()
        self._call("put", Key, "before")
        with self.lock:
            if IfNoneMatch == "*" and Key in self.objects:
                raise refusal("PreconditionFailed", 412, "PutObject")
            if IfMatch is not None and not _same(IfMatch, self._existing(Key, "NoSuchKey", "PutObject").etag):
                raise refusal("PreconditionFailed", 412, "PutObject")
            etag = f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'
            self.objects[Key] = StoredObject(body, etag, dict(Metadata or {}))
        self._call("put", Key, "after")
        return {"ETag": etag}

    def delete_object(self, Bucket: str, Key: str, IfMatch: str | None = None) -> dict[str, Any]:  # noqa: N803
        """Removes the object; a missing one is no error without a condition."""
        del Bucket
        self._call("delete", Key, "before")
        with self.lock:
            if IfMatch is not None and not _same(IfMatch, self._existing(Key, "NoSuchKey", "DeleteObject").etag):
                raise refusal("PreconditionFailed", 412, "DeleteObject")
            self.objects.pop(Key, None)
        self._call("delete", Key, "after")
        return {}

    def get_paginator(self, name: str) -> Any:
        """Lists keys by prefix, a thousand a page."""
        assert name == "list_objects_v2"
        return SimpleNamespace(paginate=self._pages)

    def get_public_access_block(self, Bucket: str) -> dict[str, Any]:  # noqa: N803
        """The bucket is private."""
        del Bucket
        settings = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
        return {"PublicAccessBlockConfiguration": dict.fromkeys(settings, True)}

    def _pages(self, Bucket: str, Prefix: str = "") -> Iterator[dict[str, Any]]:  # noqa: N803
        del Bucket
        self._call("list", Prefix, "before")
        with self.lock:
            found = sorted((key, one.etag) for key, one in self.objects.items() if key.startswith(Prefix))
        for first in range(0, max(1, len(found)), 1000):
            yield {"Contents": [{"Key": key, "ETag": etag} for key, etag in found[first : first + 1000]]}

    def _existing(self, key: str, code: str, operation: str) -> StoredObject:
        found = self.objects.get(key)
        if found is None:
            raise refusal(code, 404, operation)
        return found

    def _call(self, operation: Operation, key: str, side: Side) -> None:
        if self.dead:
            raise KilledError(operation)
        try:
            if self.hook is not None:
                self.hook(operation, key, side)
        except KilledError:
            self.dead = True
            raise


def _same(one: str, other: str) -> bool:
    return one.strip('"') == other.strip('"')


@dataclass
class Stop:
    """A hook that holds the first matching call until ``go_on``: a process stopped by SIGSTOP at that moment."""

    operation: Operation
    part: str
    side: Side = "before"
    reached: threading.Event = field(default_factory=threading.Event)
    _go_on: threading.Event = field(default_factory=threading.Event)

    def __call__(self, operation: Operation, key: str, side: Side) -> None:
        """One call to S3."""
        if (operation, side) == (self.operation, self.side) and self.part in key and not self.reached.is_set():
            self.reached.set()
            assert self._go_on.wait(_PATIENCE_SECONDS)

    def go_on(self) -> None:
        """Let the call happen."""
        self._go_on.set()


@dataclass
class Outcome(Generic[Result]):
    """What became of a run in a thread: its result or its error."""

    result: Result | None = None
    error: BaseException | None = None


@contextmanager
def stopped(run: Callable[[], Result], stop: Stop) -> Iterator[Outcome[Result]]:
    """Starts ``run``, waits until ``stop`` holds it, and lets it go on at the block's end; its outcome is filled then.

    ``run`` gets its S3 client with ``stop`` as the hook from whoever calls this.
    """
    outcome: Outcome[Result] = Outcome()
    ended = threading.Event()

    def body() -> None:
        try:
            outcome.result = run()
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            outcome.error = error
        finally:
            ended.set()
            # A run that never comes to the call must not keep the test waiting.
            stop.reached.set()

    thread = threading.Thread(target=body, daemon=True)
    thread.start()
    try:
        assert stop.reached.wait(_PATIENCE_SECONDS), "The run neither ended nor came to the call."
        assert not ended.is_set(), f"The run ended before the call: {outcome.error!r}"
        yield outcome
    finally:
        stop.go_on()
        thread.join(_PATIENCE_SECONDS)
    assert ended.is_set(), "The run did not go on."


class Received:
    """A record that Amperity accepted."""

    def __init__(self, stream_id: str, request_id: str, body: bytes) -> None:
        self.stream_id = stream_id
        self.request_id = request_id
        self.body = body
        self.record: dict[str, Any] = json.loads(body)


@dataclass
class World:
    """Restaurants at Toast, one bucket, one Amperity. ``now`` is everybody's clock (UTC).

    ``toast_answer`` and ``amperity_answer`` may give another answer to a request; None means the usual one.
    """

    week: Week
    restaurants: Sequence[str] = ("r-1",)
    orders: dict[str, dict[str, tuple[int, bytes]]] = field(init=False)
    objects: dict[str, StoredObject] = field(default_factory=dict)
    received: list[Received] = field(default_factory=list)
    now: datetime = field(init=False)
    toast_answer: Callable[[httpx.Request], httpx.Response | None] = lambda _: None
    amperity_answer: Callable[[httpx.Request], httpx.Response | None] = lambda _: None
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        self.orders = {guid: {} for guid in self.restaurants}
        self.now = datetime.fromtimestamp(self.week.end.timestamp() + 3600, UTC)

    def put(self, restaurant: str, guid: str, modified_ms: int, **fields: Any) -> bytes:
        """A new order, or a newer version of one; its JSON."""
        at = datetime.fromtimestamp(modified_ms / 1000, UTC)
        text = format_time(modified_ms)
        order = {"guid": guid, "modifiedDate": text, "businessDate": int(f"{at:%Y%m%d}"), "createdDate": text}
        body = json.dumps(order | {"openedDate": text} | fields).encode()
        self.orders[restaurant][guid] = modified_ms, body
        return body

    def s3(self, hook: Hook | None = None) -> MemoryS3:
        """Another process's client."""
        return MemoryS3(self.objects, self._lock, hook)

    def store(self, hook: Hook | None = None) -> OrderStore:
        """Another process's order store."""
        client: Any = self.s3(hook)
        return OrderStore(Bucket(client, "bucket"), "toast-orders/")

    def pull(self, week: Week | None = None, *, hook: Hook | None = None, refresh: bool | None = True) -> PullReport:
        """One run's pull."""

        async def run() -> PullReport:
            async with self.toast() as toast:
                pull = WeekPull(
                    week or self.week, toast, self.store(hook), refresh=refresh, log=LOG, now=lambda: self.now
                )
                return await pull.run()

        return asyncio.run(run())

    def export(self, week: Week | None = None, *, hook: Hook | None = None) -> ExportReport:
        """One run's export."""
        return export_week(week or self.week, self.store(hook), LOG)

    def tables(self, week: Week | None = None, *, hook: Hook | None = None) -> TablesReport:
        """One run's tables of a week."""
        return build_tables(week or self.week, self.store(hook), LOG)

    def current_orders(self, *, hook: Hook | None = None) -> CurrentReport:
        """One run's ``current_orders``."""
        return refresh_current_orders(self.store(hook), LOG)

    def deliver(self, week: Week | None = None, *, hook: Hook | None = None, **changes: str) -> DeliveryReport:
        """One run's delivery; ``changes`` are environment variables."""

        async def run() -> DeliveryReport:
            async with self.amperity(**changes) as amperity:
                return await WeekDelivery(week or self.week, amperity, self.store(hook), log=LOG).run()

        return asyncio.run(run())

    def deliver_and_retry(self, week: Week, *, hook: Hook | None = None) -> Retries:
        """One run's delivery, and its retries of other weeks' rejects."""

        async def run() -> Retries:
            async with self.amperity() as amperity:
                delivery = WeekDelivery(week, amperity, self.store(hook), log=LOG)
                await delivery.run()
                return await retry_rejects(delivery)

        return asyncio.run(run())

    def toast(self, **changes: str) -> ToastClient:
        """A client of Toast that waits for nothing."""
        toast = MemoryToast(self._orders, answer=lambda request: self.toast_answer(request))  # noqa: PLW0108 - set later
        return toast.client(self.restaurants, lambda: self.now.timestamp(), **changes)  # noqa: PLW0108 - set later

    def amperity_settings(self, **changes: str) -> AmperitySettings:
        """The settings of a delivery; ``changes`` are environment variables."""
        environment = {
            "AMPERITY_TENANT_ID": "tenant",
            "AMPERITY_API_KEY": "key",
            "AMPERITY_STREAM_ID": "is-orders",
            "AMPERITY_REQUESTS_PER_SECOND": UNLIMITED,
        }
        return AmperitySettings.parse(environment | changes)

    def amperity(self, **changes: str) -> AmperityClient:
        """A client of Amperity that waits for nothing."""
        time = SkippedTime()
        return AmperityClient(
            self.amperity_settings(**changes),
            retry=QUICK,
            sleep=time.sleep,
            clock=time.clock,
            now=time.now,
            transport=httpx.MockTransport(self._amperity),
        )

    def exported(self, restaurant: str, week: Week | None = None) -> dict[str, dict[str, Any]]:
        """The orders of an export by GUID."""
        store = self.store()
        raw = self.objects[store.layout.export(week or self.week, restaurant)].body
        return {order["guid"]: order for order in json.loads(gzip.decompress(raw))["orders"]}

    def rows(self, key: str) -> list[dict[str, Any]]:
        """The rows of a Parquet object."""
        return list(pq.read_table(BytesIO(self.objects[key].body)).to_pylist())

    def _orders(self, restaurant: str, window: Window) -> list[bytes]:
        versions = [(at, guid, body) for guid, (at, body) in self.orders[restaurant].items()]
        return [body for at, _, body in sorted(versions) if window.start <= at < window.end]

    async def _amperity(self, request: httpx.Request) -> httpx.Response:
        if (answer := self.amperity_answer(request)) is not None:
            return answer
        stream_id = request.url.path.rsplit("/", 1)[-1]
        self.received.append(Received(stream_id, request.headers["X-Request-Id"], request.content))
        return httpx.Response(202)
