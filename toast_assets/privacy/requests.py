"""What Amperity is asked to delete of a guest: the files of the feed ``privacy_requests``.

A file holds the guest's e-mails, phones and keys by nature. So ``forget`` takes nobody out of it; it goes by its age.
"""

from __future__ import annotations

import gzip
import hashlib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Literal

import msgspec

from toast_assets.amperity.feeds.privacy_requests import PRIVACY_REQUESTS, PrivacyRequestRow
from toast_assets.amperity.feeds.schema import CONTENT_TYPE, encode
from toast_assets.amperity.redaction import Redaction
from toast_assets.orders.identity import DERIVED_KEY
from toast_assets.store.bucket import Replacement, StoredObject
from toast_assets.store.order_store import OrderStore
from toast_assets.store.s3_errors import readable

# Longer than a courier group looks back, and the month in which such a request is due.
KEPT_DAYS = 30
_DAY = re.compile(r"[0-9]{4}/[0-9]{2}/[0-9]{2}(?=/privacy_requests_[^/]+\.ndjson\.gz)")
State = Literal["requested", "to be requested"]
_HOW: Mapping[State, str] = {
    "requested": "The courier of the feed privacy_requests loads this file when it reads its day.",
    "to be requested": "Amperity has to be asked: no courier loads this file (AMPERITY_DELIVERY has no s3_pull). Hand"
    f" its rows to whoever runs Amperity's privacy rights workflow within {KEPT_DAYS} days; it is removed then.",
}
_FIELDS = {"e:": "email", "p:": "phone", "k:": "customer_id"}
_KEPT = timedelta(days=KEPT_DAYS)


class _Customer(msgspec.Struct):
    guid: str | None = None


class _Check(msgspec.Struct):
    customer: _Customer | None = None


class _Order(msgspec.Struct):
    checks: tuple[_Check, ...] = ()


_decode_row = msgspec.json.Decoder(PrivacyRequestRow).decode
_decode_order = msgspec.json.Decoder(_Order).decode


class Asked(msgspec.Struct, frozen=True):
    """Whether Amperity is asked, by which object, and in words what is left to do."""

    state: State
    request_id: str
    key: str
    how: str


def asked(request_id: str, key: str, methods: Collection[str]) -> Asked:
    """A request under ``key``; ``methods`` are those of the deliveries."""
    state: State = "requested" if "s3_pull" in methods else "to be requested"
    return Asked(state, request_id, key, _HOW[state])


def request_rows(
    request_id: str, at: datetime, traits: Collection[str], shared: Collection[str], redaction: Redaction
) -> list[PrivacyRequestRow]:
    """The rows for a guest's traits: e-mails, phones, and the keys (``k:``) under which Amperity knows the guest.

    A row holds what Amperity holds: a contact that ``redaction`` hashes is a hash, and one that it drops has no row.
    ``shared`` contacts are of other guests, too. ``at`` is in UTC.
    """
    moment = at.replace(tzinfo=None).isoformat(sep=" ", timespec="milliseconds")
    rows = set[PrivacyRequestRow]()
    for kind, value in ((trait[:2], trait[2:]) for trait in traits if trait[:2] in _FIELDS):
        field = _FIELDS[kind]
        strategy = "exact" if kind == "k:" or kind + value in shared else "connected_pii"
        plain = PrivacyRequestRow("", request_id, "delete", strategy, None, None, None, moment)
        row = redaction.apply_to_row(msgspec.structs.replace(plain, **{field: value}))
        sent = {getattr(row, field), _guid_in_orders(value, redaction) if kind == "k:" else None}
        for one in sent - {None}:
            name = hashlib.sha256(f"{request_id}|{field}|{one}".encode()).hexdigest()[:32]
            rows.add(msgspec.structs.replace(plain, request_row_id=name, **{field: one}))
    return sorted(rows, key=lambda row: row.request_row_id)


def _guid_in_orders(key: str, redaction: Redaction) -> str | None:
    """What whole orders have as a guest's GUID: a hash of it where ``customer`` is hashed."""
    if DERIVED_KEY.fullmatch(key):
        return None
    order = redaction.apply(msgspec.json.encode({"checks": [{"customer": {"guid": key}}]}))
    return next((one.guid for check in _decode_order(order).checks if (one := check.customer)), None)


def save_request(store: OrderStore, key: str, rows: Iterable[PrivacyRequestRow]) -> None:
    """Store the rows, with those of a run that was cut off: that one may have known more of the guest. Raises
    StoreError where the bucket fails, or the object cannot be read."""

    def change(stored: StoredObject | None, _target: Path) -> Replacement:
        with readable(store.bucket.uri(key), "Remove it, and repeat the command."):
            before = {row.request_row_id: row for row in read_requests(stored.path)} if stored else {}
        united = sorted((before | {row.request_row_id: row for row in rows}).items())
        lines = b"".join(encode(row) + b"\n" for _, row in united)
        return Replacement(gzip.compress(lines, mtime=0), {"ContentType": CONTENT_TYPE})

    store.bucket.update(key, change)


def read_requests(path: Path) -> list[PrivacyRequestRow]:
    """The rows of a local file."""
    with gzip.open(path) as lines:
        return list(map(_decode_row, lines))


def old_requests(store: OrderStore, now: datetime) -> Iterator[str]:
    """The keys of the files that are older than ``KEPT_DAYS``; ``now`` is aware."""
    for key in store.bucket.keys(store.layout.feeds(PRIVACY_REQUESTS.name)):
        with suppress(ValueError):
            day = _DAY.search(key)
            if day and now.astimezone(UTC).date() - date.fromisoformat(day[0].replace("/", "-")) > _KEPT:
                yield key
