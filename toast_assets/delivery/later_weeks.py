"""Whether a later week has brought a newer version of a record to Amperity already.

An order that was edited after its week belongs to two weeks, once in each version. If the earlier week is delivered
after the later one – it had failed, or all is sent to another stream – its version is outdated and stays here. Amperity
keeps the row with the latest modified time anyhow, so a record that slips through in two runs at once does no harm.

Raises StoreError where the bucket is missing or refuses access, or a ledger cannot be read.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, Self

import pyarrow as pa
import pyarrow.compute as pc

from toast_assets.delivery.ledger import ARRIVED, read_ledger
from toast_assets.store.order_store import OrderStore
from toast_assets.week import Week

_WEEK = timedelta(days=7)
# Ledgers, and segments that a delivery that was cut off left behind.
_LEDGER = re.compile(r"week=(?P<week>[0-9-]{10})/(open/)?restaurant=(?P<restaurant>[^/.]+)(\.[0-9]+)?\.parquet")


class Newer(NamedTuple):
    """The newest version of a record that has arrived: its modified time in milliseconds, and with which week."""

    modified_ms: int
    week_key: str


NewerRecords = Mapping[tuple[str, str, str], Newer]
"""By method, destination and record id."""


@dataclass(frozen=True)
class LaterWeeks:
    """The ledgers of the weeks after a week: their weeks and keys, by restaurant."""

    store: OrderStore
    ledgers: Mapping[str, Sequence[tuple[str, str]]]

    @classmethod
    def after(cls, week: Week, store: OrderStore) -> Self:
        """Those that are stored. Costs nothing while no later week has ended, as in the weekly run."""
        ledgers: dict[str, list[tuple[str, str]]] = defaultdict(list)
        if week.end + _WEEK <= datetime.now(UTC):
            # One listing of all weeks: a listing of each would take longer for all but the largest brands.
            for key in store.bucket.keys(store.layout.all_deliveries):
                found = _LEDGER.fullmatch(key.removeprefix(store.layout.all_deliveries))
                if found and found["week"] > week.key:
                    ledgers[found["restaurant"]].append((found["week"], key))
        return cls(store, ledgers)

    def newest(self, restaurant_guid: str, orders: pa.Array) -> NewerRecords:
        """What has arrived with later weeks of ``orders`` (GUIDs), and of guests, who belong to no single order. Few
        orders are edited weeks later, so this is small."""
        newest: dict[tuple[str, str, str], Newer] = {}
        for week_key, key in self.ledgers.get(restaurant_guid, ()):
            ledger = read_ledger(self.store.bucket, key)
            if ledger is None:
                continue
            chosen = pc.or_kleene(pc.is_null(ledger["order_guid"]), pc.is_in(ledger["order_guid"], orders))
            rows = ledger.filter(pc.and_(pc.is_in(ledger["state"], pa.array(ARRIVED)), chosen))
            columns = [rows[name] for name in ("method", "destination", "record_id")]
            columns.append(rows["modified_at"].cast(pa.int64()))
            for *names, modified_ms in zip(*(column.to_pylist() for column in columns), strict=True):
                record = (names[0], names[1], names[2])
                found = Newer(modified_ms or 0, week_key)
                newest[record] = max(newest.get(record, found), found)
        return newest
