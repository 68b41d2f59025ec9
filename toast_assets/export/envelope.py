"""The envelope of an export: orders as Toast sent them, and what is said of them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import BinaryIO, cast

import msgspec
from isal import igzip

from toast_assets.orders.lines import OrderLines
from toast_assets.orders.raw_file import read_bodies

_SEPARATOR = b",\n"
_COMPRESSION = 2


class ExportMetadata(msgspec.Struct, frozen=True):
    """The envelope's ``metadata``; the first four fields are the guide's. Times are UTC."""

    fetch_date: str
    start_date: str
    end_date: str
    total_orders: int
    restaurant_guid: str
    partition: str
    orders_sha256: str


def write_envelope(
    file: BinaryIO, raw: Path, metadata: ExportMetadata, *, may_name_restaurant: bool = True
) -> tuple[int, str]:
    """Write one gzip member without name and time, so that equal orders give equal bytes; orders and hash written.

    ``may_name_restaurant`` false takes it for granted that no order says which restaurant it is of.
    """
    orders, digest = 0, hashlib.sha256()
    with cast(BinaryIO, igzip.IGzipFile("", "wb", _COMPRESSION, file, mtime=0)) as member:  # type: ignore[no-untyped-call]
        member.write(b'{"orders":[')
        for bodies in read_bodies(raw):
            member.write(_SEPARATOR if orders else b"\n")
            lines = OrderLines(bodies, metadata.restaurant_guid, may_name_restaurant=may_name_restaurant)
            member.write(lines.ended_by(_SEPARATOR)[: -len(_SEPARATOR)])
            digest.update(lines.ended_by(b"\n"))
            orders += len(lines)
        member.write(b'\n],"metadata":' + msgspec.json.encode(metadata) + b"}\n")
    return orders, digest.hexdigest()
