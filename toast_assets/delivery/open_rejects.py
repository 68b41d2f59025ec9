"""The index of open rejects: which weeks have some, and when those were last tried, in one small object.

Whatever saves a week's rejects notes that here. An index that is missing or damaged is made again from the names of the
files, and a week whose file is gone leaves the index with the next try.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
from msgspec.structs import replace

from toast_assets.orders.scanner import decoder
from toast_assets.store.bucket import Replacement, StoredObject
from toast_assets.store.layout import week_in
from toast_assets.store.manifest import json_for_people
from toast_assets.store.order_store import OrderStore

MOST_TRIES = 8
"""Automatic tries of a week's rejects under one recipe."""
_PAUSE = timedelta(days=7)


class OpenRejects(msgspec.Struct, frozen=True, kw_only=True):
    """A week's rejects: how many by method, the recipe (``Outgoing.recipe``) and the time (UTC) of the last try, the
    newest week whose delivery tried them, and the number of automatic tries under this recipe. Empty: not known."""

    rejects: dict[str, int] = {}
    recipe: str = ""
    tried_at: datetime | None = None
    tried_with: str = ""
    tries: int = 0

    def tries_under(self, recipe: str) -> int:
        return self.tries if self.recipe == recipe else 0


OpenWeeks = dict[str, OpenRejects]
"""Open rejects by the week's partition key."""


class _Index(msgspec.Struct, frozen=True):
    weeks: OpenWeeks


@dataclass(frozen=True)
class Try:
    """A delivery of a week that tries rejects: by which methods and recipe, and when (aware)."""

    week_key: str
    methods: Collection[str]
    recipe: str
    at: datetime

    def is_due(self, found: OpenRejects) -> bool:
        """Whether the cause of rejects may be gone since they were last tried, and they were not tried too often."""
        if found.rejects and not self._concerns(found.rejects):
            return False
        if found.recipe != self.recipe or found.tried_at is None:
            return True
        return found.tries < MOST_TRIES and (self.week_key > found.tried_with or self.at - found.tried_at >= _PAUSE)

    def noted_in(self, found: OpenRejects, *, automatic: int = 0) -> OpenRejects:
        """Rejects after this try; ``automatic`` is 1 for an automatic one."""
        if found.rejects and not self._concerns(found.rejects):
            return found
        tries, with_week = found.tries_under(self.recipe) + automatic, max(found.tried_with, self.week_key)
        return replace(found, recipe=self.recipe, tried_at=self.at, tried_with=with_week, tries=tries)

    def _concerns(self, rejects: Mapping[str, int]) -> bool:
        return any(method in rejects for method in self.methods)


def weeks_with_rejects(store: OrderStore) -> Iterator[str]:
    """The partition keys of the weeks that have a file of rejects."""
    folder = store.layout.all_rejects
    return filter(None, (week_in(key, folder, "/rejects.ndjson.gz") for key in store.bucket.keys(folder)))


def note_rejects(store: OrderStore, week_key: str, left: Mapping[str, int], tried: Try | None) -> OpenWeeks:
    """Note what is ``left`` of a week's rejects, by method, and that they were ``tried``, if so; all that are open."""

    def note(weeks: OpenWeeks) -> None:
        if left:
            found = replace(weeks.get(week_key, OpenRejects()), rejects=dict(left))
            weeks[week_key] = tried.noted_in(found) if tried else found
        elif week_key in weeks and week_key not in weeks_with_rejects(store):
            # Otherwise another run has stored some meanwhile.
            del weeks[week_key]

    return _changed(store, note)


def claim(store: OrderStore, week_key: str, of: Try) -> bool:
    """Count an automatic try of a week's rejects before it begins; False where another run has tried them since."""
    claimed = False

    def count(weeks: OpenWeeks) -> None:
        nonlocal claimed
        found = weeks.get(week_key)
        claimed = found is not None and of.is_due(found)
        if found is not None and claimed:
            weeks[week_key] = of.noted_in(found, automatic=1)

    _changed(store, count)
    return claimed


def _changed(store: OrderStore, change: Callable[[OpenWeeks], None]) -> OpenWeeks:
    weeks: OpenWeeks = {}

    def update(stored: StoredObject | None, _target: Path) -> Replacement | None:
        known = _decoded(stored.path.read_bytes()) if stored else None
        weeks.clear()
        weeks.update({key: OpenRejects() for key in weeks_with_rejects(store)} if known is None else known)
        change(weeks)
        body = json_for_people(_Index(dict(sorted(weeks.items()))))
        return None if weeks == known else Replacement(body, {"ContentType": "application/json"})

    store.bucket.update(store.layout.open_rejects, update)
    return weeks


def _decoded(body: bytes) -> OpenWeeks | None:
    """The weeks in the index; None where it is damaged."""
    try:
        return decoder(_Index).decode(body).weeks
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
