"""One order, or one row of a feed, as one record of Amperity's Streaming API, with the key that makes a resend
recognisable."""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import urlsplit

import msgspec

from toast_assets.amperity.redaction import Redaction
from toast_assets.orders.raw import RawOrder, with_restaurant

_NAMESPACE = uuid.UUID("7f6fd2a0-58a5-4d0e-9b5e-4a7c1d3e2b90")


@dataclass(frozen=True)
class RecordKey:
    """Which version of which record goes where. ``version`` changes with each change of what the record is made of.

    ``order_guid`` is the order that the record is or belongs to, None for a record of several orders.
    """

    method: str
    destination: str
    restaurant_guid: str
    record_id: str
    version: str
    order_guid: str | None = None

    @cached_property
    def request_id(self) -> str:
        """The ``X-Request-Id``: unique for the version, the same on every resend."""
        parts = (self.method, self.destination, self.restaurant_guid, self.record_id, self.version)
        return str(uuid.uuid5(_NAMESPACE, "\n".join(parts)))


def record_version(modified_ms: int, content: bytes) -> str:
    """Modified time and a hash of the content: Toast can change an order without a new modified time."""
    return f"{modified_ms}-{hashlib.sha256(content).hexdigest()[:16]}"


def modified_of(version: str) -> int:
    """The modified time in a ``record_version``, in milliseconds since 1970."""
    return int(version.partition("-")[0])


def order_version(order: RawOrder) -> str:
    """The version of an order, by Toast's bytes."""
    return record_version(order.modified_ms, order.body)


def stream_body(order: RawOrder, restaurant_guid: str, redaction: Redaction) -> bytes:
    """The order's record: Toast's object plus ``restaurantGuid``, redacted.

    Raises:
        UnrepresentableError: the order cannot be redacted, so it must not leave.
    """
    return redaction.apply(with_restaurant(order.body, restaurant_guid))


def notice_destination(url: str) -> str:
    """What stands for the URL of notices in the ledger: its host, and a hash, because such an URL may be a secret."""
    return f"{urlsplit(url).hostname}#{hashlib.sha256(url.encode()).hexdigest()[:12]}"


class _Notice(msgspec.Struct):
    source: str
    data_type: str
    s3_location: str
    metadata: dict[str, str | int]
    tenant_id: str


def notice_body(
    s3_location: str, *, tenant_id: str, orders: int, fetch_date: str, start_date: str, end_date: str
) -> bytes:
    """The notice that Amperity's guide posts: it points to the export at ``s3_location``, it carries no orders."""
    metadata: dict[str, str | int] = {
        "total_records": orders,
        "fetch_date": fetch_date,
        "start_date": start_date,
        "end_date": end_date,
    }
    return msgspec.json.encode(_Notice("toast-orders", "orders", s3_location, metadata, tenant_id))
