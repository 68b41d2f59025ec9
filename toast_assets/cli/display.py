"""What a run looks like while it works: one line per asset, live on a terminal, plain lines elsewhere."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Sequence
from enum import Enum

import dagster as dg
from rich.console import Console
from rich.markup import escape

# Of an asset's metadata, what fits into one line; zeros are left out.
_HEADLINES = (
    *("orders", "new_orders", "accepted", "unchanged", "restaurants"),
    *("requests", "throttled", "retries", "rejected", "pending"),
)
_WORDS = {"new_orders": "new", "unchanged": "had arrived before", "throttled": "429s"}


class Outcome(Enum):
    """How a step or a check ended, with its mark; a check fails only where its severity is an error."""

    PASSED = "[green]✓[/]"
    WARNED = "[yellow]![/]"
    FAILED = "[red]✗[/]"


class Display(logging.Handler):
    """Shows a run by its log records, to which Dagster attaches its events; without a ``console`` it shows nothing.

    On a terminal, passed checks share a line, so that the others stand out.
    """

    def __init__(self, console: Console | None = None) -> None:
        super().__init__()
        self._console = console or Console(quiet=True)
        self._live = self._console.is_terminal and not self._console.quiet
        self._status = self._console.status("")
        self._steps: Collection[str] = ()
        self._made: dict[str, list[dg.AssetMaterialization]] = {}
        self._began = time.monotonic()
        self._passed = 0

    def started(self, steps: Collection[str]) -> None:
        """A run of these steps begins."""
        self._steps = steps
        if self._live:
            self._status.start()

    def ended(self) -> None:
        """The run is over."""
        self._status.stop()
        if self._passed:
            self._mark("asset checks", f"{self._passed} passed", Outcome.PASSED)

    def emit(self, record: logging.LogRecord) -> None:
        """Shows one record."""
        meta = getattr(record, "dagster_meta", {})
        step, event = meta.get("step_key") or "", meta.get("dagster_event")
        if not isinstance(event, dg.DagsterEvent):
            if step in self._steps and record.levelno >= logging.INFO:
                said = str(meta.get("orig_message") or record.getMessage())
                self._progress(f"{step}  {said}", f"  {said}")
            return
        kind = event.event_type
        if kind is dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            check = event.asset_check_evaluation_data
            failure = Outcome.WARNED if check.severity is dg.AssetCheckSeverity.WARN else Outcome.FAILED
            self.checked(check.check_name, check.description or "", Outcome.PASSED if check.passed else failure)
        elif step not in self._steps:
            return
        elif kind is dg.DagsterEventType.STEP_START:
            self._began = time.monotonic()
            self._progress(step, step)
        elif kind is dg.DagsterEventType.ASSET_MATERIALIZATION:
            self._made.setdefault(step, []).append(event.step_materialization_data.materialization)
        elif kind is dg.DagsterEventType.STEP_SUCCESS:
            self.step_ended(step, _headline(self._made.pop(step, [])), Outcome.PASSED)
        elif kind is dg.DagsterEventType.STEP_FAILURE:
            self.step_ended(step, failure_reason(event), Outcome.FAILED)

    def step_ended(self, step: str, summary: str, outcome: Outcome) -> None:
        """A step is done; ``summary`` is its result in one line."""
        seconds = time.monotonic() - self._began
        if self._live:
            self._mark(step, f"{summary} ({seconds:.1f} s)", outcome)
            self._status.update("")
        else:
            self._print(f"  {'done' if outcome is Outcome.PASSED else 'failed'} in {seconds:.1f} s: {summary}")

    def checked(self, check: str, text: str, outcome: Outcome) -> None:
        """An asset check has been evaluated."""
        if not self._live:
            self._print(f"check {check} {outcome.name.lower()}: {text}")
        elif outcome is Outcome.PASSED:
            self._passed += 1
        else:
            self._mark(check, text, outcome)

    def _progress(self, live: str, plain: str) -> None:
        if self._live:
            # One line, beside the spinner.
            self._status.update(escape(live[: self._console.width - 3]))
        else:
            self._print(plain)

    def _print(self, text: str) -> None:
        self._console.print(text, soft_wrap=True, markup=False)

    def _mark(self, name: str, text: str, outcome: Outcome) -> None:
        self._console.print(f"{outcome.value} {name}  [dim]{escape(text)}[/]")


def failure_reason(event: dg.DagsterEvent) -> str:
    """Why a step failed, in the words of the failure itself."""
    if was_interrupted(event):
        return "interrupted"
    failure = event.step_failure_data
    if failure.user_failure_data and failure.user_failure_data.description:
        return failure.user_failure_data.description
    # Dagster wraps what the step raised in errors of its own.
    error = failure.error
    while error is not None and error.cause is not None:
        error = error.cause
    return error.message.strip() if error is not None else "The step failed without a reason."


def was_interrupted(event: dg.DagsterEvent) -> bool:
    """Whether a step failed because the process was interrupted."""
    error = event.step_failure_data.error
    return error is not None and error.cls_name == dg.DagsterExecutionInterruptedError.__name__


def _headline(made: Sequence[dg.AssetMaterialization]) -> str:
    """The counts of a step's asset, or the rows of each where it makes several."""
    if len(made) == 1:
        metadata = made[0].metadata
        counts = [(metadata[name].value, _WORDS.get(name, name)) for name in _HEADLINES if name in metadata]
    else:
        rows = [(each.metadata.get("dagster/row_count"), each.asset_key.to_user_string()) for each in made]
        counts = [(count.value, name) for count, name in rows if count is not None]
    return ", ".join(f"{count:,} {text}" for count, text in counts if isinstance(count, int) and count)
