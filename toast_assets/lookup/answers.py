"""What ``trace`` answers, as structs whose JSON is the command's. Times are ISO-8601 in UTC with milliseconds.

Nothing in it is a guest's: orders have GUIDs, hashes, times and names of fields.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from toast_assets.delivery.ledger import State
from toast_assets.lookup.changes import Change
from toast_assets.lookup.search import Problem

ObjectState = Literal["current", "outdated", "missing"]
"""``current``: made of the orders that are stored now. ``outdated``: of earlier ones."""


class ReadWindow(msgspec.Struct, frozen=True):
    """The window (``start`` inclusive, ``end`` exclusive) of the week's newest pull that an order belongs to, and why
    the pull is whole (``evidence``, as in the manifest). With ``earlier_pull`` another pull before had brought this
    version, whose windows are not kept."""

    start: str
    end: str
    orders: int
    requests: int
    evidence: str
    earlier_pull: bool


class CensusVerdict(msgspec.Struct, frozen=True):
    """What the week's census said of an order: ``held``; ``found``, with the window that should have returned it;
    ``unknown``, with the number of looks; ``not_taken``."""

    verdict: Literal["held", "found", "unknown", "not_taken"]
    window: str | None = None
    looks: int | None = None


class MadeObject(msgspec.Struct, frozen=True):
    """The export, or the file of a ``feed``, that an order belongs to."""

    key: str
    state: ObjectState
    feed: str | None = None


class LedgerRow(msgspec.Struct, frozen=True):
    """The newest receipt of one record: of the whole order, of a row, of the export's notice (``notify``), of the
    week's files (``s3_pull``). ``order_version`` is Toast's version of an order that is sent whole; ``status`` is
    HTTP's."""

    method: str
    destination: str
    record_id: str
    state: State
    request_id: str
    attempts: int
    status: int | None
    reason: str | None
    updated_at: str
    version: str
    order_version: str | None


class Refusal(msgspec.Struct, frozen=True):
    """A line of the week's rejects, without the record and without Amperity's own words, which may quote a guest;
    ``status`` is HTTP's, None where nothing was sent."""

    method: str
    record_id: str | None
    status: int | None
    reason: str
    updated_at: str


class DueNow(msgspec.Struct, frozen=True):
    """A record that had not arrived, and what the next delivery would do with it."""

    record_id: str
    outcome: Literal["would_send", "superseded", "rejected"]
    request_id: str
    reason: str | None = None


class Outlook(msgspec.Struct, frozen=True):
    """What the next delivery of the week would do with an order by one method: of its ``records`` some are
    ``unchanged`` (nothing is sent), the others are listed."""

    method: str
    records: int
    unchanged: int
    due: tuple[DueNow, ...] = ()


class TracedVersion(msgspec.Struct, frozen=True, kw_only=True):
    """An order in one week. ``changed`` are the fields that differ from the version before, None where they cannot be
    compared. A version that is ``from_index`` has no raw order any more, or one that cannot be read. ``outlook`` is
    None where nothing can be said, and ``blocked`` says why."""

    week: str
    version: str
    modified_at: str
    from_index: bool = False
    business_date: str | None = None
    deleted: bool | None = None
    voided: bool | None = None
    pulled_at: str | None = None
    window: ReadWindow | None = None
    census: CensusVerdict | None = None
    export: MadeObject | None = None
    feed_files: tuple[MadeObject, ...] = ()
    receipts: tuple[LedgerRow, ...] = ()
    rejects: tuple[Refusal, ...] = ()
    outlook: tuple[Outlook, ...] | None = None
    blocked: str | None = None
    changed: tuple[Change, ...] | None = None

    @property
    def is_done(self) -> bool:
        """Whether it is exported, and nothing of it is refused, without an answer or due."""
        if self.from_index:
            return True
        is_answered = all(one.state not in ("pending", "rejected") for one in self.receipts) and not self.rejects
        is_sent = all(one.outcome == "superseded" for outlook in self.outlook or () for one in outlook.due)
        is_made = self.export is not None and all(one.state == "current" for one in (self.export, *self.feed_files))
        return is_made and is_answered and is_sent


class KnownRow(msgspec.Struct, frozen=True):
    """A row of a feed by its key there. One that is not ``current`` is of an earlier version, and now has zeros."""

    feed: str
    key: str
    current: bool


class Arrival(msgspec.Struct, frozen=True):
    """The newest version of the whole order that arrived at a destination, by the order index."""

    destination: str
    week: str
    modified_at: str


class UnknownOrder(msgspec.Struct, frozen=True):
    """A week's census listed the order; ``looks`` are the attempts to fetch it, which all failed."""

    week: str
    looks: int


class TracedOrder(msgspec.Struct, frozen=True, kw_only=True):
    """One order of one restaurant in all weeks that hold it, oldest first."""

    order_guid: str
    restaurant_guid: str
    restaurant_name: str | None = None
    versions: tuple[TracedVersion, ...] = ()
    feed_rows: tuple[KnownRow, ...] = ()
    arrived: tuple[Arrival, ...] = ()
    unknown: tuple[UnknownOrder, ...] = ()


class Trace(msgspec.Struct, frozen=True, kw_only=True):
    """All orders that were asked for. ``not_set`` says which of Amperity's settings are missing, so that nobody can
    say what would be sent."""

    asked: str
    orders: tuple[TracedOrder, ...] = ()
    problems: tuple[Problem, ...] = ()
    not_set: str | None = None

    @property
    def is_done(self) -> bool:
        """Whether the order is known, read whole, exported, and delivered."""
        done = all(order.versions and all(one.is_done for one in order.versions) for order in self.orders)
        return bool(self.orders) and done and not self.problems


class GuestRow(msgspec.Struct, frozen=True):
    """A receipt, or a refusal, of a guest's row in one week of one restaurant."""

    week: str
    restaurant_guid: str
    receipt: LedgerRow | None = None
    reject: Refusal | None = None


class GuestTrace(msgspec.Struct, frozen=True, kw_only=True):
    """What Amperity was sent of one guest by the stream of ``customers``."""

    asked: str
    rows: tuple[GuestRow, ...] = ()
    problems: tuple[Problem, ...] = ()

    @property
    def is_done(self) -> bool:
        """Whether there are receipts, and all rows arrived."""
        answered = all(
            row.receipt is not None and row.receipt.state not in ("pending", "rejected") for row in self.rows
        )
        return bool(self.rows) and answered and not self.problems
