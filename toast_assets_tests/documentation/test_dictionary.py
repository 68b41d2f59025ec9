"""The data dictionary says what the code does."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import get_args

import pytest

from docs.make_dictionary import PATH, STATES, render
from toast_assets.amperity.feeds.build import FEEDS
from toast_assets.amperity.feeds.privacy_requests import PRIVACY_REQUESTS
from toast_assets.defs.metadata import LEDGER_COLUMNS
from toast_assets.delivery.ledger import LEDGER_SCHEMA, State
from toast_assets.tables.schema import NAMES, RESTAURANTS, STATUS, TABLES

ROOT = Path(__file__).parents[2]


def test_the_document_is_in_step_with_the_code() -> None:
    assert (ROOT / PATH).read_text(encoding="utf-8") == render(), "python -m docs.make_dictionary"


def test_every_column_of_every_table_and_feed_is_in_it() -> None:
    document = render()
    for table in (*TABLES.values(), NAMES, RESTAURANTS, STATUS):
        assert f"### `{table.name}`" in document
        assert all(f"| `{column.name}` |" in document for column in table.columns)
    for feed in (*FEEDS.values(), PRIVACY_REQUESTS):
        assert all(f"| `{name}` |" in document for name in feed.columns)


def test_the_ledgers_columns_and_states_are_those_of_the_code() -> None:
    assert [column.name for column in LEDGER_COLUMNS.columns] == LEDGER_SCHEMA.names
    assert tuple(STATES) == get_args(State)
    assert "| `request_id` | string, never null |" in render()


def test_the_rules_that_it_refers_to_are_there() -> None:
    for name in ("delivery-rules.md", "amperity-couriers.md"):
        assert f"({name})" in render()
        assert (ROOT / "docs" / name).is_file()


@pytest.mark.parametrize("module", ["docs.make_dictionary", "docs.make_couriers", "docs.make_errors"])
def test_a_document_is_written_by_its_module(module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "docs").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, module, raising=False)
    runpy.run_module(module, run_name="__main__")
    (page,) = (tmp_path / "docs").iterdir()
    assert page.read_text(encoding="utf-8") == (ROOT / "docs" / page.name).read_text(encoding="utf-8")
