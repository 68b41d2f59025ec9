"""Amperity: tenant, token and its end, streams; a record is sent only when that is asked for."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta

import msgspec

from toast_assets.amperity.client import AmperityClient
from toast_assets.amperity.control import ControlPlane
from toast_assets.amperity.settings import AmperitySettings
from toast_assets.doctor.clocks import clock_of
from toast_assets.doctor.findings import Finding, failed, ok, unknown, warning
from toast_assets.doctor.toast import IMPATIENT
from toast_assets.errors import AmperityError
from toast_assets.http.bearer import claims_of

AREA = "Amperity"
_SOON = timedelta(days=14)
_NEW_KEY = "Make a new API key with Streaming Ingest Write Access, or let AMPERITY_CLIENT_ID and its secret renew it."
# Arrays are refused (Amperity: Streaming API), so this proves the key and moves nothing.
_NO_RECORD = b"[]"


async def check_amperity(
    settings: AmperitySettings, *, canary: bool = False, now: Callable[[], float] = time.time
) -> AsyncIterator[Finding]:
    """All lines about Amperity. With ``canary`` one record is written into the stream. ``now`` gives Unix seconds."""
    if settings.tenant_id:
        yield ok(AREA, "tenant", settings.tenant_id)
    calls = "stream" in settings.methods or settings.workflow_config_id is not None
    if calls:
        given = "AMPERITY_API_URL" if settings.api_url else "AMPERITY_TENANT_ID"
        yield await asyncio.to_thread(clock_of, AREA, settings.origin, given, settings.timeout_seconds, now)
    if settings.api_key is not None:
        yield _key_end(settings.api_key.get_secret_value(), settings.client_id is not None, now())
    if settings.client_id is not None:
        yield await _renewal(settings)
    async with AmperityClient(settings, retry=IMPATIENT) as amperity:
        if "stream" in settings.methods:
            for finding in await _streams(amperity, canary=canary):
                yield finding
        if settings.workflow_config_id is not None:
            yield await _control(amperity, now())
    if "notify" in settings.methods:
        yield unknown(AREA, "notify", "a notice would be taken for a real one, so none is sent")
    if "s3_pull" in settings.methods and settings.workflow_config_id is None:
        yield ok(AREA, "s3_pull", "the couriers come on their own schedule; nothing is called")


def _key_end(key: str, renewable: bool, now: float) -> Finding:
    end = claims_of(key).get("exp")
    if not isinstance(end, int | float):
        return unknown(AREA, "token expiry", "the key does not tell when it ends")
    left = timedelta(seconds=end - now)
    day = f"{datetime.fromtimestamp(end, UTC):%Y-%m-%d %H:%M} UTC"
    if renewable:
        return ok(AREA, "token expiry", f"AMPERITY_API_KEY ends on {day} and is then renewed")
    if left <= timedelta(0):
        return failed(AREA, "token expiry", f"AMPERITY_API_KEY expired on {day}", _NEW_KEY)
    if left < _SOON:
        return warning(AREA, "token expiry", f"AMPERITY_API_KEY expires on {day}", _NEW_KEY)
    return ok(AREA, "token expiry", f"AMPERITY_API_KEY ends on {day}")


async def _renewal(settings: AmperitySettings) -> Finding:
    """A token by client credentials, whatever key there is."""
    try:
        async with AmperityClient(settings.model_copy(update={"api_key": None}), retry=IMPATIENT) as amperity:
            await amperity.access_token()
    except AmperityError as error:
        return failed(AREA, "client credentials", error)
    return ok(AREA, "client credentials", "they bring a new token")


async def _streams(amperity: AmperityClient, *, canary: bool) -> list[Finding]:
    settings, findings = amperity.settings, []
    named = (settings.stream_id, settings.order_items_stream_id, settings.customers_stream_id)
    for stream_id in filter(None, named):
        findings.append(await _stream(amperity, stream_id))
    if canary and settings.stream_id:
        findings.append(await _canary(amperity, settings.stream_id))
    elif not canary:
        detail = "Amperity takes records for a stream that does not exist, and drops them; only a record shows it"
        findings.append(unknown(AREA, "stream exists", detail, "--canary writes one record; look for it in Amperity."))
    return findings


async def _stream(amperity: AmperityClient, stream_id: str) -> Finding:
    name = f"stream {stream_id}"
    try:
        receipt = await amperity.send_record(stream_id, str(uuid.uuid4()), _NO_RECORD)
    except AmperityError as error:
        return failed(AREA, name, error)
    if receipt.state == "pending":
        return failed(AREA, name, receipt.reason or "no answer", "Check AMPERITY_API_URL and the network.")
    if receipt.status == 400:
        return ok(AREA, name, "its form is right, and the key is taken")
    return unknown(AREA, name, f"Amperity answered {receipt.status} to something that is no record")


async def _canary(amperity: AmperityClient, stream_id: str) -> Finding:
    moment = datetime.now(UTC)
    record = {
        "guid": f"toast-assets-canary-{moment:%Y%m%dT%H%M%SZ}",
        "restaurantGuid": "toast-assets-canary",
        "modifiedDate": f"{moment:%Y-%m-%dT%H:%M:%S}.000+0000",
        "deleted": True,
    }
    try:
        receipt = await amperity.send_record(stream_id, str(uuid.uuid4()), msgspec.json.encode(record))
    except AmperityError as error:
        return failed(AREA, "canary", error)
    if receipt.state != "accepted":
        return failed(AREA, "canary", receipt.reason or "it was not taken")
    return ok(AREA, "canary", f"one record was written: look for guid {record['guid']} in stream {stream_id}")


async def _control(amperity: AmperityClient, now: float) -> Finding:
    moment = datetime.fromtimestamp(now, UTC)
    try:
        await ControlPlane(amperity).load("doctor", moment - timedelta(minutes=5), moment)
    except AmperityError as error:
        return failed(AREA, "control plane", error)
    return ok(AREA, "control plane", "ingest jobs can be read; that the workflow exists shows when it is started")
