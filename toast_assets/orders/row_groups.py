"""Reads a Parquet file as a stream, one row group in memory at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


def row_groups(path: Path, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """The row groups of the file at ``path`` in its order; only ``columns``, where they are named.

    Pages that were written with a checksum are compared with it.

    Raises:
        pyarrow.ArrowException: it is not Parquet, or has no such column.
        OSError: it is damaged.
    """
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        for group in range(file.num_row_groups):
            # One thread takes no longer for a few megabytes, and each of Arrow's would keep memory of its own.
            yield file.read_row_group(group, columns=columns, use_threads=False)
