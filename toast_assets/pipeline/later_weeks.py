"""Whether a later week has brought a newer version of an order to Amperity already.

An order that was edited after its week belongs to two weeks, once in each version. If the earlier week is delivered
after the later one – it had failed, or all is sent to another stream – its version is outdated and stays here. Amperity
keeps the row with the latest modified time anyhow, so a record that slips through in two runs at once does no harm.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from toast_assets.amperity.ledger import ARRIVED, decode_ledger
from toast_assets.store.order_store import OrderStore
from toast_assets.week import KEY_FORMAT, Week

_WEEK = timedelta(days=7)


@dataclass(frozen=True)
class LaterWeeks:
    """The ledgers of the weeks after ``week``. Costs nothing while there are none, as in the weekly run."""

    store: OrderStore
    week: Week
    now: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))

    def newest(self, restaurant_guid: str, stream_id: str, raw: Path) -> dict[str, tuple[int, str]]:
        """Of the orders in the raw file at ``raw``: the newest modified time (milliseconds) that has arrived with a
        later week, and that week. Few orders are edited weeks later, so this is small.

        Raises:
            StoreError: the bucket is missing or refuses access.
        """
        keys = self._ledgers.get(restaurant_guid)
        if not keys:
            return {}
        orders = pq.read_table(raw, columns=["order_guid"])["order_guid"].combine_chunks()
        newest: dict[str, tuple[int, str]] = {}
        for week_key, key in keys:
            for guid, version in self._arrived(key, stream_id, orders):
                newest[guid] = max(newest.get(guid, (0, "")), (int(version.partition("-")[0]), week_key))
        return newest

    def _arrived(self, key: str, stream_id: str, orders: pa.Array) -> Iterator[tuple[str, str]]:
        found = self.store.bucket.read(key)
        if found is None:
            return
        ledger = decode_ledger(found[0])
        chosen = pc.and_(pc.equal(ledger["method"], "stream"), pc.equal(ledger["destination"], stream_id))
        chosen = pc.and_(chosen, pc.is_in(ledger["state"], pa.array(ARRIVED)))
        chosen = pc.and_(chosen, pc.is_in(ledger["record_id"], orders))
        rows = ledger.filter(chosen)
        yield from zip(rows["record_id"].to_pylist(), rows["version"].to_pylist(), strict=True)

    @cached_property
    def _ledgers(self) -> dict[str, list[tuple[str, str]]]:
        """Week and key of each restaurant's ledgers."""
        ledgers: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for week in self._weeks():
            folder = self.store.layout.deliveries(week)
            for key in self.store.bucket.keys(folder):
                name = key.removeprefix(folder)
                if name.startswith("restaurant=") and name.endswith(".parquet"):
                    guid = name.removeprefix("restaurant=").removesuffix(".parquet")
                    ledgers[guid].append((week.key, key))
        return ledgers

    def _weeks(self) -> Iterator[Week]:
        """Keys are a function of the week's key alone, so daylight saving does not matter here."""
        day, end = date.fromisoformat(self.week.key) + _WEEK, self.week.end
        while end <= self.now():
            yield Week(f"{day:{KEY_FORMAT}}", end, end + _WEEK)
            day, end = day + _WEEK, end + _WEEK
