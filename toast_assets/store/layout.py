"""Where everything lies in the bucket: the one place that knows a key.

Every key is a function of the week and the restaurant alone, so a second run overwrites instead of adding. Readers
outside (Amperity's couriers, notebooks, other pipelines) rely on these names. What else lies below the prefix (folder
markers, notes, backups, copies) has no such name and is ignored: ``week_in`` and ``restaurant_in`` read names.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date

from toast_assets.week import Week

# Toast's restaurant GUIDs: letters, digits, hyphens, underscores.
_RESTAURANT = re.compile(r"[A-Za-z0-9_-]+")
_WEEK = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


def week_in(key: str, before: str, after: str) -> str | None:
    """The week's key in an object's ``key`` between ``before`` and ``after``; None where the object is none of ours."""
    found = _between(key, f"{before}week=", after)
    if found is None or not _WEEK.fullmatch(found):
        return None
    try:
        date.fromisoformat(found)
    except ValueError:
        return None
    return found


def restaurant_in(key: str, before: str, after: str) -> str | None:
    """The restaurant's GUID in an object's ``key`` between ``before`` and ``after``; None where the object is none of
    ours."""
    found = _between(key, f"{before}restaurant=", after)
    return found if found and _RESTAURANT.fullmatch(found) else None


def _between(key: str, before: str, after: str) -> str | None:
    fits = key.startswith(before) and key.endswith(after) and len(key) > len(before) + len(after)
    return key[len(before) : len(key) - len(after)] if fits else None


@dataclass(frozen=True)
class Layout:
    """Keys below ``prefix``, which is empty or ends with a slash."""

    prefix: str

    def export(self, week: Week, restaurant_guid: str) -> str:
        """The gzipped JSON export of a restaurant's week, named by the week's end as in Amperity's guide."""
        return f"{self.prefix}toast-orders_{week.end:%Y%m%d_%H%M%S}_{restaurant_guid}.json.gz"

    def raw(self, week: Week, restaurant_guid: str) -> str:
        """The raw orders of a restaurant's week, Parquet."""
        return f"{self.raw_folder(week)}restaurant={restaurant_guid}.parquet"

    def raw_folder(self, week: Week) -> str:
        """The folder of a week's raw orders, ending with a slash."""
        return f"{self.prefix}raw/week={week.key}/"

    def unreadable(self, week: Week, restaurant_guid: str) -> str:
        """The orders of a restaurant's week that cannot be read, NDJSON, gzip."""
        return f"{self.unreadable_folder(week)}restaurant={restaurant_guid}.ndjson.gz"

    def unreadable_folder(self, week: Week) -> str:
        """The folder of a week's orders that cannot be read, ending with a slash."""
        return f"{self.prefix}unreadable/week={week.key}/"

    def manifest(self, week: Week) -> str:
        """What was pulled, JSON."""
        return f"{self.manifests}week={week.key}.json"

    @property
    def manifests(self) -> str:
        """The folder of all weeks' manifests, ending with a slash."""
        return f"{self.prefix}manifests/"

    @property
    def calendar(self) -> str:
        """Where the stored weeks begin, JSON."""
        return f"{self.prefix}calendar.json"

    def feed(self, week: Week, restaurant_guid: str, feed: str) -> str:
        """A flat feed of a restaurant's week for Amperity's couriers, NDJSON, gzip; dated by the week's end."""
        name = f"{feed}_{week.end:%Y%m%d_%H%M%S}_{restaurant_guid}.ndjson.gz"
        return f"{self.prefix}amperity/{feed}/{week.end:%Y/%m/%d}/{name}"

    def table(self, table: str, week_key: str) -> str:
        """A flat table of a week, all restaurants, Parquet; a week is named by its partition key."""
        return f"{self.table_folder(table)}week={week_key}/{table}.parquet"

    @property
    def tables(self) -> str:
        """The folder of all flat tables, ending with a slash."""
        return f"{self.prefix}tables/"

    def table_folder(self, table: str) -> str:
        """The folder of a flat table, all weeks, ending with a slash."""
        return f"{self.tables}{table}/"

    def current_orders(self, restaurant_guid: str) -> str:
        """The newest version of each of a restaurant's orders over all weeks, Parquet."""
        return f"{self.table_folder('current_orders')}restaurant={restaurant_guid}.parquet"

    def current_orders_state(self) -> str:
        """Which weeks, in which version, the current orders hold, JSON."""
        return f"{self.table_folder('current_orders')}state.json"

    def inspection(self, week: Week) -> str:
        """What the asset checks read out of a week's raw orders, JSON."""
        return f"{self.prefix}inspections/week={week.key}.json"

    @property
    def all_deliveries(self) -> str:
        """The folder of the delivery ledgers of all weeks, ending with a slash."""
        return f"{self.prefix}deliveries/"

    def deliveries(self, week: Week) -> str:
        """The folder of a week's delivery ledger, ending with a slash."""
        return f"{self.all_deliveries}week={week.key}/"

    def ledger(self, week: Week, restaurant_guid: str) -> str:
        """The delivery ledger of a restaurant's week, Parquet."""
        return f"{self.deliveries(week)}restaurant={restaurant_guid}.parquet"

    def workflow_ledger(self, week: Week) -> str:
        """The ledger of the workflow that loads a week's feeds, Parquet."""
        return f"{self.deliveries(week)}s3_pull.parquet"

    def ledger_segments(self, week: Week) -> str:
        """The folder of results that no restaurant's ledger holds yet, ending with a slash; empty between runs."""
        return f"{self.deliveries(week)}open/"

    def ledger_segment(self, week: Week, restaurant_guid: str, number: int) -> str:
        """One piece of such results, Parquet."""
        return f"{self.ledger_segments(week)}restaurant={restaurant_guid}.{number:06d}.parquet"

    @property
    def all_rejects(self) -> str:
        """The folder of the rejects of all weeks, ending with a slash."""
        return f"{self.prefix}rejects/"

    @property
    def privacy(self) -> str:
        """The folder of what is remembered of forgotten guests, ending with a slash."""
        return f"{self.prefix}privacy/"

    @property
    def forgotten(self) -> str:
        """Salted digests of forgotten guests, JSON."""
        return f"{self.privacy}forgotten.json"

    def certificate(self, name: str) -> str:
        """What was done to forget a guest, JSON; it names objects and counts, not the guest."""
        return f"{self.privacy}certificates/{name}.json"

    def rejects(self, week: Week) -> str:
        """What Amperity refused, with the reason, NDJSON, gzip."""
        return f"{self.all_rejects}week={week.key}/rejects.ndjson.gz"
