"""Reading a Parquet file row group by row group."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from toast_assets.orders.row_groups import row_groups

_TASKS = Path("/proc/self/task")
_READ_AND_COUNT_THREADS = f"""
import sys
from pathlib import Path
import pyarrow.parquet as pq
from toast_assets.orders.row_groups import row_groups

path = Path(sys.argv[1])
assert sum(len(table) for table in row_groups(path)) == 1_000
alone = len(list(Path("{_TASKS}").iterdir()))
pq.ParquetFile(path).read_row_group(0, use_threads=True)
print(len(list(Path("{_TASKS}").iterdir())) - alone)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path, numbers = tmp_path / "numbers.parquet", list(range(1_000))
    pq.write_table(pa.table({"a": numbers, "b": numbers, "c": numbers}), path, row_group_size=100)
    return path


def test_the_row_groups_come_in_the_files_order_with_the_columns_asked_for(path: Path) -> None:
    tables = list(row_groups(path, ["c", "a"]))
    assert [table.num_rows for table in tables] == [100] * 10
    assert pa.concat_tables(tables)["a"].to_pylist() == list(range(1_000))
    assert set(tables[0].column_names) == {"a", "c"}


@pytest.mark.skipif(not _TASKS.exists(), reason="threads are counted by Linux's own list")
def test_reading_does_not_start_arrows_threads_which_would_each_keep_memory(path: Path) -> None:
    command = [sys.executable, "-c", _READ_AND_COUNT_THREADS, str(path)]
    found = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - this very interpreter
    assert int(found.stdout) > 0
