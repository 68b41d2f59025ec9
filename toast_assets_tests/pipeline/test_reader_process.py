"""A second process that reads raw orders."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from toast_assets.errors import ReaderProcessError
from toast_assets.pipeline.order_facts import FactsReader
from toast_assets.pipeline.reader_process import ReaderProcess
from toast_assets.store.order_store import OrderStore
from toast_assets.week import Week
from toast_assets_tests.invented import invented_week
from toast_assets_tests.support.stored_weeks import store_week


@pytest.fixture
def files(store: OrderStore, week: Week, tmp_path: Path) -> dict[str, Path]:
    """Raw files of two restaurants, by GUID."""
    orders = {"here": list(invented_week(50, 1)), "there": list(invented_week(70, 2))}
    store_week(store, week, orders)
    found = {guid: tmp_path / f"{guid}.parquet" for guid in orders}
    for guid, path in found.items():
        store.download_raw(week, guid, path)
    return found


def test_it_finds_what_is_found_here_and_ends(week: Week, files: dict[str, Path]) -> None:
    here = FactsReader(week.start_ms, week.end_ms)
    with ReaderProcess(week.start_ms, week.end_ms) as there:
        for guid, path in files.items():
            assert there.read(guid, path) == here.read(guid, path)
        assert there.facts() == here.facts()
    assert there._process.returncode == 0


def test_its_modules_are_found_where_this_process_finds_them(
    week: Week, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = tmp_path / "found"
    (tmp_path / "sitecustomize.py").write_text(f"from pathlib import Path\nPath({str(found)!r}).touch()\n")
    monkeypatch.syspath_prepend(tmp_path)
    with ReaderProcess(week.start_ms, week.end_ms) as there:
        assert there.facts().restaurants == {}
    assert found.exists()


def test_it_is_not_waited_for_after_an_error(week: Week) -> None:
    with pytest.raises(ZeroDivisionError), ReaderProcess(week.start_ms, week.end_ms) as there:
        1 / 0  # noqa: B018 - any error
    assert there._process.returncode == -signal.SIGKILL


def test_that_it_was_killed_is_told(week: Week, files: dict[str, Path]) -> None:
    with ReaderProcess(week.start_ms, week.end_ms) as there:
        there.read("here", files["here"])
        there._process.kill()
        there._process.wait()
        with pytest.raises(ReaderProcessError, match=r"read raw orders ended with status -9\. .* want of memory"):
            there.read("there", files["there"])


def test_that_it_failed_is_told(week: Week, tmp_path: Path) -> None:
    with (
        ReaderProcess(week.start_ms, week.end_ms) as there,
        pytest.raises(ReaderProcessError, match=r"ended with status 1\. .*standard error"),
    ):
        there.read("nobody", tmp_path / "nothing.parquet")
