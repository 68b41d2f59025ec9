"""Keeps a sandbox's data in a folder until its next start.

``bucket/KEY`` are the objects, as files that people can open. ``sandbox.json`` has the rest: the objects' headers, the
records that Amperity accepted and dropped (without their bodies), both services' logs, and what Toast was asked for. It
is written last and removed once it was read, so where it is missing, the sandbox before did not come to its end.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec

from toast_assets.errors import ToastAssetsError
from toast_assets.sandbox.amperity import Record
from toast_assets.sandbox.config import SandboxConfig
from toast_assets.sandbox.server import Sandbox
from toast_assets.sandbox.service import LoggedRequest

_BUCKET, _REST = "bucket", "sandbox.json"


class _Rest(msgspec.Struct):
    """``served`` are GUIDs of orders and ``asked`` weeks, both by restaurant."""

    made_by: dict[str, Any]
    headers: dict[str, dict[str, str]]
    accepted: list[Record]
    dropped: list[Record]
    toast_log: list[LoggedRequest]
    amperity_log: list[LoggedRequest]
    served: dict[str, set[str]]
    asked: dict[str, list[int]]


def save(sandbox: Sandbox, folder: Path) -> None:
    """Write all that a running sandbox holds, in place of what the folder had.

    Raises:
        ToastAssetsError: it cannot be kept there; the folder then counts as empty.
    """
    new = folder / f"{_BUCKET}.new"
    headers = {}
    try:
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        for key, (body, headers[key]) in sandbox.s3.contents().items():
            path = new / key
            if not path.resolve().is_relative_to(new.resolve()):
                raise ToastAssetsError(f"The bucket is not kept: {key} cannot be the name of a file.")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(body())
        forget(folder)
        new.rename(folder / _BUCKET)
        toast, amperity = sandbox.toast.orders, sandbox.amperity
        accepted, dropped = (
            [replace(each, body=b"") for each in all_] for all_ in (amperity.accepted, amperity.dropped)
        )
        served = {guid: orders.served for guid, orders in toast.items()}
        asked = {guid: list(orders.asked) for guid, orders in toast.items()}
        logs = sandbox.toast.log.entries, amperity.log.entries
        rest = _Rest(_made_by(sandbox.config), headers, accepted, dropped, *logs, served, asked)
        written = folder / f"{_REST}.new"
        written.write_bytes(msgspec.json.encode(rest))
        written.rename(folder / _REST)
    except OSError as problem:
        raise ToastAssetsError(f"The bucket is not kept in {folder}: {problem.strerror}.") from problem


def load(sandbox: Sandbox, folder: Path) -> str | None:
    """Give a running sandbox what the folder holds, which counts as empty until it is saved again. If the sandbox got
    nothing, the reason."""
    try:
        rest = msgspec.json.decode((folder / _REST).read_bytes(), type=_Rest)
        if rest.made_by != _made_by(sandbox.config):
            return "The last command had another seed, other restaurants or other versions"
        for key, headers in rest.headers.items():
            sandbox.s3.put(key, (folder / _BUCKET / key).read_bytes(), headers)
    except FileNotFoundError as problem:
        sandbox.s3.clear()
        missing = str(problem.filename).removeprefix(f"{folder}/")
        return "The last command did not come to its end" if missing == _REST else f"{missing} is missing"
    except (OSError, msgspec.MsgspecError) as problem:
        sandbox.s3.clear()
        return f"What the last command left cannot be read ({problem})"
    amperity = sandbox.amperity
    amperity.accepted += rest.accepted
    amperity.dropped += rest.dropped
    amperity.log.entries += rest.amperity_log
    sandbox.toast.log.entries += rest.toast_log
    for guid, orders in sandbox.toast.orders.items():
        orders.served |= rest.served[guid]
        # The weeks are invented again, and what changed late changes again.
        for start_ms in rest.asked[guid]:
            orders.between(start_ms, start_ms + 1)
    (folder / _REST).unlink()
    return None


def forget(folder: Path) -> None:
    """Remove what the folder holds of a sandbox."""
    (folder / _REST).unlink(missing_ok=True)
    shutil.rmtree(folder / _BUCKET, ignore_errors=True)


def _made_by(config: SandboxConfig) -> dict[str, Any]:
    """What the data depend on, as it is read from JSON."""
    versions = [version(name) for name in ("toast-assets", "dagster")]
    facts = {"seed": config.seed, "restaurants": config.restaurants, "prefix": config.prefix, "versions": versions}
    return msgspec.json.decode(msgspec.json.encode(facts), type=dict[str, Any])
