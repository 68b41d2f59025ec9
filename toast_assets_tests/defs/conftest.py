"""Runs of the real definitions against a sandbox, as Dagster would run them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import dagster as dg
import pytest

from toast_assets.defs.build import build_defs
from toast_assets.sandbox import Sandbox

PARTITION = "2025-09-15"
PREFIXES = ("TOAST_", "S3_", "AMPERITY_", "AWS_")
RunWeek = Callable[..., dg.ExecuteInProcessResult]


@pytest.fixture
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """No variable of the pipeline is set."""
    for name in list(os.environ):
        if name.startswith(PREFIXES):
            monkeypatch.delenv(name)
    return monkeypatch


@pytest.fixture
def sandbox_environment(bare_environment: pytest.MonkeyPatch, sandbox: Sandbox) -> pytest.MonkeyPatch:
    """The variables of the sandbox, without a census: it would invent three weeks for it."""
    for name, value in sandbox.environment().items():
        bare_environment.setenv(name, value)
    bare_environment.setenv("TOAST_REQUESTS_PER_SECOND", "100000")
    bare_environment.setenv("TOAST_CENSUS", "off")
    return bare_environment


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """A Dagster instance that is gone after the test."""
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


@pytest.fixture
def run_week(instance: dg.DagsterInstance) -> RunWeek:
    """Runs the weekly job, or those of its assets that are named (``toast/orders``), for one week."""

    def run(
        *assets: str, partition: str = PARTITION, config: dict[str, object] | None = None
    ) -> dg.ExecuteInProcessResult:
        job = build_defs().resolve_job_def("weekly_toast_orders")
        return job.execute_in_process(
            instance=instance,
            partition_key=partition,
            asset_selection=[dg.AssetKey.from_user_string(name) for name in assets] or None,
            run_config={"ops": {name: {"config": values} for name, values in (config or {}).items()}},
            raise_on_error=False,
        )

    return run
