"""What a check found, as one line: a tick, a cross, or the reason why it could not be checked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from toast_assets.errors import ToastAssetsError


class State(StrEnum):
    """How a line ends, from best to worst."""

    OK = "ok"
    UNKNOWN = "could not be checked"
    WARNING = "warning"
    FAILED = "failed"


_EXIT_CODES = {State.OK: 0, State.UNKNOWN: 0, State.WARNING: 1, State.FAILED: 2}


@dataclass(frozen=True)
class Finding:
    """One line. ``hint`` is the way out; neither it nor ``detail`` ever holds a secret or a guest's data."""

    area: str
    name: str
    state: State
    detail: str = ""
    hint: str = ""


def ok(area: str, name: str, detail: str = "") -> Finding:
    """A tick."""
    return Finding(area, name, State.OK, detail)


def unknown(area: str, name: str, detail: str, hint: str = "") -> Finding:
    """Neither: the service does not tell, or these credentials may not ask."""
    return Finding(area, name, State.UNKNOWN, detail, hint)


def warning(area: str, name: str, detail: str, hint: str) -> Finding:
    """It works, and deserves a look."""
    return Finding(area, name, State.WARNING, detail, hint)


def failed(area: str, name: str, problem: ToastAssetsError | str, hint: str = "") -> Finding:
    """A cross, with the way out of the error."""
    if isinstance(problem, ToastAssetsError):
        return Finding(area, name, State.FAILED, problem.message.strip(), problem.hint or hint)
    return Finding(area, name, State.FAILED, problem, hint)


def exit_code(findings: Iterable[Finding]) -> int:
    """By the worst line: 2 for a cross, 1 for a warning, else 0."""
    return max((_EXIT_CODES[finding.state] for finding in findings), default=0)
