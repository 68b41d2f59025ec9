"""All checks in one go, in the order in which somebody would mend what they find."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from toast_assets.doctor.amperity import check_amperity
from toast_assets.doctor.findings import Finding
from toast_assets.doctor.instance import check_instance
from toast_assets.doctor.s3 import check_s3
from toast_assets.doctor.setup import read_setup
from toast_assets.doctor.toast import check_toast
from toast_assets.store.client import s3_client
from toast_assets.tls import is_loopback


def examine(
    environment: Mapping[str, str],
    *,
    canary: bool = False,
    client: Callable[[], Any] | None = None,
    now: Callable[[], float] = time.time,
) -> list[Finding]:
    """Every line. ``client`` makes the S3 client, by default as runs do; ``now`` gives
    Unix seconds. An area whose settings are wrong is not asked."""
    setup, findings = read_setup(environment)
    if setup.toast is not None:
        findings += asyncio.run(check_toast(setup.toast, now))
    if setup.store is not None:
        findings += check_s3((client or s3_client)(), setup.store, now)
    if setup.amperity is not None:
        findings += asyncio.run(check_amperity(setup.amperity, canary=canary, now=now))
    return findings + check_instance(environment.get("DAGSTER_HOME"), practice=_practice(environment))


def _practice(environment: Mapping[str, str]) -> bool:
    """Whether Toast is a stand-in on this machine: then nothing is lost with the history."""
    return is_loopback(urlsplit(environment.get("TOAST_API_URL", "")).hostname or "")
