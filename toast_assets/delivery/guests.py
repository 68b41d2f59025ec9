"""What orders say of guests: the week's, and where the guest index is lost, those of all weeks that were delivered."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

from toast_assets.amperity.feeds.build import feed_batches
from toast_assets.delivery.history import DeliveredWeeks
from toast_assets.errors import ExportError, StoreError, split_code
from toast_assets.index.guests import Guest, WeekGuests, sightings_in
from toast_assets.markdown import first_of
from toast_assets.orders.raw_file import read_groups
from toast_assets.orders.read import RawOrders
from toast_assets.store.manifest import RestaurantRecord
from toast_assets.store.raw_weeks import RawFile, StoredWeek, one_restaurant, raw_files, reading_raw
from toast_assets.week import Week


def update_guest_index(week: Week, guests: WeekGuests, delivered: DeliveredWeeks) -> None:
    """Merge the week's guests into the index (``WeekGuests.update_index``), which is rebuilt where it is lost."""
    store, log = delivered.store, delivered.log

    def add_history() -> bool:
        weeks = [other for other in delivered.all() if other.key != week.key]
        if weeks:
            log.info("The guest index is made of all %d weeks that were delivered.", len(weeks) + 1)
        for other in weeks:
            problems: dict[str, str] = {}
            with one_restaurant(f"week {other.key}", problems, store):
                records = StoredWeek(other, store).restaurants()
                records = {guid: record for guid, record in records.items() if record.pull and record.pull.orders}
                for orders in _orders(raw_files(other, records, store, problems), problems):
                    guests.add("", sightings_in(orders))
            if problems:
                text = "Week %s: raw orders are gone or cannot be read, so the guest index lacks what only they say: %s"
                log.warning(text, other.key, ", ".join(first_of(list(problems))))
        return bool(weeks)

    guests.update_index(store, add_history, log, save=not delivered.read_only)


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
        """The guests that a restaurant's orders name, some at a time; an ExportError where its raw orders could not be
        read, or the index could not be merged."""
        with self._lock:
            guests = self._guests = self._guests or self._collected()
        if guid in self._problems:
            text, code = split_code(self._problems[guid])
            raise ExportError(text, code=code)
        return guests.of_restaurant(guid)

    def _collected(self) -> WeekGuests:
        # Of an attempt that the bucket's failure ended.
        self.path.unlink(missing_ok=True)
        guests = WeekGuests(self.path)
        files = raw_files(self.week, self.records, self.delivered.store, self._problems)
        for orders in _orders(files, self._problems):
            for batch in feed_batches([orders], "", self.week.key, {}):
                guests.add(orders.restaurant_guid, batch.guests)
        for guid in self._problems:
            guests.drop(guid)
        try:
            update_guest_index(self.week, guests, self.delivered)
        except StoreError as error:
            # The same for all: each would try again in vain.
            self._problems |= dict.fromkeys(self.records, str(error))
        return guests


def _orders(files: Iterable[RawFile], problems: dict[str, str]) -> Iterator[RawOrders]:
    """The orders of raw files, some at a time, also of files that a pull has stored since the manifest was read. Why a
    file cannot be read is added to ``problems``, possibly after some of its orders."""
    for raw in files:
        with one_restaurant(raw.guid, problems, raw.store), reading_raw(raw.week, raw.guid, raw.store):
            for some in read_groups(raw.path):
                yield raw.batch([order.body for order in some])
