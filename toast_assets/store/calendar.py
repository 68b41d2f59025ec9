"""Where the stored weeks begin, kept beside them: a setting that would move their boundaries is refused, because weeks
under other boundaries would overlap the stored ones or leave gaps between them.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import msgspec

from toast_assets.errors import CalendarError
from toast_assets.store.bucket import Replacement, StoredObject
from toast_assets.store.manifest import json_for_people
from toast_assets.store.order_store import OrderStore
from toast_assets.store.s3_errors import readable
from toast_assets.week import DAY_NAMES, WeekCalendar, iso_ms


class Boundaries(msgspec.Struct, frozen=True):
    """The settings of the weeks' boundaries, under the names that people know."""

    time_zone: str
    weekday: str
    hour: int

    @classmethod
    def of(cls, calendar: WeekCalendar) -> Boundaries:
        """Those of a calendar; its first week and its settling delay move no boundary."""
        return cls(calendar.timezone, DAY_NAMES[calendar.weekday], calendar.hour)

    def __str__(self) -> str:
        return f"{self.weekday} {self.hour:02d}:00 {self.time_zone}"


def check_boundaries(store: OrderStore, calendar: WeekCalendar) -> None:
    """Raise a CalendarError where the stored weeks begin elsewhere than in ``calendar``."""
    if found := store.bucket.read(store.layout.calendar):
        _check(store, calendar, found[0])
    elif keys := store.pulled_weeks():
        # A run that was killed may have stored weeks without the note; their manifests know where they begin. Weeks
        # before a later TOAST_START_DATE have boundaries all the same.
        newest, every = keys[-1], replace(calendar, first=date.min)
        if not every.is_week(newest):
            raise _moved(store, calendar, f"have keys such as {newest}")
        week = every.week(newest)
        manifest, _ = store.load_manifest(week)
        if manifest is not None and (manifest.start_date, manifest.end_date) != (iso_ms(week.start), iso_ms(week.end)):
            raise _moved(store, calendar, f"are such as {newest} from {manifest.start_date} to {manifest.end_date}")


def keep_boundaries(store: OrderStore, calendar: WeekCalendar) -> None:
    """Note where weeks begin, or raise a CalendarError where another run has noted other boundaries."""

    def change(stored: StoredObject | None, _target: Path) -> Replacement | None:
        if stored is not None:
            _check(store, calendar, stored.path.read_bytes())
            return None
        return Replacement(json_for_people(Boundaries.of(calendar)), {"ContentType": "application/json"})

    store.bucket.update(store.layout.calendar, change)


def _check(store: OrderStore, calendar: WeekCalendar, body: bytes) -> None:
    hint = "Restore an earlier version of it, or remove it: the next run writes it again."
    with readable(store.bucket.uri(store.layout.calendar), hint):
        stored = msgspec.json.decode(body, type=Boundaries)
        theirs = WeekCalendar(calendar.first, stored.time_zone, DAY_NAMES.index(stored.weekday), stored.hour)
        if stored != Boundaries.of(calendar) and not theirs.begins_as(calendar):
            raise _moved(store, calendar, f"begin on {stored}")


def _moved(store: OrderStore, calendar: WeekCalendar, stored: str) -> CalendarError:
    return CalendarError(
        f"The weeks stored in {store.bucket.uri(store.layout.prefix)} {stored}; by the settings they would begin on"
        f" {Boundaries.of(calendar)}, which would move their boundaries: orders would count in two weeks or in none.",
        hint="Set TOAST_WEEK_TIMEZONE, TOAST_WEEK_WEEKDAY and TOAST_WEEK_HOUR back, or choose another S3_PREFIX for the"
        " new weeks.",
    )
