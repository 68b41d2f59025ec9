"""Materializes a week in this process, with the definitions that production uses."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg

from toast_assets.cli.display import Display
from toast_assets.errors import ToastAssetsError
from toast_assets.settings import CalendarSettings
from toast_assets.week import Week

# The process that executes a run itself: no daemon would notice that it died. Dagster's UI hides tags of this prefix.
PID_TAG = ".dagster/toast_assets_pid"
# What differs for runs that a command executes without Dagster's daemon.
_IN_PROCESS = {
    # Capturing output would send the command's own lines through a child process, which Ctrl-C ends with a traceback.
    "compute_logs": {"module": "dagster._core.storage.noop_compute_log_manager", "class": "NoOpComputeLogManager"},
    # Slots of pools are for runs that the daemon watches: a command that is killed could not release its own, and the
    # next one would wait for ever.
    "concurrency": {"pools": {"granularity": "run"}},
}


@contextmanager
def in_process_instance(home: Path) -> Iterator[dg.DagsterInstance]:
    """Dagster's history in ``home``, for runs that this process executes itself."""
    with dg.DagsterInstance.local_temp(str(home), overrides=_IN_PROCESS) as instance:
        # To Dagster, the runs of commands that were killed would run for ever, and their week wait for them.
        for run in instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])):
            # A process of another user may not be signalled, but is alive.
            with suppress(PermissionError):
                try:
                    os.kill(int(run.tags.get(PID_TAG, os.getpid())), 0)
                except ProcessLookupError:
                    instance.report_run_failed(run, "The command that executed this run was killed.")
        yield instance


def last_closed_weeks(count: int) -> list[Week]:
    """Up to ``count`` weeks that have closed by now, the newest last, by this process's environment."""
    calendar, weeks, at = CalendarSettings.from_environment().calendar(), list[Week](), datetime.now(UTC)
    while len(weeks) < count and (week := calendar.last_closed(at)):
        weeks.insert(0, week)
        at = week.start + calendar.settling
    if not weeks:
        raise ToastAssetsError("The first week has not closed yet.", hint="Set TOAST_START_DATE to an earlier week.")
    return weeks


def materialize(week: Week, home: Path, display: Display, assets: Sequence[str] = ()) -> dict[str, dict[str, Any]]:
    """Run the weekly job for ``week``, or those of its ``assets`` that are named, with its history in ``home``: the
    metadata of each asset, by its name. Raises ToastAssetsError, with the first failure's reason, where the run failed.
    """
    from toast_assets.defs.brand import WEEKLY_JOB
    from toast_assets.defs.build import build_defs

    @dg.logger
    def run_logger(_context: dg.InitLoggerContext) -> logging.Logger:
        logger = logging.Logger("toast_assets.cli")
        logger.addHandler(display)
        return logger

    with in_process_instance(home) as instance, display:
        # Under the name of Dagster's own logger, so that the UI can execute the run again with the same run config.
        job = build_defs().resolve_job_def(WEEKLY_JOB).with_logger_defs({"console": run_logger})
        result = job.execute_in_process(
            run_config={"loggers": {"console": {}}},
            instance=instance,
            partition_key=week.key,
            asset_selection=list(map(dg.AssetKey, assets)) or None,
            tags={PID_TAG: str(os.getpid()), "toast/reason": "sandbox"},
            raise_on_error=False,
        )
    if not result.success:
        raise display.failure or ToastAssetsError(f"The run failed. {result.all_events[-1].message}")
    made = [event.step_materialization_data.materialization for event in result.get_asset_materialization_events()]
    return {one.asset_key.to_user_string(): {name: each.value for name, each in one.metadata.items()} for one in made}
