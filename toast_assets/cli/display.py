"""What a run looks like while it works: one line per asset, live on a terminal, plain lines elsewhere.

Everything shown comes from the run's own log records and Dagster events.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Sequence
from typing import Any

import dagster as dg
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.spinner import Spinner
from rich.table import Column
from rich.text import Text

# A log record that says how far its step has come: "… (2 of 3) …".
_SHARE = re.compile(r"\((\d+) of (\d+)\)")
# Of an asset's metadata, what fits into one line; zeros and what an asset does not have are left out.
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

    def checked(self, check: str, text: str, *, passed: bool) -> None:
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

    def checked(self, check: str, text: str, *, passed: bool) -> None:
        self._print(f"check {check}\n  {'passed' if passed else 'failed'}: {text}")

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
        mark = "[red]✗[/]" if failed else "[green]✓[/]"
        self._progress.update(self._tasks[step], total=1, completed=0 if failed else 1, text=summary, mark=mark)
        self._progress.stop_task(self._tasks[step])

    def checked(self, check: str, text: str, *, passed: bool) -> None:
        mark = "[green]✓[/]" if passed else "[red]✗[/]"
        self._tasks[check] = self._progress.add_task(check, total=1, completed=1, text=text, mark=mark)

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
        self._summaries: dict[str, str] = {}

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
            self._display.checked(check.check_name, check.description or "", passed=check.passed)
        if step not in self._steps:
            return
        match event.event_type:
            case dg.DagsterEventType.STEP_START:
                self._display.step_started(step)
            case dg.DagsterEventType.ASSET_MATERIALIZATION:
                self._summaries[step] = headline(event.step_materialization_data.materialization.metadata)
            case dg.DagsterEventType.STEP_SUCCESS:
                self._display.step_ended(step, self._summaries.get(step, ""), failed=False)
            case dg.DagsterEventType.STEP_FAILURE:
                self._display.step_ended(step, failure_reason(event), failed=True)


def headline(metadata: Any) -> str:
    """The counts of an asset's metadata in one line."""
    counts = {text: metadata[name].value for name, text in _HEADLINES.items() if name in metadata}
    return ", ".join(f"{number:,} {text}" for text, number in counts.items() if number)


def failure_reason(event: dg.DagsterEvent) -> str:
    """Why a step failed, in the words of whoever raised the failure."""
    if was_interrupted(event):
        return "interrupted"
    failure = event.step_failure_data
    if failure.user_failure_data and failure.user_failure_data.description:
        return failure.user_failure_data.description
    return failure.error.message.strip() if failure.error else "The step failed without a reason."


def was_interrupted(event: dg.DagsterEvent) -> bool:
    """Whether a step failed because somebody ended the process."""
    error = event.step_failure_data.error
    return error is not None and error.cls_name == dg.DagsterExecutionInterruptedError.__name__


def display_for(console: Console) -> Display:
    """The display that suits where the output goes."""
    return LiveDisplay(console) if console.is_terminal else PlainDisplay(console)
