"""The certificate of a forgotten guest: objects and counts, never the guest. It is also the journal of the run."""

from __future__ import annotations

import msgspec

from toast_assets.store.order_store import OrderStore
from toast_assets.store.s3_errors import readable


class Certificate(msgspec.Struct, frozen=True, kw_only=True):
    """What one request came to. Times are ISO-8601 in UTC.

    ``request`` holds the salted digests of what was given, so that a run that was cut off is recognised. ``orders`` is
    how many of the guest's orders were found, ``objects`` are those that were rewritten, with what was done.
    ``not_rewritten`` hold the guest and are no object of this package; they have to be looked at by hand.
    """

    state: str
    started_at: str
    finished_at: str | None = None
    request: tuple[str, ...]
    orders: int = 0
    objects_searched: int = 0
    objects: dict[str, str] = {}
    not_rewritten: tuple[str, ...] = ()


def load_certificate(store: OrderStore, name: str) -> Certificate | None:
    """The certificate of that name, None where there is none.

    Raises:
        StoreError: it cannot be read.
    """
    key = store.layout.certificate(name)
    found = store.bucket.read(key)
    if found is None:
        return None
    with readable(store.bucket.uri(key), "Restore an earlier version of it, or remove it."):
        return msgspec.json.decode(found[0], type=Certificate)


def save_certificate(store: OrderStore, name: str, certificate: Certificate) -> None:
    """Store the certificate. It is the journal of one run, which alone writes it."""
    body = msgspec.json.format(msgspec.json.encode(certificate), indent=1) + b"\n"
    store.bucket.write(store.layout.certificate(name), body, ContentType="application/json")
