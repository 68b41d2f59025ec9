"""What orders say of guests: the week's, and where the guest index is lost, those of all weeks that were delivered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Lock

from toast_assets.amperity.feeds.build import feed_batches
from toast_assets.delivery.history import DeliveredWeeks
from toast_assets.errors import ExportError, StoreError
from toast_assets.index.guests import Guest, WeekGuests, sightings_in
from toast_assets.markdown import first_of
from toast_assets.orders.raw_file import read_groups
from toast_assets.orders.read import RawOrders
from toast_assets.store.manifest import RestaurantRecord
from toast_assets.store.raw_weeks import RawFile, StoredWeek, one_restaurant, raw_files, reading_raw
from toast_assets.week import Week


def update_guest_index(week: Week, guests: WeekGuests, delivered: DeliveredWeeks) -> None:
    """Merge the week's guests into the index (``WeekGuests.update_index``), which is rebuilt where it is lost."""
    add_history = partial(_add_history, week, guests, delivered)
    guests.update_index(delivered.store, add_history, delivered.log, save=not delivered.read_only)


@dataclass
class StreamedGuests:
    """The guests of a week that is delivered: collected and merged into the index when the first restaurant asks for
    its own, for all of ``records`` together. Threads may share it; ``path`` is a local file."""

    week: Week
    records: Mapping[str, RestaurantRecord]
    path: Path
    delivered: DeliveredWeeks
    _guests: WeekGuests | None = None
    _problems: dict[str, str] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def of_restaurant(self, guid: str) -> Iterator[list[Guest]]:
        """The guests that a restaurant's orders name, some at a time.

        Raises:
            ExportError: the restaurant's raw orders could not be read, or the index could not be merged.
        """
        with self._lock:
            guests = self._guests = self._guests or self._collected()
        if guid in self._problems:
            raise ExportError(self._problems[guid])
        return guests.of_restaurant(guid)

    def _collected(self) -> WeekGuests:
        # Of an attempt that the bucket's failure ended.
        self.path.unlink(missing_ok=True)
        guests, store = WeekGuests(self.path), self.delivered.store
        for raw in raw_files(self.week, self.records, store, self._problems):
            with one_restaurant(raw.guid, self._problems, store):
                for batch in feed_batches(_orders(raw), "", self.week.key, {}):
                    guests.add(raw.guid, batch.guests)
            if raw.guid in self._problems:
                guests.drop(raw.guid)
        try:
            update_guest_index(self.week, guests, self.delivered)
        except StoreError as error:
            # The same for all: each would try again in vain.
            self._problems |= dict.fromkeys(self.records, str(error))
        return guests


def _orders(raw: RawFile) -> Iterator[RawOrders]:
    """The orders of a raw file, some at a time, also of one that a pull has stored since the manifest was read; an
    ExportError, possibly at the end, where it cannot be read."""
    with reading_raw(raw.week, raw.guid, raw.store):
        for some in read_groups(raw.path):
            yield RawOrders(raw.guid, [order.body for order in some], raw.record.time_zone, raw.record.currency)


def _add_history(week: Week, guests: WeekGuests, delivered: DeliveredWeeks) -> bool:
    """Take in what the orders of all other weeks that were delivered say; whether there are such weeks."""
    store, log = delivered.store, delivered.log
    weeks = [other for other in delivered.all() if other.key != week.key]
    if weeks:
        log.info("There is no guest index, so it is made of all %d weeks that were delivered.", len(weeks) + 1)
    for other in weeks:
        problems: dict[str, str] = {}
        with one_restaurant(f"week {other.key}", problems, store):
            records = StoredWeek(other, store).restaurants()
            records = {guid: record for guid, record in records.items() if record.pull and record.pull.orders}
            for raw in raw_files(other, records, store, problems):
                with one_restaurant(raw.guid, problems, store):
                    for batch in _orders(raw):
                        guests.add("", sightings_in(batch))
        if problems:
            text = "Week %s: raw orders are gone or cannot be read, so the guest index lacks what only they say: %s"
            log.warning(text, other.key, ", ".join(first_of(list(problems))))
    return bool(weeks)
