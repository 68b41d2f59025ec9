"""The week's manifest after a pull: what this run finished, beside what other runs stored in the meantime.

It is written once, when the pull ends. A run that dies before leaves its evidence in the footers of the raw files,
where the next run finds it. A run may have been stopped for hours, and then knows less than what is stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from toast_assets.store.bucket import Replacement, StoredObject
from toast_assets.store.manifest import Manifest, RestaurantRecord, encode_manifest
from toast_assets.store.order_store import OrderStore
from toast_assets.week import Week, iso_ms


@dataclass
class WeekManifest:
    """One run's part of it. ``before`` is the manifest that the run began with, ``asked`` are the restaurants that it
    asks Toast for, ``wanted`` all that it is to have."""

    store: OrderStore
    week: Week
    before: Manifest | None
    asked: Sequence[str]
    wanted: Sequence[str]
    _finished: dict[str, RestaurantRecord] = field(init=False, default_factory=dict)

    def record_of(self, guid: str) -> RestaurantRecord | None:
        """What the manifest said of a restaurant before this run."""
        return self.before.restaurants.get(guid) if self.before else None

    def finished(self, guid: str, record: RestaurantRecord) -> None:
        """A restaurant is done, stored or failed."""
        self._finished[guid] = record

    @property
    def is_worth_saving(self) -> bool:
        """Whether anything was stored that the manifest does not know."""
        return any(record.outcome == "complete" for record in self._finished.values())

    def save(self) -> Manifest:
        """Store the manifest and return it. An unchanged week keeps the very manifest that it had, and a week of which
        nothing is stored has none.

        Raises:
            StoreError: the bucket fails, or the stored manifest cannot be read.
        """
        saved = self._after(None)

        def change(stored: StoredObject | None, _target: Path) -> Replacement | None:
            nonlocal saved
            theirs = self.store.read_manifest(self.week, stored.path.read_bytes()) if stored else None
            saved = self._after(theirs)
            if saved == theirs or not saved.stored:
                return None
            return Replacement(encode_manifest(saved), {"ContentType": "application/json"})

        self.store.bucket.update(self.store.layout.manifest(self.week), change)
        return saved

    def _after(self, theirs: Manifest | None) -> Manifest:
        records = _still_wanted(theirs, self.wanted)
        records |= {guid: self._newest(guid, ours, records.get(guid)) for guid, ours in self._finished.items()}
        pending = self._pending(theirs)
        failed = any(record.outcome == "failed" for record in records.values())
        return Manifest(
            partition=self.week.key,
            start_date=iso_ms(self.week.start),
            end_date=iso_ms(self.week.end),
            outcome="incomplete" if pending or failed else "complete",
            pending=pending,
            restaurants=dict(sorted(records.items())),
        )

    def _pending(self, theirs: Manifest | None) -> tuple[str, ...]:
        """Whom neither this run nor another one finished."""
        left = [guid for guid in self.asked if guid not in self._finished and not self._is_done_by_others(guid, theirs)]
        others = (guid for guid in (theirs.pending if theirs else ()) if guid in self.wanted)
        return tuple(dict.fromkeys([*left, *(guid for guid in others if guid not in self._finished)]))

    def _is_done_by_others(self, guid: str, theirs: Manifest | None) -> bool:
        record = theirs.restaurants.get(guid) if theirs else None
        return record is not None and record.outcome == "complete" and record != self.record_of(guid)

    def _newest(self, guid: str, ours: RestaurantRecord, theirs: RestaurantRecord | None) -> RestaurantRecord:
        """This run's record, unless another run has finished the restaurant since this one began: then the one that
        describes the raw file that is stored now, else the later one."""
        if theirs is None or theirs in (self.record_of(guid), ours):
            return ours
        stored = self.store.raw_sha256(self.week, guid)

        def rank(record: RestaurantRecord) -> tuple[bool, bool, str]:
            pull = record.pull
            is_stored = pull is not None and pull.orders_sha256 == stored
            return is_stored, record.outcome == "complete", pull.finished_at if pull else ""

        return max((ours, theirs), key=rank)


def _still_wanted(manifest: Manifest | None, wanted: Sequence[str]) -> dict[str, RestaurantRecord]:
    """The records to go on with: a failure of a restaurant that is no longer asked for keeps no week incomplete."""
    return {
        guid: record if guid in wanted else msgspec.structs.replace(record, outcome="complete", failure=None)
        for guid, record in (manifest.restaurants if manifest else {}).items()
        if guid in wanted or record.pull is not None
    }
