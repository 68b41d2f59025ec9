"""The week's manifest after a pull: what this run finished, beside what other runs stored in the meantime.

It is written once, when the pull ends, with or without an error. A run that is killed leaves its evidence in the
footers of the raw files. A run that was paused for hours knows less than what is stored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from toast_assets.store.bucket import Replacement, StoredObject
from toast_assets.store.manifest import Manifest, RestaurantRecord, json_for_people
from toast_assets.store.order_store import OrderStore
from toast_assets.week import Week, iso_ms


def save_manifest(
    store: OrderStore,
    week: Week,
    before: Mapping[str, RestaurantRecord],
    asked: Sequence[str],
    wanted: Sequence[str],
    finished: Mapping[str, RestaurantRecord],
) -> Manifest:
    """Store the manifest after one run and return it; an unchanged week keeps its own, one without stored restaurants
    has none. The run knew the records ``before``, ``asked`` for some of the ``wanted`` restaurants, and has the records
    of those ``finished``, stored or failed.

    Raises:
        StoreError: the bucket fails, or the stored manifest cannot be read.
    """

    def merged(theirs: Manifest | None) -> Manifest:
        known = theirs.restaurants if theirs else {}
        # A failure of a restaurant that is no longer wanted keeps no week incomplete.
        records = {
            guid: record if guid in wanted else msgspec.structs.replace(record, outcome="complete", failure=None)
            for guid, record in known.items()
            if guid in wanted or record.pull is not None
        }
        # What another run has finished since this one began.
        others = {guid: record for guid, record in known.items() if record != before.get(guid)}
        records |= {guid: newest(guid, ours, others.get(guid)) for guid, ours in finished.items()}
        unfinished = [guid for guid in asked if guid not in others or others[guid].outcome != "complete"]
        unfinished += [guid for guid in (theirs.pending if theirs else ()) if guid in wanted]
        pending = tuple(dict.fromkeys(guid for guid in unfinished if guid not in finished))
        failed = any(record.outcome == "failed" for record in records.values())
        return Manifest(
            partition=week.key,
            start_date=iso_ms(week.start),
            end_date=iso_ms(week.end),
            outcome="incomplete" if pending or failed else "complete",
            pending=pending,
            restaurants=dict(sorted(records.items())),
        )

    def newest(guid: str, ours: RestaurantRecord, theirs: RestaurantRecord | None) -> RestaurantRecord:
        """The record of the raw file that is stored now, else the later one."""
        if theirs is None or theirs == ours:
            return ours
        stored = store.sha256(store.layout.raw(week, guid))

        def rank(record: RestaurantRecord) -> tuple[bool, bool, str]:
            pull = record.pull
            is_stored = pull is not None and pull.orders_sha256 == stored
            return is_stored, record.outcome == "complete", pull.finished_at if pull else ""

        return max((ours, theirs), key=rank)

    saved = merged(None)

    def change(stored: StoredObject | None, _target: Path) -> Replacement | None:
        nonlocal saved
        theirs = store.read_manifest(week, stored.path.read_bytes()) if stored else None
        saved = merged(theirs)
        if saved == theirs or not saved.stored:
            return None
        return Replacement(json_for_people(saved), {"ContentType": "application/json"})

    store.bucket.update(store.layout.manifest(week), change)
    return saved
