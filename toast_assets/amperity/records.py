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
from toast_assets.errors import UnrepresentableError
from toast_assets.orders.raw import with_restaurant
from toast_assets.store.manifest import PullRecord
from toast_assets.week import Week, iso_ms

# The methods by which records are sent; a streamed feed's is FEED_METHODS and its name.
STREAM = "stream"
NOTIFY = "notify"
FEED_METHODS = "stream_"
_NAMESPACE = uuid.UUID("7f6fd2a0-58a5-4d0e-9b5e-4a7c1d3e2b90")


@dataclass(frozen=True)
class RecordKey:
    """Which version of which record goes where. ``version`` changes with each change of what is sent.

    ``order_guid``: the order that the record is or belongs to, None for a record of several. ``order_version``: Toast's
    version of an order that is sent whole, else None. ``modified_ms``: when Toast last modified the content, in
    milliseconds since 1970, UTC; None for a record that is not Toast's.
    """

    method: str
    destination: str
    restaurant_guid: str
    record_id: str
    version: str
    order_guid: str | None = None
    order_version: str | None = None
    modified_ms: int | None = None

    @cached_property
    def request_id(self) -> str:
        """The ``X-Request-Id``: unique for the version, the same on every resend."""
        parts = (self.method, self.destination, self.restaurant_guid, self.record_id, self.version)
        return str(uuid.uuid5(_NAMESPACE, "\n".join(parts)))


def order_version(raw_version: str, redaction: Redaction) -> str:
    """The version of an order's record: by Toast's bytes and by all that shapes what is sent, so that another rule or
    salt sends it again."""
    return hashlib.sha256(f"{raw_version}\n{redaction.digest}".encode()).hexdigest()


def stream_body(order: bytes, restaurant_guid: str, redaction: Redaction) -> bytes:
    """The record of an order (JSON): Toast's object plus ``restaurantGuid``, redacted. Raises UnrepresentableError
    where the order cannot be read or redacted, so that it must not leave."""
    try:
        record = with_restaurant(order, restaurant_guid)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # The cause may quote the order.
        raise UnrepresentableError("the order cannot be read") from None
    return redaction.apply(record)


def destination(tenant_id: str, target: str) -> str:
    """Where records go: a stream, a workflow or the URL of notices. The same stream id at another tenant is another
    destination, and receives everything."""
    return f"{tenant_id}/{target}"


def notice_destination(tenant_id: str, url: str) -> str:
    """Where notices go: the host and a hash of their URL, because it may be a secret."""
    return destination(tenant_id, f"{urlsplit(url).hostname}#{hashlib.sha256(url.encode()).hexdigest()[:12]}")


def notice_body(s3_location: str, tenant_id: str, week: Week, pull: PullRecord) -> bytes:
    """The notice that Amperity's guide posts: it points to the export at ``s3_location``, it carries no orders."""
    notice = {
        "source": "toast-orders",
        "data_type": "orders",
        "s3_location": s3_location,
        "metadata": {
            "total_records": pull.orders,
            "fetch_date": pull.finished_at,
            "start_date": iso_ms(week.start),
            "end_date": iso_ms(week.end),
        },
        "tenant_id": tenant_id,
    }
    return msgspec.json.encode(notice)
