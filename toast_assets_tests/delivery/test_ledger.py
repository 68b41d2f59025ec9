"""The ledger as a table: one row per record and method, read by DuckDB and pandas over a week's folder."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from toast_assets.amperity.records import RecordKey, order_version
from toast_assets.amperity.redaction import Redaction
from toast_assets.delivery.ledger import (
    LEDGER_SCHEMA,
    LedgerEntry,
    State,
    calls_so_far,
    decode_ledger,
    encode_ledger,
    fold,
    to_table,
)


def entry(guid: str, state: State, *, method: str = "stream", version: str = "1-a", attempts: int = 1) -> LedgerEntry:
    key = RecordKey(method, "is-x", "place", guid, version, guid if method == "stream" else None)
    return LedgerEntry(key, state, attempts, 202, None, 1_758_000_000_123)


def test_the_newest_row_of_a_record_and_method_stays() -> None:
    older = to_table([entry("a", "pending"), entry("b", "accepted"), entry("a", "accepted", method="notify")])
    newer = to_table([entry("a", "accepted", version="2-b", attempts=3)])
    rows = fold([older, newer]).to_pylist()
    found = [(row["method"], row["record_id"], row["state"], row["version"], row["attempts"]) for row in rows]
    assert found == [
        ("notify", "a", "accepted", "1-a", 1),
        ("stream", "a", "accepted", "2-b", 3),
        ("stream", "b", "accepted", "1-a", 1),
    ]


def note(version: str, modified_ms: int | None, state: State, at: int) -> LedgerEntry:
    key = RecordKey("stream", "is-x", "place", "order", version, "order", None, modified_ms)
    return LedgerEntry(key, state, 1, None, None, at)


@pytest.mark.parametrize(
    ("entries", "stays"),
    [
        ([note("old", 1, "accepted", 30), note("new", 2, "accepted", 20)], ("new", "accepted", 20)),
        ([note("old", 1, "accepted", 30), note("new", 2, "rejected", 20)], ("new", "rejected", 20)),
        ([note("a", 1, "accepted", 30), note("b", 1, "accepted", 20)], ("a", "accepted", 30)),
        ([note("a", 1, "pending", 30), note("a", 1, "accepted", 20)], ("a", "accepted", 20)),
        ([note("a", 1, "rejected", 30), note("a", 1, "accepted", 20)], ("a", "accepted", 20)),
        ([note("a", 1, "pending", 30), note("a", 1, "rejected", 20)], ("a", "pending", 30)),
        ([note("a", None, "pending", 20), note("a", None, "rejected", 20)], ("a", "rejected", 20)),
    ],
    ids=[
        "the version modified last, though the other arrived last",
        "the version modified last, though only the other arrived",
        "of one modified time the one that arrived last",
        "what has arrived stays so",
        "what has arrived is not refused any more",
        "else the last word",
        "an answer, of one moment",
    ],
)
def test_whichever_run_folds_last_the_newest_row_stays(entries: list[LedgerEntry], stays: tuple[str, str, int]) -> None:
    for first, last in itertools.permutations(entries):
        (row,) = fold([to_table([first]), to_table([last])]).to_pylist()
        assert (row["version"], row["state"], int(row["updated_at"].timestamp() * 1000)) == stays


def test_only_what_arrived_or_is_outdated_is_settled_and_the_others_keep_their_count() -> None:
    states: tuple[State, ...] = ("pending", "accepted", "loaded", "rejected", "superseded")
    entries = [entry(state, state, attempts=4) for state in states]
    known = calls_so_far(to_table(entries))
    assert {one.state: known[one.key.request_id] for one in entries} == {
        **{"pending": 4, "rejected": 4},
        **{"accepted": None, "loaded": None, "superseded": None},
    }


def test_a_request_id_stands_for_one_version_of_one_record_at_one_place() -> None:
    base = RecordKey("stream", "is-x", "place", "order", "1-a", "order")
    others = [
        RecordKey("notify", "is-x", "place", "order", "1-a"),
        RecordKey("stream", "is-y", "place", "order", "1-a"),
        RecordKey("stream", "is-x", "other", "order", "1-a"),
        RecordKey("stream", "is-x", "place", "other", "1-a"),
        RecordKey("stream", "is-x", "place", "order", "2-a"),
    ]
    assert len({base.request_id, *(one.request_id for one in others)}) == 6
    assert base.request_id == RecordKey("stream", "is-x", "place", "order", "1-a").request_id


def test_another_order_rule_or_salt_makes_another_version_of_the_record() -> None:
    shapes = [Redaction(), Redaction({"email": "drop"}), Redaction({}, b"salt")]
    versions = {order_version(raw, shape) for raw in ("of-one", "of-another") for shape in shapes}
    assert len(versions) == 6
    assert {len(version) for version in versions} == {64}


def test_a_weeks_folder_is_one_table_for_duckdb_and_for_pandas(tmp_path: Path) -> None:
    folder = tmp_path / "deliveries" / "week=2025-09-15"
    folder.mkdir(parents=True)
    (folder / "restaurant=a.parquet").write_bytes(encode_ledger(to_table([entry("a", "accepted")])))
    (folder / "restaurant=b.parquet").write_bytes(encode_ledger(to_table([entry("b", "rejected")])))
    (folder / "s3_pull.parquet").write_bytes(encode_ledger(to_table([entry("2025-09-15", "loaded", method="s3_pull")])))
    found = duckdb.read_parquet(str(folder / "*.parquet"))
    assert found.columns[: len(LEDGER_SCHEMA)] == LEDGER_SCHEMA.names
    assert sorted(found.select("state").fetchall()) == [("accepted",), ("loaded",), ("rejected",)]
    frame = pd.concat(map(pd.read_parquet, sorted(folder.glob("*.parquet"))))
    assert list(frame.columns) == LEDGER_SCHEMA.names
    assert (len(frame), str(frame["updated_at"].dtype)) == (3, "datetime64[ms, UTC]")


def test_what_is_read_is_what_was_written() -> None:
    rows = to_table([entry("a", "accepted"), entry("b", "pending", method="notify")])
    assert decode_ledger(encode_ledger(rows)).equals(rows)
    assert decode_ledger(encode_ledger(LEDGER_SCHEMA.empty_table())).schema.equals(LEDGER_SCHEMA)


# Tells how many threads reading a ledger starts. One that lets go of bytes while the interpreter ends aborts it.
_COUNT_THREADS = """
import os
from toast_assets.delivery.ledger import LEDGER_SCHEMA, decode_ledger, encode_ledger
body = encode_ledger(LEDGER_SCHEMA.empty_table())
before = len(os.listdir("/proc/self/task"))
decode_ledger(body)
print(len(os.listdir("/proc/self/task")) - before)
"""


def test_a_ledger_is_read_without_threads_that_could_outlive_the_interpreter() -> None:
    done = subprocess.run(  # noqa: S603 - this very interpreter
        [sys.executable, "-c", _COUNT_THREADS], check=True, capture_output=True, text=True
    )
    assert done.stdout == "0\n"
