"""Toast: does it let us in, what does the token permit, and can each restaurant be read?"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable

from toast_assets.doctor.clocks import clock_of
from toast_assets.doctor.findings import Finding, failed, ok, unknown, warning
from toast_assets.errors import ToastError
from toast_assets.http.bearer import claims_of
from toast_assets.http.retry import RetryPolicy
from toast_assets.toast.client import ToastClient
from toast_assets.toast.discovery import discover_restaurants
from toast_assets.toast.page import Window
from toast_assets.toast.settings import ToastSettings

AREA = "Toast"
toast_log = logging.getLogger(__name__)
# Somebody sits and waits.
IMPATIENT = RetryPolicy(attempts=2, throttled_for=30.0)
_AT_ONCE = 10
# One millisecond of 2 December 2015: it proves the permission and moves nothing. Earlier ones are no windows (Toast:
# ordersBulk).
_EMPTY = Window(1_449_014_400_000, 1_449_014_400_001)
_ASK_TOAST = "Ask Toast to add the scope to the API client (Toast Web: Integrations, API access)."
# What is missing without a scope, in plain words, and whether the pipeline is of use without it.
_SCOPES = (
    ("orders:read", "no order can be read", True),
    ("restaurants:read", "restaurants have no name and no time zone, so local times cannot be told", True),
    ("guest.pi:read", "guests are left out: orders come without name, e-mail and phone, and Amperity has nobody", True),
    ("delivery_info.address:read", "delivery addresses are left out", False),
)


async def check_toast(settings: ToastSettings, now: Callable[[], float] = time.time) -> AsyncIterator[Finding]:
    """All lines about Toast. ``now`` gives Unix seconds."""
    clock = await asyncio.to_thread(clock_of, AREA, settings.api_url, "TOAST_API_URL", settings.timeout_seconds, now)
    async with ToastClient(settings, retry=IMPATIENT) as toast:
        try:
            token = await toast.login()
        except ToastError as error:
            token = None
            yield failed(AREA, "login", error)
        else:
            yield ok(AREA, "login", settings.api_url)
        yield clock
        if token is not None:
            for finding in (*_scopes(token), *await _restaurants(toast)):
                yield finding


def _scopes(token: str) -> list[Finding]:
    scope = claims_of(token).get("scope")
    if not isinstance(scope, str):
        return [unknown(AREA, "scopes", "the token does not tell them")]
    granted, findings = scope.split(), []
    for name, without, needed in _SCOPES:
        if name in granted:
            findings.append(ok(AREA, f"scope {name}"))
        elif name == "orders:read" and "orders.channel:read" in granted:
            detail = "only orders.channel:read is granted: nothing but orders that this client submitted itself is seen"
            findings.append(failed(AREA, f"scope {name}", detail, _ASK_TOAST))
        elif needed:
            findings.append(failed(AREA, f"scope {name}", f"it is missing: {without}", _ASK_TOAST))
        else:
            findings.append(warning(AREA, f"scope {name}", f"it is missing: {without}", _ASK_TOAST))
    return findings


async def _restaurants(toast: ToastClient) -> list[Finding]:
    guids = toast.settings.restaurant_guids
    findings: list[Finding] = []
    if toast.settings.discovers:
        try:
            guids = tuple(one.guid for one in await discover_restaurants(toast, toast_log))
        except ToastError as error:
            return [failed(AREA, "restaurants", error)]
        findings = [ok(AREA, "restaurants", f"{len(guids)} discovered, deleted and archived ones left out")]
    places = asyncio.Semaphore(_AT_ONCE)

    async def check(guid: str) -> Finding:
        async with places:
            return await _restaurant(toast, guid)

    return findings + list(await asyncio.gather(*map(check, guids)))


async def _restaurant(toast: ToastClient, guid: str) -> Finding:
    name = f"restaurant {guid}"
    try:
        await toast.orders_page(guid, _EMPTY)
        details = await toast.restaurant(guid, essential=True)
    except ToastError as error:
        return failed(AREA, name, error)
    if details.archived:
        return failed(AREA, name, f"{details.name or guid} is archived", "Take it out of TOAST_RESTAURANT_GUID.")
    if details.time_zone is None:
        return warning(AREA, name, f"{details.name or guid} has no time zone", "Set it in Toast; local times need it.")
    return ok(AREA, name, f"{details.name or guid}, {details.time_zone}")
