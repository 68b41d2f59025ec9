"""What a run looks like while it works: one line per asset, live on a terminal, plain lines elsewhere.

Everything shown comes from the run's own log records and Dagster events.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Sequence
from enum import Enum
from typing import Any

import dagster as dg
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.spinner import Spinner
from rich.table import Column
from rich.text import Text

# A log record that says how far its step has come: "… (2 of 3) …".
_SHARE = re.compile(r"\((\d+) of (\d+)\)")
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
    """How an asset check ended: as a failure only where its severity is an error."""

    PASSED = "passed"
    WARNED = "warned"
    FAILED = "failed"


_MARKS = {Outcome.PASSED: "[green]✓[/]", Outcome.WARNED: "[yellow]![/]", Outcome.FAILED: "[red]✗[/]"}


class Display:
    """Shows nothing: for runs that are told of in one line afterwards."""

    def started(self, steps: Sequence[str]) -> None:
        """The run is about to begin with these assets."""

    def step_started(self, step: str) -> None:
        """An asset is worked on."""

    def said(self, step: str, text: str) -> None:
        """The asset's log has a new line."""

    def step_ended(self, step: str, summary: str, *, failed: bool) -> None:
        """An asset is done; ``summary`` says in a line what came of it."""

    def checked(self, check: str, text: str, outcome: Outcome) -> None:
        """An asset check has been evaluated."""

    def ended(self) -> None:
        """The run is over."""


class PlainDisplay(Display):
    """Lines as they come, for logs and pipes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began: dict[str, float] = {}

    def step_started(self, step: str) -> None:
        self._began[step] = time.monotonic()
        self._print(step)

    def said(self, step: str, text: str) -> None:
        self._print(f"  {text}")

    def step_ended(self, step: str, summary: str, *, failed: bool) -> None:
        seconds = time.monotonic() - self._began.get(step, time.monotonic())
        self._print(f"  {'failed' if failed else 'done'} in {seconds:.1f} s: {summary}")

    def checked(self, check: str, text: str, outcome: Outcome) -> None:
        self._print(f"check {check} {outcome.value}: {text}")

    def _print(self, text: str) -> None:
        self._console.print(text, soft_wrap=True, markup=False)


class LiveDisplay(Display):
    """A line with a bar for each asset, which ends as the asset's summary."""

    def __init__(self, console: Console) -> None:
        text = Column(ratio=1, no_wrap=True, overflow="ellipsis")
        self._progress = Progress(
            _Mark(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=16),
            TextColumn("{task.fields[text]}", markup=False, style="dim", table_column=text),
            _Seconds(),
            console=console,
            expand=True,
        )
        self._tasks: dict[str, TaskID] = {}
        self._passed = 0

    def started(self, steps: Sequence[str]) -> None:
        for step in steps:
            self._tasks[step] = self._progress.add_task(step, start=False, total=None, text="", mark="")
        self._progress.start()

    def step_started(self, step: str) -> None:
        self._progress.start_task(self._tasks[step])

    def said(self, step: str, text: str) -> None:
        if share := _SHARE.search(text):
            done, total = (int(number) for number in share.groups())
            self._progress.update(self._tasks[step], completed=done, total=total)
        self._progress.update(self._tasks[step], text=text)

    def step_ended(self, step: str, summary: str, *, failed: bool) -> None:
        mark = _MARKS[Outcome.FAILED if failed else Outcome.PASSED]
        self._progress.update(self._tasks[step], total=1, completed=0 if failed else 1, text=summary, mark=mark)
        self._progress.stop_task(self._tasks[step])

    def checked(self, check: str, text: str, outcome: Outcome) -> None:
        if outcome is Outcome.PASSED:
            # Passed ones share a line: what needs a look should stand out.
            self._passed += 1
            check, text = "asset checks", f"{self._passed} passed"
        if check not in self._tasks:
            self._tasks[check] = self._progress.add_task(check, start=False, total=1, completed=1, text="", mark="")
        self._progress.update(self._tasks[check], text=text, mark=_MARKS[outcome])

    def ended(self) -> None:
        self._progress.stop()


class _Mark(ProgressColumn):
    """A spinner while an asset is worked on, then how it ended."""

    def __init__(self) -> None:
        super().__init__()
        self._spinner = Spinner("dots", style="cyan")

    def render(self, task: Task) -> Any:
        """One task's cell."""
        if task.fields["mark"]:
            return Text.from_markup(task.fields["mark"])
        return self._spinner.render(task.get_time()) if task.started else Text("·", style="dim")


class _Seconds(ProgressColumn):
    """How long an asset has been worked on, or took."""

    def render(self, task: Task) -> Text:
        """One task's cell."""
        return Text(f"{task.elapsed:.1f} s" if task.elapsed is not None else "", style="dim", justify="right")


class DisplayHandler(logging.Handler):
    """Feeds a display from a run's log records, to which Dagster attaches its events."""

    def __init__(self, display: Display, steps: Sequence[str]) -> None:
        super().__init__()
        self._display = display
        self._steps = set(steps)
        self._made: dict[str, list[dg.AssetMaterialization]] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Shows one record."""
        meta = getattr(record, "dagster_meta", {})
        step, event = meta.get("step_key"), meta.get("dagster_event")
        if isinstance(event, dg.DagsterEvent):
            self._show(event)
        elif step in self._steps and record.levelno >= logging.INFO:
            self._display.said(step, str(meta.get("orig_message") or record.getMessage()))

    def _show(self, event: dg.DagsterEvent) -> None:
        step = event.step_key or ""
        if event.event_type is dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            check = event.asset_check_evaluation_data
            bad = Outcome.WARNED if check.severity is dg.AssetCheckSeverity.WARN else Outcome.FAILED
            outcome = Outcome.PASSED if check.passed else bad
            self._display.checked(check.check_name, check.description or "", outcome)
        if step not in self._steps:
            return
        match event.event_type:
            case dg.DagsterEventType.STEP_START:
                self._display.step_started(step)
            case dg.DagsterEventType.ASSET_MATERIALIZATION:
                self._made.setdefault(step, []).append(event.step_materialization_data.materialization)
            case dg.DagsterEventType.STEP_SUCCESS:
                self._display.step_ended(step, headline(self._made.get(step, [])), failed=False)
            case dg.DagsterEventType.STEP_FAILURE:
                self._display.step_ended(step, failure_reason(event), failed=True)


def headline(made: Sequence[dg.AssetMaterialization]) -> str:
    """What a step made, in one line: the counts of its asset, or the rows of each where there are several."""
    if len(made) == 1:
        metadata = made[0].metadata
        counts = [(metadata[name].value, text) for name, text in _HEADLINES.items() if name in metadata]
    else:
        rows = [(each.metadata.get("dagster/row_count"), each.asset_key.to_user_string()) for each in made]
        counts = [(count.value, name) for count, name in rows if count is not None]
    return ", ".join(f"{count:,} {text}" for count, text in counts if isinstance(count, int) and count)


def failure_reason(event: dg.DagsterEvent) -> str:
    """Why a step failed, in the words of whoever raised the failure."""
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
    """Whether a step failed because somebody ended the process."""
    error = event.step_failure_data.error
    return error is not None and error.cls_name == dg.DagsterExecutionInterruptedError.__name__


def display_for(console: Console) -> Display:
    """The display that suits where the output goes."""
    return LiveDisplay(console) if console.is_terminal else PlainDisplay(console)
