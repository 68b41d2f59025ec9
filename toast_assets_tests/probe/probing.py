"""Probes of a sandbox: time that does not have to be waited for, at a moment that is always the same."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from toast_assets.probe.answers import Answer, Verdict
from toast_assets.probe.report import Probed
from toast_assets.probe.run import probe
from toast_assets.sandbox import Restaurant, Sandbox
from toast_assets.week import WeekCalendar
from toast_assets_tests.conftest import StartSandbox
from toast_assets_tests.support.services.clients import QUICK, SkippedTime, toast_settings

GUID = "0b1f6a52-7c3d-4e8f-9a10-4d2c6b7e8f01"
WEEK = "2025-09-15"
_NOW = datetime(2025, 9, 25, 12, tzinfo=UTC).timestamp()


@dataclass
class FixedTime(SkippedTime):
    """Time that begins on the Thursday after ``WEEK`` and passes by sleeping alone."""

    def now(self) -> float:
        """Unix seconds."""
        return _NOW + self.skipped


def place(orders_per_week: int = 160, **more: Any) -> Restaurant:
    """The restaurant that is probed."""
    return Restaurant(GUID, "Harbor & Thistle, Pier 9", orders_per_week=orders_per_week, **more)


@dataclass
class Probing:
    """A sandbox with limits, and probes of it; settings are those of ``SandboxConfig``."""

    start: StartSandbox
    time: FixedTime

    def sandbox(self, *places: Restaurant, **settings: Any) -> Sandbox:
        """A sandbox with these restaurants, by default with one."""
        return self.start(restaurants=places or (place(),), rate_limits=True, now=self.time.now, **settings)

    async def run(self, sandbox: Sandbox, *, changes: dict[str, str] | None = None, **options: Any) -> list[Probed]:
        """What a probe of ``WEEK`` finds; ``changes`` are environment variables, ``options`` those of ``probe``."""
        times: dict[str, Any] = {"sleep": self.time.sleep, "clock": self.time.clock, "now": self.time.now}
        given: dict[str, Any] = {"weeks": [WEEK], "retry": QUICK, **times, **options}
        settings = toast_settings(sandbox, **{"TOAST_RESTAURANT_GUID": GUID, **(changes or {})})
        found, _ = await probe(settings, WeekCalendar(), **given)
        return found

    async def answers(self, sandbox: Sandbox, **options: Any) -> dict[str, Answer]:
        """The answers of its only restaurant."""
        [found] = await self.run(sandbox, **options)
        return dict(found.answers)


def refuted(answers: dict[str, Answer]) -> set[str]:
    """The keys of what is refuted."""
    return {key for key, answer in answers.items() if answer.verdict is Verdict.REFUTED}
