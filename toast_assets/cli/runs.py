"""Materializes a week in this process, through Dagster and on the definitions that production uses."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from toast_assets.cli.display import Display, DisplayHandler, failure_reason, was_interrupted
from toast_assets.cli.home import PID_TAG
from toast_assets.errors import ToastAssetsError
from toast_assets.settings import CalendarSettings
from toast_assets.week import Week

_JOB = "weekly_toast_orders"


@dataclass(frozen=True)
class WeekRun:
    """What one run reported: the metadata of each asset, by the asset's name."""

    metadata: Mapping[str, Mapping[str, Any]]

    def count(self, asset: str, name: str) -> int:
        """One number of an asset's metadata."""
        return int(self.metadata[asset][name])


def last_closed_week() -> Week:
    """The week that the sensor would ask for now, by this process's environment.

    Raises:
        ToastAssetsError: not even the first week has closed.
    """
    week = CalendarSettings.from_environment().calendar().last_closed(datetime.now(UTC))
    if week is None:
        raise ToastAssetsError("The first week has not closed yet.", hint="Set TOAST_START_DATE to an earlier week.")
    return week


def materialize(week: Week, instance: dg.DagsterInstance, display: Display) -> WeekRun:
    """Run the weekly job for ``week`` with the environment's variables, as the daemon would.

    Raises:
        ToastAssetsError: the run failed; the message is the first failure's reason.
    """
    # Definitions take their variables from the environment when they are built.
    from toast_assets.definitions import build_defs

    defs = build_defs()
    job = defs.resolve_job_def(_JOB)
    selected = job.asset_layer.selected_asset_keys
    ordered = [key for key in defs.resolve_asset_graph().toposorted_asset_keys if key in selected]
    # One step can make several assets.
    steps = list(dict.fromkeys(defs.resolve_assets_def(key).node_def.name for key in ordered))
    # Under the name of Dagster's own logger, so that the UI can execute the run again with the same run config.
    shown = job.with_logger_defs({"console": _logger(DisplayHandler(display, steps))})
    display.started(steps)
    try:
        result = shown.execute_in_process(
            run_config={"loggers": {"console": {}}},
            instance=instance,
            partition_key=week.key,
            tags={PID_TAG: str(os.getpid()), "toast/reason": "toast-assets on a sandbox"},
            raise_on_error=False,
        )
    finally:
        display.ended()
    if not result.success:
        raise _reason(result)
    return WeekRun({_name(each): _values(each) for each in result.get_asset_materialization_events()})


def _reason(result: dg.ExecuteInProcessResult) -> BaseException:
    for event in result.all_events:
        if event.event_type is dg.DagsterEventType.STEP_FAILURE:
            if was_interrupted(event):
                return KeyboardInterrupt()
            return ToastAssetsError(f"{event.step_key} failed: {failure_reason(event)}")
    messages = [event.message for event in result.all_events if event.is_failure and event.message]
    return ToastAssetsError(" ".join(["The run failed.", *messages[-1:]]))


def _logger(handler: logging.Handler) -> dg.LoggerDefinition:
    @dg.logger
    def run_logger(_context: dg.InitLoggerContext) -> logging.Logger:
        logger = logging.Logger("toast_assets.cli")
        logger.addHandler(handler)
        return logger

    return run_logger


def _name(event: dg.DagsterEvent) -> str:
    return event.step_materialization_data.materialization.asset_key.to_user_string()


def _values(event: dg.DagsterEvent) -> dict[str, Any]:
    metadata = event.step_materialization_data.materialization.metadata
    return {name: value.value for name, value in metadata.items()}
