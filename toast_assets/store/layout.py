"""The keys of all objects in the bucket; folders end with a slash.

A key depends on the week and the restaurant alone, so a second run overwrites. Readers outside (Amperity's couriers,
notebooks) rely on these names. Objects of other names are ignored: ``week_in`` and ``restaurant_in`` read names.
"""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import date, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from toast_assets.week import Week


def week_in(key: str, before: str, after: str) -> str | None:
    """The week's key in an object's ``key`` between ``before`` and ``after``; None where the object is none of ours."""
    found = re.fullmatch(rf"{re.escape(before)}week=([0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}){re.escape(after)}", key)
    with suppress(ValueError):
        if found and date.fromisoformat(found[1]):
            return found[1]
    return None


def restaurant_in(key: str, before: str, after: str) -> str | None:
    """The restaurant's GUID in an object's ``key``, as ``week_in`` finds the week."""
    # Toast's restaurant GUIDs: letters, digits, hyphens, underscores.
    found = re.fullmatch(rf"{re.escape(before)}restaurant=([A-Za-z0-9_-]+){re.escape(after)}", key)
    return found[1] if found else None


def month_in(key: str, before: str) -> tuple[str, str] | None:
    """The restaurant's GUID and the month in the ``key`` of a file of current orders, as ``week_in`` finds the week."""
    month = key.removesuffix(".parquet").rpartition(".month=")[2]
    guid = restaurant_in(key, before, f".month={month}.parquet")
    return (guid, month) if guid and re.fullmatch("[0-9]{4}-[0-9]{2}|unknown", month) else None


class Layout:
    """Keys below ``prefix``, which is empty or ends with a slash."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.manifests = f"{prefix}manifests/"
        self.tables = f"{prefix}tables/"
        self.all_deliveries = f"{prefix}deliveries/"
        # The streams of Amperity that have received records, JSON.
        self.streams = f"{self.all_deliveries}streams.json"
        self.all_rejects = f"{prefix}rejects/"
        # The weeks with rejects, JSON.
        self.open_rejects = f"{self.all_rejects}open.json"
        self.status = f"{prefix}status/"
        self.inspections = f"{prefix}inspections/"
        self.privacy = f"{prefix}privacy/"
        self.forgotten = f"{self.privacy}forgotten.json"
        # The boundaries of the stored weeks, JSON.
        self.calendar = f"{prefix}calendar.json"
        # The brand that everything below the prefix belongs to, JSON.
        self.owner = f"{prefix}brand.json"

    def export(self, week: Week, restaurant_guid: str) -> str:
        """The gzipped JSON export of a restaurant's week, named by the week's end as in Amperity's guide."""
        return f"{self.exports(week)}{restaurant_guid}.json.gz"

    def exports(self, week: Week) -> str:
        return f"{self.prefix}toast-orders_{week.end:%Y%m%d_%H%M%S}_"

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

    def feeds(self, feed: str) -> str:
        return f"{self.prefix}amperity/{feed}/"

    def feed(self, week: Week, restaurant_guid: str, feed: str) -> str:
        """A flat feed of a restaurant's week for Amperity's couriers, NDJSON, gzip; dated by the week's end."""
        name = f"{feed}_{week.end:%Y%m%d_%H%M%S}_{restaurant_guid}.ndjson.gz"
        return f"{self.feeds(feed)}{week.end:%Y/%m/%d}/{name}"

    def feed_in(self, key: str, feed: str) -> tuple[datetime, str] | None:
        """The end (UTC) of the week and the restaurant of a feed's file; None where the object is none of ours."""
        name = re.escape(feed) + "_([0-9]{8}_[0-9]{6})_([A-Za-z0-9_-]+)[.]ndjson[.]gz"
        found = re.fullmatch(rf"{re.escape(self.feeds(feed))}[0-9/]+/{name}", key)
        with suppress(ValueError):
            return (datetime.strptime(f"{found[1]}+0000", "%Y%m%d_%H%M%S%z"), found[2]) if found else None
        return None

    def table(self, table: str, week_key: str) -> str:
        """A flat table of a week, all restaurants, Parquet; a week is named by its partition key."""
        return f"{self.table_folder(table)}week={week_key}/{table}.parquet"

    def table_folder(self, table: str) -> str:
        return f"{self.tables}{table}/"

    def whole_table(self, table: str) -> str:
        """A table over all weeks and restaurants that is one file, Parquet."""
        return f"{self.table_folder(table)}{table}.parquet"

    def current_orders(self, restaurant_guid: str, month: str) -> str:
        """The newest version of each of a restaurant's orders of one month (``2025-09``, ``unknown``) of creation, over
        all weeks, Parquet."""
        return f"{self.table_folder('current_orders')}restaurant={restaurant_guid}.month={month}.parquet"

    def current_orders_state(self) -> str:
        """Which weeks, in which version, the current orders hold, JSON; readers of a Parquet folder leave ``_`` out."""
        return f"{self.table_folder('current_orders')}_state.json"

    def order_index(self, restaurant_guid: str, month: str) -> str:
        """What is known over all weeks of a restaurant's orders of one month (``2025-09``) of creation, Parquet."""
        return f"{self.order_index_folder(restaurant_guid)}month={month}.parquet"

    def order_index_state(self, restaurant_guid: str) -> str:
        """Which months a restaurant's order index has, JSON."""
        return f"{self.order_index_folder(restaurant_guid)}months.json"

    def order_index_folder(self, restaurant_guid: str) -> str:
        return f"{self.prefix}index/orders/restaurant={restaurant_guid}/"

    def guest_index(self) -> str:
        """The newest known fields of every guest of all restaurants, Parquet: personal data."""
        return f"{self.prefix}index/guests/guests.parquet"

    def inspection(self, week: Week) -> str:
        """What the asset checks read out of a week's raw orders, JSON."""
        return f"{self.inspections}week={week.key}.json"

    def inspected_fields(self, week: Week) -> str:
        """Which fields a week's raw orders have, JSON."""
        return f"{self.inspections}week={week.key}.fields.json"

    def week_orders(self, week_key: str) -> str:
        """Which orders a week holds, by a hash of each GUID and by restaurant, Parquet."""
        return f"{self.prefix}index/weeks/week={week_key}.parquet"

    def delivered(self, week_key: str) -> str:
        """How much of each restaurant's week Amperity has, JSON (``store.deliveries``)."""
        return f"{self.status}week={week_key}.json"

    def privacy_requests(self, day: date, request_id: str) -> str:
        """What Amperity is asked to do about a guest, NDJSON, gzip; dated by the day (UTC) of the request."""
        return f"{self.feeds('privacy_requests')}{day:%Y/%m/%d}/privacy_requests_{request_id}.ndjson.gz"

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

    def rejects(self, week: Week) -> str:
        """What Amperity refused, with the reason, NDJSON, gzip."""
        return f"{self.all_rejects}week={week.key}/rejects.ndjson.gz"

    def certificate(self, name: str) -> str:
        """What was done to forget a guest, JSON; it names objects and counts, not the guest."""
        return f"{self.privacy}certificates/{name}.json"
