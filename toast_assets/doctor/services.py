"""Toast, Amperity and the alerts' webhooks: reachable, credentials accepted, permissions granted."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta

import httpx
import msgspec

from toast_assets.amperity.client import AmperityClient
from toast_assets.amperity.settings import AmperitySettings
from toast_assets.doctor.findings import Area, Finding, State
from toast_assets.errors import ToastAssetsError, ToastError
from toast_assets.http.bearer import claims_of
from toast_assets.http.causes import Cause
from toast_assets.http.retry import RetryPolicy, date_of
from toast_assets.http.service import Route
from toast_assets.http.webhooks import Webhook
from toast_assets.setting_values import host_of, origin
from toast_assets.settings import AlertSettings
from toast_assets.toast.client import ToastClient
from toast_assets.toast.discovery import discover_restaurants
from toast_assets.toast.known_logins import note_login
from toast_assets.toast.page import Window
from toast_assets.toast.settings import ToastSettings

TOAST, AMPERITY, ALERTS = Area("Toast"), Area("Amperity"), Area("alerts")
INTERACTIVE_RETRY = RetryPolicy(attempts=2, throttled_for=30.0)
_LOG = logging.getLogger(__name__)
# A week's end and a token's are compared with this clock; S3 refuses requests that are off by a quarter of an hour.
_MOST_SECONDS = 60
_WEBHOOK_SECONDS = 10.0
_POST_SECONDS = 20.0
_TEST_MESSAGE = "toast-assets: a test message from `toast-assets doctor --alert`. Alerts of this pipeline arrive here."
_AT_ONCE = 10
# One millisecond of 2 December 2015: it proves the permission and moves nothing. Toast refuses earlier ones.
_EMPTY = Window(1_449_014_400_000, 1_449_014_400_001)
_ASK_TOAST = "Ask Toast to add the scope to the API client (Toast Web: Integrations, API access)."
# What is missing without a scope, in plain words, and whether the pipeline is of use without it.
_SCOPES = (
    ("orders:read", "no order can be read", True),
    ("restaurants:read", "restaurants have no name and no time zone, so local times are unknown", True),
    (
        "config:read",
        "names of dining options, menu items, discounts, … stay empty, and dine-in looks like takeout and delivery",
        False,
    ),
    ("guest.pi:read", "guests are left out: orders come without name, e-mail and phone, and Amperity has nobody", True),
    ("delivery_info.address:read", "delivery addresses are left out", False),
)
_SOON = timedelta(days=14)
_NEW_KEY = "Make a new API key with Streaming Ingest Write Access, or let AMPERITY_CLIENT_ID and its secret renew it."
# Arrays are refused (Amperity: Streaming API), so this proves the key and moves nothing.
_NO_RECORD = b"[]"


async def check_toast(settings: ToastSettings) -> AsyncIterator[Finding]:
    """All lines about Toast."""
    clock = clock_of(TOAST, settings.api_url, "TOAST_API_URL", settings.timeout_seconds)
    async with ToastClient(settings, retry=INTERACTIVE_RETRY) as toast:
        note_login(settings)
        login = await TOAST.checked("login", toast.login(), settings.api_url)
        yield login
        yield clock
        if login.state is State.OK:
            for finding in (*_scopes(await toast.login(), settings), *await _restaurants(toast)):
                yield finding


def _scopes(token: str, settings: ToastSettings) -> Iterator[Finding]:
    scope = claims_of(token).get("scope")
    if not isinstance(scope, str):
        yield TOAST.unknown("scopes", "the token does not name them")
        return
    granted = scope.split()
    for name, without, needed in _SCOPES:
        line = f"scope {name}"
        if name == "config:read" and settings.names == "off":
            yield TOAST.ok(line, "not needed: TOAST_NAMES=off")
        elif name in granted:
            yield TOAST.ok(line)
        elif name == "orders:read" and "orders.channel:read" in granted:
            only = "only orders.channel:read is granted: nothing but orders that this client submitted itself is seen"
            yield TOAST.failed(line, only, _ASK_TOAST)
        else:
            yield (TOAST.failed if needed else TOAST.warning)(line, f"it is missing: {without}", _ASK_TOAST)


async def _restaurants(toast: ToastClient) -> list[Finding]:
    guids = toast.settings.restaurant_guids
    findings: list[Finding] = []
    if toast.settings.discovers:
        try:
            guids = tuple(one.guid for one in await discover_restaurants(toast, _LOG) if not one.archived)
        except ToastError as error:
            return [TOAST.failed("restaurants", error)]
        findings = [TOAST.ok("restaurants", f"{len(guids)} discovered, deleted and archived ones left out")]
    slots = asyncio.Semaphore(_AT_ONCE)

    async def check(guid: str, name: str) -> Finding:
        async with slots:
            await toast.orders_page(guid, _EMPTY)
            details = await toast.restaurant(guid, essential=True)
        shown = details.full_name or guid
        if details.archived:
            return TOAST.failed(name, f"{shown} is archived", "Remove it from TOAST_RESTAURANT_GUID.")
        if details.time_zone is None:
            return TOAST.warning(name, f"{shown} has no time zone", "Set it in Toast; local times need it.")
        return TOAST.ok(name, f"{shown}, {details.time_zone}")

    names = {guid: f"restaurant {guid}" for guid in guids}
    checks = (TOAST.checked(name, check(guid, name)) for guid, name in names.items())
    return findings + await asyncio.gather(*checks)


async def check_amperity(settings: AmperitySettings, *, canary: bool = False) -> AsyncIterator[Finding]:
    """All lines about Amperity. With ``canary`` one record is written into the stream."""
    streams, follows = "stream" in settings.methods, settings.workflow_config_id is not None
    if settings.tenant_id:
        yield AMPERITY.ok("tenant", settings.tenant_id)
    if streams or follows:
        given = "AMPERITY_API_URL" if settings.api_url else "AMPERITY_TENANT_ID"
        yield clock_of(AMPERITY, settings.origin, given, settings.timeout_seconds)
    if settings.api_key is not None:
        yield _key_end(settings.api_key.get_secret_value(), settings.client_id is not None)
    if settings.client_id is not None:
        without_key = settings.model_copy(update={"api_key": None})
        async with AmperityClient(without_key, retry=INTERACTIVE_RETRY) as amperity:
            yield await AMPERITY.checked("client credentials", amperity.token.token(), "they bring a new token")
    async with AmperityClient(settings, retry=INTERACTIVE_RETRY) as amperity:
        if streams:
            rows = (settings.transactions_stream_id, settings.order_items_stream_id, settings.customers_stream_id)
            for stream_id in (settings.stream_id, *rows):
                if stream_id:
                    yield await AMPERITY.checked(f"stream {stream_id}", _stream(amperity, stream_id))
            if canary and settings.stream_id:
                yield await AMPERITY.checked("canary", _canary(amperity, settings.stream_id))
            elif not canary:
                detail = "Amperity accepts records for a stream that does not exist, and drops them"
                hint = "--canary writes one record; look for it in Amperity."
                yield AMPERITY.unknown("stream exists", f"{detail}; only a record shows it", hint)
        if follows:
            now = datetime.now(UTC)
            jobs = amperity.load("doctor", now - timedelta(minutes=5), now)
            detail = "ingest jobs can be read; whether the workflow exists is known when it is started"
            yield await AMPERITY.checked("control plane", jobs, detail)
    if "notify" in settings.methods:
        yield AMPERITY.unknown("notify", "a notice would be taken for a real one, so none is sent")
    if "s3_pull" in settings.methods and not follows:
        yield AMPERITY.ok("s3_pull", "the couriers come on their own schedule; nothing is called")


def _key_end(key: str, renewable: bool) -> Finding:
    end = claims_of(key).get("exp")
    if not isinstance(end, int | float):
        return AMPERITY.unknown("token expiry", "the key does not say when it ends")
    left = timedelta(seconds=end - time.time())
    day = f"{datetime.fromtimestamp(end, UTC):%Y-%m-%d %H:%M} UTC"
    if left <= timedelta(0) and not renewable:
        return AMPERITY.failed("token expiry", f"AMPERITY_API_KEY expired on {day}", _NEW_KEY)
    if left < _SOON and not renewable:
        return AMPERITY.warning("token expiry", f"AMPERITY_API_KEY expires on {day}", _NEW_KEY)
    return AMPERITY.ok("token expiry", f"AMPERITY_API_KEY ends on {day}{' and is then renewed' if renewable else ''}")


async def _stream(amperity: AmperityClient, stream_id: str) -> Finding:
    name = f"stream {stream_id}"
    receipt = await amperity.send_record(stream_id, str(uuid.uuid4()), _NO_RECORD)
    if receipt.state == "pending":
        return AMPERITY.failed(name, receipt.reason or "no answer", "Check AMPERITY_API_URL and the network.")
    if receipt.status == 400:
        return AMPERITY.ok(name, "its form is right, and the key is accepted")
    return AMPERITY.unknown(name, f"Amperity answered {receipt.status} to something that is no record")


async def _canary(amperity: AmperityClient, stream_id: str) -> Finding:
    moment = datetime.now(UTC)
    record = {
        "guid": f"toast-assets-canary-{moment:%Y%m%dT%H%M%SZ}",
        "restaurantGuid": "toast-assets-canary",
        "modifiedDate": f"{moment:%Y-%m-%dT%H:%M:%S}.000+0000",
        "deleted": True,
    }
    receipt = await amperity.send_record(stream_id, str(uuid.uuid4()), msgspec.json.encode(record))
    if receipt.state != "accepted":
        return AMPERITY.failed("canary", receipt.reason or "it was not accepted")
    return AMPERITY.ok("canary", f"one record was written: look for guid {record['guid']} in stream {stream_id}")


def check_webhooks(settings: AlertSettings, *, post: bool = False) -> Iterator[Finding]:
    """A line for each webhook, by its host alone: the rest of its address is a secret. Nothing is posted, unless
    ``post`` asks for a test message."""
    if post and not settings.webhook_urls:
        yield ALERTS.failed("test message", "there is no address to post to", "Set ALERT_WEBHOOK_URL.")
    for secret in settings.webhook_urls:
        url = secret.get_secret_value()
        name = f"webhook {host_of(url)}"
        if post:
            try:
                Webhook(url, "ALERT_WEBHOOK_URL").post(_TEST_MESSAGE, _POST_SECONDS)
            except ToastAssetsError as error:
                yield ALERTS.failed(name, error)
            else:
                yield ALERTS.ok(name, "it took a test message")
            continue
        answer = _first_answer(origin(url), "ALERT_WEBHOOK_URL", _WEBHOOK_SECONDS)
        if isinstance(answer, Cause):
            yield ALERTS.failed(name, f"it was not reached: {answer.text}", answer.hint)
        else:
            yield ALERTS.ok(name, "it is within reach; nothing was posted")


def clock_of(area: Area, url: str, setting: str, timeout: float) -> Finding:
    """This machine's clock by the service at ``url``, the value of ``setting``."""
    answer = _first_answer(url, setting, timeout)
    if isinstance(answer, Cause):
        return area.unknown("clock", f"the service was not reached: {answer.text}", answer.hint)
    return clock_skew(area, answer.get("Date"))


def clock_skew(area: Area, date: str | None) -> Finding:
    """This machine's clock by the service's ``date`` (of HTTP)."""
    moment = date_of(date)
    if moment is None:
        return area.unknown("clock", "the service sends no Date")
    seconds = time.time() - moment.timestamp()
    if abs(seconds) > _MOST_SECONDS:
        direction = "ahead of" if seconds > 0 else "behind"
        detail = f"this machine is {abs(seconds):.0f} s {direction} the service"
        return area.failed("clock", detail, "Set its clock (NTP).", "MACHINE-CLOCK")
    return area.ok("clock", f"within {max(1, abs(round(seconds)))} s")


def _first_answer(url: str, setting: str, timeout: float) -> httpx.Headers | Cause:
    route = Route.to(url, setting)
    try:
        return route.ask("GET", url, timeout).headers
    except (httpx.HTTPError, OSError, ValueError) as error:
        return route.cause(error)
