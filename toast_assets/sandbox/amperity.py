"""The stand-in for Amperity: the streaming API, tokens, the guide's notice, and the control plane on the same port.

A record is judged in this order (judgement): method (405), Content-Length (411), size (413), tenant (400, 403), token
(401), content type (400), rate (429), body (400). Statuses and limits are [doc] where nothing else is said.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from urllib.parse import parse_qsl

import msgspec
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from toast_assets.sandbox.config import SandboxConfig
from toast_assets.sandbox.faults import Faults
from toast_assets.sandbox.service import Call, Limit, LoggedRequest, Service
from toast_assets.week import iso_ms

_API_VERSION = "2024-04-01"
_TABLES = ("orders", "order_items", "customers")
# The stricter of two pages [conflict].
_LARGEST_RECORD = 1_000_000
_TOKEN_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class Record:
    """One record that was answered 202, or one notice. ``guid``, ``restaurant`` and ``modified`` are its body's; None
    if they are missing or not text."""

    stream_id: str
    request_id: str | None
    guid: str | None
    restaurant: str | None
    modified: str | None
    body: bytes


class _NoticeMetadata(msgspec.Struct):
    total_records: Any
    fetch_date: Any
    start_date: Any
    end_date: Any


class _Heading(msgspec.Struct):
    """What is looked at of a record: its schema is up to Amperity's customer, and numbers can be of any size."""

    guid: Any = None
    restaurantGuid: Any = None
    modifiedDate: Any = None


class _Notice(msgspec.Struct):
    source: str
    data_type: str
    s3_location: Annotated[str, msgspec.Meta(pattern="^s3://")]
    metadata: _NoticeMetadata
    tenant_id: str


_Day = Annotated[str, msgspec.Meta(pattern=r"^\d{4}-\d\d-\d\d\Z")]


class _Run(msgspec.Struct):
    # Without an idempotency key: a repeated POST starts a second run [doc]. What is wrong is a 400 (judgement).
    config_id: Annotated[str, msgspec.Meta(pattern="^cg-")]
    range_from: _Day = ""
    range_to: _Day = ""
    run_mode: Literal["full", "refresh", "source"] = "full"


class AmperityService(Service):
    """Amperity's HTTP APIs, and what they were sent; ``dropped`` are records lost without an error.

    ``runs`` are those of workflows. Their ingest jobs end in ``ingest_state`` and report, for each table,
    ``ingest_counts`` (read, inserted, updated, rejected, errors), by default the number of accepted records.
    """

    def __init__(self, config: SandboxConfig, faults: Faults) -> None:
        super().__init__(config, faults)
        self.accepted: list[Record] = []
        self.dropped: list[Record] = []
        self.notices: list[Record] = []
        self.runs: list[dict[str, Any]] = []
        self.ingest_counts: dict[str, dict[str, int]] = {}
        self.ingest_state = "succeeded"
        self.tokens[config.amperity_api_key] = float("inf")
        self._stream_limit = Limit("stream", config.records_per_second, 1)
        self._control_limit = Limit("control", 10, 1)

    @property
    def refused(self) -> list[LoggedRequest]:
        """The requests to streams that were not accepted, those without an answer included."""
        return [entry for entry in list(self.log.entries) if entry.path == "stream" and entry.status != 202]

    @property
    def sent_again(self) -> int:
        """The accepted records that had been accepted before: same stream, order and modified time."""
        identified = [each for each in list(self.accepted) if each.guid is not None]
        versions = [(each.stream_id, each.restaurant, each.guid, each.modified) for each in identified]
        return len(versions) - len(set(versions))

    def of_stream(self, stream_id: str) -> list[Record]:
        """The records that one stream accepted, in the order of their arrival."""
        return [record for record in self.accepted if record.stream_id == stream_id]

    def routes(self) -> list[Route]:
        return [
            self.route("POST", "/stream/v0/data/{stream_id:path}", "stream", self._stream),
            self.route("POST", "/api/v0/oauth2/token", "token", self._token),
            self.route("POST", "/api/v1/streaming", "notice", self._notice),
            self.route("POST", "/api/workflow/runs", "control", self._start_run),
            self.route("GET", "/api/ingest/jobs", "control", self._jobs),
            self.route("GET", "/api/ingest/jobs/{id}", "control", self._job),
        ]

    def error(self, status: int, message: str) -> Response:
        """The control plane's error body [doc]; the streaming API's is undocumented."""
        ids = {name: f"{name}-{next(self.numbers)}" for name in ("request_id", "trace_id")}
        return JSONResponse({"status": status, "message": message} | ids, status)

    def _stream(self, call: Call) -> Response:
        _echo_request_id(call)
        if call.header("content-length") is None:
            raise HTTPException(411, "Content-Length is required.")
        if len(call.body) > _LARGEST_RECORD:
            raise HTTPException(413, f"The record is larger than {_LARGEST_RECORD} bytes.")
        self._check_access(call, "x-amperity-tenant")
        self._check_rate(self._stream_limit)
        record = self._record(call)
        # 202 is "accepted, not loaded", also for a stream that does not exist [doc]; here also for an id that does not
        # begin with "is-" (judgement: a silent loss is the harder case).
        kept = self.accepted if record.stream_id in self.config.streams else self.dropped
        kept.append(record)
        return Response(status_code=202)

    def _record(self, call: Call) -> Record:
        heading = call.read(_Heading)
        fields = (heading.guid, heading.restaurantGuid, heading.modifiedDate)
        guid, restaurant, modified = (value if isinstance(value, str) else None for value in fields)
        return Record(call.target or "", call.header("x-request-id"), guid, restaurant, modified, call.body)

    def _check_tenant(self, call: Call, header: str) -> None:
        tenant = call.header(header)
        # The statuses are judgements.
        if tenant is None:
            raise HTTPException(400, f"The header {header} is required.")
        if tenant != self.config.tenant:
            raise HTTPException(403, "The credentials do not belong to this tenant.")

    def _check_access(self, call: Call, header: str) -> None:
        self._check_tenant(call, header)
        self.check_token(call)
        if call.request.method == "POST" and call.media_type != "application/json":
            raise HTTPException(400, "Content-Type must be application/json.")

    def _check_rate(self, limit: Limit) -> None:
        if self.config.rate_limits and limit.take(self.config.tenant, self.config.now()) < 0:
            raise HTTPException(429, "Too many requests.")

    def _token(self, call: Call) -> Response:
        """Client credentials against a bearer token [doc]; wrong ones are a 401, another form a 400 (judgement)."""
        config = self.config
        self._check_tenant(call, "x-amperity-tenant")
        if call.media_type != "application/x-www-form-urlencoded":
            raise HTTPException(400, "Content-Type must be application/x-www-form-urlencoded.")
        form = dict(parse_qsl(call.body.decode("latin-1")))
        if form.get("grant_type") != "client_credentials":
            raise HTTPException(400, "grant_type must be client_credentials.")
        wanted = (config.amperity_client_id, config.amperity_client_secret)
        if (form.get("client_id"), form.get("client_secret")) != wanted:
            raise HTTPException(401, "Wrong client credentials.")
        token = f"sandbox-stream-token-{next(self.numbers)}"
        self.tokens[token] = config.now() + _TOKEN_SECONDS
        return JSONResponse({"access_token": token, "expires_in": _TOKEN_SECONDS, "token_type": "Bearer"})

    def _notice(self, call: Call) -> Response:
        """The guide's notice: 200, or 400 with what is missing [doc for the statuses, judgement for the checks]."""
        _echo_request_id(call)
        self._check_access(call, "amperity-tenant")
        if call.read(_Notice).tenant_id != self.config.tenant:
            raise HTTPException(400, "tenant_id is wrong.")
        self.notices.append(self._record(call))
        return JSONResponse({"status": "accepted"})

    # The control plane.

    def _check_control(self, call: Call) -> None:
        self._check_access(call, "amperity-tenant")
        if call.header("api-version") != _API_VERSION:
            raise HTTPException(400, f"The header api-version must be {_API_VERSION}.")
        self._check_rate(self._control_limit)

    def _start_run(self, call: Call) -> Response:
        self._check_control(call)
        wanted = call.read(_Run)
        number = len(self.runs) + 1
        run = {
            "id": f"wf-sandbox-{number}",
            "state": "running",
            "type": "courier.group/run",
            "name": wanted.config_id,
            "tenant": self.config.tenant,
            "created_at": self._now(),
        }
        job = {"job_id": f"isj-sandbox-{number}", "ended_at": None, "polls": 0}
        self.runs.append(run | job | {"request": msgspec.to_builtins(wanted)})
        return JSONResponse(run, 201)

    def _jobs(self, call: Call) -> Response:
        """The ingest jobs of the runs that were started in a period."""
        self._check_control(call)
        given = call.request.query_params
        try:
            begin, end = (_timestamp(given[name]) for name in ("created_from", "created_to"))
        except (KeyError, ValueError):
            raise HTTPException(400, "created_from and created_to are required ISO-8601 timestamps.") from None
        if not 0 < end - begin <= 7 * 86_400:
            raise HTTPException(400, "created_from and created_to may be at most seven days apart.")
        data = [self._poll(run) for run in self.runs if begin <= _timestamp(run["created_at"]) < end]
        return JSONResponse({"data": data, "next_token": ""})

    def _job(self, call: Call) -> Response:
        self._check_control(call)
        for run in self.runs:
            if run["job_id"] == call.request.path_params["id"]:
                return JSONResponse(self._poll(run))
        raise HTTPException(404, "No such ingest job.")

    def _poll(self, run: dict[str, Any]) -> dict[str, Any]:
        # A run has one job, which ends by being polled, so that no test has to wait (judgement).
        run["polls"] += 1
        if run["state"] == "running" and run["polls"] >= self.config.polls_until_done:
            run |= {"state": self.ingest_state, "ended_at": self._now()}
        tables = []
        for number, table in enumerate(_TABLES):
            counts = dict.fromkeys(("read", "inserted", "updated", "rejected", "errors"), 0)
            if run["state"] != "running":
                counts |= self.ingest_counts.get(table) or dict.fromkeys(("read", "inserted"), len(self.accepted))
            file = {"file_id": f"{table}/part0", "name": "part0", "read": counts["read"], "errors": counts["errors"]}
            names = {"feed_id": f"df-sandbox-{number}", "job_id": run["job_id"], "table_name": table}
            times = {"started_at": run["created_at"], "ended_at": run["ended_at"]}
            tables.append({**names, "state": run["state"], **counts, **times, "files": [file]})
        return {"id": run["job_id"], "workflow_id": run["id"], "tables": tables}

    def _now(self) -> str:
        return iso_ms(datetime.fromtimestamp(self.config.now(), UTC))


def _echo_request_id(call: Call) -> None:
    if (request_id := call.header("x-request-id")) is not None:
        call.reply_headers["x-request-id"] = request_id


def _timestamp(text: str) -> float:
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
