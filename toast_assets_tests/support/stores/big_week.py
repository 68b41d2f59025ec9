"""One restaurant's week of N orders of 5 kB: written, merged with itself and exported; prints the peak memory.

A program of its own, because a process's peak never falls again.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from random import Random

from toast_assets.export.write import ExportMetadata, write_envelope
from toast_assets.orders.raw import RawOrder, version_of
from toast_assets.orders.raw_file import RawFileWriter, merge
from toast_assets.orders.times import format_time

_START = 1_757_908_800_000


def _orders(count: int, edit: int) -> Iterator[RawOrder]:
    for number in range(count):
        at, guid = _START + number * 1000, f"order-{number:08}"
        # Hardly compressible, as orders full of GUIDs are.
        filling = Random(number).randbytes(2450).hex()
        head = f'{{"guid":"{guid}","modifiedDate":"{format_time(at)}","edit":{edit},"filling":"{filling}"}}'
        body = head.encode()
        yield RawOrder(guid, at, None, deleted=False, voided=False, pulled_ms=at, body=body, version=version_of(body))


def _peak_mb() -> float:
    match = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert match is not None
    return int(match[1]) / 1000


def main(count: int) -> None:
    """Write, merge, export, print the peak in MB."""
    with tempfile.TemporaryDirectory() as folder:
        stored, pulled, merged = (Path(folder) / name for name in ("stored", "pulled", "merged"))
        for path, edit in ((stored, 0), (pulled, 1)):
            with RawFileWriter(path, "one") as writer:
                writer.write(_orders(count, edit))
        found = merge(stored, pulled, merged, "one")
        assert (found.orders, found.changed) == (count, count)
        with (Path(folder) / "export").open("wb") as file:
            metadata = ExportMetadata("", "", "", count, "one", "2025-09-15", found.sha256)
            assert write_envelope(file, merged, metadata) == (count, found.sha256)
    print(_peak_mb())  # noqa: T201 - the program's result


if __name__ == "__main__":
    main(int(sys.argv[1]))
