"""What was pulled for a week, and how it is known to be whole: one JSON object a week, readable by people.

All times are ISO-8601 in UTC with milliseconds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import timedelta
from typing import Literal

import msgspec

from toast_assets.markdown import plain
from toast_assets.orders.scanner import decoder

CENSUS = "census"
"""The evidence of orders that were fetched by GUID: a business day's list has them, and their window did not."""
LOOKS = 2
"""From this look on an order that cannot be fetched is no news."""
SECOND_LOOK = timedelta(days=1)
"""This long after a week's end a pull that reads it again is a second look."""


class SliceRecord(msgspec.Struct, frozen=True):
    """One window that was read whole: ``start`` inclusive, ``end`` exclusive; why it counts, and what it cost."""

    start: str
    end: str
    orders: int
    requests: int
    evidence: str


class PullEvidence(msgspec.Struct, frozen=True, kw_only=True):
    """How a restaurant's week was read; in the raw file's footer, too, for a run that dies before the manifest.
    ``unreadable`` orders are kept beside the raw file."""

    requests: int
    retries: int
    throttled: int
    started_at: str
    finished_at: str
    slices: tuple[SliceRecord, ...]
    unreadable: int = 0

    @property
    def windows(self) -> tuple[SliceRecord, ...]:
        """The windows of ``ordersBulk``, which touch exactly: the slices without what the census found in them."""
        return tuple(one for one in self.slices if one.evidence != CENSUS)


class PullRecord(PullEvidence, frozen=True, kw_only=True):
    """The raw file of a restaurant's week (``bytes`` of the orders' JSON), and what the last pull brought to it."""

    orders: int
    bytes: int
    orders_sha256: str
    new: int
    changed: int


class Verdicts(msgspec.Struct, frozen=True, kw_only=True):
    """How many orders, or payments, Toast lists for a business day: ``held`` by some week, ``pending`` until a week is
    pulled, ``found`` by this pull, or ``unknown`` because they cannot be fetched."""

    listed: int
    held: int
    pending: int
    found: int
    unknown: int


VERDICTS = Verdicts.__struct_fields__


class CensusDay(msgspec.Struct, frozen=True, kw_only=True):
    """A business day (``2025-09-15``); without ``payments`` where their list was not complete, or not available."""

    business_date: str
    orders: Verdicts
    payments: Verdicts | None = None


class CensusRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The census of a restaurant's week (``pull.census``). ``failure`` says why not all days have orders, or none,
    ``payments_failure`` the same of payments. ``found`` has the window that should have returned each order that any
    look found, ``unknown`` the number of looks that could not fetch an order or a payment, at most ``LOOKS``."""

    days: tuple[CensusDay, ...] = ()
    failure: str | None = None
    payments_failure: str | None = None
    found: dict[str, str] = {}
    unknown: dict[str, int] = {}

    def total(self, of: Literal["orders", "payments"]) -> dict[str, int]:
        """The sum of each verdict over all days."""
        days = [verdicts for day in self.days if (verdicts := getattr(day, of)) is not None]
        return {name: sum(getattr(verdicts, name) for verdicts in days) for name in VERDICTS}

    def in_words(self, of: Literal["orders", "payments"]) -> str:
        """The sums of the verdicts that are not zero: "41 listed, 40 held, 1 pending"."""
        counts = self.total(of).items()
        return ", ".join(f"{count} {verdict}" for verdict, count in counts if count or verdict == "listed")


class RestaurantRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One restaurant: what is stored (``pull``), and why the last attempt failed, if it did (``failure``).

    ``names_read_at`` is when the names in its configuration were read for this week, ``names_failure`` why they were
    not, if that was tried. Without ``census`` none was taken. ``second_look_at`` is when the first second look
    ended, if the week was first read before second looks begin: whatever these bring is backdated.
    """

    outcome: Literal["complete", "failed"]
    name: str | None = None
    time_zone: str | None = None
    closeout_hour: int | None = None
    currency: str | None = None
    names_read_at: str | None = None
    names_failure: str | None = None
    second_look_at: str | None = None
    census: CensusRecord | None = None
    pull: PullRecord | None = None
    failure: str | None = None


def full_name(restaurants: Mapping[str, RestaurantRecord], guid: str) -> str:
    """A restaurant's name with its GUID; the GUID alone where the name is unknown."""
    record = restaurants.get(guid)
    return f"{plain(record.name)} ({guid})" if record is not None and record.name else guid


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """A week's pull. ``pending`` are restaurants that a run under way, or one that died, still has to ask for."""

    partition: str
    start_date: str
    end_date: str
    outcome: Literal["complete", "incomplete"]
    pending: tuple[str, ...] = ()
    restaurants: dict[str, RestaurantRecord] = {}

    @property
    def failures(self) -> dict[str, str]:
        records = self.restaurants.items()
        return {guid: record.failure or "failed" for guid, record in records if record.outcome == "failed"}

    @property
    def stored(self) -> dict[str, PullRecord]:
        return {guid: record.pull for guid, record in self.restaurants.items() if record.pull is not None}

    @property
    def data_version(self) -> str:
        """A hash of the orders that are stored: it changes when any order does, and only then."""
        digest = hashlib.sha256()
        for guid, pull in sorted(self.stored.items()):
            digest.update(f"{guid}={pull.orders_sha256}\n".encode())
        return digest.hexdigest()

    def named(self, guid: str) -> str:
        """A restaurant of this week, as ``full_name`` gives it."""
        return full_name(self.restaurants, guid)

    def missing(self, wanted: tuple[str, ...]) -> tuple[str, ...]:
        """Which of the ``wanted`` restaurants an earlier attempt did not finish."""
        complete = {guid for guid, record in self.restaurants.items() if record.outcome == "complete"}
        return tuple(guid for guid in wanted if guid in self.pending or guid not in complete)


def to_ask(wanted: tuple[str, ...], missing: tuple[str, ...], refresh: bool | None) -> tuple[str, ...]:
    """Which of the ``wanted`` restaurants a run asks for; no earlier run has finished the ``missing`` ones.

    ``refresh`` true: all of them; false: the missing ones; None: the missing ones, or all where none is missing.
    """
    return wanted if refresh or (refresh is None and not missing) else missing


def decode_evidence(body: bytes) -> PullEvidence | None:
    """The evidence in a raw file's footer, JSON; None for what is none."""
    try:
        return decoder(PullEvidence).decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def decode_manifest(body: bytes) -> Manifest:
    return decoder(Manifest).decode(body)


def json_for_people(content: msgspec.Struct) -> bytes:
    """JSON on several lines; the same content has the same bytes."""
    return msgspec.json.format(msgspec.json.encode(content), indent=1) + b"\n"
