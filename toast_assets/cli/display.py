"""What a run looks like while it works: one line per asset, live on a terminal, plain lines elsewhere.

Everything shown comes from the run's own log records and Dagster events.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from enum import Enum

import dagster as dg
from rich.console import Console
from rich.markup import escape

# Of an asset's metadata, what fits into one line; zeros are left out.
_HEADLINES = {
    "orders": "orders",
    "new_orders": "new",
    "accepted": "accepted",
    "unchanged": "had arrived before",
    "restaurants": "restaurants",
    "requests": "requests",
    "throttled": "429s",
    "retries": "retries",
    "rejected": "rejected",
    "pending": "pending",
}


class Outcome(Enum):
    """How a step or a check ended, with its mark; a check fails only where its severity is an error."""

    PASSED = "[green]✓[/]"
    WARNED = "[yellow]![/]"
    FAILED = "[red]✗[/]"


class Display(logging.Handler):
    """Turns a run's log records, to which Dagster attaches its events, into calls of the methods below; itself it
    shows nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: Sequence[str] = ()
        self._made: dict[str, list[dg.AssetMaterialization]] = {}

    def started(self, steps: Sequence[str]) -> None:
        """A run of these steps begins."""
        self.steps = steps

    def step_started(self, step: str) -> None:
        """A step begins."""

    def said(self, step: str, text: str) -> None:
        """The step's log has a new line."""

    def step_ended(self, step: str, summary: str, outcome: Outcome) -> None:
        """A step is done; ``summary`` is its result in one line."""

    def checked(self, check: str, text: str, outcome: Outcome) -> None:
        """An asset check has been evaluated."""

    def ended(self) -> None:
        """The run is over."""

    def emit(self, record: logging.LogRecord) -> None:
        """Shows one record."""
        meta = getattr(record, "dagster_meta", {})
        step, event = meta.get("step_key") or "", meta.get("dagster_event")
        if not isinstance(event, dg.DagsterEvent):
            if step in self.steps and record.levelno >= logging.INFO:
                self.said(step, str(meta.get("orig_message") or record.getMessage()))
            return
        kind = event.event_type
        if kind is dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            check = event.asset_check_evaluation_data
            failure = Outcome.WARNED if check.severity is dg.AssetCheckSeverity.WARN else Outcome.FAILED
            self.checked(check.check_name, check.description or "", Outcome.PASSED if check.passed else failure)
        elif step not in self.steps:
            return
        elif kind is dg.DagsterEventType.STEP_START:
            self.step_started(step)
        elif kind is dg.DagsterEventType.ASSET_MATERIALIZATION:
            self._made.setdefault(step, []).append(event.step_materialization_data.materialization)
        elif kind is dg.DagsterEventType.STEP_SUCCESS:
            self.step_ended(step, _headline(self._made.pop(step, [])), Outcome.PASSED)
        elif kind is dg.DagsterEventType.STEP_FAILURE:
            self.step_ended(step, failure_reason(event), Outcome.FAILED)


class PlainDisplay(Display):
    """Lines as they come, for logs and pipes."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console
        self._began = time.monotonic()

    def step_started(self, step: str) -> None:
        self._began = time.monotonic()
        self._print(step)

    def said(self, step: str, text: str) -> None:
        self._print(f"  {text}")

    def step_ended(self, step: str, summary: str, outcome: Outcome) -> None:
        how = "done" if outcome is Outcome.PASSED else "failed"
        self._print(f"  {how} in {time.monotonic() - self._began:.1f} s: {summary}")

    def checked(self, check: str, text: str, outcome: Outcome) -> None:
        self._print(f"check {check} {outcome.name.lower()}: {text}")

    def _print(self, text: str) -> None:
        self._console.print(text, soft_wrap=True, markup=False)


class LiveDisplay(Display):
    """A line for each asset that is done, and below them what the current one does. Passed checks share a line, so that
    the others stand out."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console
        self._status = console.status("")
        self._began = time.monotonic()
        self._passed = 0

    def started(self, steps: Sequence[str]) -> None:
        super().started(steps)
        self._status.start()

    def step_started(self, step: str) -> None:
        self._began = time.monotonic()
        self._status.update(step)

    def said(self, step: str, text: str) -> None:
        # One line, beside the spinner.
        self._status.update(escape(f"{step}  {text}"[: self._console.width - 3]))

    def step_ended(self, step: str, summary: str, outcome: Outcome) -> None:
        self._print(step, f"{summary} ({time.monotonic() - self._began:.1f} s)", outcome)
        self._status.update("")

    def checked(self, check: str, text: str, outcome: Outcome) -> None:
        if outcome is Outcome.PASSED:
            self._passed += 1
        else:
            self._print(check, text, outcome)

    def ended(self) -> None:
        self._status.stop()
        if self._passed:
            self._print("asset checks", f"{self._passed} passed", Outcome.PASSED)

    def _print(self, name: str, text: str, outcome: Outcome) -> None:
        self._console.print(f"{outcome.value} {name}  [dim]{escape(text)}[/]")


def display_for(console: Console) -> Display:
    """Live on a terminal, plain elsewhere."""
    return LiveDisplay(console) if console.is_terminal else PlainDisplay(console)


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
        counts = [(metadata[name].value, text) for name, text in _HEADLINES.items() if name in metadata]
    else:
        rows = [(each.metadata.get("dagster/row_count"), each.asset_key.to_user_string()) for each in made]
        counts = [(count.value, name) for count, name in rows if count is not None]
    return ", ".join(f"{count:,} {text}" for count, text in counts if isinstance(count, int) and count)
