"""Dagster's settings: the file that is committed is the file that the commands use, and it says what is meant."""

from __future__ import annotations

import os
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.test_utils import create_run_for_test

from toast_assets.cli.environment import dagster_home
from toast_assets.cli.runs import PID_TAG, in_process_instance

ROOT = Path(__file__).parents[2]


def test_the_commands_use_the_committed_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    home = dagster_home()
    assert home == tmp_path / ".toast-assets" / "dagster_home"
    assert (home / "dagster.yaml").read_bytes() == (ROOT / "dagster.yaml").read_bytes()


def test_an_instance_by_these_settings_queues_limits_and_watches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with dg.DagsterInstance.from_config(str(dagster_home())) as instance:
        assert isinstance(instance.run_coordinator, dg.QueuedRunCoordinator)
        concurrency = instance.get_concurrency_config()
        assert concurrency.pool_config.default_pool_limit == 1
        assert concurrency.run_queue_config is not None
        per_week = {"key": "dagster/partition", "value": {"applyLimitPerUniqueValue": True}, "limit": 1}
        assert concurrency.run_queue_config.tag_concurrency_limits == [per_week]
        assert not instance.telemetry_enabled
        assert not instance.nux_enabled
        assert instance.run_monitoring_enabled
        assert instance.run_monitoring_settings["free_slots_after_run_end_seconds"] > 0
        assert instance.run_retries_enabled
        assert not instance.run_retries_retry_on_asset_or_op_failure


def test_a_run_whose_command_was_killed_does_not_run_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    nobody = 99_999_999  # more than any system counts to
    started = dg.DagsterRunStatus.STARTED
    with dg.DagsterInstance.from_config(str(dagster_home())) as instance:
        pids = {"killed": nobody, "at work": os.getpid()}
        runs = {
            name: create_run_for_test(instance, status=started, tags={PID_TAG: str(pid)}).run_id
            for name, pid in pids.items()
        }
        runs["the daemon's"] = create_run_for_test(instance, status=started).run_id
    with in_process_instance(dagster_home()) as instance:
        found = {name: run.status for name, run_id in runs.items() if (run := instance.get_run_by_id(run_id))}
    assert found == {"killed": dg.DagsterRunStatus.FAILURE, "at work": started, "the daemon's": started}
