"""Amperity's control plane: start a courier group, and ask what was loaded (Amperity: workflow runs, ingest jobs)."""

from __future__ import annotations

from dataclasses import dataclass
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


@dataclass(frozen=True)
class Load:
    """All tables of a workflow run's ingest jobs, as far as they are known."""

    tables: tuple[TableLoad, ...] = ()

    @property
    def ended(self) -> bool:
        """Whether there is a job at all, and all of it is over."""
        return self._all_in(_GOOD_ENDS | _BAD_ENDS)

    @property
    def loaded(self) -> bool:
        """Whether all tables ended well."""
        return self._all_in(_GOOD_ENDS)

    def _all_in(self, states: frozenset[str]) -> bool:
        return bool(self.tables) and all(table.state.lower() in states for table in self.tables)


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

    async def start(self, config_id: str, first: date, end: date) -> str:
        """Start the courier group ``config_id`` for the days from ``first`` until before ``end``; the run's id.

        There is no idempotency key: called twice, it starts two runs.

        Raises:
            AmperityRefusedError: the key, the tenant or the configuration is not accepted.
            AmperityTransientError: the retry budget is used up.
        """
        body = {"config_id": config_id, "range_from": f"{first}", "range_to": f"{end}", "run_mode": "full"}
        return (await self._call("POST", "/workflow/runs", _Run, content=msgspec.json.encode(body))).id

    async def load(self, run_id: str, started: datetime, now: datetime) -> Load:
        """What the ingest jobs of a run report that was started at ``started`` (aware, at most seven days ago).

        Raises:
            AmperityError: as ``start``.
        """
        parameters = {"created_from": iso_ms(started), "created_to": iso_ms(now)}
        tables: list[TableLoad] = []
        while True:
            jobs = await self._call("GET", "/ingest/jobs", _Jobs, params=parameters)
            tables += [table for job in jobs.data if job.workflow_id == run_id for table in job.tables]
            if not jobs.next_token:
                return Load(tuple(tables))
            parameters = parameters | {"next_token": jobs.next_token}

    async def _call(self, method: str, path: str, reply: type[T], **arguments: Any) -> T:
        settings = self._client.settings
        headers = {
            NOTICE_TENANT_HEADER: settings.tenant_id,
            "api-version": API_VERSION,
            "Content-Type": "application/json",
        }
        body = await self._client.control_call(method, settings.control_url + path, headers, **arguments)
        try:
            return decode(body, reply)
        except UnreadableBodyError:
            hint = "Check AMPERITY_CONTROL_URL."
            raise AmperityError(f"Amperity's reply to {path} cannot be read.", hint=hint) from None
