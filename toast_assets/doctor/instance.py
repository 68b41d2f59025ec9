"""Dagster's instance: where its history goes, and whether the pools that hold the services' limits are limited."""

from __future__ import annotations

import os
from pathlib import Path

import dagster as dg

from toast_assets.doctor.findings import Finding, failed, ok, warning

AREA = "Dagster"
POOLS = ("toast", "amperity")


def check_instance(home: str | None, *, practice: bool = False) -> list[Finding]:
    """All lines about the instance of ``DAGSTER_HOME``; ``practice`` where the services are a sandbox."""
    if not home:
        hint = "Set DAGSTER_HOME to a folder with a dagster.yaml; the one of this project is a start."
        return [warning(AREA, "DAGSTER_HOME", "it is not set: history is lost when a process ends", hint)]
    if not Path(home).is_dir() or not os.access(home, os.R_OK):
        return [failed(AREA, "DAGSTER_HOME", f"{home} is no folder that can be read", "Check DAGSTER_HOME.")]
    try:
        with dg.DagsterInstance.from_config(home) as instance:
            return [_storage(instance, practice=practice), *(_pool(instance, pool) for pool in POOLS)]
    # Whatever a driver or Dagster's configuration raises: it is the finding.
    except Exception as error:  # noqa: BLE001
        reason = f"the instance cannot be opened ({type(error).__name__})"
        return [failed(AREA, "storage", reason, f"Check {home}/dagster.yaml and the database that it names.")]


def _storage(instance: dg.DagsterInstance, *, practice: bool) -> Finding:
    runs = instance.get_runs_count()
    kind = type(instance.event_log_storage).__name__
    if "Sqlite" in kind and not practice:
        detail = f"SQLite; {runs} runs so far: enough for one machine, but runs side by side wait for its locks"
        hint = "In production put history into Postgres: `storage:` of deploy/dagster.yaml, ways in docs/operate.md."
        return warning(AREA, "storage", detail, hint)
    where = "Postgres" if "Postgres" in kind else "SQLite, as befits a sandbox" if "Sqlite" in kind else kind
    return ok(AREA, "storage", f"{where}; {runs} runs so far")


def _pool(instance: dg.DagsterInstance, pool: str) -> Finding:
    limits = {one.name: one.limit for one in instance.event_log_storage.get_pool_limits()}
    config = instance.get_concurrency_config().pool_config
    limit = limits.get(pool, config.default_pool_limit)
    if limit is None:
        detail = "it is not limited: runs side by side would ask for more than the service allows"
        hint = f"dagster instance concurrency set {pool} 1, or concurrency.pools.default_limit in dagster.yaml."
        return failed(AREA, f"pool {pool}", detail, hint)
    if limit < 1:
        hint = f"dagster instance concurrency set {pool} 1"
        return failed(AREA, f"pool {pool}", "its limit is 0: nothing would ever run", hint)
    return ok(AREA, f"pool {pool}", f"at most {limit} at once")
