"""The week's manifest after a pull: what this run finished, beside what other runs stored in the meantime.

It is written once, when the pull ends, with or without an error. A run that is killed leaves its evidence in the
footers of the raw files. A run that was paused for hours knows less than what is stored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from toast_assets.store.bucket import Replacement, StoredObject
from toast_assets.store.manifest import Manifest, RestaurantRecord, json_for_people
from toast_assets.store.order_store import OrderStore
from toast_assets.week import Week, iso_ms


@dataclass(frozen=True)
class WeekManifest:
    """One run's part: the records ``before``, the restaurants ``asked`` for, all that are ``wanted``, and the records
    of those ``finished``, stored or failed."""

    store: OrderStore
    week: Week
    before: Mapping[str, RestaurantRecord]
    asked: Sequence[str]
    wanted: Sequence[str]
    finished: Mapping[str, RestaurantRecord]

    def save(self) -> Manifest:
        """Store the manifest and return it; an unchanged week keeps its own, one without stored restaurants has none.

        Raises:
            StoreError: the bucket fails, or the stored manifest cannot be read.
        """
        saved = self._merged(None)

        def change(stored: StoredObject | None, _target: Path) -> Replacement | None:
            nonlocal saved
            theirs = self.store.read_manifest(self.week, stored.path.read_bytes()) if stored else None
            saved = self._merged(theirs)
            if saved == theirs or not saved.stored:
                return None
            return Replacement(json_for_people(saved), {"ContentType": "application/json"})

        self.store.bucket.update(self.store.layout.manifest(self.week), change)
        return saved

    def _merged(self, theirs: Manifest | None) -> Manifest:
        known = theirs.restaurants if theirs else {}
        # A failure of a restaurant that is no longer wanted keeps no week incomplete.
        records = {
            guid: record if guid in self.wanted else msgspec.structs.replace(record, outcome="complete", failure=None)
            for guid, record in known.items()
            if guid in self.wanted or record.pull is not None
        }
        records |= {guid: self._newest(guid, ours, known.get(guid)) for guid, ours in self.finished.items()}
        unfinished = [guid for guid in self.asked if not self._is_done_by_others(guid, known)]
        unfinished += [guid for guid in (theirs.pending if theirs else ()) if guid in self.wanted]
        pending = tuple(dict.fromkeys(guid for guid in unfinished if guid not in self.finished))
        failed = any(record.outcome == "failed" for record in records.values())
        return Manifest(
            partition=self.week.key,
            start_date=iso_ms(self.week.start),
            end_date=iso_ms(self.week.end),
            outcome="incomplete" if pending or failed else "complete",
            pending=pending,
            restaurants=dict(sorted(records.items())),
        )

    def _is_done_by_others(self, guid: str, known: Mapping[str, RestaurantRecord]) -> bool:
        record = known.get(guid)
        return record is not None and record.outcome == "complete" and record != self.before.get(guid)

    def _newest(self, guid: str, ours: RestaurantRecord, theirs: RestaurantRecord | None) -> RestaurantRecord:
        # Where another run has finished the restaurant since this one began: the record of the raw file that is stored
        # now, else the later one.
        if theirs is None or theirs in (self.before.get(guid), ours):
            return ours
        stored = self.store.sha256(self.store.layout.raw(self.week, guid))

        def rank(record: RestaurantRecord) -> tuple[bool, bool, str]:
            pull = record.pull
            is_stored = pull is not None and pull.orders_sha256 == stored
            return is_stored, record.outcome == "complete", pull.finished_at if pull else ""

        return max((ours, theirs), key=rank)
