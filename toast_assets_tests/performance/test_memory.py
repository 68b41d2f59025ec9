"""Memory against less data, and writes counted: what no load of the machine changes. Speed is for the benchmarks."""

from __future__ import annotations

import io
import tracemalloc
from pathlib import Path

import pyarrow as pa

from toast_assets.export.write import ExportMetadata, write_envelope
from toast_assets.orders.raw import cut_orders
from toast_assets.orders.raw_file import RawFileWriter
from toast_assets.sandbox import Restaurant
from toast_assets.sandbox.orders import invent_week
from toast_assets.week import WeekCalendar

GUID = "restaurant-zz"
WEEK = WeekCalendar().week("2025-09-15")
METADATA = ExportMetadata(
    fetch_date="2025-09-22T05:00:00.000Z",
    start_date="2025-09-15T04:00:00.000Z",
    end_date="2025-09-22T04:00:00.000Z",
    total_orders=0,
    restaurant_guid=GUID,
    partition=WEEK.key,
    orders_sha256="",
)


def pages(orders: int, size: int = 80) -> list[bytes]:
    """A week of ``orders`` invented orders as the pages that Toast would send."""
    restaurant = Restaurant(GUID, "Pier 9", orders_per_week=orders)
    bodies = [order.json for order in invent_week(1, restaurant, WEEK.start_ms)]
    return [b"[" + b",".join(bodies[at : at + size]) + b"]" for at in range(0, orders, size)]


def through_the_package(replies: list[bytes], folder: Path) -> None:
    """From replies to the raw file to the export, as a pull and an export do it."""
    raw = folder / "raw.parquet"
    with RawFileWriter(raw, GUID) as writer:
        for reply in replies:
            writer.write(cut_orders(reply, restaurant_guid=GUID, pulled_ms=0)[0])
    with (folder / "export.json.gz").open("wb") as file:
        write_envelope(file, raw, METADATA)


def test_raw_file_and_export_need_no_more_memory_for_four_times_the_orders(tmp_path: Path) -> None:
    def peak(replies: list[bytes]) -> int:
        pool = pa.proxy_memory_pool(pa.default_memory_pool())
        before = pa.default_memory_pool()
        pa.set_memory_pool(pool)
        tracemalloc.start()
        try:
            through_the_package(replies, tmp_path)
            arrow: int = pool.max_memory()
            return arrow + tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
            pa.set_memory_pool(before)

    few, many = peak(pages(1_600)), peak(pages(6_400))

    assert many < 1.15 * few


def test_an_export_is_written_in_few_large_pieces(tmp_path: Path) -> None:
    class Counting(io.BytesIO):
        writes = 0

        def write(self, data: object, /) -> int:
            self.writes += 1
            return super().write(data)  # type: ignore[arg-type]

    through_the_package(pages(800), tmp_path)
    target = Counting()
    write_envelope(target, tmp_path / "raw.parquet", METADATA)

    # Orders one by one would be 800 and more.
    assert target.writes < 60
