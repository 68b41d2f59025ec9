"""Who is forgotten, as salted digests. They do not say which of them belong together, and cannot be reversed."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from toast_assets.week import iso_ms


@dataclass(frozen=True)
class Forgotten:
    """The digests of traits, and since when each is forgotten (ISO-8601, UTC). ``open`` is the certificate of a run
    that was cut off, if there is one."""

    salt: bytes
    since: Mapping[str, str]
    open: str | None = None

    def __bool__(self) -> bool:
        return bool(self.since)

    def digest(self, trait: str) -> str:
        """The digest of a trait: HMAC-SHA-256, cut to 128 bits, hexadecimal."""
        return _digest(self.salt, trait)

    def knows(self, trait: str, opened: str | None = None) -> bool:
        """Whether the trait is forgotten in an order ``opened`` then (as Toast writes times), or at an unknown time: a
        guest who comes back later is a new guest."""
        since = self.since.get(self.digest(trait))
        return since is not None and (opened is None or _before(opened, since))

    def with_traits(self, traits: Iterable[str], now: datetime, certificate: str | None) -> Forgotten:
        """The same and ``traits``, forgotten ``now``, under a ``certificate`` that is open."""
        since = dict(self.since) | {self.digest(trait): iso_ms(now) for trait in traits}
        return Forgotten(self.salt, since, certificate)


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
