"""What the bucket remembers of forgotten guests, so that a later pull does not bring them back: one object with a salt
and salted digests. Whoever can read the bucket can test a guess against it."""

from __future__ import annotations

import secrets
from pathlib import Path

import msgspec

from toast_assets.errors import StoreConflictError, StoreError
from toast_assets.orders.identity import Forgotten
from toast_assets.store.bucket import Replacement, StoredObject
from toast_assets.store.manifest import json_for_people
from toast_assets.store.order_store import OrderStore
from toast_assets.store.s3_errors import readable


class _Stored(msgspec.Struct, frozen=True):
    salt: str
    digests: dict[str, str] = {}
    open: str | None = None


def load_forgotten(store: OrderStore) -> Forgotten:
    """Who is forgotten; a StoreError where the list cannot be read, or is gone although guests were forgotten."""
    key = store.layout.forgotten
    found = store.bucket.read(key)
    if found is not None:
        return _decoded(store, found[0])
    folder, ending = store.layout.certificate("*").split("*")
    for certificate in store.bucket.keys(folder):
        if certificate.endswith(ending) and certificate != folder + ending:
            raise StoreError(
                f"The list of forgotten guests {store.bucket.uri(key)} is gone, although guests were forgotten: there"
                f" is {store.bucket.uri(certificate)}.",
                hint="Restore an earlier version of the list; without it forgotten guests would come back. Where there"
                f" is none, remove {store.bucket.uri(store.layout.privacy)} and forget every guest again.",
                code="GUEST-LIST",
            )
    return Forgotten(secrets.token_bytes(32), {})


def save_forgotten(store: OrderStore, forgotten: Forgotten) -> Forgotten:
    """Store the list, with the digests that another run added meanwhile; the list as it is stored.

    Raises:
        StoreConflictError: another run has begun a list of its own, or other runs kept writing it.
        StoreError: the bucket fails, or the list cannot be read.
    """
    saved = forgotten

    def change(stored: StoredObject | None, _target: Path) -> Replacement:
        nonlocal saved
        if stored is not None:
            theirs = _decoded(store, stored.path.read_bytes())
            if theirs.salt != forgotten.salt:
                raise StoreConflictError(
                    "Another run has just begun the list of forgotten guests.", hint="Repeat the command."
                )
            # The later time of each: a guest who came back and was forgotten again must not come back before that.
            mine = {digest: max(since, theirs.since.get(digest, since)) for digest, since in forgotten.since.items()}
            saved = Forgotten(forgotten.salt, {**theirs.since, **mine}, forgotten.open)
        content = _Stored(saved.salt.hex(), dict(sorted(saved.since.items())), saved.open)
        return Replacement(json_for_people(content), {"ContentType": "application/json"})

    store.bucket.update(store.layout.forgotten, change)
    return saved


def _decoded(store: OrderStore, body: bytes) -> Forgotten:
    hint = "Restore an earlier version of the object; without it forgotten guests would come back."
    with readable(store.bucket.uri(store.layout.forgotten), hint):
        stored = msgspec.json.decode(body, type=_Stored)
        return Forgotten(bytes.fromhex(stored.salt), stored.digests, stored.open)
