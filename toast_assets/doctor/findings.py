"""What a check found, as one line: a tick, a cross, or the reason why it could not be checked."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from toast_assets.errors import ToastAssetsError


class State(StrEnum):
    """How a line ends, from best to worst."""

    OK = "ok"
    UNKNOWN = "could not be checked"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True)
class Finding:
    """One line. ``hint`` is what to do; neither it nor ``detail`` ever holds a secret or a guest's data. ``code`` is
    the error's (docs/errors.md), where one is behind the line."""

    area: str
    name: str
    state: State
    detail: str = ""
    hint: str = ""
    code: str = ""


@dataclass(frozen=True)
class Area:
    """What a group of lines is about, such as ``Toast``."""

    name: str

    def ok(self, name: str, detail: str = "") -> Finding:
        """A tick."""
        return Finding(self.name, name, State.OK, detail)

    def unknown(self, name: str, detail: str, hint: str = "") -> Finding:
        """The service does not say, or these credentials may not ask."""
        return Finding(self.name, name, State.UNKNOWN, detail, hint)

    def warning(self, name: str, detail: str, hint: str) -> Finding:
        """It works, but should be reviewed."""
        return Finding(self.name, name, State.WARNING, detail, hint)

    def failed(self, name: str, problem: ToastAssetsError | str, hint: str = "", code: str = "") -> Finding:
        """A cross; hint and code of an error go before ``hint`` and ``code``."""
        if isinstance(problem, ToastAssetsError):
            text, hint, code = problem.message.strip(), problem.hint or hint, problem.code
            return Finding(self.name, name, State.FAILED, text, hint, code)
        return Finding(self.name, name, State.FAILED, problem, hint, code)

    async def checked(self, name: str, check: Awaitable[object], detail: str = "") -> Finding:
        """The finding that ``check`` returns, else a tick with ``detail``; a cross with the error that it raises."""
        try:
            found = await check
        except ToastAssetsError as error:
            return self.failed(name, error)
        return found if isinstance(found, Finding) else self.ok(name, detail)


def exit_code(findings: Iterable[Finding]) -> int:
    """By the worst line: 2 for a cross, 1 for a warning, else 0."""
    states = {finding.state for finding in findings}
    return 2 if State.FAILED in states else 1 if State.WARNING in states else 0
