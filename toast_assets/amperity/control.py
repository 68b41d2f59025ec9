"""Amperity's control plane: start a courier group, and ask what was loaded (Amperity: workflow runs, ingest jobs)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, TypeVar

import msgspec

from toast_assets.amperity.client import NOTICE_TENANT_HEADER, AmperityClient
from toast_assets.errors import AmperityError
from toast_assets.http.bodies import UnreadableBodyError, decode
from toast_assets.week import iso_ms

T = TypeVar("T")

API_VERSION = "2024-04-01"

# The documentation names no closed list of states; these are the ones that end a job.
_GOOD_ENDS = frozenset({"succeeded", "success", "completed", "complete", "done", "finished"})
_BAD_ENDS = frozenset({"failed", "failure", "error", "errored", "cancelled", "canceled", "killed", "stopped"})


class TableLoad(msgspec.Struct, frozen=True):
    """What one table of an ingest job reports; counts of rows."""

    table_name: str = ""
    state: str = ""
    read: int | None = None
    inserted: int | None = None
    updated: int | None = None
    rejected: int | None = None
    errors: Any = None

    @property
    def ended(self) -> bool:
        """Whether the job is over, one way or the other."""
        return self.state.lower() in _GOOD_ENDS | _BAD_ENDS

    @property
    def loaded(self) -> bool:
        """Whether it ended well."""
        return self.state.lower() in _GOOD_ENDS


@dataclass(frozen=True)
class Load:
    """All tables of a workflow run's ingest jobs, as far as they are known."""

    tables: tuple[TableLoad, ...] = field(default=())

    @property
    def ended(self) -> bool:
        """Whether there is a job at all, and all of it is over."""
        return bool(self.tables) and all(table.ended for table in self.tables)

    @property
    def loaded(self) -> bool:
        """Whether all tables ended well."""
        return self.ended and all(table.loaded for table in self.tables)


class _Run(msgspec.Struct):
    id: str


class _Job(msgspec.Struct):
    workflow_id: str | None = None
    tables: tuple[TableLoad, ...] = ()


class _Jobs(msgspec.Struct):
    data: tuple[_Job, ...] = ()
    next_token: str | None = None


class ControlPlane:
    """The control plane of one tenant, through its client. The key needs the role DataGrid Operator."""

    def __init__(self, client: AmperityClient) -> None:
        self._client = client
        self._base = client.settings.control_url

    async def start(self, config_id: str, first: date, end: date) -> str:
        """Start the courier group ``config_id`` for the days from ``first`` until before ``end``; the run's id.

        There is no idempotency key: called twice, it starts two runs.

        Raises:
            AmperityRefusedError: the key, the tenant or the configuration is not accepted.
            AmperityTransientError: the retry budget is used up.
        """
        body = {"config_id": config_id, "range_from": f"{first}", "range_to": f"{end}", "run_mode": "full"}
        reply = await self._call("POST", "/workflow/runs", content=msgspec.json.encode(body))
        return _decode(reply, _Run, "/workflow/runs").id

    async def load(self, run_id: str, started: datetime, now: datetime) -> Load:
        """What the ingest jobs of a run report that was started at ``started`` (aware, at most seven days ago).

        Raises:
            AmperityError: as ``start``.
        """
        parameters = {"created_from": iso_ms(started), "created_to": iso_ms(now)}
        tables: list[TableLoad] = []
        while True:
            jobs = _decode(await self._call("GET", "/ingest/jobs", params=parameters), _Jobs, "/ingest/jobs")
            tables += [table for job in jobs.data if job.workflow_id == run_id for table in job.tables]
            if not jobs.next_token:
                return Load(tuple(tables))
            parameters = parameters | {"next_token": jobs.next_token}

    async def _call(self, method: str, path: str, **arguments: Any) -> bytes:
        headers = {
            NOTICE_TENANT_HEADER: self._client.settings.tenant_id,
            "api-version": API_VERSION,
            "Content-Type": "application/json",
        }
        return await self._client.control_call(method, self._base + path, headers, **arguments)


def _decode(body: bytes, kind: type[T], path: str) -> T:
    try:
        return decode(body, kind)
    except UnreadableBodyError:
        raise AmperityError(f"Amperity's reply to {path} cannot be read.", hint="Check AMPERITY_CONTROL_URL.") from None
