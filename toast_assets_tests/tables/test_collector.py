"""The collector is paused for a batch, and runs again whatever the batch ends in."""

from __future__ import annotations

import gc

import pytest

from toast_assets.orders.read import RawOrders, read
from toast_assets.tables.collector import paused
from toast_assets.tables.flatten import flatten
from toast_assets_tests.support.data.invented import RESTAURANT, encode, order


def test_only_the_outermost_block_starts_the_collector_again() -> None:
    with paused():
        with paused():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()


def test_the_collector_runs_again_after_an_error() -> None:
    with pytest.raises(KeyError), paused():
        raise KeyError
    assert gc.isenabled()


def test_it_stands_still_for_a_batch_and_runs_between_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    running = []

    def watched(batch: RawOrders) -> object:
        running.append(gc.isenabled())
        return read(batch)

    monkeypatch.setattr("toast_assets.tables.flatten.read", watched)
    for _ in flatten(RawOrders(RESTAURANT, encode(order()), "UTC") for _ in range(2)):
        running.append(gc.isenabled())
    assert running == [False, True, False, True]
