"""Stores and Toast clients for a sandbox, and time that does not have to be waited for."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import boto3
import httpx

from toast_assets.http.retry import RetryPolicy
from toast_assets.sandbox import Sandbox
from toast_assets.store.bucket import Bucket
from toast_assets.store.order_store import OrderStore
from toast_assets.toast.client import ToastClient
from toast_assets.toast.settings import ToastSettings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
else:
    S3Client = Any

# So many that no test waits for its turn; what a limit does is tested with a clock of its own.
UNLIMITED = "100000"
QUICK = RetryPolicy(first_wait=0.001, longest_wait=0.004)


@dataclass
class SkippedTime:
    """Time that runs as usual, except that sleeping takes none of it: the clock jumps instead."""

    skipped: float = 0.0

    def now(self) -> float:
        """Unix seconds."""
        return time.time() + self.skipped

    def clock(self) -> float:
        """Seconds of a monotonic clock."""
        return time.monotonic() + self.skipped

    async def sleep(self, seconds: float) -> None:
        """Let ``seconds`` pass at once."""
        self.skipped += max(0.0, seconds)
        await asyncio.sleep(0)


def toast_settings(sandbox: Sandbox, **changes: str) -> ToastSettings:
    """The sandbox's settings as an environment would give them; ``changes`` are variables."""
    names = {alias for alias in (each.alias for each in ToastSettings.model_fields.values()) if alias}
    environment = {"TOAST_REQUESTS_PER_SECOND": UNLIMITED} | sandbox.environment() | changes
    return ToastSettings.parse({name: value for name, value in environment.items() if name in names})


def toast_client(
    sandbox: Sandbox,
    *,
    retry: RetryPolicy = QUICK,
    skipped: SkippedTime | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
    **changes: str,
) -> ToastClient:
    """A client that neither paces itself nor waits between retries; ``changes`` are environment variables."""
    skipped = skipped or SkippedTime()
    return ToastClient(
        toast_settings(sandbox, **changes),
        retry=retry,
        transport=transport,
        sleep=skipped.sleep,
        now=skipped.now,
        clock=skipped.clock,
    )


def s3_client(sandbox: Sandbox) -> S3Client:
    """A client of the sandbox's S3 that reads no configuration of this machine."""
    return boto3.client(
        "s3",
        endpoint_url=sandbox.s3_url,
        aws_access_key_id="sandbox",
        aws_secret_access_key="sandbox",
        region_name="us-east-1",
    )


def order_store(sandbox: Sandbox) -> OrderStore:
    """The order store on the sandbox's bucket."""
    return OrderStore(Bucket(s3_client(sandbox), sandbox.bucket), sandbox.config.prefix)
