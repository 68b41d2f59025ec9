"""Forgets a guest: finds what belongs to them, remembers digests of it, and takes it out of every object.

The digests are stored before the first object is rewritten. So a run that was cut off is finished by repeating it, and
a later pull that meets one of the guest's old orders stores it without the guest.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import msgspec

from toast_assets.amperity.redaction import Redaction
from toast_assets.errors import ToastAssetsError
from toast_assets.orders.forgotten import Forgotten
from toast_assets.orders.identity import doubtful, refused
from toast_assets.orders.scrub import Scrubber
from toast_assets.privacy.certificate import Certificate, load_certificate, save_certificate
from toast_assets.privacy.sightings import Found, Sightings
from toast_assets.privacy.sweep import Sweep, named_guests
from toast_assets.store.forgotten import load_forgotten, save_forgotten
from toast_assets.store.order_store import OrderStore
from toast_assets.week import iso_ms

# The certificate is the journal: a run that is cut off may have rewritten so many objects that it does not name.
_NOTED_EVERY = 25


class UnknownGuestError(ToastAssetsError):
    """Nothing of the guest is stored."""


@dataclass(frozen=True)
class Forgetting:
    """What a run did, or in a dry run would do. ``certificate`` is its key, None in a dry run."""

    traits: dict[str, int]
    shared: int
    orders: int
    objects: dict[str, str]
    searched: int
    not_rewritten: tuple[str, ...]
    certificate: str | None


@dataclass
class ForgetGuest:
    """One run for one guest. ``given`` are traits, each with the line that it stood in (``identity.given_traits``);
    ``redaction`` is what is done to records before they leave for Amperity: guests' keys that left hashed cannot be
    found without its salt. ``allow_unknown`` remembers a guest of whom nothing is stored."""

    store: OrderStore
    given: Mapping[str, int]
    dry_run: bool = False
    allow_unknown: bool = False
    redaction: Redaction = field(default_factory=Redaction)
    log: logging.Logger = field(default_factory=lambda: logging.getLogger(__name__))
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    def run(self) -> Forgetting:
        """Find, remember, rewrite, certify.

        Raises:
            NoGuestError: a value is no UUID, e-mail or phone, and no guest's GUID in this bucket; nothing was changed.
            UnknownGuestError: nothing of the guest is stored; nothing was changed.
            StoreError: the bucket fails, or holds an object that cannot be read; repeat the command when it is mended.
        """
        before = load_forgotten(self.store)
        found = self._find()
        if wrong := [self.given[trait] for trait in found.unseen if doubtful(trait)]:
            raise refused(wrong, self.given)
        everything = found.everything | self._hashed_keys(found)
        now = self.now()
        name, certificate = self._certificate(before, found, now)
        forgotten = before.with_traits(everything, now, name)
        known = bool(found.orders) or name == before.open or self.allow_unknown
        if not self.dry_run or not known:
            self._look_at_everything(forgotten, found, known=known)
        if not self.dry_run:
            forgotten = save_forgotten(self.store, forgotten)
            save_certificate(self.store, name, certificate)
        objects = dict(certificate.objects)

        def rewritten(key: str, what: str) -> None:
            objects[key] = what
            self.log.info("%s: %s.", key, what)
            if not self.dry_run and len(objects) % _NOTED_EVERY == 0:
                save_certificate(self.store, name, msgspec.structs.replace(certificate, objects=dict(objects)))

        sweep = Sweep(self.store, Scrubber(forgotten), found.traits, self.redaction, self.dry_run, rewritten)
        sweep.run()
        done = msgspec.structs.replace(
            certificate,
            state="finished",
            finished_at=iso_ms(self.now()),
            objects=dict(sorted(objects.items())),
            objects_searched=sweep.searched,
            not_rewritten=tuple(sweep.strange),
        )
        if not self.dry_run:
            self._finish(before, forgotten, name, done)
        kinds = {kind: sum(trait.startswith(f"{kind[0]}:") for trait in found.traits) for kind in _KINDS}
        return Forgetting(
            kinds,
            found.shared,
            done.orders,
            dict(done.objects),
            sweep.searched,
            done.not_rewritten,
            None if self.dry_run else self.store.layout.certificate(name),
        )

    def _look_at_everything(self, forgotten: Forgotten, found: Found, *, known: bool) -> None:
        """Read all objects before the first is rewritten, so that one that cannot be read stops nothing half way. A
        guest whom no order names (not ``known``) may still be named in some text."""
        named: list[str] = []
        sweep = Sweep(
            self.store, Scrubber(forgotten), found.traits, self.redaction, True, lambda key, _: named.append(key)
        )
        sweep.run()
        if not known and not named and not sweep.strange:
            raise UnknownGuestError(
                "Nothing in this bucket names the guest; nothing was changed.",
                hint="Check the spelling. --allow-unknown remembers the guest for orders that come later.",
            )

    def _find(self) -> Found:
        with Sightings() as sightings:
            for guests in named_guests(self.store):
                sightings.add(guests)
            return sightings.of(self.given)

    def _hashed_keys(self, found: Found) -> frozenset[str]:
        return frozenset(f"k:{self.redaction.hashed(key[2:])}" for key in found.keys if self.redaction.salt)

    def _certificate(self, before: Forgotten, found: Found, now: datetime) -> tuple[str, Certificate]:
        """A new certificate, or that of a run for this very guest that was cut off."""
        request = tuple(sorted(map(before.digest, self.given)))
        open_one = load_certificate(self.store, before.open) if before.open else None
        if before.open and open_one is not None and set(request) & set(open_one.request):
            orders = max(open_one.orders, len(found.orders))
            return before.open, msgspec.structs.replace(open_one, orders=orders)
        certificate = Certificate(state="open", started_at=iso_ms(now), request=request, orders=len(found.orders))
        return f"{now.astimezone(UTC):%Y%m%dT%H%M%S%f}", certificate

    def _finish(self, before: Forgotten, forgotten: Forgotten, name: str, done: Certificate) -> None:
        save_certificate(self.store, name, done)
        other = load_certificate(self.store, before.open) if before.open and before.open != name else None
        if before.open and other is not None:
            # A sweep takes out everybody who is forgotten, so it has finished that one's work as well.
            save_certificate(
                self.store,
                before.open,
                msgspec.structs.replace(
                    other, state="finished", finished_at=done.finished_at, objects={**other.objects, **done.objects}
                ),
            )
        save_forgotten(self.store, Forgotten(forgotten.salt, forgotten.since))


_KINDS = ("guid", "email", "phone")
