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
from typing import Self

import msgspec

from toast_assets.errors import StoreConflictError, StoreError
from toast_assets.store.bucket import ABSENT, Version
from toast_assets.store.order_store import OrderStore
from toast_assets.week import iso_ms

_MOST_CONFLICTS = 5


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
        StoreError: the list cannot be read; going on would bring guests back.
    """
    key = store.layout.forgotten
    found = store.bucket.read(key)
    if found is None:
        return Forgotten.nobody()
    try:
        stored = msgspec.json.decode(found[0], type=_Stored)
        return Forgotten(bytes.fromhex(stored.salt), stored.digests, stored.open)
    except (msgspec.DecodeError, ValueError) as error:
        raise StoreError(
            f"The list of forgotten guests {store.bucket.uri(key)} cannot be read.",
            hint="Restore an earlier version of the object; without it forgotten guests would come back.",
        ) from error


def save_forgotten(store: OrderStore, forgotten: Forgotten) -> Forgotten:
    """Store the list; digests that another run added meanwhile stay. The list as it is stored.

    Raises:
        StoreConflictError: other runs kept writing it.
        StoreError: the bucket fails.
    """
    key = store.layout.forgotten
    for last_try in [False] * _MOST_CONFLICTS + [True]:
        found = store.bucket.read(key)
        if found is not None:
            theirs = msgspec.json.decode(found[0], type=_Stored)
            if bytes.fromhex(theirs.salt) != forgotten.salt:
                raise StoreConflictError(
                    "Another run has just begun the list of forgotten guests.", hint="Repeat the command."
                )
            forgotten = Forgotten(forgotten.salt, theirs.digests | dict(forgotten.since), forgotten.open)
        content = _Stored(forgotten.salt.hex(), dict(sorted(forgotten.since.items())), forgotten.open)
        body = msgspec.json.format(msgspec.json.encode(content), indent=1) + b"\n"
        try:
            store.bucket.write(key, body, replaces=_version(found), ContentType="application/json")
        except StoreConflictError:
            if last_try:
                raise
        else:
            return forgotten
    raise AssertionError("the last try returns or raises")  # pragma: no cover


def _version(found: tuple[bytes, Version] | None) -> Version:
    return ABSENT if found is None else found[1]


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
