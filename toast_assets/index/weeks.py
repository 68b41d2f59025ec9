"""Which orders a week holds, by restaurant: a few bytes an order, so that all weeks can be searched for one order.

Toast's GUID of an order says neither the restaurant nor the time. An order is known by a hash of 32 bits of its GUID,
so a hit is a hint: the raw file has the proof. What the object says only grows. It names no guest.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from toast_assets.errors import ExportError
from toast_assets.orders.raw_file import order_guids
from toast_assets.scratch import scratch_folder
from toast_assets.store.bucket import Replacement, StoredObject
from toast_assets.store.order_store import PARQUET, OrderStore
from toast_assets.store.raw_weeks import fetch_raw, reading_raw
from toast_assets.week import Week

_SCHEMA = pa.schema(
    [
        pa.field("restaurant_guid", pa.string(), nullable=False),
        pa.field("orders", pa.list_(pa.uint32()), nullable=False),
    ]
)


def guid_hash(guid: str) -> int:
    """The hash of an order's GUID, which compares without case."""
    return zlib.crc32(guid.lower().encode())


def hashes_in(path: Path) -> pa.UInt32Array:
    """The hashes of the orders in a raw file; an UnreadableFileError where it is none."""
    return pa.array(map(guid_hash, order_guids(path)), pa.uint32())


@dataclass
class WeekOrders:
    """The orders of a week that one run stores, ``found`` by restaurant; ``save`` adds them to the week's object."""

    store: OrderStore
    week: Week
    found: dict[str, pa.UInt32Array] = field(default_factory=dict)

    def add(self, restaurant_guid: str, path: Path) -> None:
        """Take in all orders of a restaurant's raw file."""
        self.found[restaurant_guid] = hashes_in(path)

    def save(self, stored: Collection[str]) -> None:
        """Bring the object up to date. It then covers all restaurants that are ``stored``, also those that this run did
        not ask for. Raises StoreError where the bucket fails."""

        def change(before: StoredObject | None, _target: Path) -> Replacement | None:
            known = decode_week_orders(before.path.read_bytes()) if before else None
            after = dict(known or {})
            for guid in sorted(set(stored) - after.keys() - self.found.keys()):
                after |= self._read(guid)
            after |= {guid: _united(after.get(guid), orders) for guid, orders in self.found.items()}
            return None if after == known else Replacement(_encoded(after), {"ContentType": PARQUET})

        if self.found:
            self.store.bucket.update(self.store.layout.week_orders(self.week.key), change)

    def _read(self, guid: str) -> dict[str, pa.UInt32Array]:
        """The orders of a restaurant that is stored already; empty where its raw file is missing or damaged."""
        with scratch_folder() as folder:
            try:
                fetch_raw(self.week, guid, folder / "raw.parquet", self.store)
                with reading_raw(self.week, guid, self.store):
                    return {guid: _united(None, hashes_in(folder / "raw.parquet"))}
            except ExportError:
                # Whoever needs the orders themselves reports it.
                return {}


def decode_week_orders(body: bytes) -> dict[str, pa.UInt32Array] | None:
    """The hashes of a week's orders by restaurant; None where the object is damaged."""
    try:
        with pq.ParquetFile(pa.BufferReader(body), page_checksum_verification=True) as file:
            rows = file.read(use_threads=False).cast(_SCHEMA)
    except (pa.ArrowException, OSError, ValueError):
        return None
    return {row.as_py(): orders.values for row, orders in zip(*rows.columns, strict=True)}


def holders(orders: Mapping[str, pa.UInt32Array], guid: str) -> list[str]:
    """The restaurants that probably hold an order."""
    wanted = pa.scalar(guid_hash(guid), pa.uint32())
    return [restaurant for restaurant, hashes in orders.items() if pc.index(hashes, wanted).as_py() >= 0]


def _united(known: pa.UInt32Array | None, found: pa.UInt32Array) -> pa.UInt32Array:
    both = found if known is None else pa.concat_arrays([known, found])
    return both.unique().sort()


def _encoded(orders: Mapping[str, pa.UInt32Array]) -> bytes:
    guids = sorted(orders)
    lengths = pa.array([0, *(len(orders[guid]) for guid in guids)], pa.int32())
    values = pa.concat_arrays([pa.array([], pa.uint32()), *(orders[guid] for guid in guids)])
    lists = pa.ListArray.from_arrays(pc.cumulative_sum(lengths), values)
    buffer = pa.BufferOutputStream()
    # Hashes have nothing in common that would compress.
    pq.write_table(
        pa.Table.from_arrays([pa.array(guids, pa.string()), lists], schema=_SCHEMA),
        buffer,
        compression="none",
        use_dictionary=False,
        write_page_checksum=True,
    )
    return bytes(buffer.getvalue())
