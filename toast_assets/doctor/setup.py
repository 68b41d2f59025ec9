"""The settings: all problems at once, by the variable's name. What is wrong here keeps its area from being asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from toast_assets.doctor.findings import Finding, failed, ok
from toast_assets.errors import SettingsError
from toast_assets.settings import (
    AmperitySettings,
    CalendarSettings,
    FeedSettings,
    Settings,
    StoreSettings,
    ToastSettings,
)

AREA = "settings"
T = TypeVar("T", bound=Settings)


@dataclass(frozen=True)
class Setup:
    """The settings of each service, None where they are wrong."""

    toast: ToastSettings | None
    store: StoreSettings | None
    amperity: AmperitySettings | None


def read_setup(environment: Mapping[str, str]) -> tuple[Setup, list[Finding]]:
    """The settings by the environment, and a line for each problem; one tick where there is none."""
    findings: list[Finding] = []

    def parsed(kind: type[T]) -> T | None:
        names = [each.alias for each in kind.model_fields.values() if each.alias]
        if kind is FeedSettings:
            names += ["AMPERITY_TENANT_ID", "AMPERITY_API_URL"]
        try:
            return kind.parse({name: environment.get(name) for name in names})
        except SettingsError as error:
            for problem in error.problems:
                line = failed(
                    AREA, problem.split(" ", 1)[0], problem, "Set the variable in the environment of the run."
                )
                if line not in findings:
                    findings.append(line)
            return None

    setup = Setup(parsed(ToastSettings), parsed(StoreSettings), parsed(AmperitySettings))
    for more in (CalendarSettings, FeedSettings):
        parsed(more)
    return setup, findings or [ok(AREA, "variables", "everything is set and well formed")]
