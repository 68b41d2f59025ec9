"""All checks in one go, in the order in which somebody would mend what they find."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any

from toast_assets.doctor import alerts, amperity, instance, s3, toast
from toast_assets.doctor.findings import Finding, failed
from toast_assets.doctor.setup import Setup, read_setup
from toast_assets.errors import ToastAssetsError
from toast_assets.http.network import is_loopback
from toast_assets.setting_values import host_of
from toast_assets.store.client import s3_client

Findings = list[Finding]


def examine(
    environment: Mapping[str, str],
    *,
    canary: bool = False,
    client: Callable[[], Any] | None = None,
    now: Callable[[], float] = time.time,
) -> Findings:
    """Every line. ``client`` makes the S3 client, by default as runs do; ``now`` gives
    Unix seconds. An area whose settings are wrong is not asked, and an error ends its own area only."""
    setup, findings = read_setup(environment)
    for area, look in _areas(setup, environment, canary, client or s3_client, now):
        try:
            look(findings)
        except ToastAssetsError as error:
            findings.append(failed(area, "examination", error))
        # Whatever a library raises: it is the finding. Its text stays away, for it can hold a secret.
        except Exception as error:  # noqa: BLE001
            reason = f"it ended with {type(error).__module__}.{type(error).__name__}; the other areas are not concerned"
            findings.append(failed(area, "examination", reason, "Check the variables of this area."))
    return findings


def _areas(
    setup: Setup, environment: Mapping[str, str], canary: bool, client: Callable[[], Any], now: Callable[[], float]
) -> Iterator[tuple[str, Callable[[Findings], None]]]:
    if (of_toast := setup.toast) is not None:
        yield toast.AREA, lambda findings: asyncio.run(_add(findings, toast.check_toast(of_toast, now)))
    if (of_store := setup.store) is not None:
        yield s3.AREA, lambda findings: findings.extend(s3.check_s3(client(), of_store, now))
    if (of_amperity := setup.amperity) is not None:
        lines = amperity.check_amperity(of_amperity, canary=canary, now=now)
        yield amperity.AREA, lambda findings: asyncio.run(_add(findings, lines))
    if (of_alerts := setup.alerts) is not None:
        yield alerts.AREA, lambda findings: findings.extend(alerts.check_alerts(of_alerts))
    # On a sandbox nothing is lost with the history.
    practice, home = is_loopback(host_of(environment.get("TOAST_API_URL"))), environment.get("DAGSTER_HOME")
    yield instance.AREA, lambda findings: findings.extend(instance.check_instance(home, practice=practice))


async def _add(findings: Findings, lines: AsyncIterator[Finding]) -> None:
    async for line in lines:
        findings.append(line)
