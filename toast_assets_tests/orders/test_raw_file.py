"""Raw files: written, read and merged without losing or inventing an order, whatever came before."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toast_assets.orders import raw_file as files
from toast_assets.orders.raw import RawOrder, version_of, with_restaurant
from toast_assets.orders.raw_file import (
    RAW_SCHEMA,
    Content,
    RawFileWriter,
    UnreadableFileError,
    check_raw,
    content_of,
    merge,
    orders_sha256,
    read_groups,
    read_pull_evidence,
    read_raw,
    row_groups,
)
from toast_assets.week import from_epoch_ms

NOON = 1_758_000_000_000
_TASKS = Path("/proc/self/task")
_READ_AND_COUNT_THREADS = f"""
import sys
from pathlib import Path
import pyarrow.parquet as pq
from toast_assets.orders.raw_file import row_groups

path = Path(sys.argv[1])
assert sum(len(table) for table in row_groups(path)) == 1_000
alone = len(list(Path("{_TASKS}").iterdir()))
pq.ParquetFile(path).read_row_group(0, use_threads=True)
print(len(list(Path("{_TASKS}").iterdir())) - alone)
"""


def version(guid: str, modified: int, text: str = "", pulled: int = 0) -> RawOrder:
    body = json.dumps({"guid": guid, "modifiedDate": f"{modified}", "text": text}).encode()
    return RawOrder(
        guid,
        NOON + modified,
        None,
        deleted=False,
        voided=False,
        pulled_ms=NOON + pulled,
        body=body,
        version=version_of(body),
    )


def write(path: Path, orders: Sequence[RawOrder]) -> Path:
    with RawFileWriter(path, "one") as writer:
        writer.write(sorted(orders, key=lambda order: order.sort_key))
    return path


def merged(
    folder: Path, stored: Sequence[RawOrder] | None, pulled: Sequence[RawOrder]
) -> tuple[Content, list[RawOrder]]:
    before = write(folder / "stored.parquet", stored) if stored is not None else None
    target = folder / "merged.parquet"
    result = merge(before, write(folder / "pulled.parquet", pulled), target, "one")
    return result, list(read_raw(target))


# Writing and reading


def test_what_is_written_is_read(tmp_path: Path) -> None:
    orders = [version("a", 1, "é"), version("b", 1), version("a2", 2)]
    assert list(read_raw(write(tmp_path / "raw.parquet", orders))) == orders


def test_a_file_of_no_orders_is_a_file(tmp_path: Path) -> None:
    path = write(tmp_path / "raw.parquet", [])
    check_raw(path)
    assert list(read_raw(path)) == []
    assert content_of(path).sha256 == hashlib.sha256(b"").hexdigest()


def test_the_columns_are_those_that_readers_rely_on(tmp_path: Path) -> None:
    path = write(tmp_path / "raw.parquet", [version("a", 1, pulled=9)])
    table = pq.read_table(path)
    assert table.schema.equals(RAW_SCHEMA)
    row = table.to_pylist()[0]
    assert row["restaurant_guid"] == "one"
    assert row["modified_at"] == from_epoch_ms(NOON + 1)
    assert row["pulled_at"] == from_epoch_ms(NOON + 9)
    assert row["order_json"] == version("a", 1).body.decode()
    assert row["version"] == hashlib.sha256(version("a", 1).body).hexdigest()


def test_the_json_functions_of_duckdb_work_on_the_column_of_orders(tmp_path: Path) -> None:
    path = write(tmp_path / "raw.parquet", [version("a", 1, "Zoë")])
    query = "SELECT json_extract_string(order_json, '$.guid'), order_json->>'text' FROM read_parquet(?)"
    assert duckdb.execute(query, [str(path)]).fetchall() == [("a", "Zoë")]


def test_the_hash_is_over_the_exports_orders_each_followed_by_a_line_feed(tmp_path: Path) -> None:
    orders = [version("a", 1), version("b", 2)]
    with RawFileWriter(tmp_path / "raw.parquet", "one") as writer:
        writer.write(orders)
    expected = b"".join(with_restaurant(order.body, "one") + b"\n" for order in orders)
    assert writer.sha256 == hashlib.sha256(expected).hexdigest()
    content = content_of(tmp_path / "raw.parquet", since_ms=NOON - 1)
    assert orders_sha256(tmp_path / "raw.parquet") == writer.sha256
    assert (content.orders, content.bytes, content.sha256, content.recent) == (
        writer.orders,
        writer.bytes,
        writer.sha256,
        2,
    )


def test_row_groups_stay_small_in_bytes_and_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_ROW_GROUP_BYTES", 2_000)
    monkeypatch.setattr(files, "_ROW_GROUP_ROWS", 30)
    orders = [version(f"{number:03}", number, "x" * 200) for number in range(30)]
    orders += [version(f"{number:03}", number) for number in range(30, 120)]
    path = write(tmp_path / "raw.parquet", orders)
    groups = pq.ParquetFile(path)
    sizes = [groups.metadata.row_group(number).num_rows for number in range(groups.num_row_groups)]
    assert max(sizes) <= 30
    assert len(sizes) >= 6
    assert list(read_raw(path)) == orders


def test_an_error_while_writing_leaves_no_file_that_could_be_taken_for_whole(tmp_path: Path) -> None:
    path = tmp_path / "raw.parquet"

    def fail_half_way() -> None:
        with RawFileWriter(path, "one") as writer:
            writer.write([version("a", 1)])
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()
    with pytest.raises(UnreadableFileError, match="not those that were stored"):
        list(read_raw(path))


def test_the_pulls_evidence_is_in_the_footer_and_changes_no_row(tmp_path: Path) -> None:
    with RawFileWriter(tmp_path / "raw.parquet", "one") as writer:
        writer.write([version("a", 1)])
        writer.pull_evidence = b'{"who":"me"}'
    assert read_pull_evidence(tmp_path / "raw.parquet") == b'{"who":"me"}'
    assert list(read_raw(tmp_path / "raw.parquet")) == [version("a", 1)]
    assert read_pull_evidence(write(tmp_path / "other.parquet", [])) is None


def test_a_merged_file_has_the_evidence_of_the_pull_that_was_merged(tmp_path: Path) -> None:
    merge(None, write(tmp_path / "pulled.parquet", [version("a", 1)]), tmp_path / "merged.parquet", "one", b"note")
    assert read_pull_evidence(tmp_path / "merged.parquet") == b"note"


def test_a_file_that_is_no_raw_file_is_told_apart(tmp_path: Path) -> None:
    (tmp_path / "text.parquet").write_bytes(b"hello")
    with pytest.raises(UnreadableFileError, match="no raw file"):
        check_raw(tmp_path / "text.parquet")
    pq.write_table(pa.table({"order_guid": ["a"]}), tmp_path / "other.parquet")
    with pytest.raises(UnreadableFileError, match=r"differ in .*restaurant_guid: string not null"):
        check_raw(tmp_path / "other.parquet")


def test_no_flipped_bit_of_a_file_is_taken_for_truth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Several row groups: one that is missing has no page that could be damaged.
    monkeypatch.setattr(files, "_ROW_GROUP_ROWS", 20)
    orders = [version(f"order-{number}", number, f"text {number} " * 30) for number in range(60)]
    path = write(tmp_path / "raw.parquet", orders)
    whole = path.read_bytes()
    refused = 0
    for position in range(0, len(whole), 61):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << position % 8
        path.write_bytes(damaged)
        try:
            assert list(read_raw(path)) == orders, position
        except UnreadableFileError:
            refused += 1
        with suppress(UnreadableFileError):
            merge(path, write(tmp_path / "pulled", orders[:3]), tmp_path / "merged", "one")
    assert refused > 40


def test_orders_under_the_wrong_rows_are_noticed_although_every_page_is_whole(tmp_path: Path) -> None:
    path = write(tmp_path / "raw.parquet", [version("a", 1), version("b", 2, "longer")])
    table, footer = pq.read_table(path), pq.read_metadata(path).metadata
    position = table.schema.get_field_index("order_json")
    other = table.set_column(position, RAW_SCHEMA.field("order_json"), table["order_guid"])
    with pq.ParquetWriter(path, RAW_SCHEMA, write_page_checksum=True) as file:
        file.write_table(other)
        file.add_key_value_metadata({name: text for name, text in footer.items() if name.startswith(b"toast_assets")})
    with pytest.raises(UnreadableFileError, match="not those that were stored"):
        list(read_raw(path))


@pytest.mark.parametrize("kept", [0, 4, 300, -300, -4, -1])
def test_a_part_of_a_file_is_refused_by_every_reader(tmp_path: Path, kept: int) -> None:
    path = write(tmp_path / "raw.parquet", [version("a", 1, "x" * 999)])
    path.write_bytes(path.read_bytes()[:kept])
    readers: list[Callable[[Path], object]] = [check_raw, read_pull_evidence, orders_sha256]
    readers.append(content_of)
    for read in (*readers, *(_all_of(read) for read in (read_raw, read_groups))):
        with pytest.raises(UnreadableFileError):
            read(path)


def _all_of(read: Callable[[Path], Iterable[object]]) -> Callable[[Path], object]:
    return lambda path: list(read(path))


def test_a_writer_is_closed_only_when_no_thread_writes_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Arrow's writer would be freed while a thread uses it, which ends the process."""
    events: list[str] = []
    writing, go_on = threading.Event(), threading.Event()
    write_table: Callable[..., None] = pq.ParquetWriter.write_table
    close: Callable[..., None] = pq.ParquetWriter.close

    def slow(writer: pq.ParquetWriter, table: pa.Table) -> None:
        writing.set()
        go_on.wait(60)
        write_table(writer, table)
        events.append("written")

    def noted(writer: pq.ParquetWriter) -> None:
        close(writer)
        events.append("closed")

    monkeypatch.setattr(pq.ParquetWriter, "write_table", slow)
    monkeypatch.setattr(pq.ParquetWriter, "close", noted)
    monkeypatch.setattr(files, "_ROW_GROUP_ROWS", 1)
    writer = RawFileWriter(tmp_path / "raw.parquet", "one")
    thread = threading.Thread(target=writer.write, args=([version("a", 1)],))
    thread.start()
    writing.wait(60)
    closing = threading.Thread(target=writer.__exit__, args=(KeyboardInterrupt, KeyboardInterrupt(), None))
    closing.start()
    closing.join(0.05)
    assert events == []
    go_on.set()
    thread.join(60)
    closing.join(60)
    assert events == ["written", "closed"]


@pytest.mark.parametrize(
    ("column", "field", "reason"),
    [
        (
            "order_json",
            pa.field("order_json", pa.large_string(), nullable=False),
            "order_json: large_string not null, order_json: string not null",
        ),
        (
            "order_json",
            pa.field("order_json", pa.binary(), nullable=False),
            "order_json: binary not null, order_json: string not null",
        ),
        (
            "modified_at",
            pa.field("modified_at", pa.timestamp("us", "UTC"), nullable=False),
            r"modified_at: timestamp\[ms, tz=UTC\] not null, modified_at: timestamp\[us, tz=UTC\] not null",
        ),
        (
            "order_guid",
            pa.field("order_guid", pa.string()),
            r"differ in order_guid: string, order_guid: string not null",
        ),
        ("version", None, "differ in version: string not null"),
    ],
)
def test_a_raw_file_of_another_form_is_refused_by_the_column_that_differs(
    tmp_path: Path, column: str, field: pa.Field | None, reason: str
) -> None:
    table = pq.read_table(write(tmp_path / "raw.parquet", [version("a", 1)]))
    position = table.schema.get_field_index(column)
    values = table[column]
    table = table.remove_column(position)
    if field is not None:
        table = table.add_column(position, field, values.cast(field.type))
    pq.write_table(table, tmp_path / "raw.parquet")
    with pytest.raises(UnreadableFileError, match=reason):
        check_raw(tmp_path / "raw.parquet")


def test_a_raw_file_with_a_column_more_is_refused(tmp_path: Path) -> None:
    table = pq.read_table(write(tmp_path / "raw.parquet", [version("a", 1)]))
    pq.write_table(table.append_column("more", [[1]]), tmp_path / "raw.parquet")
    with pytest.raises(UnreadableFileError, match=r"its columns differ in more: int64"):
        check_raw(tmp_path / "raw.parquet")


def test_recent_orders_are_those_pulled_since(tmp_path: Path) -> None:
    path = write(tmp_path / "raw.parquet", [version("a", 1, pulled=10), version("b", 2, pulled=20)])
    assert content_of(path, since_ms=NOON + 10).recent == 1


# Merging


def test_the_newer_version_wins_whichever_side_it_comes_from(tmp_path: Path) -> None:
    result, rows = merged(tmp_path, [version("a", 5), version("b", 1)], [version("a", 3), version("b", 7)])
    assert rows == [version("a", 5), version("b", 7)]
    assert (result.new, result.changed) == (0, 1)


def test_what_is_stored_and_not_pulled_any_more_stays(tmp_path: Path) -> None:
    result, rows = merged(tmp_path, [version("gone", 1)], [version("b", 2)])
    assert [order.guid for order in rows] == ["gone", "b"]
    assert (result.new, result.changed) == (1, 0)


def test_for_one_time_the_stored_bytes_stay_unless_they_differ(tmp_path: Path) -> None:
    _, rows = merged(tmp_path, [version("a", 1, pulled=1)], [version("a", 1, pulled=2)])
    assert rows == [version("a", 1, pulled=1)]
    result, rows = merged(tmp_path, [version("a", 1, "old", 1)], [version("a", 1, "new", 2)])
    assert rows == [version("a", 1, "new", 2)]
    assert (result.new, result.changed) == (0, 1)


def test_an_unchanged_week_does_not_differ(tmp_path: Path) -> None:
    orders = [version("a", 1), version("b", 2)]
    result, rows = merged(tmp_path, orders, orders)
    assert (result.new, result.changed) == (0, 0)
    assert rows == orders


def test_several_versions_of_one_pull_count_as_one_order(tmp_path: Path) -> None:
    result, rows = merged(tmp_path, None, [version("a", 1), version("a", 4), version("b", 2)])
    assert rows == [version("b", 2), version("a", 4)]
    assert (result.orders, result.new, result.changed) == (2, 2, 0)


def test_the_same_version_twice_in_one_pull_counts_once(tmp_path: Path) -> None:
    result, rows = merged(tmp_path, None, [version("a", 1, "x"), version("a", 1, "x")])
    assert rows == [version("a", 1, "x")]
    assert result.new == 1


orders = st.builds(
    version,
    guid=st.sampled_from("abcdefg"),
    modified=st.integers(0, 5),
    text=st.sampled_from(["", "x"]),
    pulled=st.integers(0, 3),
)
whole = st.lists(orders, max_size=12, unique_by=lambda order: order.guid)


@given(st.one_of(st.none(), whole), st.lists(st.lists(orders, max_size=12), min_size=1, max_size=4))
@settings(max_examples=50, deadline=None)
def test_merging_is_what_a_dictionary_would_do(stored: list[RawOrder] | None, pulls: list[list[RawOrder]]) -> None:
    model = {order.guid: order for order in stored or ()}
    current = stored
    with TemporaryDirectory() as folder:
        for pulled in pulls:
            before = dict(model)
            for order in sorted(pulled, key=lambda each: each.sort_key):
                known = model.get(order.guid)
                if known is None or (known.modified_ms, 0) < (order.modified_ms, known.body != order.body):
                    model[order.guid] = order
            result, rows = merged(Path(folder), current, pulled)
            _same(rows, model)
            assert result.orders == len(model)
            assert result.new == len(model.keys() - before.keys())
            assert result.changed == sum(model[guid].body != old.body for guid, old in before.items())
            assert bool(result.new or result.changed) == (_bodies(model) != _bodies(before))
            current = rows


def _same(rows: list[RawOrder], model: dict[str, RawOrder]) -> None:
    assert rows == sorted(rows, key=lambda order: order.sort_key)
    assert _bodies({order.guid: order for order in rows}) == _bodies(model)
    assert len(rows) == len(model)


def _bodies(versions: dict[str, RawOrder]) -> dict[str, tuple[int, bytes]]:
    return {guid: (order.modified_ms, order.body) for guid, order in versions.items()}


def test_times_are_utc_milliseconds() -> None:
    assert from_epoch_ms(NOON) == datetime(2025, 9, 16, 5, 20, tzinfo=UTC)


# Row groups


@pytest.fixture
def numbers(tmp_path: Path) -> Path:
    path, column = tmp_path / "numbers.parquet", list(range(1_000))
    pq.write_table(pa.table({"a": column, "b": column, "c": column}), path, row_group_size=100)
    return path


def test_the_row_groups_come_in_the_files_order_with_the_columns_asked_for(numbers: Path) -> None:
    tables = list(row_groups(numbers, ["c", "a"]))
    assert [table.num_rows for table in tables] == [100] * 10
    assert pa.concat_tables(tables)["a"].to_pylist() == list(range(1_000))
    assert set(tables[0].column_names) == {"a", "c"}


@pytest.mark.skipif(not _TASKS.exists(), reason="threads are counted by Linux's own list")
def test_reading_does_not_start_arrows_threads_which_would_each_keep_memory(numbers: Path) -> None:
    command = [sys.executable, "-c", _READ_AND_COUNT_THREADS, str(numbers)]
    found = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - this very interpreter
    assert int(found.stdout) > 0
