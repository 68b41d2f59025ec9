"""Runs of a week in a process of their own, which is killed at a call that was chosen before."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Mapping
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from typing import Any, Literal, NamedTuple

import boto3

from toast_assets.export.write import export_week
from toast_assets.pull.week import WeekPull
from toast_assets.store.bucket import Bucket
from toast_assets.store.order_store import OrderStore
from toast_assets.store.settings import StoreSettings
from toast_assets.toast.client import ToastClient
from toast_assets.toast.settings import ToastSettings
from toast_assets.week import Week

# Reading S3's description takes most of a run: done here, every process that is forked from this one has it.
boto3.client("s3", region_name="us-east-1", aws_access_key_id="-", aws_secret_access_key="-").close()

Side = Literal["before", "after"]
KILLED = -signal.SIGKILL


class Moment(NamedTuple):
    """Just before or after the ``number``-th call to S3 whose URL has ``part`` in it."""

    side: Side
    number: int
    part: str = ""


# Forked from a process that has done nothing but import this, each run starts in milliseconds.
processes = get_context("forkserver")
processes.set_forkserver_preload([__name__])


def start_run(environment: Mapping[str, str], week: Week, kill_at: Moment | None = None) -> BaseProcess:
    """Begin a pull with its export in another process, which kills itself at a call to S3."""
    process = processes.Process(target=_run, args=(dict(environment), week, kill_at))
    process.start()
    return process


def exit_code(process: BaseProcess) -> int | None:
    """What the process ended with, once it has: minus the signal's number where it was killed."""
    process.join(600)
    return process.exitcode


def _run(environment: dict[str, str], week: Week, kill_at: Moment | None) -> None:
    os.environ.update(environment)
    logging.disable(logging.CRITICAL)
    client = boto3.client("s3")
    if kill_at is not None:
        _arm(client.meta.events, kill_at)
    store_settings = StoreSettings.parse({name: environment.get(name) for name in ("S3_BUCKET_NAME", "S3_PREFIX")})
    store = OrderStore(Bucket(client, store_settings.bucket), store_settings.prefix)

    async def pull() -> None:
        names = [field.alias for field in ToastSettings.model_fields.values() if field.alias]
        settings = ToastSettings.parse({name: environment.get(name) for name in names})
        async with ToastClient(settings) as toast:
            await WeekPull(week, toast, store).run()

    asyncio.run(pull())
    export_week(week, store, logging.getLogger())


def _arm(events: Any, moment: Moment) -> None:
    calls = 0

    def kill(**_: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def count(request: Any, **_: Any) -> None:
        nonlocal calls
        calls += moment.part in request.url
        if calls == moment.number and moment.part in request.url:
            if moment.side == "before":
                kill()
            events.register("after-call.s3.*", kill)

    events.register("before-send.s3.*", count)
