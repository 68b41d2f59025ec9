"""Whether a later week has brought a newer version of a record to Amperity already.

An order that was edited after its week belongs to two weeks, once in each version. If the earlier week is delivered
after the later one – it had failed, or all is sent to another stream – its version is outdated and stays here. Amperity
keeps the row with the latest modified time anyhow, so a record that slips through in two runs at once does no harm.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from toast_assets.delivery.ledger import ARRIVED
from toast_assets.delivery.ledger_files import read_ledger
from toast_assets.store.order_store import OrderStore
from toast_assets.week import Week

_WEEK = timedelta(days=7)
_LEDGER = re.compile(r"week=(?P<week>[0-9-]{10})/(restaurant=(?P<restaurant>[^/]+)|open/[^/]+)\.parquet")


@dataclass(frozen=True)
class Newer:
    """The newest version of a record that has arrived: its modified time in milliseconds, and with which week."""

    modified_ms: int
    week_key: str


@dataclass(frozen=True)
class LaterWeeks:
    """The ledgers of the weeks after ``week``. Costs nothing while there are none, as in the weekly run."""

    store: OrderStore
    week: Week
    now: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))

    def any_of(self, restaurant_guid: str) -> bool:
        """Whether there is anything to look into.

        Raises:
            StoreError: the bucket is missing or refuses access.
        """
        return bool(self._keys_of(restaurant_guid))

    def newest(
        self,
        restaurant_guid: str,
        method: str,
        destination: str,
        chosen: pa.Array,
        by: Literal["record_id", "order_guid"] = "record_id",
    ) -> dict[str, Newer]:
        """By record id, what has arrived with a later week of the records whose ``by`` is among the ``chosen`` ones.
        Few orders are edited weeks later, so this is small.

        Raises:
            StoreError: the bucket is missing or refuses access, or a ledger cannot be read.
        """
        newest: dict[str, Newer] = {}
        for week_key, key in self._keys_of(restaurant_guid):
            for record_id, modified_ms in self._arrived(key, restaurant_guid, method, destination, chosen, by):
                if record_id not in newest or newest[record_id].modified_ms < modified_ms:
                    newest[record_id] = Newer(modified_ms, week_key)
        return newest

    def _arrived(
        self, key: str, restaurant_guid: str, method: str, destination: str, chosen: pa.Array, by: str
    ) -> Iterator[tuple[str, int]]:
        ledger = read_ledger(self.store.bucket, key)
        if ledger is None:
            return
        mask = pc.is_in(ledger["state"], pa.array(ARRIVED))
        for column, value in (("restaurant_guid", restaurant_guid), ("method", method), ("destination", destination)):
            mask = pc.and_(mask, pc.equal(ledger[column], value))
        rows = ledger.filter(pc.and_(mask, pc.is_in(ledger[by], chosen)))
        modified_ms = rows["modified_at"].cast(pa.int64()).to_pylist()
        yield from zip(rows["record_id"].to_pylist(), modified_ms, strict=True)

    def _keys_of(self, restaurant_guid: str) -> list[tuple[str, str]]:
        return self._ledgers.get(restaurant_guid, []) + self._ledgers.get("", [])

    @cached_property
    def _ledgers(self) -> dict[str, list[tuple[str, str]]]:
        """Week and key of each restaurant's ledgers; under no restaurant those of deliveries that were cut off."""
        ledgers: dict[str, list[tuple[str, str]]] = defaultdict(list)
        if self.week.end + _WEEK > self.now():
            return ledgers
        # One listing of all weeks: asking for each week by itself would take longer for all but the largest brands.
        for key in self.store.bucket.keys(self.store.layout.all_deliveries):
            found = _LEDGER.fullmatch(key.removeprefix(self.store.layout.all_deliveries))
            if found and found["week"] > self.week.key:
                ledgers[found["restaurant"] or ""].append((found["week"], key))
        return ledgers
