"""What a run looks like while it works: one line per asset, and its progress."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from enum import Enum

import dagster as dg
from rich.console import Console
from rich.markup import escape

from toast_assets.errors import ToastAssetsError, split_code

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
    Entered for as long as the run lasts. ``failure`` is that of the first step that failed.

    Passed checks share a line, so that the others stand out. On a terminal, progress is beside a spinner.
    """

    def __init__(self, console: Console | None = None) -> None:
        super().__init__()
        self._console = console or Console(quiet=True)
        self._live = self._console.is_terminal and not self._console.quiet
        self._status = self._console.status("")
        self._made: dict[str, list[dg.AssetMaterialization]] = {}
        self._began = time.monotonic()
        self._passed = 0
        self.failure: BaseException | None = None

    def __enter__(self) -> None:
        if self._live:
            self._status.start()

    def __exit__(self, *_error: object) -> None:
        self._status.stop()
        if self._passed:
            self._mark("asset checks", f"{self._passed} passed", Outcome.PASSED)

    def emit(self, record: logging.LogRecord) -> None:
        meta = getattr(record, "dagster_meta", {})
        step, event = meta.get("step_key") or "", meta.get("dagster_event")
        if not isinstance(event, dg.DagsterEvent):
            if step and record.levelno >= logging.INFO:
                self._progress(f"{step}  {meta.get('orig_message') or record.getMessage()}")
            return
        kind = event.event_type
        if kind is dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            check = event.asset_check_evaluation_data
            failure = Outcome.WARNED if check.severity is dg.AssetCheckSeverity.WARN else Outcome.FAILED
            self.checked(check.check_name, check.description or "", Outcome.PASSED if check.passed else failure)
        elif kind is dg.DagsterEventType.STEP_FAILURE:
            self._failed(step, event)
        elif kind is dg.DagsterEventType.STEP_START:
            self._began = time.monotonic()
        elif kind is dg.DagsterEventType.ASSET_MATERIALIZATION:
            self._made.setdefault(step, []).append(event.step_materialization_data.materialization)
        elif kind is dg.DagsterEventType.STEP_SUCCESS and step in self._made:
            made = self._made.pop(step)
            name = made[0].asset_key.to_user_string() if len(made) == 1 else step
            self.step_ended(name, _headline(made), Outcome.PASSED)

    def _failed(self, step: str, event: dg.DagsterEvent) -> None:
        failure = event.step_failure_data
        error = failure.error
        interrupted = error is not None and error.cls_name == dg.DagsterExecutionInterruptedError.__name__
        # Dagster wraps what the step raised in errors of its own.
        while error is not None and error.cause is not None:
            error = error.cause
        reason = error.message.strip() if error is not None else "The step failed without a reason."
        if failure.user_failure_data and failure.user_failure_data.description:
            reason = failure.user_failure_data.description
        if self.failure is None:
            text, code = split_code(reason)
            failed = ToastAssetsError(f"{step} failed: {text}", code=code)
            self.failure = KeyboardInterrupt() if interrupted else failed
        self.step_ended(step, "interrupted" if interrupted else reason, Outcome.FAILED)

    def step_ended(self, step: str, summary: str, outcome: Outcome) -> None:
        """A step is done; ``summary`` is its result in one line."""
        self._mark(step, f"{summary} ({time.monotonic() - self._began:.1f} s)", outcome)

    def checked(self, check: str, text: str, outcome: Outcome) -> None:
        """An asset check has been evaluated."""
        if outcome is Outcome.PASSED:
            self._passed += 1
        else:
            self._mark(check, text, outcome)

    def _progress(self, text: str) -> None:
        if self._live:
            # One line, beside the spinner.
            self._status.update(escape(text[: self._console.width - 3]))

    def _mark(self, name: str, text: str, outcome: Outcome) -> None:
        self._console.print(f"{outcome.value} {name}  [dim]{escape(text)}[/]", soft_wrap=True)


def _headline(made: Sequence[dg.AssetMaterialization]) -> str:
    """The counts of a step's asset, or the rows of all where it makes several."""
    if len(made) > 1:
        found = (each.metadata.get("dagster/row_count") for each in made)
        rows = sum(count.value for count in found if isinstance(count, dg.IntMetadataValue) and count.value)
        return f"{rows:,} rows in {len(made)} tables"
    metadata = made[0].metadata
    counts = [(metadata[name].value, _WORDS.get(name, name)) for name in _HEADLINES if name in metadata]
    return ", ".join(f"{count:,} {text}" for count, text in counts if isinstance(count, int) and count)
