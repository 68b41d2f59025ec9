"""The settings: all problems at once, by the variable's name. What is wrong here keeps its area from being asked."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from toast_assets.amperity.settings import AmperitySettings, FeedSettings
from toast_assets.doctor.findings import Finding, failed, ok, warning
from toast_assets.errors import SettingsError
from toast_assets.http.routes import Route
from toast_assets.settings import (
    AlertSettings,
    CalendarSettings,
    NetworkSettings,
    RetentionSettings,
    Settings,
    problems_of,
)
from toast_assets.store.settings import StoreSettings
from toast_assets.toast.settings import ToastSettings
from toast_assets.variables import known_variables, misspelt_variables

AREA = "settings"
_KINDS = (
    ToastSettings,
    CalendarSettings,
    StoreSettings,
    AmperitySettings,
    FeedSettings,
    RetentionSettings,
    AlertSettings,
    NetworkSettings,
)
_MOST_SHOWN = 5
_NOT_SET = "is not set"
_SET = "Set what is missing in the environment of the run (README, Production set-up)."
_CORRECT = "Correct what is malformed in the environment of the run (README, Production set-up)."
T = TypeVar("T", bound=Settings)


@dataclass(frozen=True)
class Setup:
    """The settings of each service, None where they, or the proxy or certificates on the way, are wrong."""

    toast: ToastSettings | None
    store: StoreSettings | None
    amperity: AmperitySettings | None
    alerts: AlertSettings | None


def read_setup(environment: Mapping[str, str]) -> tuple[Setup, list[Finding]]:
    """The settings by the environment, and a line for each problem; one tick where there is none."""

    def parsed(kind: type[T]) -> T | None:
        try:
            return kind.parse(environment)
        except SettingsError:
            return None

    parts = parsed(ToastSettings), parsed(StoreSettings), parsed(AmperitySettings), parsed(AlertSettings)
    setup, on_the_way = _passable(Setup(*parts))
    problems = sorted(
        [*problems_of(*(partial(kind.parse, environment) for kind in _KINDS)), *on_the_way],
        key=lambda problem: _NOT_SET in problem,
    )
    findings = [*map(_cross, problems), *_deserve_a_look(environment, setup.toast)]
    if problems and not any(environment.get(name) for name in known_variables()):
        detail = f"none is set; these {len(problems)} are the least that a run needs"
        findings.insert(len(problems), failed(AREA, "variables", detail, _SET))
    return setup, findings or [ok(AREA, "variables", "everything is set and well formed")]


def _passable(setup: Setup) -> tuple[Setup, list[str]]:
    """The settings without those of services that no way leads to, and what is wrong with proxies and certificates."""
    problems: dict[str, None] = {}
    for service, url, variable in _addresses(setup):
        try:
            Route.to(url, variable)
        except SettingsError as error:
            problems |= dict.fromkeys(error.problems)
            setup = replace(setup, **{service: None})
    return setup, list(problems)


def _addresses(setup: Setup) -> Iterator[tuple[str, str, str]]:
    if setup.toast is not None:
        yield "toast", setup.toast.api_url, "TOAST_API_URL"
    if setup.amperity is not None and setup.amperity.tenant_id:
        yield "amperity", setup.amperity.origin, "AMPERITY_API_URL"
    for url in setup.alerts.webhook_urls if setup.alerts else ():
        yield "alerts", url.get_secret_value(), "ALERT_WEBHOOK_URL"


def _cross(problem: str) -> Finding:
    named = re.fullmatch(r"([A-Z][A-Z0-9_]*) (.*)", problem)
    name, detail = named.groups() if named else ("variables", problem)
    return failed(AREA, name, detail, _SET if _NOT_SET in problem else _CORRECT)


def _deserve_a_look(environment: Mapping[str, str], toast: ToastSettings | None) -> Iterator[Finding]:
    for line in misspelt_variables(environment):
        name, detail = line.split(" ", 1)
        yield warning(AREA, name, detail, "Correct its name, or take it out of the environment.")
    if toast is None:
        return
    if doubled := toast.doubled_restaurants:
        detail = f"lists more than once, and is read once: {_some(doubled)}"
        yield warning(AREA, "TOAST_RESTAURANT_GUID", detail, "GUIDs compare without case: leave the second one out.")
    for name, guids in (
        ("TOAST_RESTAURANT_GUID", () if toast.discovers else toast.restaurant_guids),
        ("TOAST_MEMBER_RESTAURANT_GUID", filter(None, [toast.member_restaurant_guid])),
    ):
        if odd := [guid for guid in guids if not _is_uuid(guid)]:
            detail = f"holds what is no UUID, as Toast's GUIDs are: {_some(odd)}"
            yield warning(AREA, name, detail, "Copy the GUID from Toast Web.")


def _some(guids: Sequence[str]) -> str:
    more = len(guids) - _MOST_SHOWN
    return ", ".join(guids[:_MOST_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _is_uuid(guid: str) -> bool:
    try:
        return str(uuid.UUID(guid)) == guid.lower()
    except ValueError:
        return False
