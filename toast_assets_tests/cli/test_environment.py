"""Commands on the sandbox see the sandbox's variables and nothing of the caller's that concerns the pipeline."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from toast_assets.cli.environment import only, sandbox_config, sandbox_environment
from toast_assets.sandbox import Sandbox
from toast_assets_tests.cli.conftest import MISLEADING


def test_nothing_of_the_callers_reaches_the_pipeline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in MISLEADING.items():
        monkeypatch.setenv(name, value)
    with Sandbox(sandbox_config()) as sandbox:
        environment = sandbox_environment(sandbox, tmp_path)
        wanted = sandbox.environment()
    assert environment.items() >= wanted.items()
    assert not set(MISLEADING.values()) & set(environment.values())
    assert environment["DAGSTER_HOME"] == str(tmp_path)
    assert environment["AWS_CONFIG_FILE"] == os.devnull
    assert environment["PATH"] == os.environ["PATH"]


def test_the_callers_environment_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOAST_CLIENT_ID", "real")
    before = dict(os.environ)
    with only({"TOAST_CLIENT_SECRET": "other"}):
        assert dict(os.environ) == {"TOAST_CLIENT_SECRET": "other"}
    assert dict(os.environ) == before


def test_options_make_a_brand_of_any_size() -> None:
    config = sandbox_config(9300, seed=7, restaurants=3, orders=5, latency=0.1)
    assert [each.orders_per_week for each in config.restaurants] == [5, 5, 5]
    assert (config.port, config.seed, config.latency_seconds, config.rate_limits) == (9300, 7, 0.1, True)


def test_by_default_three_restaurants_trade_on_free_ports() -> None:
    config = sandbox_config()
    assert sum(not each.state for each in config.restaurants) == 3
    assert config.port == 0
