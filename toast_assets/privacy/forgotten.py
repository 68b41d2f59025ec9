"""What the bucket remembers of forgotten guests: salted digests, so that a later pull does not bring them back.

One object holds the salt and a flat list of digests with times. It does not say which digests belong together. Who can
read the bucket can test a guess against it; nothing can be read out of it.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Self

import msgspec

from toast_assets.errors import StoreConflictError, StoreError
from toast_assets.privacy.certificate import any_certificate
from toast_assets.store.bucket import Replacement, StoredObject
from toast_assets.store.order_store import OrderStore
from toast_assets.store.readable import readable
from toast_assets.week import iso_ms


class _Stored(msgspec.Struct, frozen=True):
    salt: str
    digests: dict[str, str] = {}
    open: str | None = None


@dataclass(frozen=True)
class Forgotten:
    """The digests of traits, and since when each is forgotten (ISO-8601, UTC). ``open`` is the certificate of a run
    that was cut off, if there is one."""

    salt: bytes
    since: Mapping[str, str]
    open: str | None = None

    @classmethod
    def nobody(cls) -> Self:
        """Nobody is forgotten yet."""
        return cls(secrets.token_bytes(32), {})

    def __bool__(self) -> bool:
        return bool(self.since)

    def digest(self, trait: str) -> str:
        """What stands for a trait: HMAC-SHA-256, cut to 128 bits, hexadecimal."""
        return _digest(self.salt, trait)

    def knows(self, trait: str, opened: str | None = None) -> bool:
        """Whether the trait is forgotten for an order ``opened`` then (as Toast writes times): a guest who comes back
        later is a new guest. Without a time it counts as before."""
        since = self.since.get(self.digest(trait))
        return since is not None and (opened is None or _before(opened, since))

    def with_traits(self, traits: Iterable[str], now: datetime, certificate: str | None) -> Forgotten:
        """The same and ``traits``, forgotten ``now``, under a ``certificate`` that is open."""
        since = dict(self.since) | {self.digest(trait): iso_ms(now) for trait in traits}
        return Forgotten(self.salt, since, certificate)


def load_forgotten(store: OrderStore) -> Forgotten:
    """Who is forgotten, by the bucket.

    Raises:
        StoreError: the list cannot be read, or is gone although guests were forgotten; going on would bring them back.
    """
    key = store.layout.forgotten
    found = store.bucket.read(key)
    if found is not None:
        return _decoded(store, found[0])
    if certificate := any_certificate(store):
        raise StoreError(
            f"The list of forgotten guests {store.bucket.uri(key)} is gone, although guests were forgotten: there is"
            f" {store.bucket.uri(certificate)}.",
            hint="Restore an earlier version of the list; without it forgotten guests would come back. Where there is"
            f" none, remove {store.bucket.uri(store.layout.privacy)} and forget every guest again.",
        )
    return Forgotten.nobody()


def save_forgotten(store: OrderStore, forgotten: Forgotten) -> Forgotten:
    """Store the list; digests that another run added meanwhile stay. The list as it is stored.

    Raises:
        StoreConflictError: another run has begun a list of its own, or other runs kept writing it.
        StoreError: the bucket fails, or the list cannot be read.
    """
    saved = forgotten

    def change(stored: StoredObject | None, target: Path) -> Replacement:
        nonlocal saved
        del target
        if stored is not None:
            theirs = _decoded(store, stored.path.read_bytes())
            if theirs.salt != forgotten.salt:
                raise StoreConflictError(
                    "Another run has just begun the list of forgotten guests.", hint="Repeat the command."
                )
            saved = Forgotten(forgotten.salt, _newest(theirs.since, forgotten.since), forgotten.open)
        content = _Stored(saved.salt.hex(), dict(sorted(saved.since.items())), saved.open)
        body = msgspec.json.format(msgspec.json.encode(content), indent=1) + b"\n"
        return Replacement(body, {"ContentType": "application/json"})

    store.bucket.update(store.layout.forgotten, change)
    return saved


def _decoded(store: OrderStore, body: bytes) -> Forgotten:
    hint = "Restore an earlier version of the object; without it forgotten guests would come back."
    with readable(store.bucket.uri(store.layout.forgotten), hint):
        stored = msgspec.json.decode(body, type=_Stored)
        return Forgotten(bytes.fromhex(stored.salt), stored.digests, stored.open)


def _newest(theirs: Mapping[str, str], mine: Mapping[str, str]) -> dict[str, str]:
    """Both, each with its later time: a guest who came back and was forgotten again must not come back before that."""
    return {**theirs, **{digest: max(since, theirs.get(digest, since)) for digest, since in mine.items()}}


@lru_cache(maxsize=1 << 17)
def _digest(salt: bytes, trait: str) -> str:
    return hmac.new(salt, trait.encode(), hashlib.sha256).hexdigest()[:32]


@lru_cache(maxsize=1 << 12)
def _before(opened: str, since: str) -> bool:
    try:
        moment = datetime.fromisoformat(opened)
    except ValueError:
        return True
    return moment.replace(tzinfo=moment.tzinfo or UTC) <= datetime.fromisoformat(since)
