"""Amperity's control plane: start a workflow, watch it, ask what was loaded.

- ``api-version: 2024-04-01`` is required [doc]; 10 requests a second [doc], else 429.
- ``POST /workflow/runs`` answers 201 with the workflow [doc] and has no idempotency key: a repeated POST
  starts a second run [doc]. ``config_id`` begins with ``cg-``; dates are ``YYYY-MM-DD``; wrong ones are a 400
  (judgement).
- ``GET /ingest/jobs`` takes at most seven days [doc] and answers ``{"data": [...], "next_token": ""}`` [doc].
- A run has one ingest job with one entry per table of ``SandboxConfig.ingest_tables``; it is ``running``
  until it was looked at ``polls_until_done`` times, then ``succeeded`` (judgement). ``ingest_counts`` and
  ``ingest_state`` set what it reports.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
from starlette.responses import JSONResponse, Response

from toast_assets.sandbox.amperity_books import AmperityBooks
from toast_assets.sandbox.calls import Call
from toast_assets.sandbox.config import SandboxConfig
from toast_assets.sandbox.limits import Limit
from toast_assets.week import iso_ms

API_VERSION = "2024-04-01"
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_WEEK_SECONDS = 7 * 86_400


class ControlRefusal(Exception):  # noqa: N818 - the service's answer, not a failure of the sandbox
    """What the control plane answers instead: a status and a message."""

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        super().__init__(message)


class ControlPlane:
    """Workflow runs and ingest jobs.

    ``ingest_counts`` maps a table to what its entry reports (read, inserted, updated, rejected, errors) where
    it is not the number of records accepted so far; ``ingest_state`` is the state that finished jobs end in.
    """

    def __init__(self, config: SandboxConfig, books: AmperityBooks) -> None:
        self.ingest_counts: dict[str, dict[str, int]] = {}
        self.ingest_state = "succeeded"
        self._config = config
        self._books = books
        self._limit = Limit("control", config.control_requests_per_second, 1)
        self._polls: dict[str, int] = {}

    def paths(self) -> list[tuple[str, str, Callable[[Call], Response]]]:
        """Method, path below the base URL, and what answers there."""
        return [
            ("POST", "/workflow/runs", self._start),
            ("GET", "/workflow/runs", self._runs),
            ("GET", "/workflow/runs/{id}", self._run),
            ("GET", "/ingest/jobs", self._jobs),
            ("GET", "/ingest/jobs/{id}", self._job),
        ]

    def admit(self, call: Call) -> None:
        """Judges what all paths have in common.

        Raises:
            ControlRefusal: the API version is wrong, or there were too many requests.
        """
        if call.header("api-version") != API_VERSION:
            raise ControlRefusal(400, f"The header api-version must be {API_VERSION}.")
        if self._config.rate_limits and not self._limit.take("tenant", self._config.now()).allowed:
            raise ControlRefusal(429, "Too many requests.")

    def _start(self, call: Call) -> Response:
        try:
            content = msgspec.json.decode(call.body, type=dict[str, Any])
        except msgspec.DecodeError:
            raise ControlRefusal(400, "The body must be one JSON object.") from None
        if not str(content.get("config_id", "")).startswith("cg-"):
            raise ControlRefusal(400, "config_id must begin with cg-.")
        for name in ("range_from", "range_to"):
            if name in content and _DAY.fullmatch(str(content[name])) is None:
                raise ControlRefusal(400, f"{name} must be YYYY-MM-DD.")
        if content.get("run_mode", "full") not in ("full", "refresh", "source"):
            raise ControlRefusal(400, "run_mode must be full, refresh or source.")
        number = len(self._books.runs) + 1
        run = {
            "id": f"wf-sandbox-{number}",
            "state": "running",
            "type": "courier.group/run",
            "name": content["config_id"],
            "tenant": self._config.tenant,
            "created_at": self._now(),
            "request": content,
        }
        self._books.runs.append(run)
        return JSONResponse(_shown(run), 201)

    def _runs(self, _call: Call) -> Response:
        return JSONResponse({"data": [_shown(run) for run in self._books.runs], "next_token": ""})

    def _run(self, call: Call) -> Response:
        identifier = call.path_value("id")
        run = next((run for run in self._books.runs if run["id"] == identifier), None)
        if run is None:
            raise ControlRefusal(404, "No such workflow.")
        self._look(identifier)
        return JSONResponse(_shown(run))

    def _jobs(self, call: Call) -> Response:
        given = dict(call.query)
        try:
            begin, end = (_timestamp(given[name]) for name in ("created_from", "created_to"))
        except (KeyError, ValueError):
            raise ControlRefusal(400, "created_from and created_to are required ISO-8601 timestamps.") from None
        if not 0 < end - begin <= _WEEK_SECONDS:
            raise ControlRefusal(400, "created_from and created_to may be at most seven days apart.")
        started = (run for run in self._books.runs if begin <= _timestamp(run["created_at"]) < end)
        data = []
        for run in started:
            self._look(run["id"])
            data.append(self._details(run))
        return JSONResponse({"data": data, "next_token": ""})

    def _job(self, call: Call) -> Response:
        for run in self._books.runs:
            if _job_id(run) == call.path_value("id"):
                self._look(run["id"])
                return JSONResponse(self._details(run))
        raise ControlRefusal(404, "No such ingest job.")

    def _look(self, workflow_id: str) -> None:
        """Time passes by being asked: a job is done after some polls, so that no test has to wait."""
        self._polls[workflow_id] = self._polls.get(workflow_id, 0) + 1
        if self._polls[workflow_id] >= self._config.polls_until_done:
            run = next(run for run in self._books.runs if run["id"] == workflow_id)
            if run["state"] == "running":
                run |= {"state": self.ingest_state, "ended_at": self._now()}

    def _details(self, run: dict[str, Any]) -> dict[str, Any]:
        done = run["state"] != "running"
        tables = []
        for number, table in enumerate(self._config.ingest_tables):
            counts = self.ingest_counts.get(table) or self._default_counts()
            zero = dict.fromkeys(("read", "inserted", "updated", "rejected", "errors"), 0)
            shown = zero | counts if done else zero
            tables.append(
                {
                    "feed_id": f"df-sandbox-{number}",
                    "job_id": _job_id(run),
                    "table_name": table,
                    "state": run["state"],
                    **shown,
                    "started_at": run["created_at"],
                    "ended_at": run.get("ended_at"),
                    "files": [
                        {"file_id": f"{table}/part0", "name": "part0", "read": shown["read"], "errors": shown["errors"]}
                    ],
                }
            )
        return {"id": _job_id(run), "workflow_id": run["id"], "tables": tables}

    def _default_counts(self) -> dict[str, int]:
        accepted = len(self._books.accepted)
        return {"read": accepted, "inserted": accepted}

    def _now(self) -> str:
        return iso_ms(datetime.fromtimestamp(self._config.now(), UTC))


def _shown(run: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in run.items() if name != "request"}


def _job_id(run: dict[str, Any]) -> str:
    return str(run["id"]).replace("wf-", "isj-")


def _timestamp(text: str) -> float:
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
