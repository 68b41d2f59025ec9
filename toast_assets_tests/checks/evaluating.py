"""Asks single checks of the table, with what was read or with what a test makes up."""

from __future__ import annotations

from typing import Any

from toast_assets.amperity.settings import AmperitySettings
from toast_assets.checks.check import CheckedWeek, CheckResult
from toast_assets.checks.table import CHECKS
from toast_assets.store.manifest import Manifest
from toast_assets.store.order_store import OrderStore
from toast_assets.week import Week, WeekCalendar

NO_MANIFEST = Manifest(partition="", start_date="", end_date="", outcome="complete")


def evaluate(
    name: str, week: Week, manifest: Manifest, store: OrderStore, amperity: AmperitySettings | None = None
) -> CheckResult:
    """The result of the check ``name`` about what is stored."""
    return _evaluate(name, CheckedWeek(week, manifest, store, lambda: _given(amperity)))


def conclude(name: str, manifest: Manifest = NO_MANIFEST, **facts: Any) -> CheckResult:
    """The result of the check ``name`` from a manifest and ``facts``, or from ``earlier`` manifests, alone."""
    nothing: Any = None
    checked = CheckedWeek(WeekCalendar().week("2025-09-15"), manifest, nothing, lambda: _given(None))
    for attribute, value in facts.items():
        setattr(checked, attribute, value)
    return _evaluate(name, checked)


def _given(settings: AmperitySettings | None) -> AmperitySettings:
    assert settings is not None
    return settings


def _evaluate(name: str, checked: CheckedWeek) -> CheckResult:
    (check,) = [one for checks in CHECKS.values() for one in checks if one.__name__ == name]
    return check(checked)
