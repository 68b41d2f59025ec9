"""Forgets a guest: finds what belongs to them, remembers digests of it, and takes it out of every object.

The digests and the plan are stored before the first object is rewritten. So a run that was cut off is finished by
repeating it, and a later pull that meets one of the guest's old orders stores it without the guest.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime

import msgspec

from toast_assets.amperity.feeds.privacy_requests import PrivacyRequestRow
from toast_assets.amperity.redaction import Redaction
from toast_assets.errors import ToastAssetsError
from toast_assets.orders.identity import Forgotten, doubtful, key_trait, refused
from toast_assets.orders.scrub import Guest, Scrubber
from toast_assets.privacy.objects import Scrub
from toast_assets.privacy.requests import KEPT_DAYS, Asked, asked, old_requests, request_rows, save_request
from toast_assets.privacy.rewriting import Rewriting, named_guests
from toast_assets.store.forgotten import load_forgotten, save_forgotten
from toast_assets.store.manifest import json_for_people
from toast_assets.store.order_store import OrderStore
from toast_assets.store.s3_errors import readable
from toast_assets.week import iso_ms

Rows = list[PrivacyRequestRow]

_KINDS = ("guid", "email", "phone")
# An e-mail or phone of more guests than this identifies nobody: a family's at most, else the staff's placeholder.
_MOST_GUESTS = 4
_CREATE = """
    CREATE TABLE sightings (number INTEGER, trait TEXT, order_guid TEXT, check_guid TEXT, guest_key TEXT);
    CREATE INDEX by_trait ON sightings (trait);
    CREATE INDEX by_number ON sightings (number);
"""
_SIGHTINGS = "SELECT number, order_guid, check_guid, guest_key FROM sightings WHERE trait = ?"
_TRAITS = "SELECT beside.trait FROM sightings AS one JOIN sightings AS beside USING (number) WHERE one.trait = ?"
_GUESTS = """
    SELECT count(DISTINCT beside.trait) FROM sightings AS one JOIN sightings AS beside USING (number)
    WHERE one.trait = ? AND beside.trait >= 'g:' AND beside.trait < 'g;'
"""


class UnknownGuestError(ToastAssetsError):
    """Nothing of the guest is stored."""

    code = "GUEST-UNKNOWN"


class Certificate(msgspec.Struct, kw_only=True):
    """The result of one request, and the journal of its run: objects and counts, never the guest. Times are ISO-8601 in
    UTC.

    ``request`` holds the salted digests of what was given, by which a run that was cut off is recognised. ``amperity``
    says whether Amperity is asked; certificates of earlier releases do not have it. ``objects``
    say by key what was done, or, while ``state`` is ``open``, what has to be done. ``not_rewritten`` hold the guest and
    are no object of this package: look at them by hand.
    """

    state: str = "open"
    started_at: str
    finished_at: str | None = None
    request: tuple[str, ...]
    orders: int = 0
    objects_searched: int = 0
    objects: dict[str, str] = {}
    not_rewritten: tuple[str, ...] = ()
    amperity: Asked | None = None


@dataclass(frozen=True)
class Forgetting:
    """What a run did, or in a dry run would do: the guest's traits by kind, the contacts that were not followed because
    they are ``shared``, the number of rows for Amperity (``asked``), and the certificate with its key, which is None in
    a dry run."""

    traits: dict[str, int]
    shared: int
    asked: int
    certificate: Certificate
    key: str | None


@dataclass
class ForgetGuest:
    """One run for one guest. ``given`` are traits, each with its line (``identity.given_traits``). Hashed keys of
    guests are found only with the salt of ``redaction``. ``allow_unknown`` also remembers a guest who is not
    stored. ``methods`` are those of the deliveries: by them the certificate says whether Amperity is asked."""

    store: OrderStore
    given: Mapping[str, int]
    dry_run: bool = False
    allow_unknown: bool = False
    redaction: Redaction = field(default_factory=Redaction)
    methods: Collection[str] = ("stream",)
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    def run(self) -> Forgetting:
        """Find, ask Amperity, remember, rewrite, certify.

        Raises:
            NoGuestError: a value is no UUID, e-mail or phone, and no guest's GUID in this bucket; nothing was changed.
            UnknownGuestError: nothing of the guest is stored; nothing was changed.
            StoreError: the bucket fails, or holds an object that cannot be read; nothing was changed, or the command
                has to be repeated.
        """
        before = load_forgotten(self.store)
        found = find_guest(named_guests(self.store), self.given)
        if wrong := [self.given[trait] for trait in found.unseen if doubtful(trait)]:
            raise refused(wrong, self.given)
        now = self.now()
        request = tuple(sorted(map(before.digest, self.given)))
        name = f"{now.astimezone(UTC):%Y%m%dT%H%M%S%f}"
        certificate = Certificate(started_at=iso_ms(now), request=request)
        cut_off = before.open or ""
        unfinished = self._load(cut_off) if cut_off else None
        if unfinished is not None and set(request) & set(unfinished.request):
            name, certificate = cut_off, unfinished
        hashed = {f"k:{self.redaction.hashed(key[2:])}" for key in found.keys}
        forgotten = before.with_traits(found.traits | found.belongings | found.keys | hashed, now, name)
        interrupted = unfinished.objects if unfinished else {}
        scrub = Scrub(Scrubber(forgotten), found.traits, self.redaction, interrupted.keys())
        rewriting = Rewriting(self.store, scrub)
        rewriting.plan()
        if not (found.orders or rewriting.planned or rewriting.foreign or name == cut_off or self.allow_unknown):
            raise UnknownGuestError(
                "Nothing in this bucket names the guest; nothing was changed.",
                hint="Check the spelling. --allow-unknown remembers the guest for orders that come later.",
            )
        certificate.orders = max(certificate.orders, found.orders)
        certificate.objects_searched = len(rewriting.objects)
        certificate.not_rewritten = tuple(rewriting.foreign)
        certificate.amperity, rows = self._request(certificate, before, found)
        journal = certificate.objects
        expired = dict.fromkeys(old_requests(self.store, now), f"removed, as it is older than {KEPT_DAYS} days")
        expired.pop(certificate.amperity.key, None)
        certificate.objects = journal | rewriting.planned | expired
        if not self.dry_run:
            if not before.since:
                # The request is named by this salt: a run that is repeated finds the same name.
                save_forgotten(self.store, before)
            # Before the guest is taken out of anything: a run that is repeated may not find all of them any more.
            save_request(self.store, certificate.amperity.key, rows)
            forgotten = save_forgotten(self.store, forgotten)
            # If this run is cut off, the next one finds here what was planned.
            self._save(name, msgspec.structs.replace(certificate, objects=interrupted | certificate.objects))
            scrub.scrubber = Scrubber(forgotten)
            rewriting.run()
            for key in expired:
                self.store.bucket.delete(key)
            certificate.objects = dict(sorted((journal | rewriting.rewritten | expired).items()))
            certificate.state, certificate.finished_at = "finished", iso_ms(self.now())
            self._save(name, certificate)
            if unfinished is not None and unfinished is not certificate:
                # This run took out everybody who is forgotten, so it has finished that one's work as well.
                unfinished.objects = interrupted | certificate.objects
                unfinished.state, unfinished.finished_at = certificate.state, certificate.finished_at
                self._save(cut_off, unfinished)
            save_forgotten(self.store, Forgotten(forgotten.salt, forgotten.since))
        return Forgetting(
            {kind: sum(trait.startswith(f"{kind[0]}:") for trait in found.traits) for kind in _KINDS},
            found.shared,
            len(rows),
            certificate,
            None if self.dry_run else self.store.layout.certificate(name),
        )

    def _request(self, certificate: Certificate, before: Forgotten, found: Found) -> tuple[Asked, Rows]:
        """What Amperity is asked, and its rows. Repeated on the same day, a request has the same key."""
        started = datetime.fromisoformat(certificate.started_at)
        name = f"{started:%Y%m%d}-{before.digest('r:' + ' '.join(sorted(self.given)))}"
        if certificate.amperity is not None:
            # Of a run that was cut off.
            name = certificate.amperity.request_id
        key = self.store.layout.privacy_requests(started.date(), name)
        rows = request_rows(name, started, found.traits | found.keys, found.shared_given, self.redaction)
        return asked(name, key, self.methods), rows

    def _load(self, name: str) -> Certificate | None:
        key = self.store.layout.certificate(name)
        if (found := self.store.bucket.read(key)) is None:
            return None
        with readable(self.store.bucket.uri(key), "Restore an earlier version of it, or remove it."):
            return msgspec.json.decode(found[0], type=Certificate)

    def _save(self, name: str, certificate: Certificate) -> None:
        key, body = self.store.layout.certificate(name), json_for_people(certificate)
        self.store.bucket.write(key, body, ContentType="application/json")


@dataclass(frozen=True)
class Found:
    """What belongs to a guest, as traits: contacts and GUIDs (``traits``), orders and checks (``belongings``), and the
    ``keys`` under which Amperity knows the guest. ``orders`` counts orders, ``shared`` the contacts that were not
    followed; ``shared_given`` were given, and are of other guests, too. ``unseen`` traits were given, and no order
    names them."""

    traits: set[str]
    belongings: set[str]
    keys: set[str]
    orders: int
    shared: int
    shared_given: set[str]
    unseen: set[str]


def find_guest(guests: Iterable[Guest], given: Iterable[str]) -> Found:
    """All that is connected with the traits ``given``: an order can name a guest by GUID alone, another one by e-mail
    and phone. ``guests`` are collected on disk, so that memory does not grow with their number."""
    with closing(sqlite3.connect("")) as database:
        database.executescript(_CREATE)
        for number, (order, check, traits) in enumerate(guests):
            rows = ((number, trait, f"o:{order}", f"c:{check}", _key(traits[0])) for trait in traits)
            database.executemany("INSERT INTO sightings VALUES (?, ?, ?, ?, ?)", rows)

        def is_shared(trait: str) -> bool:
            return bool(database.execute(_GUESTS, (trait,)).fetchone()[0] > _MOST_GUESTS)

        known, waiting, shared, unseen = set(given), list(given), set[str](), set[str]()
        shared_given = set[str]()
        sightings: set[tuple[str, ...]] = set()
        while waiting:
            trait = waiting.pop()
            mine = database.execute(_SIGHTINGS, (trait,)).fetchall()
            sightings.update(mine)
            if not mine:
                unseen.add(trait)
            if is_shared(trait):
                # It was given, so its sightings count; but it leads to strangers.
                shared_given.add(trait)
                continue
            others = {other for (other,) in database.execute(_TRAITS, (trait,))} - known
            shared |= {other for other in others if other[:2] != "g:" and is_shared(other)}
            known |= others - shared
            waiting += others - shared
    orders, checks, keys = ({sighting[column] for sighting in sightings} - {"o:", "c:"} for column in (1, 2, 3))
    keys |= set(map(_key, known))
    return Found(known, orders | checks, keys, len(orders), len(shared), shared_given, unseen)


def _key(trait: str) -> str:
    """The trait of the key under which Amperity knows a guest: the GUID, else the hash of an e-mail or phone."""
    kind, value = trait[:2], trait[2:]
    return key_trait(value if kind == "g:" else hashlib.sha256(value.encode()).hexdigest())
