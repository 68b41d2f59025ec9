"""All checks, in the order in which their findings are best fixed."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg

from toast_assets.amperity.settings import AmperitySettings
from toast_assets.doctor.findings import Area, Finding
from toast_assets.doctor.s3 import check_s3
from toast_assets.doctor.services import check_amperity, check_toast, check_webhooks
from toast_assets.errors import SettingsError, ToastAssetsError
from toast_assets.http.network import is_loopback
from toast_assets.http.service import Route
from toast_assets.markdown import first_of
from toast_assets.setting_values import host_of
from toast_assets.settings import AlertSettings, Settings, problems_of
from toast_assets.store.client import s3_client
from toast_assets.store.settings import StoreSettings
from toast_assets.toast.settings import ToastSettings
from toast_assets.variables import KINDS, Variables, known_variables

SETTINGS, DAGSTER = Area("settings"), Area("Dagster")
_POOLS = ("toast", "amperity")
_NOT_SET = "is not set"
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_SET = "Set what is missing in the environment of the run (README, Production set-up)."
_CORRECT = "Correct what is malformed in the environment of the run (README, Production set-up)."
Setup = dict[type[Settings], Any]
Lines = Iterable[Finding] | AsyncIterator[Finding]


def run_checks(environment: Mapping[str, str], *, canary: bool = False, alert: bool = False) -> list[Finding]:
    """Every line; ``canary`` also sends Amperity a record, ``alert`` posts a message to each webhook.

    An area whose settings are wrong is not checked, and an error ends its own area only.
    """
    setup, findings = read_setup(environment)
    # On a sandbox nothing is lost with the history.
    is_sandbox = is_loopback(host_of(environment.get("TOAST_API_URL")))
    checks: list[tuple[str, Any, Callable[[Any], Lines]]] = [
        ("Toast", setup.get(ToastSettings), check_toast),
        ("S3", setup.get(StoreSettings), lambda settings: check_s3(s3_client(), settings)),
        ("Amperity", setup.get(AmperitySettings), partial(check_amperity, canary=canary)),
        ("alerts", setup.get(AlertSettings), partial(check_webhooks, post=alert)),
        ("Dagster", environment.get("DAGSTER_HOME", ""), partial(check_instance, is_sandbox=is_sandbox)),
    ]
    for name, settings, check in checks:
        if settings is None:
            continue
        try:
            lines = check(settings)
            if isinstance(lines, AsyncIterator):
                asyncio.run(_collect(lines, findings))
            else:
                findings.extend(lines)
        except ToastAssetsError as error:
            findings.append(Area(name).failed("examination", error))
        # Whatever a library raises: it is the finding. Its text stays away, for it can hold a secret.
        except Exception as error:  # noqa: BLE001
            reason = f"it ended with {type(error).__module__}.{type(error).__name__}; the other areas are not concerned"
            findings.append(Area(name).failed("examination", reason, "Check the variables of this area."))
    return findings


async def _collect(lines: AsyncIterator[Finding], findings: list[Finding]) -> None:
    async for line in lines:
        findings.append(line)


def read_setup(environment: Mapping[str, str]) -> tuple[Setup, list[Finding]]:
    """The settings that can be used, also by their proxies and certificates, and a line for each problem."""
    setup: Setup = {}
    problems: dict[str, None] = {}
    for kind in KINDS:
        try:
            settings = kind.parse(environment)
        except SettingsError as error:
            problems |= dict.fromkeys(error.problems)
            continue
        unreachable = problems_of(*(partial(Route.to, url, variable) for url, variable in _addresses(settings)))
        problems |= dict.fromkeys(unreachable)
        if not unreachable:
            setup[kind] = settings
    findings = []
    for problem in sorted(problems, key=lambda problem: _NOT_SET in problem):
        named = re.fullmatch(r"([A-Z][A-Z0-9_]*) (.*)", problem)
        name, detail = named.groups() if named else ("variables", problem)
        findings.append(SETTINGS.failed(name, detail, _SET if _NOT_SET in problem else _CORRECT, SettingsError.code))
    if problems and not any(environment.get(name) for name in known_variables()):
        detail = f"none is set; these {len(problems)} are the least that a run needs"
        findings.append(SETTINGS.failed("variables", detail, _SET, SettingsError.code))
    findings += _questionable(environment, setup.get(ToastSettings))
    return setup, findings or [SETTINGS.ok("variables", "everything is set and well formed")]


def _addresses(settings: Settings) -> list[tuple[str, str]]:
    match settings:
        case ToastSettings():
            return [(settings.api_url, "TOAST_API_URL")]
        case AmperitySettings() if settings.tenant_id:
            return [(settings.origin, "AMPERITY_API_URL")]
        case AlertSettings():
            return [(url.get_secret_value(), "ALERT_WEBHOOK_URL") for url in settings.webhook_urls]
        case _:
            return []


def _questionable(environment: Mapping[str, str], toast: ToastSettings | None) -> Iterator[Finding]:
    """What works, but was probably not meant."""
    for line in Variables().misspelt(environment):
        name, detail = line.split(" ", 1)
        yield SETTINGS.warning(name, detail, "Correct its name, or remove it from the environment.")
    if toast is None:
        return
    if doubled := toast.doubled_restaurants:
        detail = f"lists more than once, and is read once: {', '.join(first_of(doubled))}"
        yield SETTINGS.warning("TOAST_RESTAURANT_GUID", detail, "GUIDs compare without case: leave the second one out.")
    guids = {"TOAST_RESTAURANT_GUID": () if toast.discovers else toast.restaurant_guids}
    guids["TOAST_MEMBER_RESTAURANT_GUID"] = (toast.member_restaurant_guid,) if toast.member_restaurant_guid else ()
    for name, listed in guids.items():
        if odd := [guid for guid in listed if not _UUID.fullmatch(guid)]:
            detail = f"holds what is no UUID, as Toast's GUIDs are: {', '.join(first_of(odd))}"
            yield SETTINGS.warning(name, detail, "Copy the GUID from Toast Web.")


def check_instance(home: str, *, is_sandbox: bool) -> list[Finding]:
    """Dagster's instance in ``home`` (``DAGSTER_HOME``): where its history goes, and whether its pools are limited."""
    if not home:
        hint = "Set DAGSTER_HOME to a folder with a dagster.yaml; the one of this project is a start."
        return [DAGSTER.warning("DAGSTER_HOME", "it is not set: history is lost when a process ends", hint)]
    if not Path(home).is_dir() or not os.access(home, os.R_OK):
        return [DAGSTER.failed("DAGSTER_HOME", f"{home} is no folder that can be read", "Check DAGSTER_HOME.")]
    try:
        with dg.DagsterInstance.from_config(home) as instance:
            return [_storage(instance, is_sandbox=is_sandbox), *(_pool(instance, pool) for pool in _POOLS)]
    # Whatever a driver or Dagster's configuration raises: it is the finding.
    except Exception as error:  # noqa: BLE001
        reason = f"the instance cannot be opened ({type(error).__name__})"
        return [DAGSTER.failed("storage", reason, f"Check {home}/dagster.yaml and the database that it names.")]


def _storage(instance: dg.DagsterInstance, *, is_sandbox: bool) -> Finding:
    kind = type(instance.event_log_storage).__name__.removesuffix("EventLogStorage")
    runs = f"{instance.get_runs_count()} runs so far"
    if "Sqlite" not in kind:
        return DAGSTER.ok("storage", f"{kind}; {runs}")
    if is_sandbox:
        return DAGSTER.ok("storage", f"SQLite (fine for the sandbox); {runs}")
    hint = "In production put history into Postgres: `storage:` of deploy/dagster.yaml, ways in docs/operate.md."
    detail = f"SQLite; {runs}: enough for one machine, but concurrent runs wait for its locks"
    return DAGSTER.warning("storage", detail, hint)


def _pool(instance: dg.DagsterInstance, pool: str) -> Finding:
    limits = {one.name: one.limit for one in instance.event_log_storage.get_pool_limits()}
    limit = limits.get(pool, instance.get_concurrency_config().pool_config.default_pool_limit)
    command = f"dagster instance concurrency set {pool} 1"
    if limit is None:
        detail = "it is not limited: concurrent runs would exceed the service's limit"
        hint = f"{command}, or concurrency.pools.default_limit in dagster.yaml."
        return DAGSTER.failed(f"pool {pool}", detail, hint)
    if limit < 1:
        return DAGSTER.failed(f"pool {pool}", "its limit is 0: nothing would ever run", command)
    return DAGSTER.ok(f"pool {pool}", f"at most {limit} at once")
