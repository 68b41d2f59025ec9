"""Amperity's control plane: start a workflow, watch it, ask what was loaded.

- ``api-version: 2024-04-01`` is required [doc], else 400; 10 requests a second [doc], else 429.
- ``POST /workflow/runs`` answers 201 with the workflow [doc] and has no idempotency key: a repeated POST
  starts a second run [doc]. ``config_id`` begins with ``cg-``; dates are ``YYYY-MM-DD``; wrong ones are a 400
  (judgement).
- ``GET /ingest/jobs`` takes at most seven days [doc] and answers ``{"data": [...], "next_token": ""}`` [doc].
- A run has one ingest job with one entry per table; it is ``running``
  until it was looked at ``polls_until_done`` times, then ``succeeded`` (judgement). ``ingest_counts`` and
  ``ingest_state`` set what it reports.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from starlette.responses import JSONResponse, Response

from toast_assets.sandbox.calls import Call
from toast_assets.sandbox.config import SandboxConfig
from toast_assets.sandbox.service import Answer, Refusal
from toast_assets.week import iso_ms

API_VERSION = "2024-04-01"
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_TABLES = ("orders", "order_items", "customers")
_WEEK_SECONDS = 7 * 86_400
_Run = dict[str, Any]


class ControlPlane:
    """Workflow ``runs`` and their ingest jobs.

    ``ingest_counts`` maps a table to what its entry reports (read, inserted, updated, rejected, errors) if
    it is not the number of ``accepted`` records; ``ingest_state`` is the state that finished jobs end in.
    """

    def __init__(self, config: SandboxConfig, accepted: Sequence[object]) -> None:
        self.runs: list[_Run] = []
        self.ingest_counts: dict[str, dict[str, int]] = {}
        self.ingest_state = "succeeded"
        self._config = config
        self._accepted = accepted
        self._polls: Counter[str] = Counter()

    def paths(self) -> list[tuple[str, str, Answer]]:
        """Method, path below the base URL, and what answers there."""
        return [
            ("POST", "/workflow/runs", self._start),
            ("GET", "/workflow/runs", lambda _: _listed([_shown(run) for run in self.runs])),
            ("GET", "/workflow/runs/{id}", lambda call: JSONResponse(_shown(self._find(call, "id")))),
            ("GET", "/ingest/jobs", self._jobs),
            ("GET", "/ingest/jobs/{id}", lambda call: JSONResponse(self._job(self._find(call, "job_id")))),
        ]

    def _start(self, call: Call) -> Response:
        try:
            content = msgspec.json.decode(call.body, type=dict[str, Any])
        except msgspec.DecodeError:
            raise Refusal(400, "The body must be one JSON object.") from None
        if not str(content.get("config_id", "")).startswith("cg-"):
            raise Refusal(400, "config_id must begin with cg-.")
        for name in ("range_from", "range_to"):
            if name in content and _DAY.fullmatch(str(content[name])) is None:
                raise Refusal(400, f"{name} must be YYYY-MM-DD.")
        if content.get("run_mode", "full") not in ("full", "refresh", "source"):
            raise Refusal(400, "run_mode must be full, refresh or source.")
        number = len(self.runs) + 1
        run = {
            "id": f"wf-sandbox-{number}",
            "state": "running",
            "type": "courier.group/run",
            "name": content["config_id"],
            "tenant": self._config.tenant,
            "created_at": self._now(),
            "request": content,
            "job_id": f"isj-sandbox-{number}",
        }
        self.runs.append(run)
        return JSONResponse(_shown(run), 201)

    def _find(self, call: Call, name: str) -> _Run:
        """The run whose ``name`` the path has, looked at once more."""
        for run in self.runs:
            if run[name] == call.request.path_params["id"]:
                return self._look(run)
        raise Refusal(404, "No such ingest job." if name == "job_id" else "No such workflow.")

    def _jobs(self, call: Call) -> Response:
        given = call.request.query_params
        try:
            begin, end = (_timestamp(given[name]) for name in ("created_from", "created_to"))
        except (KeyError, ValueError):
            raise Refusal(400, "created_from and created_to are required ISO-8601 timestamps.") from None
        if not 0 < end - begin <= _WEEK_SECONDS:
            raise Refusal(400, "created_from and created_to may be at most seven days apart.")
        started = [run for run in self.runs if begin <= _timestamp(run["created_at"]) < end]
        return _listed([self._job(self._look(run)) for run in started])

    def _look(self, run: _Run) -> _Run:
        """Time passes by being asked: a job is done after some polls, so that no test has to wait."""
        self._polls[run["id"]] += 1
        if run["state"] == "running" and self._polls[run["id"]] >= self._config.polls_until_done:
            run |= {"state": self.ingest_state, "ended_at": self._now()}
        return run

    def _job(self, run: _Run) -> dict[str, Any]:
        tables = []
        for number, table in enumerate(_TABLES):
            counts = dict.fromkeys(("read", "inserted", "updated", "rejected", "errors"), 0)
            if run["state"] != "running":
                counts |= self.ingest_counts.get(table) or dict.fromkeys(("read", "inserted"), len(self._accepted))
            file = {"file_id": f"{table}/part0", "name": "part0", "read": counts["read"], "errors": counts["errors"]}
            tables.append(
                {
                    "feed_id": f"df-sandbox-{number}",
                    "job_id": run["job_id"],
                    "table_name": table,
                    "state": run["state"],
                    **counts,
                    "started_at": run["created_at"],
                    "ended_at": run.get("ended_at"),
                    "files": [file],
                }
            )
        return {"id": run["job_id"], "workflow_id": run["id"], "tables": tables}

    def _now(self) -> str:
        return iso_ms(datetime.fromtimestamp(self._config.now(), UTC))


def _listed(data: list[dict[str, Any]]) -> Response:
    return JSONResponse({"data": data, "next_token": ""})


def _shown(run: _Run) -> dict[str, Any]:
    return {name: value for name, value in run.items() if name not in ("request", "job_id")}


def _timestamp(text: str) -> float:
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
