"""The keys of all objects in the bucket; folders end with a slash.

A key depends on the week and the restaurant alone, so a second run overwrites. Readers outside (Amperity's couriers,
notebooks) rely on these names. Objects of other names are ignored: ``week_in`` and ``restaurant_in`` read names.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from toast_assets.week import Week

# Toast's restaurant GUIDs: letters, digits, hyphens, underscores.
_RESTAURANT = re.compile(r"[A-Za-z0-9_-]+")
_WEEK = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


def week_in(key: str, before: str, after: str) -> str | None:
    """The week's key in an object's ``key`` between ``before`` and ``after``; None where the object is none of ours."""
    found = _between(key, f"{before}week=", after)
    with suppress(ValueError):
        if _WEEK.fullmatch(found) and date.fromisoformat(found):
            return found
    return None


def restaurant_in(key: str, before: str, after: str) -> str | None:
    """The restaurant's GUID in an object's ``key``, as ``week_in`` finds the week."""
    found = _between(key, f"{before}restaurant=", after)
    return found if _RESTAURANT.fullmatch(found) else None


def _between(key: str, before: str, after: str) -> str:
    fits = key.startswith(before) and key.endswith(after) and len(key) > len(before) + len(after)
    return key[len(before) : len(key) - len(after)] if fits else ""


@dataclass(frozen=True)
class Layout:
    """Keys below ``prefix``, which is empty or ends with a slash."""

    prefix: str

    def export(self, week: Week, restaurant_guid: str) -> str:
        """The gzipped JSON export of a restaurant's week, named by the week's end as in Amperity's guide."""
        return f"{self.exports(week)}{restaurant_guid}.json.gz"

    def exports(self, week: Week) -> str:
        return f"{self.prefix}toast-orders_{_end(week)}_"

    def raw(self, week: Week, restaurant_guid: str) -> str:
        return f"{self.raw_folder(week)}restaurant={restaurant_guid}.parquet"

    def raw_folder(self, week: Week) -> str:
        return f"{self.prefix}raw/week={week.key}/"

    def unreadable(self, week: Week, restaurant_guid: str) -> str:
        """The orders of a restaurant's week that cannot be read, NDJSON, gzip."""
        return f"{self.unreadable_folder(week)}restaurant={restaurant_guid}.ndjson.gz"

    def unreadable_folder(self, week: Week) -> str:
        return f"{self.prefix}unreadable/week={week.key}/"

    def manifest(self, week: Week) -> str:
        return f"{self.manifests}week={week.key}.json"

    @property
    def manifests(self) -> str:
        return f"{self.prefix}manifests/"

    @property
    def calendar(self) -> str:
        """The boundaries of the stored weeks, JSON."""
        return f"{self.prefix}calendar.json"

    def feed(self, week: Week, restaurant_guid: str, feed: str) -> str:
        """A flat feed of a restaurant's week for Amperity's couriers, NDJSON, gzip; dated by the week's end."""
        return f"{self.prefix}amperity/{feed}/{week.end:%Y/%m/%d}/{feed}_{_end(week)}_{restaurant_guid}.ndjson.gz"

    def table(self, table: str, week_key: str) -> str:
        """A flat table of a week, all restaurants, Parquet; a week is named by its partition key."""
        return f"{self.table_folder(table)}week={week_key}/{table}.parquet"

    @property
    def tables(self) -> str:
        return f"{self.prefix}tables/"

    def table_folder(self, table: str) -> str:
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
        return f"{self.prefix}deliveries/"

    def deliveries(self, week: Week) -> str:
        return f"{self.all_deliveries}week={week.key}/"

    def ledger(self, week: Week, restaurant_guid: str) -> str:
        return f"{self.deliveries(week)}restaurant={restaurant_guid}.parquet"

    def workflow_ledger(self, week: Week) -> str:
        """The ledger of the workflow that loads a week's feeds, Parquet."""
        return f"{self.deliveries(week)}s3_pull.parquet"

    def ledger_segments(self, week: Week) -> str:
        """Results that no restaurant's ledger holds yet; empty between runs."""
        return f"{self.deliveries(week)}open/"

    def ledger_segment(self, week: Week, restaurant_guid: str, number: int) -> str:
        return f"{self.ledger_segments(week)}restaurant={restaurant_guid}.{number:06d}.parquet"

    @property
    def all_rejects(self) -> str:
        return f"{self.prefix}rejects/"

    def rejects(self, week: Week) -> str:
        """What Amperity refused, with the reason, NDJSON, gzip."""
        return f"{self.all_rejects}week={week.key}/rejects.ndjson.gz"

    @property
    def privacy(self) -> str:
        return f"{self.prefix}privacy/"

    @property
    def forgotten(self) -> str:
        return f"{self.privacy}forgotten.json"

    def certificate(self, name: str) -> str:
        """What was done to forget a guest, JSON; it names objects and counts, not the guest."""
        return f"{self.privacy}certificates/{name}.json"


def _end(week: Week) -> str:
    return f"{week.end:%Y%m%d_%H%M%S}"
